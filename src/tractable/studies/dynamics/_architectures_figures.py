"""The pictures of the architectures study: one row for each data set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tractable import plot
from tractable.studies.dynamics._architectures_parts import NAMES, pairs
from tractable.studies.dynamics.dynamics_architectures import CELLS, part

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from tractable.studies.dynamics.dynamics_architectures import DynamicsArchitectures

COLORS = {cell: f"C{i}" for i, cell in enumerate(CELLS)}


def figures(
    study: DynamicsArchitectures, theory: xr.Dataset, measured: xr.Dataset
) -> dict[str, Figure]:
    """Return all pictures by name."""
    return {
        "state_spaces": _state_spaces(study, theory, measured),
        "time_constants": _time_constants(study, theory, measured),
        "word_effects": _word_effects(study, theory, measured),
        "one_step": _one_step(study, theory),
        "shared": _shared(study, theory, measured),
    }


def _grid(study: DynamicsArchitectures, **subplots: Any) -> tuple[Figure, np.ndarray]:
    rows, columns = len(study.texts), len(study.cells)
    size = (2.7 * columns + 0.6, 2.5 * rows + 0.6)
    figure, axes = plot.new(rows, columns, size=size, squeeze=False, **subplots)
    for column, cell in enumerate(study.cells):
        axes[0, column].set_title(NAMES[cell])
    return figure, axes


def _state_spaces(study: DynamicsArchitectures, theory: xr.Dataset, measured: xr.Dataset) -> Figure:
    figure, axes = _grid(study)
    for row, name in enumerate(study.texts):
        for column, cell in enumerate(study.cells):
            ax = axes[row, column]
            one, seen = part(theory, f"{name}_{cell}_0"), part(measured, f"{name}_{cell}_0")
            states, points = seen.state.values, seen.point_state.values
            mean = states.mean(0)
            plane = np.linalg.svd(states - mean, full_matrices=False)[2][:2]
            toward = plane @ one.readout.values
            plane[0] *= np.sign(toward[0]) or 1.0  # the readout rises to the right
            for label, color in ((0, "C3"), (1, "C0")):
                chosen = (states[seen.state_label.values == label] - mean) @ plane.T
                ax.plot(*chosen.T, ".", color=color, markersize=1.2, alpha=0.25, zorder=1)
            at = (points - mean) @ plane.T
            drawn = ax.scatter(*at.T, c=one.theta.values, s=6, cmap="viridis", zorder=3)
            if column == 0:
                ax.set_ylabel(f"{name}\ncomponent 2")
            ax.set_xlabel("component 1")
            drawn.set_clim(-1, 1)
    bar = figure.colorbar(drawn, ax=axes, shrink=0.6, label="position θ along the line")
    bar.ax.set_label("colorbar")
    figure.set_label(
        "States that each network visits on held-out texts in the plane of their two largest "
        "principal components (blue: positive texts, pink: negative), and its slow points, colored "
        "by their position along the line. The readout rises to the right."
    )
    return figure


def _time_constants(
    study: DynamicsArchitectures, theory: xr.Dataset, measured: xr.Dataset
) -> Figure:
    figure, axes = _grid(study, sharey="row")
    for row, name in enumerate(study.texts):
        for column, cell in enumerate(study.cells):
            ax = axes[row, column]
            one, seen = part(theory, f"{name}_{cell}_0"), part(measured, f"{name}_{cell}_0")
            order = np.argsort(one.line_theta.values)
            for mode in range(min(3, one.sizes["mode"])):
                tau = one.tau.values[order, mode].clip(0.1, 1e5)
                plot.theory(ax, one.line_theta.values[order], tau, label=f"mode {mode + 1}")
            ax.axhline(float(seen.median_length), color="0.5", ls=":", label="median text")
            ax.set(yscale="log", xlabel="position θ")
            if column == 0:
                ax.set_ylabel(f"{name}\ntime constant (words)")
    axes[0, -1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.set_label(
        "Time constants of the three slowest modes along the line of slow points of each network; "
        "dotted: the median length of a text."
    )
    return figure


def _word_effects(study: DynamicsArchitectures, theory: xr.Dataset, measured: xr.Dataset) -> Figure:
    figure, axes = _grid(study)
    for row, name in enumerate(study.texts):
        for column, cell in enumerate(study.cells):
            ax = axes[row, column]
            one, seen = part(theory, f"{name}_{cell}_0"), part(measured, f"{name}_{cell}_0")
            middle = int(np.abs(one.shown_readout.values).argmin())
            x, y = one.word_effect.values[middle], seen.word_effect.values[middle]
            if x.size:
                span = [min(x.min(), y.min()), max(x.max(), y.max())]
                plot.theory(ax, span, span, color="0.4", label="equal")
                ax.plot(x, y, ".", color=COLORS[cell], markersize=2.5, zorder=3)
            ax.set_xlabel("one mode (logit)")
            if column == 0:
                ax.set_ylabel(f"{name}\nnetwork (logit)")
    figure.set_label(
        "Effect of every frequent word on the logit half a median text later, at the slow point "
        "nearest to indecision: predicted from the slowest mode alone (across) and measured on the "
        "network (up). Line: equality."
    )
    return figure


def _one_step(study: DynamicsArchitectures, theory: xr.Dataset) -> Figure:
    figure, axes = _grid(study, sharey=True)
    for row, name in enumerate(study.texts):
        for column, cell in enumerate(study.cells):
            ax = axes[row, column]
            one = part(theory, f"{name}_{cell}_0")
            for model, color in (("linear", "C0"), ("identity", "0.5"), ("affine", "C1")):
                errors = np.sort(one.one_step_error.sel(model=model).values)
                share = (np.arange(len(errors)) + 0.5) / max(len(errors), 1)
                ax.plot(errors.clip(1e-5), share, "-", color=color, label=model)
            ax.set(xscale="log", xlabel="relative error")
            if column == 0:
                ax.set_ylabel(f"{name}\nshare of the steps")
    axes[0, -1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5), title="prediction")
    figure.set_label(
        "Error of the predicted next state relative to its size, cumulative over all steps: the "
        "linear theory at the nearest slow point, no change, and the best affine map."
    )
    return figure


def _shared(study: DynamicsArchitectures, theory: xr.Dataset, measured: xr.Dataset) -> Figure:
    figure, axes = plot.new(1, len(study.texts), size=(3.9 * len(study.texts) + 0.8, 3.6),
                            squeeze=False)  # fmt: skip
    for column, name in enumerate(study.texts):
        ax = axes[0, column]
        labels, weights, states = [], [], []
        for i, j, one, other in pairs(study, name):
            labels.append(f"{NAMES[one]} / {NAMES[other]}".replace(" RNN", ""))
            weights.append(float(theory.weight_correlation[i, j]))
            states.append(float(measured.alignment[i, j]))
        at = np.arange(len(labels))
        ax.plot(weights, at, "s", color="C0", label="word weights of the slowest mode, correlation")
        plot.measurement(ax, states, at, color="C1", label="states after the same texts, CKA")
        ax.set(xlabel="similarity", title=name, yticks=at, xlim=(0, 1.05))
        ax.set_yticklabels(labels if column == 0 else [""] * len(labels))
        ax.set_ylabel("architectures" if column == 0 else " ")
    axes[0, 0].legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=1)
    figure.set_label(
        "What two architectures trained on the same texts have in common: the weights that their "
        "slowest mode gives to the words, and the arrangement of their states (linear centered "
        "kernel alignment)."
    )
    return figure
