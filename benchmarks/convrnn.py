"""Recurrent graphs: training, forward pass and memory against plain torch."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from torch import nn

from benchmarks._convrnn_peers import EqualWork, Live, NaiveLoop, PlainReciprocal
from benchmarks.timing import Row, alternate
from tractable.vision.convrnn import ConvRNN, ConvRNNSpec, Node, published

CHANNELS = 12
FRAMES = 14


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """Yield all comparisons."""
    torch.manual_seed(0)
    loop = PlainReciprocal(CHANNELS)
    yield training_step("a loop in plain torch", loop, options.device, "<= 1.3")
    deep = EqualWork(CHANNELS, FRAMES)
    yield training_step("a feedforward net of equal operations", deep, options.device, "")
    for batch in (1, 8):
        yield forward(batch, options.device)
    yield from recomputation(options.device)
    yield from neural_fits()


def training_step(what: str, peer: nn.Module, device: str, bar: str) -> Row:
    """One update of the recall network, 48 movies of 14 frames."""
    cell = {"tau_bias": -2.0, "gate_bias": -1.0}
    nodes = [Node("v1", 16, pool=2), Node("v2", CHANNELS, cell="rgc", cell_args=cell)]
    spec = ConvRNNSpec.chain(nodes, n_classes=10)
    ours = ConvRNN(spec, in_shape=(1, 8, 8), unroll="engineering").to(device)
    peer = peer.to(device)
    movies = torch.randn(48, FRAMES, 1, 8, 8, device=device)
    labels = torch.randint(10, (48,), device=device)

    def step(net: nn.Module) -> None:
        out = net(movies)
        net.zero_grad()
        nn.functional.cross_entropy(getattr(out, "logits", out), labels).backward()

    a, b = alternate(lambda: step(ours), lambda: step(peer), device=device)
    return Row(f"training step, recall with a reciprocal-gated cell, against {what}", a, b, bar)


def forward(batch: int, device: str) -> Row:
    """17 steps of the intermediate network at 64 pixels against the naive loop."""
    net = ConvRNN(published("intermediate", "rgc"), in_shape=(3, 64, 64)).to(device).eval()
    x = torch.rand(batch, 3, 64, 64, device=device)
    naive = NaiveLoop(net)
    with torch.no_grad():
        off = float((net(x, T=17, image_off=12).logits_t - naive(x, 17, 12)).abs().max())
        a, b = alternate(
            lambda: net(x, T=17, image_off=12), lambda: naive(x, 17, 12), repeats=2, device=device
        )
    what = f"17 steps, intermediate network, {batch} image{'s' if batch > 1 else ''}, naive loop"
    return Row(what, a, b, ">= 1.5", note=f"largest difference {off:.0e}")


def recomputation(device: str) -> Iterator[Row]:
    """Memory and time of an update over 32 steps with recomputation, against without."""
    nodes = [Node("a", 8, pool=2), Node("b", 12, cell="rgc"), Node("c", 12, cell="gru")]
    spec = ConvRNNSpec.chain(nodes, n_classes=4).feedback("c", "b", entry="out")
    net, x = ConvRNN(spec, in_shape=(1, 16, 16)).to(device), torch.rand(8, 1, 16, 16, device=device)

    def step(how: Literal["none", "sqrt"]) -> None:
        net.zero_grad()
        net(x, T=32, checkpoint=how).logits.sum().backward()

    peak = {}
    for how in ("none", "sqrt"):
        with Live() as live:
            step(how)  # type: ignore[arg-type]  # one of the two
        peak[how] = float(live.peak)
    what = "an update over 32 steps, recomputation in pieces of sqrt(T) against none"
    yield Row(f"{what}: memory", peak["sqrt"], peak["none"], "<= 0.5", unit="B")
    a, b = alternate(lambda: step("sqrt"), lambda: step("none"), repeats=3, device=device)
    yield Row(f"{what}: time", a, b, "<= 1.6")


def neural_fits() -> Iterator[Row]:
    """One map for 20 bins and 60 neurons, 150 images, 192 features, against a loop of fits."""
    from sklearn.cross_decomposition import PLSRegression
    from sklearn.linear_model import RidgeCV

    from tractable.vision.convrnn.neural_maps import PENALTIES, Fitter

    random = np.random.default_rng(0)
    x = random.normal(size=(3000, 192))
    y = x @ random.normal(size=(192, 60)) + 10 * random.normal(size=(3000, 60))
    penalties = PENALTIES * 3000

    def peer(make: object) -> list[object]:
        return [make().fit(x, y[:, n]) for n in range(60)]  # type: ignore[operator]  # a class

    for name, method, make in (
        ("ridge", "ridge", lambda: RidgeCV(penalties)),
        ("PLS, each neuron", "pls1", lambda: PLSRegression(25, scale=False)),
    ):
        a, b = alternate(
            lambda method=method: Fitter(x, method, 25, 20, penalties).fit(y),
            lambda make=make: peer(make),
            repeats=1,
        )
        note = "scikit-learn in a loop over neurons"
        yield Row(f"fits of 60 neurons x 20 bins, one map, {name}", a, b, ">= 5", note=note)
