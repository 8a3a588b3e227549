"""The states of a network, its slow points and its readout in one plane."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tractable.core.checks import check_count, check_range
from tractable.dynamics.plots.canvas import (
    BLACK,
    BLUE,
    GRAY,
    ORANGE,
    PINK,
    SKY,
    VERMILLION,
    Array,
    canvas,
    color_scale,
    escape,
    framed,
    legend,
    limits,
    names,
    numbers,
    principal_axes,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_state_space"]

CLOUD = (ORANGE, SKY, PINK, GRAY)  # states by label: light, behind everything
LINES = (VERMILLION, BLUE, "#8B2F6B", BLACK)  # trajectories by label: the same hues, darker
STABILITY = re.compile(r"stable|marginal|saddle\((\d+)\)")


def plot_state_space(
    states: Array,
    points: Array | None = None,
    *,
    labels: Array | None = None,
    theta: Array | None = None,
    roots: Array | None = None,
    stability: Sequence[str] | None = None,
    readout: Array | None = None,
    bias: float | None = None,
    trajectories: Sequence[Array] = (),
    trajectory_labels: Sequence[int] | None = None,
    label_names: Sequence[str] = ("negative", "positive"),
    max_states: int = 4000,
    ax: Axes | None = None,
) -> Figure:
    r"""Draw visited states, slow points, roots and the readout in the first two components.

    Components are those of the states: a state is drawn at
    :math:`(v_1 \cdot (h - \bar h), v_2 \cdot (h - \bar h))`. The line readout = 0 is where
    :math:`w \cdot h + b = 0` crosses that plane through the mean.

    Parameters
    ----------
    states : array, shape (M, N)
        Visited states, M >= 1.
    points : array, shape (P, N), optional
        Slow points.
    labels : array of int or bool, shape (M,), optional
        Class of each state, an index into ``label_names``; for two classes also -1 and 1.
    theta : array, shape (P,), optional
        Coordinate of the slow points, their color.
    roots : array, shape (R, N), optional
        Fixed points, drawn as crosses.
    stability : sequence of str, length R, optional
        "stable", "marginal" or "saddle(k)" for each root, as in `PointSet.stability`.
    readout : array, shape (N,), optional
        Readout weights w in the full state, drawn as an arrow; PC1 is turned so that it rises.
    bias : float, optional
        Readout bias b; with it the line readout = 0 is drawn.
    trajectories : sequence of arrays, shape (T, N)
        Drawn as thin lines from a ring to a dot.
    trajectory_labels : sequence of int, optional
        Class of each trajectory.
    label_names : sequence of str
        Names of the classes.
    max_states : int, >= 1
        At most this many states are drawn, evenly picked; all enter the components.
    ax : Axes, optional
        Default: a new figure.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        Wrong shapes, NaN, no states, unknown labels or stability.

    References
    ----------
    MWGGS (Maheswaranathan, Williams, Golub, Ganguli, Sussillo 2019, arXiv:1906.10720), figure 2.

    Examples
    --------
    From library objects: ``plot_state_space(trajectory.states[trajectory.mask], points.state,
    theta=line.theta, readout=w, bias=b)``.

    >>> states = [[-2.0, 0.1, 0], [0, -0.1, 0], [2, 0.1, 0]]
    >>> figure = plot_state_space(states, [[0.0, 0, 0]], theta=[0.5], labels=[0, 0, 1])
    >>> figure.axes[0].get_xlabel()
    'PC1 (99.8 % of variance)'
    """
    states = numbers("states", states, ("M", "N"))
    M, N = states.shape
    if M == 0 or N == 0:
        raise ValueError(f"states must hold at least one state, got shape {states.shape}")
    points = np.zeros((0, N)) if points is None else numbers("points", points, ("P", N))
    roots = np.zeros((0, N)) if roots is None else numbers("roots", roots, ("R", N))
    theta = None if theta is None else numbers("theta", theta, (len(points),))
    kinds = None if stability is None else _stability(stability, len(roots))
    w = None if readout is None else numbers("readout", readout, (N,))
    paths = [numbers(f"trajectories[{i}]", p, ("T", N)) for i, p in enumerate(trajectories)]
    classes = None if labels is None else _classes("labels", labels, M, label_names)
    path_classes = None
    if trajectory_labels is not None:
        path_classes = _classes("trajectory_labels", trajectory_labels, len(paths), label_names)
    check_count("max_states", max_states)
    if bias is not None:
        check_range("bias", bias)
        if w is None:
            raise ValueError("bias needs readout: the line is where readout . h + bias = 0")

    mean, axes, share = principal_axes(states)
    if w is not None and w @ axes[0] < 0:
        axes[0] *= -1
    flat = {"states": states, "points": points, "roots": roots}
    flat = {name: (part - mean) @ axes.T for name, part in flat.items()}
    lines = [(path - mean) @ axes.T for path in paths]
    caption = "Visited states in their first two principal components."
    if len(points):
        caption = caption[:-1] + ", with the slow points of the network without input."

    extent = np.concatenate([*flat.values(), *lines])
    x_range, y_range = limits(extent[:, 0]), limits(extent[:, 1])
    size = framed(x_range[1] - x_range[0], y_range[1] - y_range[0])
    with canvas(ax, caption, size=size) as (figure, ax):
        drawn = np.arange(0, M, -(-M // int(max_states)))
        _cloud(ax, flat["states"][drawn], None if classes is None else classes[drawn], label_names)
        _paths(ax, lines, path_classes, label_names, named=classes is None)
        if len(points):
            color: Any = BLACK
            if theta is not None:
                color = color_scale(ax, theta, "θ of the slow points")(theta)
            ax.scatter(
                flat["points"][:, 0],
                flat["points"][:, 1],
                s=20,
                c=color,
                edgecolors="white",
                linewidths=0.4,
                zorder=5,
                label="slow points",
            )
        _crosses(ax, flat["roots"], kinds)
        if w is not None:
            _readout(ax, axes @ w, float(w @ mean), bias, x_range[1] - x_range[0])
        ax.set_xlim(x_range, auto=True)  # auto: the equal scale may widen one of them
        ax.set_ylim(y_range, auto=True)
        ax.set(
            xlabel=f"PC1 ({100 * share[0]:.1f} % of variance)",
            ylabel=f"PC2 ({100 * share[1]:.1f} % of variance)",
        )
        ax.set_aspect("equal", adjustable="datalim")
        if len(ax.get_legend_handles_labels()[0]) > 1:
            legend(ax, where="above", columns=3)
        return figure


def _cloud(ax: Axes, xy: np.ndarray, classes: np.ndarray | None, label_names: Any) -> None:
    """Draw the states; classes are mixed so that none hides another."""
    look: dict[str, Any] = {"s": 6, "linewidths": 0, "rasterized": True, "zorder": 1}
    if classes is None:
        ax.scatter(*xy.T, color=SKY, alpha=0.35, **look)
        ax.scatter([], [], s=20, linewidths=0, color=SKY, label="states")
        return
    order = np.random.default_rng(0).permutation(len(xy))
    colors = np.array([CLOUD[c % len(CLOUD)] for c in classes])
    ax.scatter(xy[order, 0], xy[order, 1], c=colors[order], alpha=0.3, **look)
    for c in np.unique(classes):
        name = f"states, {escape(label_names[c])}"
        ax.scatter([], [], s=20, linewidths=0, color=CLOUD[c % len(CLOUD)], label=name)


def _paths(
    ax: Axes,
    lines: list[np.ndarray],
    classes: np.ndarray | None,
    label_names: Any,
    *,
    named: bool,
) -> None:
    """Draw trajectories from a ring to a dot."""
    from matplotlib.patheffects import withStroke

    halo = [withStroke(linewidth=2.6, foreground="white")]
    seen = set()
    for i, line in enumerate(lines):
        c = -1 if classes is None else int(classes[i])
        color = BLACK if c < 0 else LINES[c % len(LINES)]
        name = "trajectory" if c < 0 else f"trajectory, {escape(label_names[c])}"
        label = "_" if c in seen else name
        seen.add(c)
        ax.plot(*line.T, "-", color=color, linewidth=1.1, zorder=3, label=label, path_effects=halo)
        if len(line):
            ring: dict[str, Any] = {
                "marker": "o",
                "markeredgecolor": color,
                "linestyle": "none",
                "zorder": 4,
            }
            ax.plot(*line[:1].T, markersize=5, markerfacecolor="white", label="_", **ring)
            ax.plot(*line[-1:].T, markersize=6, markerfacecolor=color, label="_", **ring)


def _crosses(ax: Axes, xy: np.ndarray, kinds: list[str] | None) -> None:
    """Draw roots by stability."""
    if not len(xy):
        return
    look: dict[str, Any] = {"marker": "X", "s": 60, "linewidths": 0.9, "zorder": 6}
    if kinds is None:
        ax.scatter(*xy.T, color=BLACK, edgecolors="white", label="roots", **look)
        return
    for kind in sorted(set(kinds), key=lambda kind: (kind != "stable", kind)):
        there = np.array([k == kind for k in kinds])
        match = STABILITY.fullmatch(kind)
        unstable = int(match[1]) if match and match[1] else 0
        face = {"stable": BLACK, "marginal": GRAY}.get(kind)
        face = face or ("white", PINK, ORANGE)[min(unstable, 3) - 1]
        edge = "white" if kind == "stable" else BLACK
        label = f"root, {kind}" + (f" × {there.sum()}" if there.sum() > 1 else "")
        ax.scatter(*xy[there].T, color=face, edgecolors=edge, label=label, **look)


def _readout(ax: Axes, w: np.ndarray, at_mean: float, bias: float | None, width: float) -> None:
    """Draw the readout arrow, and the line readout = 0 where the bias is known."""
    from matplotlib.patheffects import withStroke

    size = float(np.hypot(*w))
    if size == 0:
        return  # the readout does not see this plane
    foot = np.zeros(2)
    if bias is not None:
        foot = -(at_mean + bias) * w / size**2
        across = foot + np.array([-w[1], w[0]]) / size
        ax.axline(
            (foot[0], foot[1]),
            (across[0], across[1]),
            color=BLACK,
            linestyle="--",
            linewidth=1,
            zorder=2,
            label="readout = 0",
        )
        if np.abs(foot).max() > width:
            foot = np.zeros(2)  # the line is far outside
    tip = foot + 0.22 * width * w / size
    halo = [withStroke(linewidth=3.2, foreground="white")]
    arrow: dict[str, Any] = {
        "path_effects": halo,
        "mutation_scale": 14,
        "arrowstyle": "-|>",
        "color": BLACK,
        "linewidth": 1.8,
        "shrinkA": 0,
        "shrinkB": 0,
    }
    ax.annotate("", xy=(tip[0], tip[1]), xytext=(foot[0], foot[1]), arrowprops=arrow, zorder=7)
    ax.annotate(
        "readout",
        xy=(tip[0], tip[1]),
        xytext=(4, 4),
        textcoords="offset points",
        path_effects=halo,
        zorder=8,
    )


def _stability(stability: Sequence[str], n: int) -> list[str]:
    kinds = names("stability", stability, n)
    for kind in kinds:
        if not STABILITY.fullmatch(kind):
            raise ValueError(f"stability must be 'stable', 'marginal' or 'saddle(k)', got {kind!r}")
    return kinds


def _classes(name: str, value: Any, n: int, label_names: Sequence[str]) -> np.ndarray:
    """Return labels as indices into ``label_names``."""
    classes = numbers(name, value, (n,))
    if len(label_names) == 2 and np.isin(classes, (-1, 1)).all() and (classes == -1).any():
        classes = (classes + 1) / 2
    known = np.isin(classes, np.arange(len(label_names)))
    if not known.all():
        raise ValueError(
            f"{name} must be in 0..{len(label_names) - 1} (indices into label_names), "
            f"got {classes[~known][0]:g}"
        )
    return classes.astype(int)
