"""Laws in the plane: densities integrate to 1, and are those of the draws."""

from __future__ import annotations

import numpy as np
import pytest

from tractable.walkback.toys import TOYS, grid_mixture, ring, toy

GRID = np.stack(np.meshgrid(*[np.linspace(-3, 3, 601)] * 2, indexing="ij"), -1).reshape(-1, 2)
AREA = (6 / 600) ** 2


@pytest.mark.parametrize("name", ["ring", "grid"])
def test_densities_integrate_to_one_and_have_the_moments_of_the_draws(name: str) -> None:
    law = toy(name)
    assert law.log_density is not None
    density = np.exp(law.log_density(GRID))
    assert density.sum() * AREA == pytest.approx(1.0, abs=1e-5)
    second = (density @ GRID**2) * AREA
    x = law.sample(40_000, 0)
    error = (x**2).std(0) / np.sqrt(len(x))
    assert np.all(abs((x**2).mean(0) - second) < 4 * error)
    entropy = -(density * np.where(density > 0, law.log_density(GRID), 0.0)).sum() * AREA
    log_p = law.log_density(x)
    assert abs(log_p.mean() + entropy) < 4 * log_p.std() / np.sqrt(len(x))


@pytest.mark.parametrize("name", list(TOYS))
def test_laws_have_about_unit_scale_and_follow_the_seed(name: str) -> None:
    law = toy(name)
    assert law.sample(5000, 1).std() == pytest.approx(1.0, abs=0.06)
    assert np.array_equal(law.sample(10, 3), law.sample(10, 3))
    assert not np.array_equal(law.sample(10, 3), law.sample(10, 4))


def test_far_points_have_finite_log_densities() -> None:
    for law in (ring(), grid_mixture()):
        assert law.log_density is not None
        assert np.isfinite(law.log_density([[50.0, 0.0], [0.0, 0.0]])).all()


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match="did you mean 'swiss'"):
        toy("swis")
