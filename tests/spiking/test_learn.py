"""Learning: from silence, resumed, repeated, in little memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from tractable.core.checks import TractableWarning
from tractable.spiking import (
    Fixed,
    Frozen,
    Heterosynaptic,
    History,
    LIFParams,
    Random,
    RMaxProp,
    SpikeEvents,
    SpikingNet,
    SuperSpike,
    Symmetric,
    VanRossum,
    learn,
    poisson_frozen,
)

INPUTS = poisson_frozen(60, 10.0, 200.0, seed=3).raster()
TARGET = SpikeEvents([60.0, 140.0], [0, 0], 1, 200.0).raster()  # type: ignore[arg-type]  # lists are taken


def run(
    n: int, path: Path | None = None, stop: int | None = None, *, delay: float = 0.8,
    tau_rms: float = 30_000.0, **choices: object,
) -> tuple[SpikingNet, History]:  # fmt: skip
    params = LIFParams(delay=delay)
    net = SpikingNet.of_sizes(60, 5, 1, w0=[40.0, 50.0], params=params, seed=4)
    settings: dict = {"feedback": Random(seed=1), "regularizer": Heterosynaptic(), **choices}
    rule = SuperSpike(net, **settings)
    optimizer = RMaxProp(net.parameters(), t_update=200, tau_rms=tau_rms)

    def watch(k: int, step: object) -> None:
        if k == stop:
            raise KeyboardInterrupt

    history = learn(rule, lambda k: (INPUTS, TARGET), n, optimizer,
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
    again, read = run(20, path)  # finished: nothing is computed, everything is there
    assert torch.equal(again.layers[0].weight, whole.layers[0].weight)
    assert read.window_ms == history.window_ms == 200.0
    with pytest.raises(ValueError, match="holds 20 windows, n_updates is 19"):
        run(19, path)


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
    kept = SpikingNet.of_sizes(60, 5, 2, seed=1)  # the first layer fits, the second does not
    before = kept.layers[0].weight.detach().clone()
    with pytest.raises(ValueError, match="layer 1 sizes"):
        learn(SuperSpike(kept), lambda k: (INPUTS, TARGET), 6, RMaxProp(kept.parameters()),
              checkpoint=path)  # fmt: skip
    assert torch.equal(kept.layers[0].weight, before)
    for changed, name in (
        ({"delay": 1.6}, "layer 0 params delay is 0.8 there and 1.6 here"),
        ({"feedback": Random(seed=2)}, "rule feedback seed is 1 there and 2 here"),
        ({"feedback": Fixed(torch.ones(5, 1))}, "rule feedback kind is Random"),
        ({"regularizer": None}, "rule regularizer"),
        ({"loss": VanRossum(4.0, 8.0)}, "rule loss tau_rise"),
        ({"tau_rms": 1000.0}, "optimizer group 0 tau_rms"),
    ):
        with pytest.raises(ValueError, match=name):
            run(6, path, **changed)  # type: ignore[arg-type]  # of several kinds
    assert len(run(6, path, chunk_steps=300)[1].cost) == 6  # the same numbers in smaller pieces
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(ValueError, match="damaged"):
        run(6, path)


def test_weights_that_are_not_finite_are_not_stored(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    net = SpikingNet.of_sizes(3, 2, seed=1)

    class Explodes(torch.optim.SGD):
        def step(self, closure: object = None) -> None:  # type: ignore[override]
            if path.exists():
                net.layers[0].weight.data.fill_(float("nan"))

    with pytest.raises(RuntimeError, match="window 2"):
        learn(SuperSpike(net), lambda k: (torch.zeros(50, 1, 3), torch.ones(50, 1, 2)), 9,
              Explodes(net.parameters(), lr=1.0), checkpoint=path, checkpoint_every=2)  # fmt: skip
    with safe_open(path, framework="pt") as file:
        assert file.get_tensor("weight.layers.0.weight").isfinite().all()


def test_frozen_weights_stay_outside_the_bounds() -> None:
    net = SpikingNet.of_sizes(60, 5, 1, w0=[900.0, 50.0], seed=1)
    before = net.layers[0].weight.detach().clone()
    assert float(before.abs().max()) > 100
    learn(SuperSpike(net, feedback=Frozen()), lambda k: (INPUTS, TARGET), 2,
          torch.optim.SGD(net.parameters(), lr=1.0), bounds=(-100.0, 100.0))  # fmt: skip
    assert torch.equal(net.layers[0].weight, before)


def test_windows_of_another_length_than_the_optimizers_are_told() -> None:
    net = SpikingNet.of_sizes(60, 1, seed=1)
    with pytest.warns(TractableWarning, match="last 200 ms, t_update of the optimizer is 500 ms"):
        learn(SuperSpike(net), lambda k: (INPUTS, TARGET), 2, RMaxProp(net.parameters()))


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
