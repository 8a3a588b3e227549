"""Training: presets, changes of the images, penalties, and the watch over the bottleneck."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from tractable.studies.vision._retina_cost import say_cost
from tractable.study import Run
from tractable.vision.retina import (
    PRESETS,
    DeadBottleneckError,
    GrayImages,
    RetinaVVS,
    TrainResult,
    TrainSettings,
    train_classifier,
)
from tractable.vision.retina.model import weights_of
from tractable.vision.retina.settings import keras_rmsprop, settings_of
from tractable.vision.retina.training import augment, loss


def bars(n: int = 300, seed: int = 0) -> GrayImages:
    """Upright bars against level ones: a task that two small layers solve."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, n)
    x = random.uniform(0, 0.2, (n, 1, 8, 8))
    for i, label in enumerate(labels):
        at = random.integers(1, 7)
        x[i, 0, at if label else slice(None), slice(None) if label else at] += 0.8
    x, y = torch.tensor(x, dtype=torch.float32), torch.tensor(labels)
    cut = n - 100
    return GrayImages(x[:cut], y[:cut], x[cut:], y[cut:], ("upright", "level"), "bars")


def small(seed: int = 0, **options: object) -> RetinaVVS:
    settings = {"n_bn": 1, "d_vvs": 1, "kernel": 3, "retina_channels": 4, "vvs_channels": 4}
    return RetinaVVS(**{**settings, "head": (2,), "in_shape": (1, 8, 8), "seed": seed, **options})  # type: ignore[arg-type]


def test_it_learns_and_repeats() -> None:
    data = bars()
    results = [train_classifier(small(), data, {"steps": 150}, progress=False) for _ in range(2)]
    assert results[0].accuracy > 0.9
    assert results[0].accuracy == results[1].accuracy
    assert np.array_equal(results[0].fit.losses, results[1].fit.losses)
    assert results[0].n_dead == 0
    assert not results[0].restarts
    assert results[0].fit.history["active"].shape[1] == 1
    back = TrainResult.from_dataset(results[0].to_dataset())
    xr.testing.assert_identical(back.to_dataset(), results[0].to_dataset())


def kill(model: RetinaVVS) -> None:
    """Make the bottleneck silent: no image can wake it, no gradient reaches it."""
    conv = weights_of(model, "retina_2")
    with torch.no_grad():
        conv.weight.fill_(-1.0)


DEAD = {"steps": 3, "bottleneck_bias": -1.0}


def test_a_dead_bottleneck_is_raised_or_kept() -> None:
    model = small()
    kill(model)
    with pytest.raises(DeadBottleneckError, match="all 1 channels of retina_2 are silent"):
        train_classifier(model, bars(), DEAD, on_dead="raise", progress=False)
    model = small()
    kill(model)
    result = train_classifier(model, bars(), DEAD, on_dead="keep", progress=False)
    assert result.dead
    assert result.n_dead == 1


def test_a_dead_bottleneck_is_drawn_anew() -> None:
    model = small()
    kill(model)
    first = weights_of(model, "retina_1").weight.clone()
    settings = {"steps": 2, "bottleneck_bias": 0.0, "learning_rate": 1e-9}
    result = train_classifier(model, bars(), settings, on_dead="restart", progress=False)
    assert len(result.restarts) >= 1
    assert not result.dead
    assert torch.allclose(weights_of(model, "retina_1").weight, first, atol=1e-6)


def test_restarts_end() -> None:
    settings = {"steps": 1, "bottleneck_bias": -100.0}
    with pytest.raises(DeadBottleneckError, match="10 restarts"):
        train_classifier(small(), bars(), settings, progress=False)


def test_published_settings() -> None:
    paper = PRESETS["paper"]
    assert (paper.optimizer, paper.learning_rate, paper.epochs) == ("rmsprop", 1e-4, 20)
    assert paper.rate(10_000, 15_640) == pytest.approx(1 / 1.01)
    optimizer = keras_rmsprop([torch.nn.Parameter(torch.zeros(1))])
    group = optimizer.param_groups[0]
    assert (group["alpha"], group["eps"]) == (0.9, 1e-7)
    assert paper.total(50_000) == 20 * 782


def test_settings_from_a_mapping() -> None:
    assert settings_of({"epochs": 2}) == TrainSettings(epochs=2, steps=0)
    with pytest.raises(ValueError, match="did you mean 'learning_rate'"):
        settings_of({"learnin_rate": 1})
    with pytest.raises(ValueError, match="one of steps and epochs"):
        TrainSettings(steps=0)
    with pytest.raises(ValueError, match="preset must be one of"):
        train_classifier(small(), bars(), "gpu")
    with pytest.raises(ValueError, match="an output per class"):
        train_classifier(small(head=(1,)), bars())


def test_images_are_mirrored_and_shifted() -> None:
    x = torch.rand(400, 1, 10, 10)
    flipped, _ = augment(x, torch.zeros(400), flip=True, shift=0.0)
    same = (flipped == x).all(-1).all(-1).flatten()
    mirrored = (flipped == x.flip(-1)).all(-1).all(-1).flatten()
    assert (same | mirrored).all()
    assert 0.4 < mirrored.float().mean() < 0.6
    ramp = torch.arange(10.0).expand(200, 1, 10, 10)
    moved, _ = augment(ramp, torch.zeros(200), flip=False, shift=0.1)
    shift = moved[:, 0, 5, 5] - 5
    assert shift.abs().max() <= 1.0 + 1e-5  # a tenth of ten pixels
    assert shift.abs().mean() == pytest.approx(0.5, abs=0.1)
    assert moved.min() >= 0  # borders are repeated, nothing black comes in


def test_penalties() -> None:
    model = small().eval()
    batch = (torch.rand(4, 1, 8, 8), torch.zeros(4, dtype=torch.int64))
    bare = loss(TrainSettings(), model, batch)
    with torch.no_grad():
        activity = model.activations(batch[0], "retina_2")["retina_2"].abs().sum() / 4
    one = weights_of(model, "retina_1").weight.abs().sum()
    two = weights_of(model, "retina_2").weight.abs().sum()
    full = loss(TrainSettings(l1=0.1, l1_bottleneck=0.2, l1_activity=0.3), model, batch)
    assert torch.allclose(full, bare + 0.1 * one + 0.2 * two + 0.3 * activity)


def test_callback_and_records() -> None:
    seen = []
    train_classifier(
        small(), bars(), {"steps": 4}, record={"one": lambda net: 1.0}, record_at=[0, 4],
        callback=lambda step, values: seen.append((step, sorted(values))), progress=False,
    )  # fmt: skip
    assert seen == [(0, ["active", "one"]), (4, ["active", "one"])]


def test_long_trainings_say_their_cost_first(tmp_path: Path) -> None:
    net = {"n_bn": 1, "d_vvs": 1, "kernel": 3, "retina_channels": 2, "vvs_channels": 2}
    run = Run(0, tmp_path, "cpu", show_progress=False)
    say_cost(run, [({**net, "head": [4]}, 3)], 16, 10)
    assert not run.notes
    say_cost(run, [({**net, "head": [4]}, 3)], 16, 10_000_000)
    # 16 x 16 positions: 9 * (2 + 2 + 2) products each, then 512 * 4 + 4 * 10
    assert (
        "3 networks of up to 2,161 parameters and 15,912 multiplications an image" in run.notes[0]
    )
    assert "on this machine" in run.notes[0]
