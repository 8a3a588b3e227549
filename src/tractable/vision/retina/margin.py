"""A linear classifier with the largest soft margin, exact, from the Gram matrix of its examples.

Newton's method on the squared hinge loss ends at the minimum after a few systems of equations, also
where features are not scaled and coordinate descent does not arrive.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg

from tractable.core.checks import as_floats, check_finite, check_range, check_shape

__all__ = ["MarginFit", "fit_margin"]

STEPS = 100
HALVINGS = 30
TOLERANCE = 1e-8


@dataclass(frozen=True, eq=False)
class MarginFit:
    """A linear classifier, by the weights of its examples.

    Parameters
    ----------
    weights : ndarray of float64, shape (n,)
        The classifier is the sum of the examples times these; 0 beyond the margin.
    objective : float
        What was minimized.
    n_steps : int
        Systems of equations that were solved.
    converged : bool
        Whether the gradient vanishes, to 1e-8 of the weight of an example on the cut, 2 C,
        or what rounding of the scores allows.
    """

    weights: np.ndarray
    objective: float
    n_steps: int
    converged: bool


def fit_margin(gram: np.ndarray, y: np.ndarray, C: float = 1.0) -> MarginFit:
    r"""Minimize :math:`\tfrac12 |w|^2 + C \sum_i \max(0, 1 - y_i w \cdot x_i)^2`, (R17).

    Parameters
    ----------
    gram : ndarray, shape (n, n)
        Inner products of the examples; with 1 added everywhere the classifier has an offset that
        is shrunk like a weight, as in liblinear.
    y : ndarray, shape (n,)
        Classes, -1 and 1, both present.
    C : float
        Larger than 0: how much a violated margin costs.

    Returns
    -------
    MarginFit

    Raises
    ------
    ValueError
        Shapes that do not fit, other values than -1 and 1, NaN, C of 0 or less, a matrix that is
        no Gram matrix up to rounding.

    Notes
    -----
    At the minimum the examples s within the margin solve
    :math:`(G_{ss} + 1 / 2C)\, a_s = y_s`, all other weights are zero, and s are those with
    :math:`y_i (G a)_i < 1`.

    References
    ----------
    Chapelle 2007, Neural Computation 19, 1155-1178, doi:10.1162/neco.2007.19.5.1155

    Examples
    --------
    >>> x, y = np.array([[-2.0], [-1.0], [1.0], [3.0]]), np.array([-1.0, -1.0, 1.0, 1.0])
    >>> fit = fit_margin(x @ x.T, y)
    >>> round(float(fit.weights @ x[:, 0]), 6), fit.converged  # 2 C (1 - w) 2 = w
    (0.8, True)
    """
    y = as_floats("y", y)
    gram = as_floats("gram", gram)
    check_range("C", C, 0.0, open_low=True)
    check_finite("C", float(C))
    if y.ndim != 1 or set(np.unique(y).tolist()) != {-1.0, 1.0}:
        raise ValueError(
            f"y must be one row of -1 and 1, both present, got shape {y.shape} with "
            f"{np.unique(y)[:5].tolist()}"
        )
    check_shape("gram", gram.shape, (len(y), len(y)))
    check_finite("gram", gram)
    gram = (gram + gram.T) / 2  # products in single precision are not quite symmetric
    weights, scores = np.zeros(len(y)), np.zeros(len(y))
    value, inside = _objective(weights, scores, y, C), np.ones(len(y), dtype=bool)
    for step in range(1, STEPS + 1):
        target = np.zeros(len(y))
        system = gram[np.ix_(inside, inside)]
        system.flat[:: len(system) + 1] += 1 / (2 * C)
        try:
            factor = linalg.cho_factor(system, overwrite_a=True, check_finite=False)
        except linalg.LinAlgError as error:
            raise ValueError(
                "gram must be positive semidefinite up to rounding far below 1 / 2C = "
                f"{1 / (2 * C):.3g}, got entries up to {np.abs(gram).max():.3g}; divide the "
                "features by a constant or standardize them"
            ) from error
        target[inside] = linalg.cho_solve(factor, y[inside], check_finite=False)
        ahead = gram[:, inside] @ target[inside]
        size = 1.0
        for _ in range(HALVINGS):
            new, new_scores = (
                weights + size * (target - weights),
                scores + size * (ahead - scores),
            )
            new_value = _objective(new, new_scores, y, C)
            if new_value <= value:
                break
            size /= 2
        weights, scores, value = new, new_scores, new_value
        # an example on the margin may fall to either side by rounding: its slack is nearly 0
        residual = np.abs(weights - 2 * C * y * np.maximum(0, 1 - y * scores)).max()
        rounding = 16 * np.finfo(float).eps * np.abs(gram).max() * np.abs(weights).sum()
        if residual <= 2 * C * (TOLERANCE + rounding):
            return MarginFit(weights, value, step, True)
        inside = y * scores < 1
    return MarginFit(weights, value, STEPS, False)


def _objective(weights: np.ndarray, scores: np.ndarray, y: np.ndarray, C: float) -> float:
    slack = np.maximum(0.0, 1.0 - y * scores)
    return float(0.5 * weights @ scores + C * (slack @ slack))
