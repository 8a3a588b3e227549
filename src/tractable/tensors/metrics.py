"""How close two decompositions are: overlaps, factor match score, errors, alignment."""

from __future__ import annotations

from typing import Any

import numpy as np

from tractable.core.checks import as_floats, check_finite
from tractable.tensors.cp import CP, as_cp

__all__ = ["factor_match_score", "nmse", "overlap", "permutation_align", "relative_error"]


def overlap(X: Any, Xhat: Any) -> np.ndarray:
    """Return M = xhat^T x / N_a of a factor and its estimate, (r, r): an order parameter of (T6).

    Examples
    --------
    >>> overlap(np.ones((4, 1)), np.full((4, 1), 0.5)).tolist()
    [[0.5]]
    """
    truth, found = _matrix("X", X), _matrix("Xhat", Xhat)
    if len(truth) != len(found):
        raise ValueError(f"X and Xhat must have as many rows, got {len(truth)} and {len(found)}")
    return found.T @ truth / len(truth)


def _matrix(name: str, value: Any) -> np.ndarray:
    array = _plain(name, value)
    return array[:, None] if array.ndim == 1 else array


def permutation_align(reference: Any, estimate: Any) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the order and signs in which the components of ``estimate`` are closest.

    The order maximizes the sum of products over modes of absolute cosines (linear assignment). A
    component changes sign in pairs of modes, so one that points the other way in an odd number of
    modes stays as it is in the last.

    Parameters
    ----------
    reference, estimate : AMPResult, CPTensor, (weights, factors), or sequence of (N_a, r)
        Of equal shape; ``estimate`` needs at least as many components.

    Returns
    -------
    order : ndarray of int, (r,)
        ``factor[:, order]`` stands beside the reference.
    signs : list of ndarray, (r,) each
        Of every mode, after the reordering.

    Examples
    --------
    >>> x = np.eye(3)[:, :2]
    >>> permutation_align([x, x], [-x[:, ::-1], -x[:, ::-1]])[0].tolist()
    [1, 0]
    """
    from scipy.optimize import linear_sum_assignment

    cosines = _cosines(as_cp(reference), as_cp(estimate))
    score = np.prod(np.abs(cosines), 0)
    rows, order = linear_sum_assignment(-score)
    signs = [np.where(c[rows, order] < 0, -1.0, 1.0) for c in cosines]
    odd = np.prod(signs, 0) < 0
    signs[-1] = np.where(odd, -signs[-1], signs[-1])
    return order, signs


def _cosines(a: CP, b: CP) -> np.ndarray:
    """Return the cosines of all pairs of components, (p, r_a, r_b)."""
    if [len(x) for x in a.factors] != [len(x) for x in b.factors]:
        raise ValueError(
            f"both must have the same shape, got {[len(x) for x in a.factors]} "
            f"and {[len(x) for x in b.factors]}"
        )
    if a.factors[0].shape[1] > b.factors[0].shape[1]:
        raise ValueError(
            f"the estimate must have at least as many components as the reference, got "
            f"{b.factors[0].shape[1]} and {a.factors[0].shape[1]}; swap them"
        )
    for x in (*a.factors, *b.factors):
        check_finite("factors", x)
    return np.stack([_unit(x).T @ _unit(y) for x, y in zip(a.factors, b.factors, strict=True)])


def _unit(x: np.ndarray) -> np.ndarray:
    norm = np.linalg.norm(x, axis=0)
    return x / np.where(norm > 0, norm, 1.0)


def factor_match_score(a: Any, b: Any, *, weights: bool = False, absolute: bool = True) -> float:
    r"""Return the factor match score of two decompositions: 1 if they are the same.

    .. math:: \frac1r \sum_\rho \prod_a |\cos(x_{a\rho}, y_{a\pi(\rho)})|

    The score is the product over modes of cosines, for the best matching of components.

    Parameters
    ----------
    a, b : AMPResult, CPTensor, (weights, factors), or sequence of (N_a, r)
        Of equal shape.
    weights : bool
        Multiply each term by ``1 - |w - v| / max(w, v)`` of the components' strengths.
    absolute : bool
        False keeps signs: a component that points the other way in one mode scores below 0.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(20, 2))
    >>> round(factor_match_score([x, x, x], [2 * x[:, ::-1], -x[:, ::-1], -x[:, ::-1]]), 9)
    1.0
    """
    from scipy.optimize import linear_sum_assignment

    first, second = as_cp(a), as_cp(b)
    if first.factors[0].shape[1] > second.factors[0].shape[1]:
        first, second = second, first
    score = np.prod(_cosines(first, second), 0)
    if absolute:
        score = np.abs(score)
    if weights:
        w, v = _strength(first)[:, None], _strength(second)[None, :]
        score = score * (1 - np.abs(w - v) / np.maximum(np.maximum(w, v), 1e-300))
    rows, columns = linear_sum_assignment(-score)
    return float(score[rows, columns].mean())


def _strength(cp: CP) -> np.ndarray:
    return np.abs(cp.weights) * np.prod([np.linalg.norm(x, axis=0) for x in cp.factors], 0)


def relative_error(estimate: Any, truth: Any) -> float:
    """Return ||estimate - truth||^2 / ||truth||^2.

    Examples
    --------
    >>> relative_error(np.array([1.0, 2.0]), np.array([1.0, 1.0]))
    0.5
    """
    found, known = (_plain(name, v) for name, v in (("estimate", estimate), ("truth", truth)))
    if found.shape != known.shape:
        raise ValueError(f"estimate must have the shape of truth, {known.shape}, got {found.shape}")
    power = float((known**2).sum())
    if power == 0:
        raise ValueError("truth must not be zero everywhere: the error is relative to it")
    return float(((found - known) ** 2).sum()) / power


def nmse(estimate: Any, truth: Any) -> float:
    """Return the mean squared error over the variance of the truth: 1 for predicting its mean.

    Examples
    --------
    >>> nmse(np.array([2.0, 2.0]), np.array([1.0, 3.0]))
    1.0
    """
    known = _plain("truth", truth)
    variance = float(known.var())
    if variance == 0:
        raise ValueError("truth must not be constant: the error is relative to its variance")
    found = _plain("estimate", estimate)
    if found.shape != known.shape:
        raise ValueError(f"estimate must have the shape of truth, {known.shape}, got {found.shape}")
    return float(((found - known) ** 2).mean()) / variance


def _plain(name: str, value: Any) -> np.ndarray:
    array = as_floats(name, value.detach().cpu() if hasattr(value, "detach") else value)
    check_finite(name, array)
    return array
