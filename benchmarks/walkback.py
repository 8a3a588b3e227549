"""Walkback: training against the net's own arithmetic, sampling against a diffusion model.

A pool update moves all states by one step without gradient, then learns from the moves; what no
training can do without is the plain forward and backward pass of the same net on as many rows.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

from benchmarks.timing import Row, alternate
from tractable.studies.walkback._ddpm import DDPM
from tractable.studies.walkback._learning import denoiser
from tractable.walkback import (
    GaussianPrior,
    Schedule,
    TransitionOperator,
    fit,
    log_likelihood_bound,
    mlp_operator,
    sample,
)

TRAINED = ((12, 256, (96, 96), 2), (34, 32, (128,) * 3, 2), (42, 16, (256,) * 3, 64))
DIM, HIDDEN, STEPS, N_DRAWS = 64, (256, 256, 256), 42, 2048


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """Yield all comparisons."""
    torch.manual_seed(0)
    for length, batch, hidden, dim in TRAINED:
        yield training(length, batch, hidden, dim, "pool", "<= 1.9")
    yield training(*TRAINED[0], "accumulate", "<= 2.5")
    yield against_diffusion()
    yield chains()
    yield bound()
    yield memory()


def operator(dim: int = DIM, hidden: tuple[int, ...] = HIDDEN) -> TransitionOperator:
    """Return an operator of the studies' kind."""
    return mlp_operator(dim, hidden, sigma=0.25, skip="preconditioned").eval()


class Clock:
    """Notes the processor's time after each update."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_step(self, info: Any) -> None:
        self.times.append(time.process_time())

    def best(self) -> float:
        """Return the least time of an update."""
        return min(b - a for a, b in zip(self.times, self.times[1:], strict=False))


def training(
    length: int, batch: int, hidden: tuple[int, ...], dim: int, update: str, bar: str
) -> Row:
    """Compare one update with forward and backward of the same net on the same rows."""
    x, schedule = torch.randn(2000, dim), Schedule.geometric(length - 4, 1.2, 4)
    trained, plain = operator(dim, hidden), operator(dim, hidden)
    pairs = torch.randn(2, length * batch, dim)
    temperatures = schedule.temperatures.float().repeat_interleave(batch)

    def step() -> None:
        plain.zero_grad(set_to_none=True)
        (-plain.log_prob(pairs[0], pairs[1], temperatures).mean()).backward()

    ours, peer = float("inf"), float("inf")
    for _ in range(4):
        clock = Clock()
        fit(trained, x, schedule=schedule, update=update, steps=12, batch_size=batch,
            callbacks=[clock], progress=False, device="cpu")  # fmt: skip
        ours = min(ours, clock.best())
        for _ in range(12):
            started = time.process_time()
            step()
            peer = min(peer, time.process_time() - started)
    net = "x".join(map(str, hidden))
    what = f"update ({update}), {length} temperatures, batch {batch}, net {net}"
    return Row(what, ours, peer, bar, note="peer: forward and backward of the net alone")


def against_diffusion() -> Row:
    """Compare sampling with that of a DDPM of equal net and steps."""
    learned, prior = operator(), GaussianPrior((DIM,))
    schedule = Schedule.geometric(STEPS - 4, 1.15, 4)
    peer = DDPM(denoiser(DIM, HIDDEN), DIM, STEPS, 0.05, 30.0)
    ours, theirs = alternate(
        lambda: sample(learned, N_DRAWS, schedule=schedule, prior=prior),
        lambda: peer.sample(N_DRAWS),
    )
    note = f"{N_DRAWS / ours:.0f} against {N_DRAWS / theirs:.0f} samples per second"
    what = f"{N_DRAWS} samples in {STEPS} steps, against a DDPM of equal net"
    return Row(what, ours, theirs, "<= 1.1", note=note)


def chains() -> Row:
    """Compare sampling with a bare loop of forward passes of the net."""
    learned, prior = operator(), GaussianPrior((DIM,))
    schedule = Schedule.geometric(STEPS - 4, 1.15, 4)
    x, more = torch.randn(N_DRAWS, DIM), torch.randn(N_DRAWS, 5)

    @torch.inference_mode()
    def bare() -> None:
        for _ in range(STEPS):
            learned.net(x, more)  # type: ignore[operator]  # a module

    ours, theirs = alternate(lambda: sample(learned, N_DRAWS, schedule=schedule, prior=prior), bare)
    return Row(f"{N_DRAWS} chains of {STEPS} steps", ours, theirs, "<= 1.43",
               note="peer: the net's forward passes alone")  # fmt: skip


def bound() -> Row:
    """Compare the bound with the forward passes that it needs."""
    learned, prior = operator(2, (96, 96)), GaussianPrior((2,))
    schedule, n_paths, n = Schedule.geometric(12, 1.5), 64, 64
    x, rows_ = torch.randn(n, 2), torch.randn(n * n_paths, 2)

    @torch.inference_mode()
    def bare() -> None:
        for temperature in schedule.temperatures.tolist():
            for _ in range(2):
                learned.mean(rows_, temperature)  # type: ignore[operator]  # a Gaussian operator

    def ours() -> None:
        log_likelihood_bound(
            learned, x, schedule=schedule, prior=prior, num_paths=n_paths, estimator="bound"
        )

    mine, theirs = alternate(ours, bare)
    return Row("bound with 64 paths", mine, theirs, "<= 3.5",
               note="peer: the operator's means alone, 2 L M calls")  # fmt: skip


GROWTH = """
import sys, torch
from tractable.core.memory import peak_memory
from tractable.walkback import GaussianPrior, Schedule, log_likelihood_bound, mlp_operator
torch.set_num_threads(1)
op, prior = mlp_operator(64, (64,), sigma=0.25, skip="preconditioned"), GaussianPrior((64,))
def run(length, paths):
    log_likelihood_bound(op, torch.randn(256, 64), schedule=Schedule.constant(length), prior=prior,
                         num_paths=paths, estimator="bound", chunk=8192)
run(2, 2)
start = peak_memory(reset=True)
run(int(sys.argv[1]), int(sys.argv[2]))
print((peak_memory() - start) / 2**20)
"""


def memory() -> Row:
    """Compare the memory of the bound at 100 steps with that at 10."""
    measure: Callable[[int, int], float] = lambda length, paths: float(  # noqa: E731
        subprocess.run(
            [sys.executable, "-c", GROWTH, str(length), str(paths)],
            capture_output=True, check=True, text=True,
        ).stdout.split()[-1]
    )  # fmt: skip
    short, long, many = measure(10, 64), measure(100, 64), measure(10, 256)
    note = f"peer: 10 steps; with 4 times the paths {many:.0f} MiB"
    return Row("memory of the bound, 100 steps", max(long, 0.1), max(short, 0.1), "<= 1.2",
               unit="MiB", note=note)  # fmt: skip
