"""The space that is searched: cells, options of the gated cell, feedback edges, training."""

from __future__ import annotations

from typing import Any

from tractable.studies.vision.convrnn_graph import CELLS, EDGES, FLAGS, N_LAYERS

MOST = (12, 12, 12)  # channels


def suggest(trial: Any) -> dict[str, Any]:
    """Return the fields of one trial; options are drawn only where something has them."""
    cells = tuple(trial.suggest_categorical(f"cell_{i + 1}", CELLS) for i in range(N_LAYERS))
    channels = tuple(
        trial.suggest_int(f"channels_{i + 1}", 4, 12 + 4 * (i > 0), step=2) for i in range(N_LAYERS)
    )
    point: dict[str, Any] = {
        "cells": cells,
        "channels": channels,
        "learning_rate": trial.suggest_float("learning_rate", 1e-3, 3e-2, log=True),
        "weight_decay": trial.suggest_float("weight_decay", 1e-5, 1e-1, log=True),
        "init_scale": trial.suggest_float("init_scale", 0.5, 2.0, log=True),
    }
    filtered = ("vanilla", "ugrnn", "gru", "lstm", "intersection")
    kernels, norms = [3] * N_LAYERS, [False] * N_LAYERS
    for i, cell in enumerate(cells):
        if cell in filtered:
            kernels[i] = trial.suggest_categorical(f"kernel_{i + 1}", (1, 3))
            norms[i] = trial.suggest_categorical(f"norm_{i + 1}", (False, True))
    point |= {"kernels": tuple(kernels), "norms": tuple(norms)}
    if set(cells) & {"ugrnn", "gru", "lstm", "intersection"}:
        point["forget_bias"] = trial.suggest_float("forget_bias", -1.0, 4.0)
    if "rgc" in cells:
        point |= _reciprocal(trial)
    return point | _feedback(trial, cells)


def _reciprocal(trial: Any) -> dict[str, Any]:
    flags = [name for name in FLAGS if trial.suggest_categorical(name, (False, True))]
    point: dict[str, Any] = {"flags": tuple(flags)}
    for branch in ("tau", "gate"):
        kind, offset, bias = (f"{branch}_{part}" for part in ("nonlinearity", "offset", "bias"))
        point[f"{branch}_kernel"] = trial.suggest_categorical(f"{branch}_kernel", (1, 3))
        point[kind] = trial.suggest_categorical(kind, ("sigmoid", "tanh"))
        point[offset] = trial.suggest_float(offset, 0.5, 1.0)
        point[bias] = trial.suggest_float(bias, -4.0, 4.0)
    return point


def _feedback(trial: Any, cells: tuple[str, ...]) -> dict[str, Any]:
    edges = [edge for edge in EDGES if trial.suggest_categorical(f"edge_{edge}", (False, True))]
    if not edges:
        return {}
    point: dict[str, Any] = {
        "feedback": tuple(edges),
        "feedback_kernel": trial.suggest_categorical("feedback_kernel", (1, 3)),
        "feedback_activation": trial.suggest_categorical(
            "feedback_activation", ("identity", "elu")
        ),
        "feedback_separable": trial.suggest_categorical("feedback_separable", (False, True)),
    }
    if "rgc" in {cells[int(edge[-1]) - 1] for edge in edges}:
        point["feedback_entry"] = trial.suggest_categorical(
            "feedback_entry", ("input", "cell", "out")
        )
    return point
