"""Test error measured on examples that are held out, where theory does not predict it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tractable.linear.students import HeldOut, StudentCurves, train_students

if TYPE_CHECKING:
    from tractable.linear.examples import Coordinates

__all__ = ["fold_curves"]

Floats = NDArray[np.float64]


def fold_curves(
    c: Coordinates,
    center: bool,
    n_folds: int,
    learning_rate: float,
    depth: int,
    init_strength: float,
    norm: str,
    max_steps: int,
    seed: int,
) -> StudentCurves:
    """Return the curves of students that are trained on all folds but one, each tested on that one.

    Means are those of the examples that are trained on. Those of all would tell the sum of the
    examples held out, and with fewer examples than inputs a network knows that sum by heart.

    Parameters
    ----------
    c : Coordinates
        The examples.
    center : bool
        Whether to take means away.
    n_folds : int
        At most the number of examples.
    learning_rate, depth, init_strength, norm, max_steps, seed
        As in `optimal_stopping`.
    """
    order = np.random.default_rng(seed).permutation(c.n_examples)
    parts = np.array_split(order, n_folds)
    kept = [np.setdiff1d(order, part) for part in parts]
    weight = [1 / len(part) if norm == "mean" else c.n_examples / len(part) for part in kept]

    means_x = [c.X[part].mean(0) if center else np.zeros(c.n_in) for part in kept]
    means_y = [c.Y[part].mean(0) if center else np.zeros(c.n_out) for part in kept]

    def statistics(rows: list[Any]) -> tuple[Floats, Floats, Floats]:
        xs = [c.X[part] - mean for part, mean in zip(rows, means_x, strict=True)]
        ys = [c.Y[part] - mean for part, mean in zip(rows, means_y, strict=True)]
        return (
            np.stack([y.T @ x for x, y in zip(xs, ys, strict=True)]),
            np.stack([x.T @ x for x in xs]),
            np.array([np.sum(y**2) for y in ys]),
        )

    yx, xx, energy = statistics(kept)
    scale = np.array(weight)[:, None, None]
    return train_students(
        yx * scale,
        None,
        cov_x=xx * scale,
        energy=energy * np.array(weight),
        held_out=HeldOut(*statistics(parts)),
        learning_rate=learning_rate,
        steps=max_steps,
        depth=depth,
        init_strength=init_strength,
        start="orthogonal",
        n_records=min(max_steps + 1, 500),
        seed=seed,
    )
