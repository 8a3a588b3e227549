"""Recurrent graphs: a training step and a forward pass against plain torch."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.timing import Row, alternate
from tractable.vision.convrnn import ConvRNN, ConvRNNSpec, Node, published

CHANNELS = 12


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """Yield all comparisons."""
    torch.manual_seed(0)
    yield training_step(options.device)
    yield static_prefix(options.device)
    yield from neural_fits()


def training_step(device: str) -> Row:
    """One update of the recall network, 48 movies of 14 frames, against a loop in plain torch."""
    cell = {"tau_bias": -2.0, "gate_bias": -1.0}
    nodes = [Node("v1", 16, pool=2), Node("v2", CHANNELS, cell="rgc", cell_args=cell)]
    spec = ConvRNNSpec.chain(nodes, n_classes=10)
    ours = ConvRNN(spec, in_shape=(1, 8, 8), unroll="engineering").to(device)
    peer = PlainReciprocal(CHANNELS).to(device)
    movies = torch.randn(48, 14, 1, 8, 8, device=device)
    labels = torch.randint(10, (48,), device=device)

    def step(net: nn.Module) -> None:
        out = net(movies)
        net.zero_grad()
        nn.functional.cross_entropy(getattr(out, "logits", out), labels).backward()

    a, b = alternate(lambda: step(ours), lambda: step(peer), device=device)
    return Row("training step, recall with a reciprocal-gated cell", a, b, "<= 1.3")


def static_prefix(device: str) -> Row:
    """17 steps of the intermediate network at 64 pixels, with and without what can be reused."""
    net = ConvRNN(published("intermediate", "rgc"), in_shape=(3, 64, 64)).to(device).eval()
    x = torch.rand(1, 3, 64, 64, device=device)

    def run(reuse: bool) -> None:
        with torch.no_grad():
            net(x, T=17, image_off=12, reuse=reuse)

    a, b = alternate(lambda: run(True), lambda: run(False), repeats=2, device=device)
    return Row("17 steps, intermediate network, reuse on against off", a, b, ">= 1.5")


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


# --- the peer: the same network as one loop in plain torch --------------------------------------


class PlainReciprocal(nn.Module):
    """Two convolutions, one reciprocal-gated cell, a linear readout: a loop over the frames."""

    def __init__(self, channels: int, n_classes: int = 10) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 16, 3, padding=1)
        self.second = nn.Conv2d(16, channels, 3, padding=1)
        self.enter = nn.Conv2d(channels, channels, 3, padding=1)
        self.from_cell = nn.Conv2d(channels, 2 * channels, 3, padding=1)
        self.from_out = nn.Conv2d(channels, 2 * channels, 3, padding=1)
        self.readout = nn.Linear(16 * channels, n_classes)

    def forward(self, movie: Tensor) -> Tensor:
        """Return logits (batch, classes)."""
        c = h = None
        for t in range(movie.shape[1]):
            x = nn.functional.elu(self.first(movie[:, t]))
            x = nn.functional.elu(self.second(nn.functional.max_pool2d(x, 2)))
            if c is None or h is None:
                c = h = torch.zeros_like(x)
            cc, ch = self.from_cell(c).sigmoid().chunk(2, 1)
            hh, hc = self.from_out(h).sigmoid().chunk(2, 1)
            new = nn.functional.elu((1 - cc) * c + (1 - hc) * self.enter(x))
            h = nn.functional.elu((1 - hh) * h + (1 - ch) * x)
            c = new
        assert h is not None
        return self.readout(h.flatten(1))
