"""Speed against accuracy, by brute force; what is no image, graph or network is refused by name."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tractable.vision.convrnn import (
    ConvRNN,
    ConvRNNSpec,
    Node,
    SpecError,
    SpeedAccuracy,
    decode,
    make_cell,
    make_movie,
    speed_accuracy,
    wrap,
)
from tractable.vision.convrnn.plots import draw_speed_accuracy

LOGITS = 2 * torch.randn(50, 9, 4, generator=torch.Generator().manual_seed(0))
LABELS = np.random.default_rng(0).integers(0, 4, 50)


def test_decisions_by_brute_force() -> None:
    valid = torch.arange(9) >= 2
    thetas = [0.3, 0.7, 0.9, 1.0]
    found = speed_accuracy(LOGITS, LABELS, thetas=thetas, valid=valid)
    p = LOGITS.double().softmax(-1).numpy()
    for k, theta in enumerate(thetas):
        steps, right, reached = [], [], []
        for i in range(50):
            confident = [t for t in range(2, 9) if p[i, t].max() >= theta]
            step = confident[0] if confident else 2 + int(p[i, 2:].max(1).argmax())
            steps.append(step)
            right.append(p[i, step].argmax() == LABELS[i])
            reached.append(bool(confident))
        assert found.mean_step[k] == pytest.approx(np.mean(steps))
        assert found.accuracy[k] == pytest.approx(np.mean(right))
        assert found.reached[k] == pytest.approx(np.mean(reached))
    assert (np.diff(found.reached) <= 0).all()
    again = SpeedAccuracy.from_dataset(found.to_dataset())
    np.testing.assert_array_equal(again.accuracy, found.accuracy)
    figure = draw_speed_accuracy({"one": found, "two": again}, dt_ms=5.0)
    assert figure.axes[0].get_xlabel() == "mean time of decision (ms)"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: speed_accuracy(LOGITS[0], LABELS), "logits_t must be a tensor"),
        (lambda: speed_accuracy(LOGITS.numpy(), LABELS), "logits_t must be a tensor"),
        (lambda: speed_accuracy(LOGITS * np.nan, LABELS), "logits_t must be finite"),
        (lambda: speed_accuracy(LOGITS, LABELS[:9]), "labels must be 50 classes"),
        (lambda: speed_accuracy(LOGITS, LABELS + 1), r"classes of 0 \.\. 3"),
        (lambda: speed_accuracy(LOGITS, LABELS / 2), "labels must be 50 classes"),
        (lambda: speed_accuracy(LOGITS, LABELS, thetas=[0.0]), "thetas must be > 0"),
        (lambda: speed_accuracy(LOGITS, LABELS, thetas=[]), "thetas must be numbers"),
        (lambda: speed_accuracy(LOGITS, LABELS, valid=torch.zeros(9, dtype=torch.bool)), "no step"),
        (lambda: draw_speed_accuracy({}), "curves must hold a network"),
        (lambda: draw_speed_accuracy({}, dt_ms=0), "dt_ms must be > 0"),
    ],
)
def test_what_has_no_decision_is_refused(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.relu = nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 3), nn.ReLU()
        self.unused = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.relu(self.b(self.relu(self.a(x)))).mean((2, 3))


NET = ConvRNN(ConvRNNSpec.chain([Node("a", 2, cell="gru")], n_classes=3), in_shape=(1, 8, 8))
IMAGE = torch.rand(2, 1, 8, 8)
WRAPPED = wrap(
    nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(72, 2)), {"0": "gru"}, IMAGE
)


STATE = torch.rand(1, 2, 8, 8)


def test_a_network_of_nan_is_not_said_to_keep_too_much() -> None:
    broken = ConvRNN(NET.spec, in_shape=(1, 8, 8))
    torch.nn.init.constant_(next(broken.parameters()), torch.nan)
    with pytest.raises(FloatingPointError, match="node 'a' has a state that is NaN"):
        broken(IMAGE, T=3)


def graph(**parts: Any) -> str:
    return json.dumps({"nodes": [{"name": "a", "channels": 2}], "n_classes": 2, **parts})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: NET(IMAGE.numpy(), T=3), "x must be a tensor, got ndarray"),
        (lambda: NET((255 * IMAGE).byte(), T=3), "x must be floating point, got torch.uint8"),
        (lambda: make_movie(IMAGE.numpy(), 3), "x must be a tensor, got ndarray"),
        (lambda: WRAPPED(IMAGE.numpy()), "x must be a tensor, got ndarray"),
        (lambda: WRAPPED((255 * IMAGE).byte()), "x must be floating point"),
        (lambda: WRAPPED(IMAGE * np.nan), "x must be finite"),
        (lambda: WRAPPED(IMAGE[0]), r"x must be images \(B, C, H, W\) or movies"),
        (lambda: NET.step(IMAGE[0]), r"frame must have shape \(B, 1, 8, 8\)"),
        (
            lambda: NET.jacobian("a", (STATE, STATE), IMAGE[:1]),
            r"state of 'a' must be tensors of shapes",
        ),
        (lambda: NET.jacobian("a", (STATE[:, :1],), IMAGE[:1]), "state of 'a' must be"),
        (
            lambda: NET.jacobian("a", (STATE,), torch.rand(1, 3, 8, 8)),
            "x must be the node's merged",
        ),
        (lambda: decode(LOGITS, valid=torch.ones(3) > 0), "valid must be 9 booleans"),
        (lambda: decode(LOGITS, valid=torch.ones(9)), "valid must be 9 booleans"),
        (lambda: wrap(Twice(), {"relu": "gru"}, IMAGE), "layer 'relu' is called twice"),
        (lambda: wrap(Twice(), {"unused": "gru"}, IMAGE), "layer 'unused' is not reached"),
        (lambda: make_cell("lstm", 2, 2, peephole=True), r"peephole must be \(height, width\)"),
        (lambda: make_cell("lstm", 2, 2, peephole=(2, 0.5)), "peephole must be a whole number"),
        (lambda: ConvRNNSpec.from_json(graph(nodes=5)), "nodes must be a JSON array, got 5"),
        (lambda: ConvRNNSpec.from_json(graph(edges="ab")), "edges must be a JSON array"),
        (
            lambda: ConvRNNSpec.from_json(graph(nodes=[{"name": 3, "channels": 2}])),
            "node 3: a name",
        ),
    ],
)
def test_what_would_end_in_a_raw_error_is_named(call: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError, SpecError), match=message):
        call()
