"""Learning: from silence, resumed, repeated, in little memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tractable.spiking import (
    Heterosynaptic,
    History,
    Random,
    RMaxProp,
    SpikeEvents,
    SpikingNet,
    SuperSpike,
    Symmetric,
    learn,
    poisson_frozen,
)

INPUTS = poisson_frozen(60, 10.0, 200.0, seed=3).raster()
TARGET = SpikeEvents([60.0, 140.0], [0, 0], 1, 200.0).raster()  # type: ignore[arg-type]  # lists are taken


def run(n: int, path: Path | None = None, stop: int | None = None) -> tuple[SpikingNet, History]:
    net = SpikingNet.of_sizes(60, 5, 1, w0=[40.0, 50.0], seed=4)
    rule = SuperSpike(net, feedback=Random(seed=1), regularizer=Heterosynaptic())

    def watch(k: int, step: object) -> None:
        if k == stop:
            raise KeyboardInterrupt

    history = learn(rule, lambda k: (INPUTS, TARGET), n, RMaxProp(net.parameters(), t_update=200),
                    schedule=lambda k: 1.0 if k < 12 else 0.1, callback=watch, checkpoint=path,
                    checkpoint_every=5)  # fmt: skip
    return net, history


def test_a_stopped_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    whole, history = run(20)
    path = tmp_path / "run.safetensors"
    with pytest.raises(KeyboardInterrupt):
        run(20, path, stop=9)
    resumed, rest = run(20, path)
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)
    np.testing.assert_array_equal(history.cost, rest.cost)
    assert rest.learning_rate[-1] == pytest.approx(0.1)
    assert len(rest.moving_cost()) == 20
    again, _ = run(20, path)  # finished: nothing is computed, everything is there
    assert torch.equal(again.layers[0].weight, whole.layers[0].weight)


def test_the_same_seed_gives_the_same_bits() -> None:
    first, a = run(6)
    second, b = run(6)
    np.testing.assert_array_equal(a.cost, b.cost)
    assert torch.equal(first.layers[0].weight, second.layers[0].weight)


@pytest.mark.slow
def test_the_number_of_threads_changes_nothing_that_is_learned() -> None:
    code = (
        "import sys, torch; torch.set_num_threads(int(sys.argv[2]))\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "from test_learn import run\n"
        "print(*run(5)[1].cost)"
    )
    costs = []
    for threads in ("1", "2"):
        line = [sys.executable, "-c", code, str(Path(__file__).parent), threads]
        out = subprocess.run(line, capture_output=True, text=True, check=True).stdout
        costs.append([float(word) for word in out.split()])
    assert len(costs[0]) == 5
    np.testing.assert_allclose(costs[1], costs[0], rtol=1e-3)


def test_a_foreign_or_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    run(5, path)
    net = SpikingNet.of_sizes(60, 6, 1)
    with pytest.raises(ValueError, match="another network"):
        learn(SuperSpike(net), lambda k: (INPUTS, TARGET), 6, RMaxProp(net.parameters()),
              checkpoint=path)  # fmt: skip
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(ValueError, match="damaged"):
        run(6, path)


def test_one_neuron_learns_from_silence() -> None:
    target = SpikeEvents([50, 150, 250, 350, 450], [0] * 5, 1, 500.0).raster()  # type: ignore[arg-type]  # lists
    inputs = poisson_frozen(100, 10.0, 500.0, seed=11).raster()
    net = SpikingNet.of_sizes(100, 1, w0=15.0, seed=5)
    rates: list[float] = []
    history = learn(SuperSpike(net, feedback=Symmetric()), lambda k: (inputs, target), 300,
                    RMaxProp(net.parameters()),
                    callback=lambda k, step: rates.append(step.rates[0]))  # fmt: skip
    assert history.cost[0] == pytest.approx(5.0, abs=0.01)
    assert max(rates[:100]) > 0
    assert history.cost[-30:].mean() < 2.5


MEMORY = """
import torch
from tractable.core.memory import peak_memory
from tractable.spiking import RMaxProp, SpikingNet, SuperSpike, learn
torch.set_num_threads(1)
net = SpikingNet.of_sizes(100, 100, 10)
rule = SuperSpike(net)
random = torch.Generator().manual_seed(0)
def stream(k):
    return torch.rand(5000, 1, 100, generator=random) < 1e-3, torch.rand(5000, 1, 10) < 1e-3
optimizer = RMaxProp(net.parameters())
state = learn(rule, stream, 2, optimizer).state
before = peak_memory(reset=True)
learn(rule, stream, {windows}, optimizer, state=state)
print((peak_memory() - before) / 2**20)
"""


@pytest.mark.parametrize("windows", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_memory_does_not_grow_with_time(windows: int) -> None:
    code = MEMORY.replace("{windows}", str(windows))  # 10^5 and 10^6 steps
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert float(out.stdout.split()[-1]) <= 50  # MiB
