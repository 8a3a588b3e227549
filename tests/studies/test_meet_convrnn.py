"""Pieces of the study in which recurrent graphs meet spectra.

Kinds: simulation with its error (the share of a signal that padding leaves), exact property
(isometry of a centered kernel).
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tractable.studies.meet import _convrnn_spectra as spectra


def test_padding_takes_what_walks_lose() -> None:
    """Mean square of linear maps of white noise; 400 kernels of 24 channels, independent steps."""
    random = torch.Generator().manual_seed(0)
    x = torch.randn(1, 24, 4, 4, generator=random, dtype=torch.float64)
    ratios = []
    for _ in range(400):
        y, course = x, []
        for _ in range(3):
            kernel = spectra.draw_kernel("Gaussian", 24, 1.0, random)
            y = torch.nn.functional.conv2d(y, kernel, padding=1)
            course.append(float(y.square().mean()))
        ratios.append(course)
    mean, error = np.mean(ratios, 0), np.std(ratios, 0) / np.sqrt(len(ratios))
    flat = torch.ones(4, 4, dtype=torch.float64) * x.square().mean()
    power = x.square().mean(1)[0]
    window = torch.ones(1, 1, 3, 3, dtype=torch.float64) / 9
    for t in range(3):  # of this x, position by position; and of a flat one, the formula
        power, flat = (torch.nn.functional.conv2d(p[None, None], window, padding=1)[0, 0]
                       for p in (power, flat))  # fmt: skip
        assert abs(mean[t] - float(power.mean())) < 4 * error[t]
        assert float(flat.mean() / x.square().mean()) == pytest.approx(spectra.survival(t + 1))


def test_a_centered_isometric_kernel_keeps_every_signal() -> None:
    random = torch.Generator().manual_seed(1)
    kernel = spectra.draw_kernel("delta-orthogonal", 6, 1.5, random)
    x = torch.randn(3, 6, 4, 4, generator=random, dtype=torch.float64)
    y = torch.nn.functional.conv2d(x, kernel, padding=1)
    torch.testing.assert_close(y.flatten(1).norm(dim=1), 1.5 * x.flatten(1).norm(dim=1))
    variance = spectra.draw_kernel("torch default", 64, 9.0, random).var() * 64 * 9
    assert float(variance) == pytest.approx(1 / 3, rel=0.02)
