"""The closed forms of the study, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from tractable.studies.meet.meet_linear_walkback import (
    MeetLinearWalkback,
    half_times,
    in_planes,
    one_mode,
    two_modes,
)
from tractable.walkback import (
    linear_entropy_production,
    rotation_entropy_production,
    stationary_law,
)


@pytest.mark.parametrize(("a", "b", "angle"), [(0.8, 0.35, 0.7), (0.5, 0.22, 1.2), (0.9, 0.1, 3.0)])
def test_closed_forms_are_the_general_formula(a: float, b: float, angle: float) -> None:
    c, s = np.cos(angle), np.sin(angle)
    turn, noise = np.array([[c, s], [-s, c]]), np.diag([1 - a**2, 1 - b**2])
    both = linear_entropy_production(np.diag([a, b]) @ turn, noise)
    assert two_modes(a, b, angle) == pytest.approx(both, rel=1e-10)
    first = linear_entropy_production(np.diag([a, 0.0]) @ turn, noise)
    assert one_mode(a, b, angle) == pytest.approx(first, rel=1e-10)
    assert two_modes(a, a, angle) == pytest.approx(rotation_entropy_production(a, angle), rel=1e-10)


def test_the_process_is_white_and_its_planes_add_up() -> None:
    study = MeetLinearWalkback()
    matrix, noise, basis = study.process()
    assert np.allclose(stationary_law(matrix, noise)[1], np.eye(6), atol=1e-10)
    parts = in_planes(matrix[None, None], noise, basis)[0, :, 0]
    told = [two_modes(*pair) for pair in zip(study.first, study.second, study.angle, strict=True)]
    assert np.allclose(parts, told, atol=1e-10)
    assert parts.sum() == pytest.approx(linear_entropy_production(matrix, noise), rel=1e-10)


def test_times_of_stages() -> None:
    found = half_times(np.arange(3.0), np.array([[0.0, 0.4, 0.6], [0.0, 0.1, 0.2]]), 0.5)
    assert found[0] == pytest.approx(1.5)
    assert np.isnan(found[1])


def test_planes_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match="one number for each plane"):
        MeetLinearWalkback(first=(0.5,))
    with pytest.raises(ValueError, match="second must be below first"):
        MeetLinearWalkback(first=(0.5,), second=(0.6,), angle=(0.1,))
    with pytest.raises(ValueError, match="n_hidden must be at least 6"):
        MeetLinearWalkback(n_hidden=4)
