"""Importance of parameters and the Pareto front of a table of trials."""

from __future__ import annotations

import numpy as np
import pytest

from tractable.vision.convrnn.searched import expected_best, parameter_importance, pareto_front


def table(n: int = 200) -> tuple[dict[str, list[object]], np.ndarray]:
    random = np.random.default_rng(0)
    cell = random.choice(["gru", "rgc", "none"], n)
    bias = np.where(cell == "rgc", random.uniform(-4, 4, n), np.nan)
    other = random.random(n)
    score = (cell == "gru") * 1.0 + np.nan_to_num(bias) * 0.1 + 0.01 * random.normal(size=n)
    values = {"cell": cell.tolist(), "bias": bias.tolist(), "other": other.tolist()}
    return values, score


def test_what_decides_comes_first_and_noise_last() -> None:
    values, score = table()
    found = parameter_importance(values, score)
    assert list(found) == ["cell", "bias", "other"]
    assert found["cell"][0] > 0.5
    assert abs(found["other"][0]) < 0.05


def test_it_repeats() -> None:
    values, score = table(60)
    assert parameter_importance(values, score) == parameter_importance(values, score)


def test_a_constant_parameter_is_left_out() -> None:
    values, score = table(60)
    assert "same" not in parameter_importance({**values, "same": [1] * 60}, score)


def test_bad_tables_are_refused() -> None:
    values, score = table(60)
    with pytest.raises(ValueError, match="differ between trials"):
        parameter_importance(values, np.ones(60))
    with pytest.raises(ValueError, match="score"):
        parameter_importance(values, np.full(60, np.nan))
    with pytest.raises(ValueError, match="number of trials"):
        parameter_importance({"x": [1, 2]}, [0.0, 1.0])
    with pytest.raises(ValueError, match="one value for each score"):
        parameter_importance({"x": [1, 2]}, score)
    with pytest.raises(ValueError, match="parameter that differs"):
        parameter_importance({"x": [1] * 60}, score)


def test_the_front_is_what_nothing_beats() -> None:
    random = np.random.default_rng(1)
    cost, score = random.random(100), random.random(100)
    front = set(pareto_front(cost, score).tolist())
    for i in range(100):
        beaten = ((cost <= cost[i]) & (score >= score[i]) & (np.arange(100) != i)).any()
        assert (i in front) != beaten
    assert pareto_front([1.0, np.nan], [0.5, 0.9]).tolist() == [0]
    with pytest.raises(ValueError, match="one length"):
        pareto_front([1.0], [1.0, 2.0])


def test_expected_best_is_the_mean_of_many_draws() -> None:
    random = np.random.default_rng(2)
    score = random.random(30)
    drawn = np.maximum.accumulate(random.choice(score, (40_000, 5)), axis=1)
    error = drawn.std(0) / 200
    assert (np.abs(drawn.mean(0) - expected_best(score, 5)) < 4 * error).all()
    assert expected_best(score, 10_000)[-1] == pytest.approx(score.max())
    with pytest.raises(ValueError, match="score"):
        expected_best([], 3)
