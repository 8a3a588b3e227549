"""Curves: terms of the bound, quality along a chain, variances by temperature, training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from numpy.typing import ArrayLike

from tractable import plot

__all__ = ["bound_terms", "length_curve", "level_curves", "training_curves"]


def bound_terms(
    temperatures: ArrayLike,
    terms: ArrayLike,
    *,
    error: ArrayLike | None = None,
    exact: ArrayLike | None = None,
    label: str = "measured",
    color: str = "C0",
    ax: Axes | None = None,
) -> Figure:
    """Draw what each heating step costs the bound, E[log q - log p] in nats.

    Parameters
    ----------
    temperatures : array_like, shape (L,)
        T_t of the steps; the axis counts the steps, with temperatures on top.
    terms : array_like, shape (L,)
        E[log q - log p] of each step, nats.
    error : array_like, shape (L,), optional
        Standard errors.
    exact : array_like, shape (L,), optional
        The same from theory, drawn as a line.
    label, color : str
        Of the markers.
    ax : Axes, optional
        Where to draw.
    """
    temperature = np.asarray(temperatures, float)
    step = np.arange(1, len(temperature) + 1)
    figure, ax = plot.axes_of(ax, size=(5.4, 3.4))
    if exact is not None:
        plot.theory(ax, step, exact, color=color)
    plot.measurement(ax, step, terms, error=error, label=label, color=color, ms=3.5)
    ax.axhline(0, color="0.6", lw=0.8, zorder=1)
    ax.set(xlabel="heating step t", ylabel=r"$E[\log q - \log p]$, nats")
    if not ax.child_axes:
        top = ax.secondary_xaxis("top")
        shown = np.unique(np.linspace(0, len(step) - 1, 6).astype(int))
        top.set_xticks(step[shown], [f"{temperature[i]:.3g}" for i in shown])
        top.set_xlabel("temperature T")
    return figure


def length_curve(
    steps: ArrayLike,
    curves: Mapping[str, ArrayLike],
    *,
    errors: Mapping[str, ArrayLike] | None = None,
    levels: Mapping[str, float] | None = None,
    trained: int | None = None,
    ylabel: str = r"$\mathrm{MMD}^2$",
    ax: Axes | None = None,
) -> Figure:
    """Draw the quality of a chain against its steps past the ladder.

    Parameters
    ----------
    steps : array_like, shape (k,)
        Cold steps after the ladder, 0 first.
    curves : mapping of str to array_like, shape (k,)
        Name to value at these steps; lower is better.
    errors : mapping of str to array_like, optional
        Standard errors.
    levels : mapping of str to float, optional
        Baselines: horizontal lines with names, such as that of a single Gaussian.
    trained : int, optional
        Length L of the trained path: a vertical line.
    ylabel : str
        Name of the value.
    ax : Axes, optional
        Where to draw.
    """
    at = np.asarray(steps, float)
    figure, ax = plot.axes_of(ax, size=(5.8, 3.6))
    for i, (name, values) in enumerate(curves.items()):
        error = None if errors is None else errors.get(name)
        plot.measurement(ax, at, values, error=error, label=name, color=f"C{i}", linestyle=":")
    for i, (name, value) in enumerate((levels or {}).items()):
        ax.axhline(value, color="0.35", lw=1.0, ls=("-", "--", "-.", ":")[i % 4], zorder=1)
        ax.annotate(name, (1.0, value), xycoords=("axes fraction", "data"), xytext=(3, 0),
                    textcoords="offset points", va="center", fontsize=7, color="0.35")  # fmt: skip
    if trained is not None:
        ax.axvline(trained, color="0.7", lw=0.8, zorder=0)
        ax.annotate(
            f"L = {trained}", (trained, 1.0), xycoords=("data", "axes fraction"),
            xytext=(2, -8), textcoords="offset points", fontsize=7, color="0.5",
        )  # fmt: skip
    ax.set_xscale("symlog", linthresh=1.0)
    ax.set_xlim(-0.3, at.max() * 1.4)
    ax.set(xlabel="cold steps after the ladder", ylabel=ylabel)
    ax.legend(fontsize=7, frameon=False)
    return figure


def level_curves(
    noise_std: ArrayLike,
    walked: ArrayLike,
    generated: ArrayLike,
    *,
    components: Sequence[int] = (0,),
    scales: ArrayLike | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draw the variances of walked and of generated states at each level of noise.

    Where the two part, generation leaves the walk.

    Parameters
    ----------
    noise_std : array_like, shape (k,)
        sd_T of the level, in units of the data.
    walked, generated : array_like, shape (k, n)
        Variances by component.
    components : sequence of int
        Which to draw.
    scales : array_like, shape (n,), optional
        Variances v of the data: theory of a reversible walk is max(v, sd_T^2).
    ax : Axes, optional
        Where to draw.
    """
    sd = np.asarray(noise_std, float)
    walked, generated = np.asarray(walked, float), np.asarray(generated, float)
    figure, ax = plot.axes_of(ax, size=(6.6, 3.8))
    for i, component in enumerate(components):
        name = f"component {component + 1}"
        if scales is not None:
            line = np.maximum(np.asarray(scales, float)[component], sd**2)
            plot.theory(ax, sd, line, color=f"C{i}", label=r"$\max(v, \mathrm{sd}_T^2)$"
                        if not i else "_")  # fmt: skip
        plot.measurement(ax, sd, walked[:, component], color=f"C{i}", label=f"{name}, walked", ms=4)
        plot.measurement(ax, sd, generated[:, component], color=f"C{i}", mfc="white", ms=4,
                         label=f"{name}, generated")  # fmt: skip
    ax.set_xscale("log")
    ax.set_yscale("log")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_minor_formatter("")
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter("{x:g}")
    ax.set(xlabel=r"noise $\mathrm{sd}_T$, units of the data", ylabel="variance of the state")
    ax.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def training_curves(
    steps: ArrayLike, history: Mapping[str, ArrayLike], *, units: Mapping[str, str] | None = None,
    axes: Any = None,
) -> Figure:  # fmt: skip
    """Draw records of a training run, one panel for each.

    Parameters
    ----------
    steps : array_like, shape (k,)
        Updates done at the records.
    history : mapping of str to array_like, shape (k,)
        Name to values: objective, bound, median noise, entropy production.
    units : mapping of str to str, optional
        Unit of each, for the axis.
    axes : sequence of Axes, optional
        One for each record.
    """
    if axes is None:
        figure, axes = plot.new(1, len(history), size=(3.0 * len(history) + 0.6, 2.9))
    else:
        figure = np.ravel(axes)[0].get_figure(root=True)
    for ax, (name, values) in zip(np.ravel(axes), history.items(), strict=True):
        plot.measurement(ax, steps, values, label=name, ms=3)
        unit = (units or {}).get(name, "")
        ax.set(xlabel="updates", ylabel=f"{name}, {unit}" if unit else name)
    return figure
