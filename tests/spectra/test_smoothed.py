"""The quantiles that an audit shows, beside the exact distribution."""

from __future__ import annotations

import numpy as np
import pytest

from tractable.spectra import JacobianSpectrum, Layer
from tractable.spectra.derivative_law import empirical_law
from tractable.spectra.master import MasterEquation
from tractable.spectra.smoothed import smoothed_quantiles

SHARES = np.concatenate([[0.002, 0.01], np.linspace(0.05, 0.95, 19), [0.99, 0.998]])

EQUAL = [
    *(("tanh", 2, "orthogonal", 0.05), ("tanh", 64, "orthogonal", 0.03)),
    *(("tanh", 2, "gaussian", 0.3), ("erf", 40, "gaussian", 0.1)),
    *(("relu", 2, "orthogonal", 1.0), ("relu", 30, "gaussian", 1.0)),
    *(("gelu", 3, "gaussian", 0.3), ("elu", 5, "orthogonal", 0.5)),
    *(("linear", 3, "gaussian", 1.0), ("leaky_relu", 4, "orthogonal", 1.0)),
]


def assert_close(law, p: np.ndarray) -> None:
    """To 1e-4 of the distribution, or to 2e-3 of the spread of log lambda where it is steep."""
    found = smoothed_quantiles(law._equation, p)
    zero = law._equation.mass_at_zero
    assert (found[p < zero] == 0).all()
    p, found = p[p > zero], found[p > zero]
    first, second = law.moments(2)
    step = 2e-3 * min(1.0, np.log(second * (1 - zero) / first**2) ** 0.5)
    assert (law.cdf(found * np.exp(-step)) <= p + 1e-4).all()
    assert (law.cdf(found * np.exp(step)) >= p - 1e-4).all()
    smooth = law.cdf(found * np.exp(step)) - law.cdf(found * np.exp(-step)) < 0.01
    assert law.cdf(found)[smooth] == pytest.approx(p[smooth], abs=2e-4)
    assert smooth.mean() > 0.6


@pytest.mark.filterwarnings("ignore:q")
@pytest.mark.parametrize(("phi", "depth", "ensemble", "q"), EQUAL)
def test_smoothed_quantiles_are_those_of_the_exact_law(phi, depth, ensemble, q) -> None:
    assert_close(JacobianSpectrum(phi, depth, ensemble, q=q), SHARES)


LAYERS = {
    "gelu gaussian": [Layer("gelu", q=0.33, n_out=100), Layer("gelu", q=0.05, n_out=100)],
    "shapes": [
        Layer("tanh", q=0.5, n_in=600, n_out=900),
        Layer("relu", n_out=450),
        Layer("tanh", q=0.5, n_out=700),
    ],
    "tall orthogonal": [
        Layer("tanh", q=0.5, n_in=600, n_out=900, ensemble="orthogonal"),
        Layer("tanh", q=0.1, n_out=450, ensemble="orthogonal"),
    ],
    "samples": [
        Layer(squared_slopes=np.linspace(0.2, 1, 700) ** 2, n_out=100),
        Layer(squared_slopes=np.linspace(0.5, 1, 40) ** 2, n_out=100),
    ],
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_that_differ_have_their_quantiles(name) -> None:
    assert_close(JacobianSpectrum(layers=LAYERS[name]), SHARES)


def test_atoms_and_gaps_are_steps_and_jumps_of_the_smoothing() -> None:
    """Two atoms and a narrow bulk: each quantile inside an atom is its place."""
    law = JacobianSpectrum("hard_tanh", 8, "orthogonal", q=0.25)
    (place, mass), (low, high) = law.atoms[1], law.support[0]
    zero = law.atoms[0][1]
    inside = np.linspace(1 - mass + 1e-3, 1 - 1e-3, 9)
    assert smoothed_quantiles(law._equation, inside) == pytest.approx(place, rel=0.02)
    bulk = np.linspace(zero + 1e-3, 1 - mass - 1e-3, 9)
    assert law.cdf(smoothed_quantiles(law._equation, bulk)) == pytest.approx(bulk, abs=1e-4)
    assert low < smoothed_quantiles(law._equation, bulk)[-1] < high


def test_one_eigenvalue_is_every_quantile() -> None:
    law = JacobianSpectrum("linear", 5, "orthogonal", q=1.0)
    assert smoothed_quantiles(law._equation, SHARES) == pytest.approx(1.0, rel=1e-12)


def test_one_layer_of_samples_has_the_samples_as_quantiles() -> None:
    values = np.linspace(0.1, 1.0, 64) ** 2
    law = JacobianSpectrum(
        layers=[Layer(squared_slopes=values, sigma_w=1.0, ensemble="orthogonal")]
    )
    samples = empirical_law(values)
    found = smoothed_quantiles(MasterEquation(lambda _: samples, 1, False, 0.0), SHARES)
    middle = SHARES * 64 % 1
    clear = (middle > 0.2) & (middle < 0.8)
    assert found[clear] == pytest.approx(law.quantile(SHARES)[clear], rel=5e-3)
