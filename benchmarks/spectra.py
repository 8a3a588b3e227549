"""Spectra: against the arithmetic that the equation needs, Monte Carlo, and a peer (``--peer``)."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Iterator

import numpy as np

from benchmarks.timing import Row, alternate
from tractable.spectra import JacobianSpectrum, simulate

Q = 0.02592094821


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """Yield all comparisons; ``--peer`` adds FreeNN's lilypads from its folder."""
    curve = functions_of_depth(32)
    random = np.random.default_rng(0)
    y = random.normal(size=(1000, 1)) + 1j
    d, w = random.random(240), np.full(240, 1 / 240)

    def floor() -> None:
        for _ in range(30):
            r = 1 / (y - d)
            _ = r @ w
            _ = (r * r) @ w

    ours, peer = alternate(curve, floor)
    yield Row("1,000 eigenvalues, tanh L = 32, against 30 sums of 240 nodes", ours, peer, "<= 2.5")
    ours, peer = alternate(functions_of_depth(512), functions_of_depth(8))
    yield Row("the same at L = 512 against L = 8", ours, peer, "<= 1.5")

    def sampled() -> None:
        simulate("tanh", 32, "orthogonal", q=Q, width=500, progress=False)

    ours, peer = alternate(curve, sampled, repeats=2)
    yield Row("the same against one sampled network, N = 500, L = 32", ours, peer, ">= 15")
    if options.peer:
        yield from against_peer(options.peer)


def functions_of_depth(depth: int):  # type: ignore[no-untyped-def]  # a closure
    """Return a function that computes the density at 1,000 eigenvalues of the bulk."""
    spectrum = JacobianSpectrum("tanh", depth, "orthogonal", q=Q)
    lam = spectrum.quantile(np.linspace(0.001, 0.999, 1000))
    return lambda: spectrum.density(lam)


def against_peer(folder: str) -> Iterator[Row]:
    """Time FreeNN's lilypads on linear Gaussian networks of 20 layers."""
    sys.path.insert(0, folder)
    peer_module = importlib.import_module("experiments.newton_lilypads")
    L = 20
    spectrum = JacobianSpectrum("linear", L, "gaussian", q=1.0)
    lam = np.linspace(0.1, 0.98 * spectrum.s_max**2, 1000)
    interval = (float(lam[0]), float(lam[-1]))

    def peer() -> None:
        peer_module.run_as_module(
            [1.0] * L, [1.0] * L, interval=interval, N=1000, ignoreNonLinearity=True
        )

    ours, theirs = alternate(lambda: spectrum.density(lam), peer, repeats=2)
    yield Row("1,000 eigenvalues, linear Gaussian L = 20, against FreeNN", ours, theirs, ">= 20")
