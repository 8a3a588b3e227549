"""Laws in the plane: densities integrate to 1, and are those of the draws."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ive

from tractable.walkback.distances import mmd2
from tractable.walkback.toys import TOYS, gaussian_mmd2, grid_mixture, ring, toy

GRID = np.stack(np.meshgrid(*[np.linspace(-2.4, 2.4, 161)] * 2, indexing="ij"), -1).reshape(-1, 2)
AREA = (4.8 / 160) ** 2


@pytest.mark.parametrize("name", ["swiss", "ring", "grid"])
def test_densities_integrate_to_one_and_have_the_moments_of_the_draws(name: str) -> None:
    law = toy(name)
    density = np.exp(law.log_density(GRID))
    assert density.sum() * AREA == pytest.approx(1.0, abs=1e-3)
    second = (density @ GRID**2) * AREA
    x = law.sample(40_000, 0)
    error = (x**2).std(0) / np.sqrt(len(x))
    assert np.all(abs((x**2).mean(0) - second) < 4 * error)
    log_p = law.log_density(x[:4000])
    assert abs(log_p.mean() - law.mean_log_density()) < 4 * log_p.std() / np.sqrt(4000)


@pytest.mark.parametrize("name", list(TOYS))
def test_laws_have_about_unit_scale_and_follow_the_seed(name: str) -> None:
    law = toy(name)
    assert law.sample(5000, 1).std() == pytest.approx(1.0, abs=0.06)
    assert np.array_equal(law.sample(10, 3), law.sample(10, 3))
    assert not np.array_equal(law.sample(10, 3), law.sample(10, 4))


def test_the_ring_has_the_density_of_the_bessel_function() -> None:
    # averaged over the circle: exp(-(r^2 + R^2) / 2 s^2) I_0(r R / s^2) / (2 pi s^2)
    law, r = ring(), np.array([0.9, 1.3, 1.4, 1.55])
    bessel = np.log(ive(0, r * 1.4 / 0.05**2)) - (r - 1.4) ** 2 / (2 * 0.05**2)
    exact = bessel - np.log(2 * np.pi * 0.05**2)
    assert law.log_density(np.stack([r, 0 * r], 1)) == pytest.approx(exact, abs=1e-9)


@pytest.mark.parametrize("name", list(TOYS))
def test_the_distance_from_a_gaussian_is_that_of_draws(name: str) -> None:
    law, widths = toy(name), [0.1, 0.2, 0.5, 1.0, 2.0]
    mean, covariance = law.moments()
    gaussian = np.random.default_rng(0).multivariate_normal(mean, covariance, 2000)
    found = mmd2(gaussian, law.sample(2000, 1), widths)
    assert abs(found.value - gaussian_mmd2(law, widths)) < 4 * found.se


def test_far_points_have_finite_log_densities() -> None:
    for law in (ring(), grid_mixture()):
        assert np.isfinite(law.log_density([[50.0, 0.0], [0.0, 0.0]])).all()


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match="did you mean 'swiss'"):
        toy("swis")
