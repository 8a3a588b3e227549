"""Pictures of the spectrum at the points of a network: eigenvalues and time constants.

All are public in `tractable.dynamics.plots`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tractable.core.checks import check_range
from tractable.dynamics.plots.canvas import (
    BLACK,
    BLUE,
    CYCLE,
    GRAY,
    LIGHT,
    RASTER,
    THETA,
    Array,
    canvas,
    color_scale,
    complex_numbers,
    depth,
    legend,
    mask,
    numbers,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_eigenvalues", "plot_spectrum_along", "plot_time_constants"]

ROUND = 1e-12  # | |lambda| - 1 | below it counts as exactly 1


def plot_eigenvalues(
    eigvals: Array, *, theta: Array | None = None, ax: Axes | None = None
) -> Figure:
    r"""Draw eigenvalues in the complex plane, with the unit circle.

    Growing modes, :math:`|\lambda| > 1`, are hollow.

    Parameters
    ----------
    eigvals : array, shape (N,) or (P, N)
        Eigenvalues of J at one point or at P points.
    theta : array, shape (P,), optional
        Color of the points; their index by default.
    ax : Axes, optional
        Default: a new figure.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        Wrong shapes or NaN.

    References
    ----------
    MWGGS (Maheswaranathan, Williams, Golub, Ganguli, Sussillo 2019, arXiv:1906.10720), figure 3a.

    Examples
    --------
    From library objects: ``plot_eigenvalues(modes.eigvals, theta=line.theta)``.

    >>> figure = plot_eigenvalues([0.99, 0.5 + 0.3j, 0.5 - 0.3j])
    >>> figure.axes[0].get_xlabel()
    'real part of λ'
    """
    from matplotlib.colors import to_rgba

    values = complex_numbers("eigvals", eigvals, ("P", "N") if depth(eigvals) == 2 else ("N",))
    values = np.atleast_2d(values)
    P = len(values)
    theta = None if theta is None else numbers("theta", theta, (P,))
    caption = "Eigenvalues of the recurrent Jacobian in the complex plane; hollow: growing."

    with canvas(ax, caption, size=(5.0, 4.0)) as (figure, ax):
        angle = np.linspace(0, 2 * np.pi, 361)
        ax.axhline(0, color=LIGHT, linewidth=0.6, zorder=0)
        ax.axvline(0, color=LIGHT, linewidth=0.6, zorder=0)
        ax.plot(np.cos(angle), np.sin(angle), "-", color=GRAY, linewidth=1, zorder=1)
        if theta is None and P <= 1:
            colors: Any = np.tile(to_rgba(BLUE), (P, 1))
        elif theta is None:
            colors = color_scale(ax, np.arange(P), "point", integer=True)(np.arange(P))
        else:
            colors = color_scale(ax, theta, THETA)(theta)
        # Points are mixed, so that the last does not hide the others.
        order = np.random.default_rng(0).permutation(values.size)
        flat, colors = values.ravel()[order], np.repeat(colors, values.shape[1], axis=0)[order]
        growing = np.abs(flat) > 1 + ROUND
        face = np.where(growing[:, None], 0.0, colors)
        ax.scatter(
            flat.real,
            flat.imag,
            s=14 if flat.size <= RASTER else 5,
            facecolors=face,
            edgecolors=colors,
            linewidths=0.8,
            zorder=3,
            rasterized=flat.size > RASTER,
        )
        reach = 1.08 * max(1.0, float(np.abs(flat).max(initial=1.0)))
        ax.set_xlim(-reach, reach, auto=True)  # auto: the equal scale may widen one of them
        ax.set_ylim(-reach, reach, auto=True)
        ax.set(xlabel="real part of λ", ylabel="imaginary part of λ")
        ax.set_aspect("equal", adjustable="datalim")
        return figure


def plot_spectrum_along(
    theta: Array,
    eigvals: Array,
    *,
    n: int = 4,
    theta_label: str = THETA,
    ax: Axes | None = None,
) -> Figure:
    r"""Draw :math:`|\lambda_a|` of the n slowest modes against the position along the line.

    Parameters
    ----------
    theta : array, shape (P,)
        Position of each point.
    eigvals : array, shape (P, N)
        Eigenvalues of J at each point, in any order.
    n : int, >= 1
        Modes drawn, by falling modulus. Circles are real, diamonds oscillate.
    theta_label : str
        Name of the horizontal axis.
    ax : Axes, optional
        Default: a new figure.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        Wrong shapes or NaN.

    References
    ----------
    MWGGS (Maheswaranathan, Williams, Golub, Ganguli, Sussillo 2019, arXiv:1906.10720), figure 3.

    Examples
    --------
    From library objects: ``plot_spectrum_along(line.theta, modes.eigvals)``.

    >>> figure = plot_spectrum_along([-1, 1], [[0.99, 0.5], [1.01, 0.4]], n=2)
    >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    ['mode 1', 'mode 2', 'growing']
    """
    from matplotlib.lines import Line2D

    theta = numbers("theta", theta, ("P",))
    values = complex_numbers("eigvals", eigvals, (len(theta), "N"))
    check_range("n", n, 1)
    rows = np.arange(len(values))[:, None]
    values = values[rows, np.argsort(-np.abs(values), axis=1, kind="stable")][:, : int(n)]
    size, turning = np.abs(values), np.abs(values.imag) > ROUND
    growing = size > 1 + ROUND
    caption = "Modulus of the slowest eigenvalues along the line; above 1 a mode grows."

    with canvas(ax, caption, size=(5.6, 3.6)) as (figure, ax):
        ax.axhline(1, color=GRAY, linewidth=1, zorder=1)
        look: dict[str, Any] = {"linewidths": 0.9, "zorder": 3}
        for a in range(values.shape[1]):
            color = CYCLE[a % len(CYCLE)]
            for marker, kind in (("o", ~turning[:, a]), ("D", turning[:, a])):
                face = np.where(growing[kind, a], "none", color)
                ax.scatter(
                    theta[kind],
                    size[kind, a],
                    facecolors=list(face),
                    edgecolors=color,
                    marker=marker,
                    s=_width(a, len(theta)) ** 2,
                    rasterized=len(theta) > RASTER,
                    **look,
                )
        handles = [_key(CYCLE[a % len(CYCLE)], f"mode {a + 1}") for a in range(values.shape[1])]
        if turning.any():
            handles.append(Line2D([], [], color=GRAY, marker="D", ls="none", label="oscillating"))
        if growing.any():
            handles.append(_key(GRAY, "growing", hollow=True))
        _theta_limits(ax, theta)
        ax.set(xlabel=theta_label, ylabel="modulus of the eigenvalue, |λ|")
        legend(ax, handles=handles)
        return figure


def plot_time_constants(
    theta: Array,
    tau: Array,
    *,
    n: int = 3,
    length: float | None = None,
    length_label: str = "median length",
    unit: str = "steps",
    unstable: Array | None = None,
    theta_label: str = THETA,
    ax: Axes | None = None,
) -> Figure:
    r"""Draw the time constants :math:`\tau_a = |1 / \ln|\lambda_a||` of the n slowest modes.

    The scale is logarithmic. Infinite values are arrows at the upper edge, zeros at the lower one.

    Parameters
    ----------
    theta : array, shape (P,)
        Position of each point.
    tau : array, shape (P, N)
        Time constants, >= 0, infinite where ``|lambda| = 1``; columns in the order of the modes.
    n : int, >= 1
        The first n columns are drawn.
    length : float, > 0, optional
        A time to compare with, for instance the median document: a horizontal line.
    length_label : str
        Its name.
    unit : str
        Unit of tau and of ``length``.
    unstable : array of bool, shape (P, N), optional
        Growing modes, drawn hollow.
    theta_label : str
        Name of the horizontal axis.
    ax : Axes, optional
        Default: a new figure.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        Wrong shapes, NaN, negative time constants.

    References
    ----------
    MWGGS (Maheswaranathan, Williams, Golub, Ganguli, Sussillo 2019, arXiv:1906.10720), figure 3b-d.

    Examples
    --------
    From library objects: ``plot_time_constants(line.theta, modes.tau, unstable=modes.unstable,
    length=175)``.

    >>> figure = plot_time_constants([-1, 0, 1], [[200, 6], [float("inf"), 5], [150, 7]])
    >>> figure.axes[0].get_ylabel()
    'time constant τ (steps)'
    """
    from matplotlib.lines import Line2D

    theta = numbers("theta", theta, ("P",))
    tau = numbers("tau", tau, (len(theta), "N"), infinite=True)
    if (tau < 0).any():
        raise ValueError(f"tau must be >= 0, got {tau.min():g}")
    growing = mask("unstable", unstable, tau.shape)
    check_range("n", n, 1)
    if length is not None:
        check_range("length", length, 0, open_low=True)
    tau, growing = tau[:, : int(n)], growing[:, : int(n)]
    caption = "Time constants of the slowest modes along the line."

    with canvas(ax, caption, size=(5.6, 3.6)) as (figure, ax):
        ax.set_yscale("log")
        edge = ax.get_xaxis_transform()  # theta, and height in the axes
        handles = []
        for a in range(tau.shape[1]):
            color = CYCLE[a % len(CYCLE)]
            handles.append(_key(color, f"mode {a + 1}"))
            for hollow in (False, True):
                look: dict[str, Any] = {
                    "color": color,
                    "linestyle": "none",
                    "markersize": _width(a, len(theta)),
                    "markeredgewidth": 0.9,
                    "markerfacecolor": "none" if hollow else color,
                    "rasterized": len(theta) > RASTER,
                }
                some = growing[:, a] == hollow
                inside = some & np.isfinite(tau[:, a]) & (tau[:, a] > 0)
                ax.plot(theta[inside], tau[inside, a], marker="o", zorder=3, **look)
                for marker, height, there in (
                    ("^", 0.985, np.isinf(tau[:, a])),
                    ("v", 0.015, tau[:, a] == 0),
                ):
                    at = theta[some & there]
                    look |= {"transform": edge, "clip_on": False, "zorder": 4, "marker": marker}
                    if len(at):
                        ax.plot(at, np.full(len(at), height), **look)
        if length is not None:
            label = f"{length_label}, {length:g}"
            handles.append(ax.axhline(length, color=BLACK, ls="--", lw=1, zorder=1, label=label))
        if growing.any():
            handles.append(_key(GRAY, "growing", hollow=True))
        for marker, label, there in (("^", "infinite", np.isinf(tau)), ("v", "zero", tau == 0)):
            if there.any():
                handles.append(Line2D([], [], color=GRAY, marker=marker, ls="none", label=label))
        shown = tau[np.isfinite(tau) & (tau > 0)]
        shown = np.append(shown, [] if length is None else [length])
        low, high = (shown.min(), shown.max()) if len(shown) else (1.0, 10.0)
        _theta_limits(ax, theta)
        ax.set(ylim=(low / 1.8, high * 2.2), xlabel=theta_label, ylabel=f"time constant τ ({unit})")
        legend(ax, handles=handles)
        return figure


def _width(a: int, n: int) -> float:
    """Return the marker width of mode a: smaller ones on top leave equal values visible."""
    return max(6.0 - 1.2 * a, 2.0) * (0.7 if n > 100 else 1.0)


def _key(color: str, label: str, *, hollow: bool = False) -> Any:
    """Return a round legend mark."""
    from matplotlib.lines import Line2D

    face = "none" if hollow else color
    look: dict[str, Any] = {"marker": "o", "linestyle": "none", "markersize": 4.5}
    return Line2D([], [], color=color, markerfacecolor=face, label=label, **look)


def _theta_limits(ax: Axes, theta: np.ndarray) -> None:
    """Show [-1, 1] where theta lies in it."""
    low, high = (float(theta.min()), float(theta.max())) if len(theta) else (-1.0, 1.0)
    if low >= -1 and high <= 1:
        low, high = -1.0, 1.0
        ax.set_xticks([-1, -0.5, 0, 0.5, 1])
    pad = 0.04 * (high - low) or 0.5
    ax.set_xlim(low - pad, high + pad)
