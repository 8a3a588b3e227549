"""What a search has found: which parameters mattered, and the front of cost against score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tractable.core.checks import check_finite, check_range

__all__ = ["expected_best", "parameter_importance", "pareto_front"]


def parameter_importance(
    trials: Mapping[str, Sequence[Any] | np.ndarray],
    score: ArrayLike,
    *,
    n_repeats: int = 10,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """Return how much of the score's variance each parameter explains in held-out trials.

    A forest of regression trees learns the score from the parameters, on four fifths of the
    trials; then one parameter is shuffled among the other trials, and the loss of R^2 is its
    importance. Interactions count for every parameter that takes part.

    Parameters
    ----------
    trials : mapping of str to sequence, each of length n
        Values by parameter: numbers, or text; None, NaN and "" where a trial does not have it.
    score : array_like, shape (n,)
        Of each trial, finite; n >= 20.
    n_repeats : int
        Shufflings, times five splits.
    seed : int
        Decides splits, trees and shufflings.

    Returns
    -------
    dict of str to (float, float)
        Mean loss of R^2 and its standard deviation over the splits, the largest first; about 0
        where a parameter does not matter.

    Notes
    -----
    Trials that TPE has drawn are not spread evenly: what it avoided early is judged from few.

    References
    ----------
    Breiman 2001, doi:10.1023/A:1010933404324 (permutation importance).

    Examples
    --------
    >>> random = np.random.default_rng(0)
    >>> x, y = random.random(200), random.random(200)
    >>> found = parameter_importance({"x": x, "y": y}, 3 * x)
    >>> list(found), found["x"][0] > 1, abs(found["y"][0]) < 0.05
    (['x', 'y'], True, True)
    """
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.model_selection import KFold

    target = np.asarray(score, dtype=float)
    check_finite("score", target)
    check_range("number of trials", len(target), 20)
    if target.std() == 0:
        raise ValueError("score must differ between trials, got one value")
    groups = {name: _columns(name, values, len(target)) for name, values in trials.items()}
    groups = {name: columns for name, columns in groups.items() if columns.shape[1]}
    if not groups:
        raise ValueError("trials must have a parameter that differs between them")
    random = np.random.default_rng(seed)
    losses: dict[str, list[float]] = {name: [] for name in groups}
    design = np.concatenate(list(groups.values()), axis=1)
    edges = np.cumsum([0, *(columns.shape[1] for columns in groups.values())])
    for train, test in KFold(5, shuffle=True, random_state=seed).split(design):
        forest = RandomForestRegressor(200, min_samples_leaf=2, max_features=0.5, random_state=seed)
        forest.fit(design[train], target[train])
        variance = target[test].var() or 1.0
        error = np.mean((forest.predict(design[test]) - target[test]) ** 2)
        for i, name in enumerate(groups):
            one = slice(edges[i], edges[i + 1])
            shuffled = np.tile(design[test], (n_repeats, 1))
            for row in range(n_repeats):
                rows = slice(row * len(test), (row + 1) * len(test))
                shuffled[rows, one] = design[random.permutation(test), one]
            worse = np.mean((forest.predict(shuffled) - np.tile(target[test], n_repeats)) ** 2)
            losses[name].append((worse - error) / variance)
    found = {name: (float(np.mean(v)), float(np.std(v))) for name, v in losses.items()}
    return dict(sorted(found.items(), key=lambda item: -item[1][0]))


def pareto_front(cost: ArrayLike, score: ArrayLike) -> np.ndarray:
    """Return the indices of those that no other one beats in cost and score, in order of cost.

    Parameters
    ----------
    cost, score : array_like, shape (n,)
        The smaller cost and the larger score are better; pairs with a NaN are left out.

    Examples
    --------
    >>> pareto_front([1, 2, 3, 3], [0.2, 0.1, 0.9, 0.5]).tolist()
    [0, 2]
    """
    costs, scores = np.asarray(cost, dtype=float), np.asarray(score, dtype=float)
    if costs.shape != scores.shape or costs.ndim != 1:
        raise ValueError(f"cost and score must have one length, got {costs.shape}, {scores.shape}")
    kept = np.flatnonzero(np.isfinite(costs) & np.isfinite(scores))
    order = kept[np.lexsort((-scores[kept], costs[kept]))]
    best, front = -np.inf, []
    for index in order:
        if scores[index] > best:
            best = scores[index]
            front.append(index)
    return np.array(front, dtype=int)


def _columns(name: str, values: Sequence[Any] | np.ndarray, n: int) -> np.ndarray:
    """Return numbers as one column, text as one column for each value, and where it is missing."""
    listed = list(values)
    if len(listed) != n:
        raise ValueError(
            f"trials[{name!r}] must have one value for each score, {n}, got {len(listed)}"
        )
    missing = np.array([v is None or v == "" or v != v for v in listed])
    numbers = all(m or isinstance(v, int | float | np.number | np.bool_)
                  for v, m in zip(listed, missing, strict=True))  # fmt: skip
    if numbers:
        column = np.array([np.nan if m else float(v) for v, m in zip(listed, missing, strict=True)])
        column[missing] = np.nanmedian(column) if not missing.all() else 0.0
        columns = [column]
    else:
        texts = np.array([str(v) for v in listed])
        columns = [texts == text for text in np.unique(texts[~missing])]
    table = np.stack([*columns, missing], axis=1).astype(float)
    return table[:, table.std(axis=0) > 0]


def expected_best(score: ArrayLike, n: int) -> np.ndarray:
    r"""Return the mean best of 1, 2, ..., n draws with replacement from given scores.

    .. math:: E[\max_{i \le k} s_i] = \sum_{j=1}^{m} s_{(j)} \big[(j/m)^k - ((j-1)/m)^k\big]

    Parameters
    ----------
    score : array_like, shape (m,)
        Finite; m >= 1.
    n : int
        Draws, >= 1.

    Examples
    --------
    >>> expected_best([0.0, 1.0], 3).tolist()
    [0.5, 0.75, 0.875]
    """
    s = np.sort(np.asarray(score, dtype=float).ravel())
    check_finite("score", s)
    check_range("n", n, 1)
    if not len(s):
        raise ValueError("score must hold one value or more, got none")
    share = np.arange(len(s) + 1) / len(s)
    k = np.arange(1, n + 1)[:, None]
    return np.asarray(np.diff(share**k, axis=1) @ s)
