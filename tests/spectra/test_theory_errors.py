"""Mistakes are named with their value; the same seed gives the same numbers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tractable.core.checks import TractableWarning
from tractable.spectra import (
    JacobianSpectrum,
    MeanField,
    Nonlinearity,
    critical_line,
    q_for_variance,
    simulate,
)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: JacobianSpectrum("tanh", 0, q=0.1), "depth must be >= 1, got 0"),
        (lambda: JacobianSpectrum("tanh", 2, q=-1.0), "got -1"),
        (lambda: JacobianSpectrum("softplus", 2, q=0.5), "sigma_b.2 = -2.03"),
        (lambda: JacobianSpectrum("tanh", 2, "uniform", q=0.1), "'uniform'"),
        (lambda: JacobianSpectrum("tanh", 2, q=0.1, sigma_w=1.0), "q and sigma_w"),
        (lambda: MeanField("tanh", 0.0, 0.1), "sigma_w must be > 0, got 0"),
        (lambda: q_for_variance("relu", 48, 0.25), "minimum 48"),
        (lambda: simulate("tanh", 2, q=0.1, width=1), "width must be >= 2, got 1"),
        (lambda: Nonlinearity("tanhh"), "did you mean 'tanh'"),
        (lambda: critical_line("tanh", float("nan")), "finite"),
    ],
)
def test_mistakes_are_named(make: Callable[[], object], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        make()


def test_a_repelling_fixed_point_warns() -> None:
    with pytest.warns(TractableWarning, match="repels"):
        JacobianSpectrum("gelu", 8, q=0.5)


def test_the_same_seed_gives_the_same_spectrum() -> None:
    first, second = (simulate("tanh", [2, 3], q=0.1, width=30, seed=4) for _ in range(2))
    np.testing.assert_array_equal(first.singular_values, second.singular_values)
