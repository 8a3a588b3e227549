"""From rich to lazy learning: what the balance of two layers decides."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np

from tractable.studies.linear._worlds import numbers
from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

RICCATI = "exact: (L14), (L15)"
PUBLISHED = "Domine et al. 2024, arXiv:2409.14623 (qualitative)"


@dataclass(frozen=True)
class LinearRichLazy(Study):
    """Rich or lazy: unequal layers learn without moving their representation."""

    paper: ClassVar = Paper(
        "Domine, Anguita, Proca, Braun, Kunin, Mediano, Saxe",
        2024,
        "From lazy to rich: exact learning dynamics in deep linear networks",
        arxiv="2409.14623",
    )
    presets: ClassVar = {
        "smoke": {"balances": (-1.0, 0.0, 1.0), "n_times": 12},
        "paper": {"balances": tuple(np.linspace(-2, 2, 17).tolist()), "n_times": 200},
    }

    balances: Annotated[tuple[float, ...], Range(-100.0, 100.0)] = (
        *(-2.0, -1.0, -0.5, -0.25),
        *(0.0, 0.25, 0.5, 1.0, 2.0),
    )
    """Balances lambda: W2^T W2 - W1 W1^T = lambda I. Negative: the first layer is larger."""
    scale: Annotated[float, Range(1e-8, 10.0, log=True)] = 1e-2
    """Squared size of the smaller layer at the start."""
    t_max: Annotated[float, Range(0.1, 1e4, log=True)] = 40.0
    """Last time, in the unit of tau."""
    n_times: Annotated[int, Range(3, 2000)] = 60
    """Recorded times."""

    def measure(self, run: Run) -> xr.Dataset:
        import xarray as xr

        points = [
            {
                "balance": float(b),
                "scale": self.scale,
                "t_max": self.t_max,
                "n_times": self.n_times,
                "seed": run.seed,
            }
            for b in self.balances
        ]
        return xr.concat(run.map(solve_flow, points), "balance")

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        import xarray as xr

        from tractable.linear import balanced_flow, eight_things

        cov = eight_things().Y.T / 8
        t = np.linspace(0, self.t_max, self.n_times)
        parts = []
        for k, balance in enumerate(self.balances):
            if measured is None:
                W1, W2 = balanced_start(balance, self.scale, seed=0)
            else:
                W1, W2 = measured.W1.values[k], measured.W2.values[k]
            flow = balanced_flow(cov, W1, W2, t)
            parts.append(describe(balance, t, flow.map(), flow.W1, flow.W2, cov))
        return xr.concat(parts, "balance")

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        error = float(abs(theory.whole - measured.whole).max())
        yield Check("Riccati against a solver: map", error, 1e-8, kind="at_most", source=RICCATI)
        error = float(abs(theory.hidden - measured.hidden).max())
        yield Check(
            "Riccati against a solver: hidden similarity",
            error,
            1e-8,
            kind="at_most",
            source=RICCATI,
        )
        for name, title in (("code_movement", "hidden similarity"), ("kernel_movement", "kernel")):
            by_size = measured[name].groupby(abs(measured.balance)).mean()
            drops = np.diff(by_size.values)
            yield Check(
                f"movement of the {title} never grows with |lambda|",
                float(drops.max()) if len(drops) else 1.0,
                0.0,
                kind="at_most",
                source=PUBLISHED,
            )
        both = measured.kernel_movement
        lazy = float(both.isel(balance=int(abs(both.balance.values).argmax())))
        rich = float(both.isel(balance=int(abs(both.balance.values).argmin())))
        yield Check(
            "movement of the kernel, most lazy over most rich",
            lazy / max(rich, 1e-12),
            0.5,
            kind="at_most",
            source=PUBLISHED,
        )

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        kernel = measured.kernel_movement
        turn = measured.kernel_turn
        rich = kernel.isel(balance=int(abs(kernel.balance.values).argmin()))
        lazy = kernel.isel(balance=int(abs(kernel.balance.values).argmax()))
        yield (
            f"At balance {float(rich.balance):g} the network's kernel changes by "
            f"{float(rich):.3g} times its size at the start; at {float(lazy.balance):g} by "
            f"{float(lazy):.3g}: layers of unequal size learn with the features that they start "
            "with."
        )
        rows = [
            (f"{b:g}", f"{h:.3g}", f"{k:.3g}", f"{c:.3f}", f"{f:.2f}")
            for b, h, k, c, f in zip(
                measured.balance.values,
                measured.code_movement.values,
                kernel.values,
                turn.values,
                measured.half_time.values,
                strict=True,
            )
        ]
        header = (
            "lambda",
            "hidden similarity, change",
            "kernel, change",
            "kernel, 1 - cosine",
            "half of the error gone at",
        )
        yield Table("Movement (over the size at the start) and speed", header, tuple(rows))

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable import plot

        figure, axes = plot.new(1, 2, size=(8.4, 3.4))
        for k, balance in enumerate(measured.balance.values):
            if balance < 0:
                continue
            line = plot.theory(
                axes[0], theory.time, theory.error.isel(balance=k), label=f"λ = {balance:g}"
            )
            every = max(1, len(measured.time) // 15)
            plot.measurement(
                axes[0],
                measured.time[::every],
                measured.error.isel(balance=k)[::every],
                color=line.get_color(),
                ms=3,
                label="_",
            )
        axes[0].set(xlabel="time / τ", ylabel="training error")
        axes[0].legend()
        for name, color, title in (
            ("kernel_movement", "#0072B2", "kernel"),
            ("code_movement", "#D55E00", "hidden similarity"),
        ):
            plot.theory(
                axes[1], theory.balance, theory[name], color=color, label=f"theory, {title}"
            )
            plot.measurement(
                axes[1], measured.balance, measured[name], color=color, label=f"solver, {title}"
            )
        axes[1].set(xlabel="balance λ", ylabel="movement", yscale="log")
        axes[1].legend(fontsize=8)
        figure.set_label(
            "Left: training error in time for several balances; lines are the Riccati solution, "
            "markers an ODE solver. Right: how far the kernel and hidden similarity move from "
            "start to end, over their size at the start."
        )
        return {"rich_lazy": figure}

    def cost(self, run: Run) -> Cost:
        import time

        solve_flow(1.0, self.scale, 1.0, 3, 0)
        largest = max(map(abs, self.balances))
        started = time.perf_counter()
        solve_flow(largest, self.scale, self.t_max, self.n_times, 0)
        seconds = time.perf_counter() - started
        n = len(self.balances)
        memory = 100e6 + 8.0 * n * self.n_times * (36 * 8 + 64 + 36 * 36)
        return Cost(n * seconds * 1e9, memory, 1.2 * n * seconds)


def balanced_start(balance: float, scale: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return layers with W2^T W2 - W1 W1^T = balance I, turned at random: 8 - 8 - 36 units."""
    random = np.random.default_rng(seed)
    first, second = scale + max(0.0, -balance), scale + max(0.0, balance)
    W1 = np.sqrt(first) * np.linalg.qr(random.standard_normal((8, 8)))[0]
    W2 = np.sqrt(second) * np.linalg.qr(random.standard_normal((36, 8)))[0]
    return W1, W2


def solve_flow(balance: float, scale: float, t_max: float, n_times: int, seed: int) -> xr.Dataset:
    """Integrate the gradient flow of the eight things with a solver of 8th order."""
    from tractable.linear import eight_things
    from tractable.linear.flow import integrate_flow

    W1, W2 = balanced_start(balance, scale, seed)
    cov = eight_things().Y.T / 8
    t = np.linspace(0, t_max, n_times)
    first, second = integrate_flow(cov, np.eye(8), [W1, W2], t, rtol=1e-11)
    found = describe(balance, t, second @ first, first, second, cov)
    return found.assign(
        W1=numbers(W1, "hidden_unit", "input"), W2=numbers(W2, "output", "hidden_unit")
    )


def describe(
    balance: float,
    t: np.ndarray,
    whole: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    cov: np.ndarray,
) -> xr.Dataset:
    """Return map, hidden similarity, training error and movements of one flow."""
    import xarray as xr

    hidden = first.transpose(0, 2, 1) @ first
    outer = second @ second.transpose(0, 2, 1)
    error = ((cov - whole) ** 2).sum((1, 2)) / (cov**2).sum()
    # The kernel is W2 W2^T x 1 + 1 x W1^T W1; products of traces give its norm and overlap.
    n_in, n_out = hidden.shape[-1], outer.shape[-1]

    def overlap(i: int, j: int) -> float:
        return float(
            n_in * np.sum(outer[i] * outer[j])
            + np.trace(outer[i]) * np.trace(hidden[j])
            + np.trace(outer[j]) * np.trace(hidden[i])
            + n_out * np.sum(hidden[i] * hidden[j])
        )

    start, mixed, end = overlap(0, 0), overlap(0, -1), overlap(-1, -1)
    kernel = np.sqrt(max(0.0, start + end - 2 * mixed) / start)
    turn = 1 - mixed / np.sqrt(start * end)
    code = np.linalg.norm(hidden[-1] - hidden[0]) / np.linalg.norm(hidden[0])
    below = error < error[0] / 2
    half = t[int(below.argmax())] if below.any() else np.inf
    return xr.Dataset(
        {
            "whole": numbers(whole, "time", "output", "input"),
            "hidden": numbers(hidden, "time", "input", "input_"),
            "error": numbers(error, "time"),
            "kernel_movement": numbers(kernel),
            "kernel_turn": numbers(turn),
            "code_movement": numbers(code),
            "half_time": numbers(half, units="tau"),
        },
        coords={"time": t, "balance": balance},
    )
