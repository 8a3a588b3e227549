"""Pictures of `meet-convrnn-dynamics`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure


def draw_hold(theory: xr.Dataset, measured: xr.Dataset) -> Figure:
    """Draw accuracy and speed of the state against the number of blank frames."""
    from tractable import plot

    figure, axes = plot.new(1, 2, size=(8.6, 3.4))
    for i, cell in enumerate(measured.cell.values):
        one = measured.sel(cell=cell)
        n = one.sizes["seed"]
        for ax, values in ((axes[0], one.accuracy), (axes[1], one.speed)):
            error = values.std("seed", ddof=1) / np.sqrt(n) if n > 1 else None
            plot.measurement(
                ax,
                one.delay,
                values.mean("seed"),
                error=error,
                label=cell,
                color=f"C{i}",
                marker="o",
                linestyle=":",
            )
    axes[0].axvline(4, color="0.6", linewidth=0.8, linestyle="--")
    axes[0].text(4.2, 0.05, "trained", color="0.4", fontsize="small")
    axes[0].set(xlabel="blank frames", ylabel="test accuracy", xscale="log", ylim=(0, 1.02))
    axes[1].set(xlabel="blank frames", ylabel="speed of the state", xscale="log", yscale="log")
    axes[0].legend(loc="center right")
    figure.set_label(
        "Holding a digit: accuracy (left) and how far the state moves in a step (right), against "
        "the number of blank frames after the last distractor; means over seeds, standard errors."
    )
    return figure


def draw_modes(theory: xr.Dataset, measured: xr.Dataset) -> Figure:
    """Draw the slowest time constants at the held states, and before training."""
    from tractable import plot

    figure, ax = plot.new(size=(5.4, 3.6))
    for i, cell in enumerate(measured.cell.values):
        for name, style in (("eigenvalue", "-"), ("untrained", ":")):
            z = measured[name].sel(cell=cell)
            size = abs(z.sel(part="real") + 1j * z.sel(part="imaginary"))
            others = [d for d in size.dims if d != "mode"]
            middle = size.median(others).values[:60]
            shown = np.clip(middle, 1e-3, 1 - 1e-6)
            label = f"{cell}, trained" if name == "eigenvalue" else f"{cell}, untrained"
            ax.plot(
                np.arange(1, len(shown) + 1), -1 / np.log(shown), style, color=f"C{i}", label=label
            )
    from tractable.studies.meet._convrnn_dynamics import task_steps

    ax.axhline(task_steps(), color="0.5", linestyle="--", linewidth=0.8, label="length of the task")
    ax.set(xlabel="mode, the slowest first", ylabel="time constant, steps", yscale="log",
           xscale="log")  # fmt: skip
    ax.legend(fontsize="small")
    figure.set_label(
        "Time constants of the cell's modes at the states that hold a digit (medians over states "
        "and seeds), and before training."
    )
    return figure


def draw_forecast(theory: xr.Dataset, measured: xr.Dataset, delay: int) -> Figure:
    """Draw the share of the change that forecasts explain, and one delay in detail."""
    from tractable import plot
    from tractable.studies.meet._convrnn_dynamics import explained

    cells = measured.cell.values
    figure, axes = plot.new(1, len(cells) + 1, size=(3.4 * (len(cells) + 1), 3.4))
    share = explained(theory, measured)
    for i, cell in enumerate(cells):
        for modes, style in (("all modes", "-"), ("slow modes", "--")):
            line = share.sel(cell=cell, modes=modes).mean("seed")
            axes[0].plot(line.delay, line, style, marker="o", markersize=3, color=f"C{i}",
                         label=f"{cell}, {modes}")  # fmt: skip
        got = measured.change.sel(cell=cell, delay=delay).isel(seed=0).values.ravel()
        want = theory.change.sel(cell=cell, delay=delay, modes="all modes").isel(seed=0)
        ends = np.array([min(got.min(), float(want.min())), max(got.max(), float(want.max()))])
        plot.theory(axes[i + 1], ends, ends, color="0.5", label="equal")
        plot.measurement(
            axes[i + 1], want.transpose(*measured.change.sel(cell=cell, delay=delay)
                                        .isel(seed=0).dims).values.ravel(),
            got, label="a logit of a state", color=f"C{i}", markersize=3, alpha=0.6,
        )  # fmt: skip
        axes[i + 1].set(
            title=str(cell),
            xlabel=f"forecast change after {delay} blanks",
            ylabel="measured change",
        )
        axes[i + 1].legend(fontsize="small")
    axes[0].set(xlabel="blank frames", ylabel="share explained", xscale="log", ylim=(-0.5, 1.05))
    axes[0].axhline(0, color="0.7", linewidth=0.8)
    axes[0].legend(fontsize="small")
    figure.set_label(
        "Change of the logits while blank frames are shown: the share that the linearization at "
        "the first state forecasts (left), and forecast against measurement at one delay."
    )
    return figure
