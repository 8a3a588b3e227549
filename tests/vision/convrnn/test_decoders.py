"""Soft choices and trained decoders, told step by step."""

from __future__ import annotations

import math

import pytest
import torch

from tractable.vision.convrnn import Decoder, decode, speed_accuracy

LOGITS = 2 * torch.randn(4, 6, 3, generator=torch.Generator().manual_seed(0))


def test_a_soft_threshold_is_the_chance_to_be_the_first_that_reaches_it() -> None:
    theta, soft = 0.8, 0.1
    found, _ = Decoder("threshold", theta=theta, soft=soft)(LOGITS)
    for movie, answer in zip(LOGITS, found, strict=True):
        confidence = [float(z.softmax(0).max()) for z in movie]
        weights, not_yet = [], 1.0
        for c in confidence:
            reach = 1 / (1 + math.exp(-(c - theta) / soft))
            weights.append(not_yet * reach)
            not_yet *= 1 - reach
        late = [math.exp(c / soft) for c in confidence]
        weights = [w + not_yet * e / sum(late) for w, e in zip(weights, late, strict=True)]
        assert sum(weights) == pytest.approx(1.0)
        expected = sum(w * z for w, z in zip(weights, movie, strict=True))
        torch.testing.assert_close(answer, expected)


def test_a_soft_choice_becomes_the_hard_one_and_has_a_gradient() -> None:
    hard, step = Decoder("max_conf")(LOGITS)
    soft, same = Decoder("max_conf", soft=1e-4)(LOGITS)
    torch.testing.assert_close(soft, hard)
    assert torch.equal(step, same)
    decoder = Decoder("threshold", theta=0.7, soft=0.1)
    decoder(LOGITS)[0].sum().backward()
    assert decoder.theta.grad is not None
    assert float(decoder.theta.grad.abs()) > 0


def test_trained_decoders_are_their_formulas() -> None:
    valid = torch.tensor([False, True, True, True, True, True])
    seen = LOGITS[:, 1:]
    mean = Decoder("w_avg_t", n_steps=5, n_classes=3)
    with torch.no_grad():
        mean.weight.copy_(torch.tensor([0.0, 1.0, -1.0, 2.0, 0.5]))
    weight = torch.sigmoid(mean.weight)
    expected = sum(w * seen[:, t] for t, w in enumerate(weight / weight.sum()))
    torch.testing.assert_close(mean(LOGITS, valid)[0], expected)

    mlp = Decoder("mlp", n_steps=5, n_classes=3)
    first, _, last = mlp.net
    expected = last(torch.nn.functional.elu(first(seen.reshape(4, 15))))
    torch.testing.assert_close(mlp(LOGITS, valid)[0], expected)

    over_time = Decoder("conv1d", n_steps=5, n_classes=3)
    best = []
    for filters in over_time.filters:
        width = filters.weight.shape[2]
        windows = [seen[:, t : t + width] for t in range(5 - width + 1)]
        answers = [
            torch.einsum("btk,fkt->bf", window, filters.weight) + filters.bias for window in windows
        ]
        best.append(torch.nn.functional.elu(torch.stack(answers)).max(0).values)
    torch.testing.assert_close(over_time(LOGITS, valid)[0], over_time.last(torch.cat(best, 1)))


def test_the_weights_of_a_mean_must_fit_the_valid_steps() -> None:
    decoder = Decoder("w_avg_t", n_steps=4, n_classes=3)
    with pytest.raises(ValueError, match="4 valid steps, got 6"):
        decoder(LOGITS)
    for name, shape in (("mlp", (1, 4, 6)), ("mlp", (1, 5, 3)), ("conv1d", (1, 3, 3))):
        with pytest.raises(ValueError, match="for 4 valid steps and 3 classes"):
            Decoder(name, n_steps=4, n_classes=3)(torch.zeros(shape))
    Decoder("conv1d", n_steps=4, n_classes=3)(torch.zeros(1, 9, 3))  # filters slide


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_confidence_that_equals_theta_reaches_it_in_either_precision(kind: torch.dtype) -> None:
    z = torch.zeros(1, 2, 5, dtype=kind)
    z[0, 1, 0] = 5.0
    assert decode(z, "threshold", theta=0.2)[1].tolist() == [0]  # five equal classes: 1 / 5
    found = speed_accuracy(z, [0], thetas=[0.2])
    assert (found.mean_step.tolist(), found.reached.tolist()) == ([0.0], [1.0])
