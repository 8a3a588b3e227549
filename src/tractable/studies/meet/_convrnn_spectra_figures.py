"""Pictures of `meet-convrnn-spectra`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tractable.studies.meet.meet_convrnn_spectra import KERNELS, LAWS, LEARNERS

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

COLORS = dict(zip(KERNELS, ("C1", "C2", "C3", "C0"), strict=True))


def draw_spectra(theory: xr.Dataset, measured: xr.Dataset) -> Figure:
    """Draw distributions of singular values: theory as lines, cells as markers."""
    from tractable import plot

    figure, axes = plot.new(1, len(LAWS), size=(8.6, 3.4), sharey=True)
    share = np.linspace(0.03, 0.97, 16)
    for ax, kernel in zip(axes, LAWS, strict=True):
        for k, t in enumerate(theory.steps.values):
            line = theory.s.sel(law=kernel, steps=t)
            plot.theory(ax, line, theory.p, label=f"T = {t}", color=f"C{k % 7}")
            sample = np.sort(measured.s.sel(kernel=kernel, steps=t).values, None)
            plot.measurement(
                ax, np.quantile(sample, share), share, label="", color=f"C{k % 7}", marker="o",
                markersize=4,
            )  # fmt: skip
        widest = float(theory.s.max())
        ax.set(
            title=kernel, xlabel="singular value", xscale="log", xlim=(5e-3 * widest, 2 * widest)
        )
    axes[0].set_ylabel("share below")
    axes[0].legend(loc="upper left")
    figure.set_label(
        "Singular values of a ConvRNN's Jacobian over T steps (markers), and of deep networks of T "
        "layers in theory (lines), for kernels that sit on their central tap."
    )
    return figure


def draw_squares(theory: xr.Dataset, measured: xr.Dataset) -> Figure:
    """Draw mean squared singular values against T, and what they would be without padding."""
    from tractable import plot

    figure, ax = plot.new(size=(5.4, 3.8))
    squares = (measured.s**2).mean("unit")
    for kernel in KERNELS:
        line, nets = theory.square.sel(kernel=kernel), squares.sel(kernel=kernel)
        color = COLORS[kernel]
        plot.theory(ax, theory.steps, line, label=kernel, color=color)
        error = (
            nets.std("net", ddof=1) / np.sqrt(nets.sizes["net"]) if nets.sizes["net"] > 1 else None
        )
        plot.measurement(
            ax, nets.steps, nets.mean("net"), error=error, label="", color=color, marker="o"
        )
    blind = theory.square.sel(kernel="Gaussian") / theory.survival
    ax.plot(theory.steps, blind, ":", color=COLORS["Gaussian"], label="Gaussian, no padding")
    ax.set(
        xlabel="steps T", ylabel="mean squared singular value", yscale="log", xticks=theory.steps
    )
    ax.legend(loc="lower left", fontsize="small")
    figure.set_label(
        "Mean squared singular value over T steps: theory as lines, cells as markers (standard "
        "error over cells). A kernel with weight on all taps loses at the padded border."
    )
    return figure


def draw_learning(theory: xr.Dataset, measured: xr.Dataset) -> Figure:
    """Draw the course of the loss, and accuracy against the predicted mean square."""
    from tractable import plot

    figure, axes = plot.new(1, 2, size=(8.6, 3.6))
    for kernel in LEARNERS:
        loss = measured.loss.sel(learner=kernel)
        for seed in measured.seed.values:
            label = kernel if seed == measured.seed.values[0] else None
            axes[0].plot(
                measured["update"], loss.sel(seed=seed), "-", color=COLORS[kernel], label=label,
                linewidth=1,
            )  # fmt: skip
        x = float(theory.over_task.sel(learner=kernel))
        y = measured.accuracy.sel(learner=kernel).values
        plot.measurement(
            axes[1], np.full(len(y), x), y, label=kernel, color=COLORS[kernel], marker="o"
        )
    axes[0].set(xlabel="updates", ylabel="training loss, nat", ylim=(0, None))
    axes[0].legend(loc="center right")
    axes[1].axhline(float(theory.bound), color="0.5", linestyle="--", label="bound without order")
    axes[1].set(
        xlabel="predicted mean squared singular value\nfrom the first digit to the readout",
        ylabel="test accuracy",
        xscale="log",
        ylim=(0, 1.02),
    )
    axes[1].legend(loc="upper left", fontsize="small")
    figure.set_label(
        "Learning to recall the first of four digits from three initial recurrent kernels: loss of "
        "every seed (left), accuracy against the mean squared singular value that theory predicts "
        "for the steps between digit and readout (right)."
    )
    return figure
