"""Effects of inputs after a modifier, against a network whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from tractable.dynamics import ContextEffects, as_cell, context_effects

F64 = torch.float64
LEAK = 0.5


def switched() -> object:
    """A counter whose gain is set by a leaky switch: h0 += (1 - 2 h1) x0, h1 = h1/2 + x1."""

    def step(h: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        count = h[..., 0] + (1 - 2 * h[..., 1]) * x[..., 0]
        return torch.stack([count, LEAK * h[..., 1] + x[..., 1]], -1)

    return as_cell(step, n_state=2, n_input=2)


def test_a_leaky_switch_is_read_exactly() -> None:
    words = torch.tensor([[1.0, 0.0], [-2.0, 0.0]])
    found = context_effects(
        switched(), torch.zeros(2), torch.tensor([[0.0, 1.0], [0.0, 0.25]]), words, [1.0, 0.0],
        n_steps=6,
    )  # fmt: skip
    gain = 1 - 2 * np.outer([1.0, 0.25], LEAK ** np.arange(6))
    np.testing.assert_allclose(found.linear, gain[..., None] * np.array([1.0, -2.0]), atol=1e-12)
    np.testing.assert_allclose(found.network, found.linear, atol=1e-12)
    np.testing.assert_allclose(found.factor, gain, atol=1e-12)
    np.testing.assert_allclose(found.plain, [1.0, -2.0])
    # ||Delta J_in x|| = 2 h1 |x|, mean |x| = 1.5
    strength = 3.0 * np.outer([1.0, 0.25], LEAK ** np.arange(6))
    np.testing.assert_allclose(found.strength, strength, atol=1e-12)
    assert found.lasts.tolist() == [4, 4]  # 1/2^3 of the largest is above a tenth, 1/2^4 is not


def test_inputs_count_from_the_constant_input_between() -> None:
    # h0 += (1 - 2 h1) x0 at x* = (0.5, 0): a word x moves the count by (1 - 2 h1) (x0 - 0.5)
    words = torch.tensor([[1.0, 0.0], [3.0, 0.0]])
    found = context_effects(
        switched(), torch.zeros(2), torch.tensor([[0.5, 1.0]]), words, [1.0, 0.0], n_steps=4,
        x_star=[0.5, 0.0],
    )  # fmt: skip
    beyond, switch = np.array([0.5, 2.5]), LEAK ** np.arange(4)
    np.testing.assert_allclose(found.plain, beyond, atol=1e-12)
    np.testing.assert_allclose(found.linear[0], np.outer(1 - 2 * switch, beyond), atol=1e-12)
    np.testing.assert_allclose(found.network, found.linear, atol=1e-12)
    np.testing.assert_allclose(found.strength[0], 2 * switch * 1.5, atol=1e-12)  # mean |x0 - 0.5|


def test_small_inputs_of_any_network_have_their_linear_effect() -> None:
    torch.manual_seed(0)
    gru = nn.GRU(3, 8).double()
    words = 1e-5 * torch.randn(4, 3, dtype=F64)
    found = context_effects(gru, torch.zeros(8), torch.randn(2, 3), words, torch.ones(8))
    np.testing.assert_allclose(found.network, found.linear, rtol=1e-3, atol=1e-9)
    again = ContextEffects.from_dataset(found.to_dataset())
    np.testing.assert_array_equal(again.factor, found.factor)
    assert repr(found) == "ContextEffects(4 inputs after 2 modifiers, 10 steps)"


def test_no_modifier_and_no_effect() -> None:
    none = context_effects(switched(), torch.zeros(2), torch.zeros(0, 2), torch.ones(1, 2), [1, 0])
    assert none.factor.shape == (0, 10)
    silent = context_effects(
        switched(), torch.zeros(2), torch.zeros(1, 2), torch.zeros(1, 2), [1.0, 0.0]
    )
    assert np.isnan(silent.factor).all()
    assert silent.lasts.tolist() == [0]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"point": torch.zeros(3)}, "point must have shape"),
        ({"modifiers": torch.zeros(2)}, "modifiers must have shape"),
        ({"inputs": torch.zeros(1, 5)}, "inputs must have shape"),
        ({"inputs": torch.full((1, 2), math.nan)}, "inputs must be finite"),
        ({"n_steps": 0}, "n_steps"),
        ({"x_star": torch.zeros(3)}, "x_star must have shape"),
    ],
)
def test_refused(changed: dict[str, object], message: str) -> None:
    given = {"point": torch.zeros(2), "modifiers": torch.zeros(1, 2), "inputs": torch.zeros(1, 2)}
    with pytest.raises(ValueError, match=message):
        context_effects(switched(), readout=[1.0, 0.0], **{**given, **changed})
