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
    if options.peer:
        yield roots_against_peer(options.peer, net, starts)
        yield from slow_against_peer(options.peer)


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
    from tractable.dynamics import collect_states, sample_starts
    from tractable.dynamics.tasks import flip_flop as pulses
    from tractable.studies.dynamics._flipflop_parts import trained

    model, _ = trained(3, units, steps, 64, 64, 0.2, 5e-3, 1, "cpu")
    # without the first pulse the saddles are visited too
    inputs, _ = pulses(64, 64, 3, first_pulse=False, seed=2)
    visited = collect_states(model["gru"], inputs, progress=False)
    return model["gru"], sample_starts(visited, 1024, generator=torch.Generator().manual_seed(0))


def sentiment(units: int = 128, n_train: int = 45_000) -> tuple[torch.nn.GRU, Tensor, float]:
    """Train a GRU on the generated review language; return it, 512 states, and the length."""
    from tractable.dynamics import SequenceClassifier, collect_states, sample_starts
    from tractable.dynamics.reviews import SyntheticReviews
    from tractable.studies.dynamics._sentiment_parts import loss
    from tractable.train import cosine_decay, minibatches

    language = SyntheticReviews()
    train = language.sample(n_train, seed=0)
    torch.manual_seed(0)
    model = SequenceClassifier(len(language.vocabulary), "gru", n_embedding=32, n_hidden=units)
    batches = minibatches(
        train.tokens, train.lengths, train.labels.astype("float32"), batch_size=64, seed=0
    )
    fit(model, loss, batches, epochs=1, learning_rate=3e-3, clip=1.0, device="cpu",
        schedule=cosine_decay(len(batches), 0.05), progress=False)  # fmt: skip
    test = language.sample(300, seed=1)
    visited = collect_states(model.recurrent, torch.as_tensor(test.tokens), test.lengths,
                             embedding=model.embedding, progress=False)  # fmt: skip
    weight = model.readout.weight[0].detach()
    starts = sample_starts(visited, 512, stratify=lambda h: h @ weight,
                           generator=torch.Generator().manual_seed(0))  # fmt: skip
    return model.recurrent, starts, 40.0  # type: ignore[return-value]  # the layer of a "gru"


class Recorder(torch.nn.Module):
    """The peer's view of a network; notes the speeds and the CPU time every few calls."""

    def __init__(self, rnn: torch.nn.Module, every: int = 10) -> None:
        super().__init__()
        self.rnn, self.every, self.calls = rnn, every, 0
        self.batch_first = True
        self.started = time.process_time()
        self.spent = 0.0
        self.notes: list[tuple[float, Tensor]] = []

    def forward(self, inputs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Step the network."""
        output, after = self.rnn(inputs, state)
        if self.calls % self.every == 0:
            paused = time.process_time()
            q = 0.5 * (state - after).detach().square().sum(2)[0]
            self.notes.append((paused - self.started - self.spent, q.clone()))
            self.spent += time.process_time() - paused
        self.calls += 1
        return output, after


def run_peer(
    folder: str, net: torch.nn.Module, starts: Tensor, rate: float, max_iters: int
) -> tuple[list[tuple[float, Tensor]], Tensor, Tensor]:
    """Run the published finder, Jacobians off; return its records, end states and speeds."""
    import contextlib
    import copy
    import io
    import sys

    if folder not in sys.path:
        sys.path.insert(0, folder)
    from FixedPointFinderTorch import FixedPointFinderTorch

    recorder = Recorder(copy.deepcopy(net))
    width = net.input_size  # type: ignore[union-attr]  # a recurrent layer
    with contextlib.redirect_stdout(io.StringIO()):
        finder = FixedPointFinderTorch(
            recorder, lr_init=rate, max_iters=max_iters, do_compute_jacobians=False,
            do_decompose_jacobians=False, do_exclude_distance_outliers=False, verbose=False,
        )  # fmt: skip
        recorder.started = time.process_time()
        _, found = finder.find_fixed_points(
            starts.float().clone().numpy(), torch.zeros(1, width).numpy()
        )
    return recorder.notes, torch.as_tensor(found.xstar), torch.as_tensor(found.qstar)


def roots_against_peer(folder: str, net: torch.nn.GRU, starts: Tensor) -> Row:
    """Roots of the flip-flop GRU: CPU seconds of ours, and of the peer to its own best share."""
    cell = as_cell(net).to(dtype=torch.float64)
    seconds = []
    for _ in range(3):
        started = time.process_time()
        points = find_points(cell, starts, kind="root", progress=False)
        seconds.append(time.process_time() - started)
    reached = float((points.representative >= 0).double().mean())
    best, note, missing = (0.0, float("inf")), [], 0
    for rate in (1.0, 0.1, 0.01):
        records, state, q = run_peer(folder, net, starts, rate, 5000)
        shares = [(float((q <= 1e-12).double().mean()), at) for at, q in records]
        top = max(share for share, _ in shares)
        at = next(at for share, at in shares if share >= top)
        note.append(f"{rate:g}: {top:.1%} in {at:.1f} s of {records[-1][0]:.1f} s")
        best = max(best, (top, at), key=lambda pair: (pair[0], -pair[1]))
        ends = state[q <= 1e-12].double()
        inside = (ends.abs() <= 1).all(1)
        if len(ends):
            near = torch.cdist(ends[inside], points.state).amin(1)
            missing += int((near > 1e-3).sum())
    return Row(
        "roots of a flip-flop GRU 64, 1,024 starts, against FixedPointFinderTorch",
        min(seconds),
        best[1],
        ">= 5",
        note=f"ours reaches {reached:.1%} ({len(points)} roots, index sum {points.index_sum}); "
        f"peer by rate: {'; '.join(note)}; {missing} of its ends in the box are not among ours",
    )


def slow_against_peer(folder: str) -> Iterator[Row]:
    """Slow points of a sentiment GRU 128: CPU seconds to the same median q, by default and early.

    The first four steps take the fast part away; the other sixteen halve what is left.
    """
    net, starts, length = sentiment()
    cell = as_cell(net).to(dtype=torch.float64)
    runs = {rate: run_peer(folder, net, starts, rate, 3000)[0] for rate in (1.0, 0.1, 0.01)}
    for max_iter, how in ((100, "20 steps, the default"), (4, "max_iter=4")):
        seconds = []
        for _ in range(5):
            started = time.process_time()
            points = find_points(cell, starts, kind="slow", tau_c=length / 2, max_iter=max_iter,
                                 progress=False)  # fmt: skip
            seconds.append(time.process_time() - started)
        goal = float(points.q[points.representative[points.representative >= 0]].median())
        best, note = float("inf"), []
        for rate, records in runs.items():
            at = next((at for at, q in records if float(q.median()) <= goal), float("inf"))
            least = min(float(q.median()) for _, q in records)
            note.append(f"{rate:g}: {at:.1f} s, least median {least:.1e} in {records[-1][0]:.1f} s")
            best = min(best, at)
        yield Row(
            f"slow points of a sentiment GRU 128, 512 starts, at equal median q ({how})",
            min(seconds),
            best,
            ">= 6",
            note=f"median q {goal:.1e}, {len(points)} points; peer by rate: {'; '.join(note)}",
        )


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
