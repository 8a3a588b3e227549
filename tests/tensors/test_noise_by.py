"""Noise that differs between slices: against scaling by hand, and what it gains.

Slices divided by their own noise have noise of variance 1, and rows x_i / sd_i: message passing of
that array under the prior of these rows never looks at ``noise_by``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from tractable.core.checks import quiet
from tractable.tensors import Gaussian, SpikedTensor, amp, learning, relative_error
from tractable.tensors.priors.protocol import row_wise

SHAPE = (24, 28, 32)
PRIOR = Gaussian(0.6)


@dataclass(frozen=True, eq=False)
class Divided:
    """The prior of the rows x_i / sd_i, with x_i from ``PRIOR``."""

    sd: torch.Tensor

    rank = None

    def _fields(self, A: torch.Tensor, u: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return row_wise(A, u) / self.sd[:, None, None] ** 2, u / self.sd[:, None]

    def log_z(self, A: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
        return PRIOR.log_z(*self._fields(A, u))

    def mean_cov(self, A: torch.Tensor, u: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mean, cov = PRIOR.mean_cov(*self._fields(A, u))
        return mean / self.sd[:, None], cov / self.sd[:, None, None] ** 2

    def moments(self, rank: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
        first, second = PRIOR.moments(rank)
        return first * (1 / self.sd).mean(), second * (1 / self.sd**2).mean()

    def sample(self, n: int, rank: int = 1, **_: object) -> torch.Tensor:
        raise NotImplementedError


def unequal(mode: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return an array, the signal in it, and the noise variance of each slice of a mode."""
    sample = SpikedTensor(SHAPE, 1, PRIOR, 0.1).sample(seed)
    variance = 0.02 * 100 ** torch.linspace(0, 1, SHAPE[mode], dtype=torch.float64)
    by_slice = variance.sqrt().reshape([-1 if a == mode else 1 for a in range(3)])
    noise = (sample.Y - sample.W) / 0.1**0.5
    return sample.W + by_slice * noise, sample.W, variance


@pytest.mark.parametrize("mode", [0, 1, 2])
@pytest.mark.parametrize("schedule", ["sequential", "parallel"])
def test_it_is_scaling_by_hand(mode: int, schedule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Four sweeps: longer ones may leap ahead along steps, whose lengths depend on units. And with
    # one noise variance, what is assumed is corrected by what is left over: not here.
    monkeypatch.setattr(learning, "EXCESS", 1.0)
    Y, _, variance = unequal(mode)
    sd = variance.sqrt()
    start = [0.6 + 0.1 * torch.randn(n, 1, dtype=torch.float64) for n in SHAPE]
    settings: dict[str, Any] = {"units": "model", "schedule": schedule, "max_iter": 4, "tol": 0.0}
    with quiet():
        own = amp(Y, 1, priors=PRIOR, noise=variance, noise_by=(mode,), init=start, **settings)
    by_slice = sd.reshape([-1 if a == mode else 1 for a in range(3)])
    start[mode] = start[mode] / sd[:, None]
    priors = [Divided(sd) if a == mode else PRIOR for a in range(3)]
    with quiet():
        hand = amp(Y / by_slice, 1, priors=priors, noise=1.0, init=start, **settings)
    hand.factors[mode] *= sd.numpy()[:, None]
    for x, y in zip(own.factors, hand.factors, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-9)
    assert own.free_entropy == pytest.approx(hand.free_entropy, rel=1e-9)


@pytest.mark.filterwarnings("ignore::tractable.core.checks.TractableWarning")
def test_weighted_slices_are_decomposed_better() -> None:
    errors = []
    for seed in range(3):
        Y, W, variance = unequal(0, seed)
        settings: dict[str, Any] = {"priors": PRIOR, "units": "model"}
        fits = (
            amp(Y, 1, noise=variance, noise_by=0, **settings),
            amp(Y, 1, noise="estimate", noise_by=0, **settings),
            amp(Y, 1, noise=float(variance.mean()), **settings),
        )
        errors.append([relative_error(fit.reconstruct(), W) for fit in fits])
        # Of the 28 * 32 entries of a slice: the standard error of its variance is sqrt(2 / 896).
        ratio = fits[1].noise_slices / variance.numpy()
        assert np.abs(ratio - 1).max() < 4 * (2 / 896) ** 0.5
    known, estimated, one = np.mean(errors, 0)
    assert known < 0.7 * one
    assert estimated < known + 0.05


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"noise_by": (0, 1)}, "noise_by must name one mode"),
        ({"noise_by": ()}, "noise_by must name one mode"),
        ({"noise_by": 3}, "noise_by"),
        ({"noise_by": -1}, "noise_by"),
        ({"noise_by": 0.5}, "noise_by must name one mode"),
        ({"noise_by": True}, "noise_by must name one mode"),
        ({"noise_by": "neurons"}, "noise_by must name one mode"),
        ({"noise": np.ones(24)}, "say by noise_by="),
        ({"noise": np.ones(28), "noise_by": 0}, "each of the 24 slices of mode 0"),
        ({"noise": np.ones((24, 1)), "noise_by": 0}, "each of the 24 slices of mode 0"),
        ({"noise": np.r_[-1.0, np.ones(23)], "noise_by": 0}, "noise must be"),
        ({"noise": np.r_[np.nan, np.ones(23)], "noise_by": 0}, "noise must be"),
    ],
)
def test_what_is_refused(settings: dict[str, Any], message: str) -> None:
    Y = torch.randn(*SHAPE, dtype=torch.float64)
    with pytest.raises(ValueError, match=message):
        amp(Y, 1, **settings)
