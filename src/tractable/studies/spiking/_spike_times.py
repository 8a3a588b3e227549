"""Learning of given spike times: one run, a function of plain values, for `Run.map`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tractable.study import Paper

if TYPE_CHECKING:
    import xarray as xr

PAPER = Paper(
    "Zenke, Ganguli",
    2018,
    "SuperSpike: Supervised learning in multilayer spiking neural networks",
    arxiv="1705.11146",
)
WINDOW_MS = 500.0
DT = 0.1


def feedback_of(name: str, seed: int, n_hidden: int, n_out: int) -> Any:
    """Return a pathway by name; ``negative`` is a random one with every sign negative."""
    import torch

    from tractable.core.seeds import derive, generator
    from tractable.spiking import BPTT, Fixed, Frozen, Random, Symmetric, Uniform

    if name == "negative":
        draw = torch.randn(n_hidden, n_out, generator=generator(derive(seed, "negative")))
        return Fixed(-draw.abs())
    pathways = {
        "symmetric": Symmetric(),
        "random": Random(seed=derive(seed, "feedback") % 2**31),
        "uniform": Uniform(),
        "frozen": Frozen(),
        "bptt": BPTT(),
    }
    return pathways[name]


def learn_spike_times(
    *,
    seed: int,
    n_inputs: int,
    n_hidden: int,
    targets_ms: list[float],
    rate_hz: float,
    n_trials: int,
    learning_rate: float,
    feedback: str,
    optimizer: str,
    weight_std: float,
    output_w0: float,
    cost_every: int = 1,
) -> xr.Dataset:
    """Train on frozen Poisson input and return costs, spikes and weights of the run."""
    import torch
    import xarray as xr

    from tractable.core.checks import quiet
    from tractable.core.seeds import derive
    from tractable.spiking import SpikeEvents, SpikingNet, SuperSpike, learn, poisson_frozen

    inputs = poisson_frozen(n_inputs, rate_hz, WINDOW_MS, seed=derive(seed, "inputs")).raster(DT)
    events = SpikeEvents(np.asarray(targets_ms), np.zeros(len(targets_ms), int), 1, WINDOW_MS)
    target = events.raster(DT)
    sizes = (n_inputs, n_hidden, 1) if n_hidden else (n_inputs, 1)
    first = weight_std * n_inputs**0.5
    scales = [first, output_w0] if n_hidden else [first]
    net = SpikingNet.of_sizes(*sizes, w0=scales, seed=derive(seed, "weights"))
    pathway = feedback_of(feedback, seed, max(n_hidden, 1), 1)
    rule = SuperSpike(net, feedback=pathway if n_hidden else feedback_of("symmetric", seed, 1, 1))
    trials: list[np.ndarray] = []
    times: list[np.ndarray] = []
    hidden_from = []

    def watch(k: int, step: Any) -> None:
        fired = np.flatnonzero(step.output.spikes[:, 0, 0].numpy()) * DT
        trials.append(np.full(len(fired), k))
        times.append(fired)
        if n_hidden and step.rates[0] > 0:
            hidden_from.append(k)

    voltages = [_voltage(rule, inputs)]
    if optimizer == "sgd":  # the same first step as the others: the largest is learning_rate
        rule.window(inputs, target)
        largest = max(float(p.grad.abs().max()) for p in net.parameters() if p.grad is not None)
        learning_rate = learning_rate / largest if largest else learning_rate
    with quiet():  # silence at the start is the point of these tasks
        history = learn(
            rule,
            lambda k: (inputs, target),
            n_trials,
            make_optimizer(optimizer, list(net.parameters()), learning_rate),
            bounds=(-100.0, 100.0), callback=watch, progress=False,
        )  # fmt: skip
    voltages.append(_voltage(rule, inputs))
    every = slice(None, None, cost_every)
    signs = np.full(max(n_hidden, 1), np.nan)
    outgoing, active = signs.copy(), np.zeros(max(n_hidden, 1))
    if n_hidden:
        heard = pathway.errors(net, torch.ones(1, 1, 1))[0]
        signs = np.zeros(n_hidden) if heard is None else heard[0, 0].detach().numpy()
        outgoing = net.layers[-1].weight[0].detach().numpy()
        out = net.simulate(inputs, history.state.net)
        active = out.layers[0].spikes[:, 0].float().sum(0).numpy()
    return xr.Dataset(
        {
            "cost": ("trial", history.cost[every], {"units": "spikes"}),
            "rate": (("trial", "layer"), history.rates[every], {"units": "Hz"}),
            "spike_trial": ("spike", np.concatenate(trials), {"units": "1"}),
            "spike_time": ("spike", np.concatenate(times), {"units": "ms"}),
            "voltage": (("phase", "step"), np.stack(voltages), {"units": "mV"}),
            "first_hidden_spike": ((), float(hidden_from[0] if hidden_from else n_trials),
                                   {"units": "trials"}),
            "feedback_weight": ("unit", signs, {"units": "1"}),
            "outgoing_weight": ("unit", outgoing, {"units": "mV"}),
            "hidden_spikes": ("unit", active, {"units": "1"}),
        },
        coords={"trial": np.arange(n_trials)[every]},
    )  # fmt: skip


def make_optimizer(name: str, parameters: list[Any], learning_rate: float) -> Any:
    """Return an optimizer by name: RMaxProp, RMSprop (the same memory), or plain descent."""
    import torch

    from tractable.spiking import RMaxProp

    if name == "sgd":
        return torch.optim.SGD(parameters, lr=learning_rate)
    accumulate: Any = {"rmaxprop": "max", "rmsprop": "mean"}[name]
    return RMaxProp(parameters, lr=learning_rate, accumulate=accumulate)


def _voltage(rule: Any, inputs: Any) -> np.ndarray:
    """Return the output's voltage over one window from rest."""
    return rule.net.simulate(inputs).layers[-1].v[:, 0, 0].numpy().copy()


def pad_spikes(datasets: list[xr.Dataset]) -> list[xr.Dataset]:
    """Pad the lists of spikes to one length with NaN, so that runs can be joined."""
    longest = max(d.sizes["spike"] for d in datasets)
    padded = []
    for d in datasets:
        lists = {}
        for name in ("spike_trial", "spike_time"):
            values = np.full(longest, np.nan)
            values[: d.sizes["spike"]] = d[name].values
            lists[name] = ("spike", values, d[name].attrs)
        padded.append(d.drop_vars(list(lists)).assign(lists))
    return padded


def cost_of(points: list[dict[str, Any]], repeats: int) -> Any:
    """Return the cost of all points, from two windows of each that were timed."""
    import time

    from tractable.study import Cost

    learn_spike_times(**{**points[0], "n_trials": 2})  # pays for the compilation
    seconds = operations = memory = 0.0
    for point in points:
        started = time.perf_counter()
        learn_spike_times(**{**point, "n_trials": 2})
        seconds += (time.perf_counter() - started) / 2 * point["n_trials"] * repeats
        wires = point["n_inputs"] * max(point["n_hidden"], 1) + point["n_hidden"]
        steps = WINDOW_MS / DT * point["n_trials"] * repeats
        operations += 2 * wires * steps
        memory = max(memory, 4 * WINDOW_MS / DT * 8 * (point["n_inputs"] + point["n_hidden"] + 1))
    return Cost(operations, memory, seconds)
