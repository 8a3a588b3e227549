"""Learning in spiking networks: against backpropagation through time in other packages.

One window of 1,000 steps, forward and learning, on one thread. snnTorch comes with the tests; Norse
and SpikingJelly are timed where they are installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from benchmarks.timing import Row, alternate
from tractable.spiking import SpikingNet, SuperSpike

STEPS = 1000
SIZES = (((100, 100, 10), 1, ">= 60"), ((100, 100, 10), 64, ">= 6"), ((700, 256, 20), 1, ">= 25"))


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """Yield all comparisons."""
    torch.manual_seed(0)
    for sizes, n_batch, bar in SIZES:
        yield against_fastest(sizes, n_batch, bar)
    yield fallback((100, 100, 10))
    for hidden, bar in ((32, "<= 0.33"), (256, "<= 1")):
        yield real_time(hidden, bar)
    yield engines()
    yield memory()
    if torch.device(options.device).type == "cuda":
        yield on_device(options.device)


def data(sizes: tuple[int, int, int], n_batch: int, steps: int = STEPS) -> tuple[Tensor, Tensor]:
    """Return input spikes of 10 Hz and target spikes of 5 Hz."""
    random = torch.Generator().manual_seed(1)
    inputs = torch.rand(steps, n_batch, sizes[0], generator=random) < 1e-3
    return inputs, torch.rand(steps, n_batch, sizes[2], generator=random) < 5e-4


def ours(
    sizes: tuple[int, int, int], n_batch: int, backend: str = "auto", device: str = "cpu"
) -> Callable[[], object]:
    """Return one window of SuperSpike."""
    net = SpikingNet.of_sizes(*sizes, backend=backend).to(device)  # type: ignore[arg-type]  # one of four
    rule = SuperSpike(net, stateful=False)
    inputs, target = (spikes.to(device) for spikes in data(sizes, n_batch))
    return lambda: rule.window(inputs, target)


def snntorch_step(sizes: tuple[int, int, int], n_batch: int) -> Callable[[], object]:
    """Return forward and backward through `snntorch.Synaptic`."""
    import snntorch
    from snntorch import surrogate

    layers = [torch.nn.Linear(a, b, bias=False) for a, b in ((sizes[0], sizes[1]), sizes[1:])]
    neurons = [
        snntorch.Synaptic(alpha=0.98, beta=0.99, spike_grad=surrogate.fast_sigmoid())
        for _ in layers
    ]
    inputs, target = (x.float() for x in data(sizes, n_batch))

    def run() -> None:
        states = [neuron.init_synaptic() for neuron in neurons]
        loss = torch.zeros(())
        for t in range(len(inputs)):
            x = inputs[t]
            for i, (layer, neuron) in enumerate(zip(layers, neurons, strict=True)):
                x, *states[i] = neuron(layer(x), *states[i])
            loss = loss + (x - target[t]).square().sum()
        loss.backward()

    return run


def norse_step(sizes: tuple[int, int, int], n_batch: int) -> Callable[[], object]:
    """Return forward and backward through Norse's LIF cells."""
    import norse.torch as norse

    layers = [torch.nn.Linear(a, b, bias=False) for a, b in ((sizes[0], sizes[1]), sizes[1:])]
    neurons = [norse.LIFCell() for _ in layers]
    inputs, target = (x.float() for x in data(sizes, n_batch))

    def run() -> None:
        states: list = [None] * len(layers)
        loss = torch.zeros(())
        for t in range(len(inputs)):
            x = inputs[t]
            for i, (layer, neuron) in enumerate(zip(layers, neurons, strict=True)):
                x, states[i] = neuron(layer(x), states[i])
            loss = loss + (x - target[t]).square().sum()
        loss.backward()

    return run


def spikingjelly_step(sizes: tuple[int, int, int], n_batch: int) -> Callable[[], object]:
    """Return forward and backward through SpikingJelly's CUBALIF nodes."""
    from spikingjelly.activation_based import functional, neuron, surrogate

    net = torch.nn.Sequential(
        torch.nn.Linear(sizes[0], sizes[1], bias=False),
        neuron.CUBALIFNode(100.0, 50.0, surrogate_function=surrogate.Sigmoid()),
        torch.nn.Linear(*sizes[1:], bias=False),
        neuron.CUBALIFNode(100.0, 50.0, surrogate_function=surrogate.Sigmoid()),
    )
    inputs, target = (x.float() for x in data(sizes, n_batch))

    def run() -> None:
        functional.reset_net(net)
        loss = torch.zeros(())
        for t in range(len(inputs)):
            loss = loss + (net(inputs[t]) - target[t]).square().sum()
        loss.backward()

    return run


PEERS = {"snntorch": snntorch_step, "norse": norse_step, "spikingjelly": spikingjelly_step}


def against_fastest(sizes: tuple[int, int, int], n_batch: int, bar: str) -> Row:
    """Compare one window with the fastest peer that is installed."""
    mine, best, name = ours(sizes, n_batch), float("inf"), "none installed"
    fastest = float("inf")
    for peer, make in PEERS.items():
        if importlib.util.find_spec(peer) is None:
            continue
        own, theirs = alternate(mine, make(sizes, n_batch), repeats=3)
        fastest = min(fastest, own)
        if theirs < best:
            best, name = theirs, peer
    what = f"window of {STEPS} steps, {'-'.join(map(str, sizes))}, batch {n_batch}"
    return Row(what, fastest, best, bar, note=f"fastest of the peers installed: {name}")


def fallback(sizes: tuple[int, int, int]) -> Row:
    """Compare the loops in torch operations with snnTorch."""
    own, theirs = alternate(ours(sizes, 1, "torch"), snntorch_step(sizes, 1), repeats=3)
    return Row("the same without compiler, batch 1", own, theirs, ">= 1.5", note="peer: snntorch")


def on_device(device: str) -> Row:
    """Compare a window on a GPU with the compiled loops on the cores of the same machine.

    The cores work with all threads that torch has (``--threads``); the note says how far the costs
    of the two windows, from equal weights, are apart.
    """
    sizes, n_batch = (700, 256, 20), 64
    torch.manual_seed(0)
    there = ours(sizes, n_batch, device=device)
    torch.manual_seed(0)
    here = ours(sizes, n_batch)
    costs = [window().cost for window in (there, here)]  # type: ignore[attr-defined]  # a Window
    own, theirs = alternate(there, here, repeats=3, device=device)
    what = f"{'-'.join(map(str, sizes))}, batch {n_batch}, on {device} against the CPU"
    apart = abs(costs[0] / costs[1] - 1) if costs[1] else abs(costs[0])
    return Row(what, own, theirs, ">= 20", note=f"costs differ by {apart:.1g} (bar 1e-3)")


def real_time(n_hidden: int, bar: str) -> Row:
    """Compare the learning of 0.5 s with 0.5 s."""
    sizes = (100, n_hidden, 100)
    net = SpikingNet.of_sizes(*sizes)
    rule = SuperSpike(net)
    inputs, target = data(sizes, 1, 5000)
    state = rule.window(inputs, target).state
    best = float("inf")
    for _ in range(5):
        started = time.process_time()
        state = rule.window(inputs, target, state).state
        best = min(best, time.process_time() - started)
    return Row(f"0.5 s of learning, 100-{n_hidden}-100, against real time", best, 0.5, bar)


def engines() -> Row:
    """Compare the two engines, which give the same numbers."""
    sizes, net = (100, 100, 10), SpikingNet.of_sizes(100, 100, 10)
    inputs, target = data(sizes, 1)
    chunked, online = (SuperSpike(net, engine=name) for name in ("chunked", "online"))  # type: ignore[arg-type]  # the two
    own, theirs = alternate(
        lambda: chunked.window(inputs, target), lambda: online.window(inputs, target)
    )
    return Row("chunked engine against online engine, the same result", own, theirs, "<= 1")


GROWTH = """
import torch
from tractable.core.memory import peak_memory
from tractable.spiking import RMaxProp, SpikingNet, SuperSpike, learn
torch.set_num_threads(1)
net = SpikingNet.of_sizes(100, 100, 10)
rule, optimizer = SuperSpike(net), RMaxProp(net.parameters())
random = torch.Generator().manual_seed(0)
def stream(k):
    return torch.rand(5000, 1, 100, generator=random) < 1e-3, torch.rand(5000, 1, 10) < 1e-3
state = learn(rule, stream, 2, optimizer).state
before = peak_memory(reset=True)
learn(rule, stream, 198, optimizer, state=state)
print((peak_memory() - before) / 2**20)
"""


def memory() -> Row:
    """Compare the growth of memory from 10^4 to 10^6 steps with the bar, and name the peer's."""
    out = subprocess.run([sys.executable, "-c", GROWTH], capture_output=True, check=True, text=True)
    peer = [_peer_memory(steps) for steps in (1000, 4000)]
    note = (
        f"peer: the bar; snntorch at batch 64: {peer[0]:.0f} MiB at 1,000, {peer[1]:.0f} at 4,000"
    )
    growth = max(float(out.stdout.split()[-1]), 0.1)
    return Row("memory growth from 10^4 to 10^6 steps", growth, 50, "<= 1", unit="MiB", note=note)


def _peer_memory(steps: int) -> float:
    code = (
        "import torch, benchmarks.spiking as b; from tractable.core.memory import peak_memory; "
        "torch.set_num_threads(1); "
        f"b.STEPS = {steps}; b.data.__defaults__ = ({steps},); "
        "start = peak_memory(reset=True); "
        "b.snntorch_step((100, 100, 10), 64)(); "
        "print((peak_memory() - start) / 2**20)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    return float(out.stdout.split()[-1])
