"""Fixed points and Jacobians of recurrent networks: against autodiff, LAPACK, and Adam on q."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator

import torch
from torch import Tensor

from benchmarks.timing import Row, alternate
from tractable.dynamics import Cell, as_cell, decompose, find_points
from tractable.train import fit


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """Yield all comparisons; ``--peer`` adds the published fixed-point finder."""
    torch.manual_seed(0)
    yield from jacobians(options)
    yield newton_step(options)
    net, starts = flip_flop()
    yield roots_against_adam(net, starts)


def jacobians(options: argparse.Namespace) -> Iterator[Row]:
    """Closed-form Jacobians of a GRU (N = 128, 256 points) against vmap(jacfwd)."""
    gru = torch.nn.GRU(32, 128).double().to(options.device)
    cell = as_cell(gru)
    state = torch.randn(256, 128, dtype=torch.float64, device=options.device).tanh()
    x = torch.zeros(256, 32, dtype=torch.float64, device=options.device)

    def step(h: Tensor, u: Tensor) -> Tensor:
        return cell(h[None], u[None])[0]

    autodiff = torch.func.vmap(torch.func.jacfwd(step))
    ours, peer = alternate(
        lambda: cell.recurrent_jacobian(state, x), lambda: autodiff(state, x), device=options.device
    )
    yield Row("256 Jacobians, GRU 128: closed form against vmap(jacfwd)", ours, peer, "<= 0.2")
    J = cell.recurrent_jacobian(state, x)
    ours, peer = alternate(
        lambda: decompose(cell.recurrent_jacobian(state, x)),
        lambda: torch.linalg.eig(J.cpu()),
        repeats=3,
    )
    yield Row("the same with all modes, against torch.linalg.eig alone", ours, peer, "<= 1.3")


def newton_step(options: argparse.Namespace) -> Row:
    """One Newton iteration on 256 states of a GRU with N = 256 against a batched LU."""
    cell = as_cell(torch.nn.GRU(8, 256).double())
    state = torch.randn(256, 256, dtype=torch.float64).tanh()
    x = torch.zeros(256, 8, dtype=torch.float64)
    J = cell.recurrent_jacobian(state, x)
    from tractable.dynamics.points.search import Search
    from tractable.dynamics.points.solvers import newton

    def one() -> None:
        search = Search(cell, state.clone(), x, tol=1e-30, tol_grad=1e-6, max_bytes=2**30)
        newton(search, 1)

    ours, peer = alternate(one, lambda: torch.linalg.lu_factor(J), repeats=3)
    return Row("one Newton iteration, 256 x GRU 256, against batched LU", ours, peer, "<= 2.5")


def flip_flop(units: int = 64, steps: int = 260) -> tuple[torch.nn.GRU, Tensor]:
    """Train a GRU on the 3-bit flip-flop and return it with 1,024 states that it visits."""
    torch.manual_seed(1)
    model = torch.nn.Sequential()
    model.gru = torch.nn.GRU(3, units, batch_first=True)
    model.readout = torch.nn.Linear(units, 3)

    def pulses(n: int, length: int, first: bool) -> Tensor:
        x = (torch.rand(n, length, 3) < 0.2) * (torch.randint(0, 2, (n, length, 3)) * 2.0 - 1)
        if first:
            x[:, 0] = torch.randint(0, 2, (n, 3)) * 2.0 - 1
        return x

    def memory(x: Tensor) -> Tensor:
        y = torch.zeros_like(x)
        for t in range(x.shape[1]):
            y[:, t] = torch.where(x[:, t] != 0, x[:, t], y[:, t - 1] if t else 0.0)
        return y

    def loss(net: torch.nn.Module, batch: tuple[Tensor]) -> Tensor:
        x = batch[0]
        return (net.readout(net.gru(x)[0]) - memory(x)).square().mean()

    data = [(pulses(64, 64, True),) for _ in range(steps)]
    schedule = torch.cos(torch.linspace(0, torch.pi / 2, steps + 1)).clamp(min=0.04)
    fit(model, loss, data, epochs=1, learning_rate=5e-3, clip=1.0, device="cpu",
        schedule=lambda step: float(schedule[min(step, steps)]))  # fmt: skip
    with torch.no_grad():  # without the first pulse the saddles are visited too
        states = model.gru(pulses(64, 64, False))[0].reshape(-1, units)
    return model.gru, states[torch.randperm(len(states))[:1024]]


def roots_against_adam(net: torch.nn.GRU, starts: Tensor) -> Row:
    """Roots of the flip-flop GRU: seconds until 99 % of the starts have q <= 1e-12.

    The peer is what the tools of the field do: Adam on the mean speed with a learning rate that
    falls on plateaus, at most 5,000 steps, the best start rate of two; it is charged the time to
    its own best share of starts.
    """
    cell = as_cell(net).to(dtype=torch.float64)
    started = time.process_time()
    points = find_points(cell, starts, kind="root", progress=False)
    ours = time.process_time() - started
    reached = (points.representative >= 0).double().mean()
    runs = [adam(cell, starts.double(), rate) for rate in (1.0, 0.1)]
    best, seconds = max(runs, key=lambda run: (run[0], -run[1]))
    note = f"ours reaches {reached:.1%} ({len(points)} roots), Adam {best:.1%}"
    return Row("roots of a flip-flop GRU 64, 1,024 starts", ours, seconds, ">= 5", note=note)


def adam(cell: Cell, starts: Tensor, rate: float) -> tuple[float, float]:
    """Return the best share of starts with q <= 1e-12, and the CPU seconds it took."""
    x = torch.zeros(len(starts), cell.n_input, dtype=starts.dtype)
    state = starts.clone().requires_grad_()
    optimizer = torch.optim.Adam([state], lr=rate)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.95, patience=2, min_lr=1e-6
    )
    started, best, seconds = time.process_time(), 0.0, 0.0
    for step in range(1, 5001):
        optimizer.zero_grad()
        q = 0.5 * (state - cell(state, x)).square().sum(1)
        q.mean().backward()
        optimizer.step()
        schedule.step(q.mean().item())
        share = float((q <= 1e-12).double().mean()) if step % 100 == 0 else 0.0
        if share > best:
            best, seconds = share, time.process_time() - started
        if best >= 0.99:
            break
    return best, seconds
