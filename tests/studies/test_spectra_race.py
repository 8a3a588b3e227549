"""The race of learning rates, and the published signatures at the scaled size."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from tractable.studies.spectra._race import (
    Decided,
    Watch,
    median_times,
    network,
    race,
    record_steps,
)
from tractable.studies.spectra._race_results import gather, learning_time, predicted_variance
from tractable.studies.spectra.spectra_audit import SpectraAudit
from tractable.studies.spectra.spectra_conv import SpectraConv
from tractable.studies.spectra.spectra_depth import SpectraDepth
from tractable.studies.spectra.spectra_learning import SpectraLearning
from tractable.studies.spectra.spectra_qstar import SpectraQstar


def small(**change):
    settings = {
        "net": "tanh orthogonal",
        "depth": 3,
        "width": 20,
        "q_star": 0.05,
        "optimizer": "sgd",
        "rates": [0.03, 0.1],
        "n_seeds": 2,
        "seed": 0,
        "data": "digits",
        "n_train": 200,
        "n_test": 50,
        "batch_size": 50,
        "threshold": 0.3,
        "max_steps": 12,
    }
    return race(**{**settings, **change})


def test_steps_are_dense_at_first() -> None:
    steps = record_steps(200)
    assert steps[:21] == list(range(21))
    assert steps[-1] == 200
    assert max(b / a for a, b in itertools.pairwise(steps[20:])) <= 1.1
    assert record_steps(3) == [0, 1, 2, 3]


def test_the_median_counts_seeds_that_did_not_get_there() -> None:
    nan = np.nan
    first = np.array([[3.0, nan, 5.0], [nan, nan, 2.0], [7.0, 1.0, 4.0]])
    assert median_times(first).tolist() == [5.0, np.inf, 4.0]
    assert median_times(np.array([[1.0, 9.0]])).tolist() == [9.0]


def test_a_race_ends_when_its_winner_is_known() -> None:
    watch = Watch(2, 3, 0.5, 0)
    watch(1, {"accuracy": np.array([0.6, 0.1, 0.1, 0.1, 0.1, 0.1])})
    with pytest.raises(Decided):
        watch(2, {"accuracy": np.array([0.6, 0.6, 0.6, 0.1, 0.1, 0.1])})
    assert watch.first[0].tolist() == [1, 2, 2]
    slow = Watch(1, 3, 0.5, 0)
    for step in (1, 2, 3):
        slow(step, {"accuracy": np.array([0.6, 0.6, 0.1])})
        if step == 1:
            break
    with pytest.raises(Decided):  # the third seed is waited for as long again
        slow(2, {"accuracy": np.array([0.6, 0.6, 0.1])})


def test_logits_of_unit_variance() -> None:
    # IDENTITY: the readout over sqrt(q*), and nothing else
    x = torch.randn(300, 20)
    plain, unit = (network("tanh orthogonal", 3, 200, 0, 0.02, x, 5, 0, kind) for kind in KINDS)
    torch.testing.assert_close(unit[-1].weight, plain[-1].weight / 0.02**0.5)
    torch.testing.assert_close(unit[0].weight, plain[0].weight)
    assert float(unit(x).detach().var()) == pytest.approx(1, abs=0.25)


KINDS = ("lecun", "unit")


def test_a_small_race() -> None:
    found = small()
    assert found.accuracy.shape[1:] == (2, 2)
    assert float(found.accuracy.max()) > 0.3
    again = small()
    assert found.identical(again)
    gathered = gather({("a", 3): found, ("b", 3): small(threshold=2.0)}, ("net", "depth"))
    time, reached, rate = learning_time(gathered, net="a", depth=3)
    assert reached
    assert time <= 12
    assert rate in (0.03, 0.1)
    assert learning_time(gathered, net="b", depth=3)[:2] == (12, False)


def test_a_rate_that_diverges_does_not_end_the_race() -> None:
    found = small(rates=[0.1, 1e6])
    assert np.isfinite(found.first_step.values[0]).all()


def test_predicted_variances() -> None:
    # IDENTITY: L v of the critical points, and one for each Gaussian weight
    assert predicted_variance("tanh orthogonal", 64, 0.02592094821) == pytest.approx(
        64 * 0.00426890, rel=1e-5
    )
    assert predicted_variance("ReLU orthogonal", 10, 0.1) == pytest.approx(10)
    assert predicted_variance("ReLU Gaussian", 10, 0.1) == pytest.approx(19)


@pytest.mark.parametrize(
    ("study", "settings", "message"),
    [
        (SpectraDepth, {"depths": (4,), "gaussian_depths": ()}, "two depths or more"),
        (SpectraDepth, {"gaussian_depths": (5,)}, r"also \[5\]"),
        (SpectraQstar, {"q_stars": (0.1, 0.1)}, "two values or more"),
        (SpectraLearning, {"data": "digit"}, "did you mean 'digits'"),
        (SpectraConv, {"depth": 1}, "depth must be >= 2"),
        (SpectraAudit, {"data": "x.npy"}, "model=file.py:make"),
    ],
)
def test_parameters_are_checked(study, settings, message) -> None:
    with pytest.raises(ValueError, match=message):
        study(**settings)


# ---- one's own model


MODEL = """
import torch
from torch import nn

def make():
    return nn.Sequential(*[m for _ in range(6) for m in (nn.Linear(12, 12), nn.{kind}())])

def other():
    return 3
"""


def test_the_audit_of_an_own_model(tmp_path) -> None:
    (tmp_path / "own.py").write_text(MODEL.format(kind="Tanh"))
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(20, 12)))
    study = SpectraAudit(model=f"{tmp_path}/own.py:make", data=f"{tmp_path}/x.npy")
    result = study.run(out=tmp_path / "runs", progress=False)
    assert any("vanish" in str(answer) for answer in result.answers)
    assert any("no problem and no warning" in str(answer) for answer in result.answers)
    assert set(result.figures) == {"audit-before", "audit-after"}


def test_a_model_that_cannot_be_isometric_is_audited_once(tmp_path) -> None:
    (tmp_path / "own.py").write_text(MODEL.format(kind="ReLU"))
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(20, 12)))
    study = SpectraAudit(model=f"{tmp_path}/own.py:make", data=f"{tmp_path}/x.npy")
    result = study.run(out=tmp_path / "runs", progress=False)
    assert any("minimum 6" in str(answer) for answer in result.answers)
    assert set(result.figures) == {"audit-before"}


@pytest.mark.parametrize(
    ("model", "data", "message"),
    [
        ("own.py", "x.npy", "must be file.py:function"),
        ("none.py:make", "x.npy", "there is no file"),
        ("own.py:mak", "x.npy", "has no function 'mak'"),
        ("own.py:other", "x.npy", "must return an nn.Module, got int"),
        ("own.py:make", "", "give data=x.npy"),
        ("own.py:make", "y.npy", "there is no file"),
        ("own.py:make", "own.py", "must be a .npy file of numbers"),
        ("own.py:make", "words.npy", "must be an array of numbers"),
        ("own.py:make", "empty.npy", "one sample or more"),
    ],
)
def test_own_files_are_checked(tmp_path, monkeypatch, model, data, message) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(MODEL.format(kind="Tanh"))
    np.save(tmp_path / "x.npy", np.zeros((2, 12)))
    np.save(tmp_path / "words.npy", np.array(["a"]))
    np.save(tmp_path / "empty.npy", np.zeros((0, 12)))
    with pytest.raises(ValueError, match=message):
        SpectraAudit(model=model, data=data).build(0)


# ---- the published signatures


@pytest.mark.slow
@pytest.mark.parametrize(
    "study",
    [
        SpectraLearning,
        SpectraDepth,
        pytest.param(
            SpectraQstar,
            marks=pytest.mark.xfail(
                reason="rank correlation 0.67 of 0.8: the three narrow spectra tie, and by the "
                "small logits of the smallest q* it is not the fastest"
            ),
        ),
        SpectraConv,
    ],
)
def test_signatures_hold_at_the_scaled_size(study, tmp_path) -> None:
    # SIMULATION: the claims of arXiv:1711.04735 and 1806.05393 at the default size
    result = study().run(out=tmp_path, progress=False)
    failing = [(c.name, c.measured, c.expected) for c in result.checks if not c.holds]
    assert not failing
