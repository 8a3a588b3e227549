"""Mistakes are named with their value; the same seed gives the same numbers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from tractable.core.checks import TractableWarning
from tractable.spectra import (
    JacobianSpectrum,
    MeanField,
    Nonlinearity,
    critical_line,
    phase_diagram,
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
        (lambda: simulate("tanh", 2, q=np.inf, width=4, sigma_w=1, sigma_b=0), "q must be finite"),
        (lambda: simulate("tanh", 2, q=0.1, width=4, sigma_w=-1, sigma_b=0.1), "sigma_w must be"),
        (lambda: simulate("tanh", 2, q=0.1, width=4, sigma_w=1, sigma_b=np.nan), "sigma_b must"),
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


@pytest.mark.parametrize("q0", [None, 1e-14, 1e9])
def test_fixed_points_of_any_size_are_found(q0: float | None) -> None:
    """Of straight functions in closed form, of tanh at small q by its slope 1."""
    for a, sigma_w2, sigma_b in ((0.0, 1.9, 1000.0), (0.3, 1.0, 2e6), (1.0, 0.5, 1e-7)):
        field = MeanField(f"leaky_relu({a})", sigma_w2**0.5, sigma_b)
        found = field.q_star(q0)
        exact = sigma_b**2 / (1 - sigma_w2 * (1 + a * a) / 2)
        assert found.value == pytest.approx(exact, rel=1e-9)
        assert found.n_fixed == 1
        plane = phase_diagram(f"leaky_relu({a})", [sigma_w2**0.5], [sigma_b])
        assert plane.q_star[0, 0] == pytest.approx(exact, rel=1e-9)
    small = MeanField("tanh", 0.5, 1e-8)
    assert small.q_star(q0).value == pytest.approx(1e-16 / 0.75, rel=1e-9)
    assert MeanField("relu", 2.2**0.5, 0.1).q_star(q0).value == float("inf")
    assert MeanField("gelu", 2**0.5 + 1e-3, 0.0).q_star(1e9).value == float("inf")
    assert MeanField("tanh", 0.9, 0.0).q_star(q0).value == 0.0


def test_a_function_of_ones_own_takes_single_numbers() -> None:
    phi = Nonlinearity(torch.tanh)
    assert phi(0.5).shape == phi.deriv(0.5).shape == ()
    found = MeanField(torch.tanh, 1.5, 0.0).q_star()
    assert found.n_fixed == 2
    assert found.value == pytest.approx(MeanField("tanh", 1.5, 0.0).q_star().value, rel=1e-13)
