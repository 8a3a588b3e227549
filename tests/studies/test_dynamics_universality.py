"""What `dynamics-universality` reads off networks whose answers are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from tractable.dynamics import as_cell, collect_states
from tractable.dynamics.tasks import sine_cues
from tractable.studies.dynamics import _universality as parts

F64 = torch.float64


def turning_cell(share: float = 1.02) -> object:
    """Four units: two that turn by ``share`` times the cued frequency, two that decay."""
    cues = sine_cues(len(parts.FREQUENCIES)).double()
    slope = (parts.FREQUENCIES[-1] - parts.FREQUENCIES[0]) / float(cues[-1] - cues[0])

    def step(h: Tensor, x: Tensor) -> Tensor:
        angle = 2 * math.pi * share * (parts.FREQUENCIES[0] + slope * (x[:, 0] - cues[0]))
        c, s = 0.97 * angle.cos(), 0.97 * angle.sin()
        a, b = c * h[:, 0] - s * h[:, 1], s * h[:, 0] + c * h[:, 1]
        return torch.stack([a, b, 0.99 * h[:, 2] + 0.01 * x[:, 0], 0.2 * h[:, 3]], 1)

    return as_cell(step, n_state=4, n_input=1)


def test_the_frequency_of_a_network_that_turns_is_read_off_its_fixed_point() -> None:
    # CLOSED FORM: eigenvalues 0.97 exp(+-2 pi i f), and a slower one, 0.99, that does not turn
    cell = turning_cell()
    cues = sine_cues(len(parts.FREQUENCIES))
    inputs = cues[:, None, None].expand(-1, 20, 1).double().repeat(4, 1, 1)
    h0 = torch.randn(len(inputs), 4, dtype=F64, generator=torch.Generator().manual_seed(0))
    visited = collect_states(cell, inputs, h0=h0, progress=False)
    found = parts._sine(None, cell, visited, 2, 20, 80, 0)
    assert found["cue_roots"][1] == [1.0] * len(cues)
    wanted = 1.02 * np.array(parts.FREQUENCIES)
    assert np.allclose(found["mode_frequency"][1], wanted, rtol=1e-6, atol=0)
    assert found["tau"][1] == pytest.approx(-1 / math.log(0.99), rel=1e-6)
    assert found["one_step"][1] < 1e-9


def test_the_integration_task_asks_for_the_sum_of_the_chosen_stream() -> None:
    inputs, target = parts.draw("integration", 50, 32, 2, 0)
    chosen = inputs[:, 0, 2:].argmax(1)
    assert set(chosen.tolist()) == {0, 1}
    assert (inputs[:, :, 2:].sum(2) == 1).all()
    for i in range(50):
        total = inputs[i, :, chosen[i]].double().sum() / math.sqrt(32)
        assert float(target[i, -1, 0]) == pytest.approx(float(total), abs=1e-5)


@pytest.mark.parametrize("slow", [1.0, 0.7])
def test_the_line_of_an_integrator_is_found_in_each_context(slow: float) -> None:
    # CLOSED FORM: each context has a unit that keeps its stream; all others decay within 2 steps
    def step(h: Tensor, x: Tensor) -> Tensor:
        on = x[:, 2:]
        kept = h[:, :2] * (0.5 + (slow - 0.5) * on) + on * x[:, :2]
        lost = h[:, 2:] * torch.tensor([0.3, 0.1], dtype=F64)
        return torch.cat([kept, lost], 1) + 0.2 * x @ mix

    mix = torch.randn(4, 4, dtype=F64, generator=torch.Generator().manual_seed(2))
    mix[2:] = 0.0
    cell = as_cell(step, n_state=4, n_input=4)
    inputs = parts.draw("integration", 30, 40, 2, 1)[0].double()
    visited = collect_states(cell, inputs, progress=False)
    found = parts._integration(None, cell, visited, 2, 40, 64, 0)
    tau = float(found["tau"][1])
    if slow == 1.0:
        assert found["line_components"][1] == [1.0, 1.0]
        assert min(found["line_fraction"][1]) > 0.999
        assert tau == 1e6  # a perfect memory, cut
    else:
        assert tau == pytest.approx(-1 / math.log(0.7), rel=1e-6)


def test_classical_scaling_gives_the_distances_back() -> None:
    at = np.random.default_rng(0).normal(size=(6, 2))
    distance = np.linalg.norm(at[:, None] - at[None], axis=2)
    found = parts.scaled(distance)
    again = np.linalg.norm(found[:, None] - found[None], axis=2)
    assert np.allclose(again, distance, atol=1e-9)
