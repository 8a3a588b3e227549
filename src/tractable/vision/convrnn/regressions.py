"""Linear maps from features to many responses: ridge with its path, partial least squares."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tractable.core.checks import as_floats, check_count, check_finite, check_range

__all__ = ["LinearMap", "Ridge", "pls", "pls_each", "ridge"]

TOLERANCE = 1e-6
MAX_ITER = 500
LEFT = 1e-12  # of the cross product: below it is the rounding of what the components have taken


@dataclass(frozen=True)
class LinearMap:
    """Predicts responses as ``(x - x_mean) @ weights + y_mean``.

    Parameters
    ----------
    weights : ndarray, shape (p, q)
        Of features for responses.
    x_mean : ndarray, shape (p,)
        Mean of the training features.
    y_mean : ndarray, shape (q,)
        Mean of the training responses.
    penalty : ndarray, shape (q,), optional
        Of a ridge, as chosen.
    """

    weights: np.ndarray
    x_mean: np.ndarray
    y_mean: np.ndarray
    penalty: np.ndarray | None = None

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Return predictions (n, q) of features (n, p)."""
        return (features - self.x_mean) @ self.weights + self.y_mean


class Ridge:
    r"""The spectral decomposition of training features, shared by all penalties and responses.

    With :math:`X = U S V^T` (centered) the weights are
    :math:`V (S^2 + \lambda)^{-1} S U^T Y`, and the error of leaving out image i is

    .. math:: e_{-i} = (I - H_{ii})^{-1} (Y - \hat Y)_i, \quad
        H = \tfrac1N 1 1^T + U \frac{S^2}{S^2 + \lambda} U^T

    with the diagonal block :math:`H_{ii}` of the image's rows. Equations (C13), (C14).

    Parameters
    ----------
    features : ndarray, shape (n, p)
        Rows of one image stand together.
    block : int
        Rows of each image: 1, or the number of time bins.
    """

    def __init__(self, features: np.ndarray, block: int = 1) -> None:
        n, p = features.shape
        self.block = block
        self.x_mean = features.mean(0)
        X = features - self.x_mean
        # Squared singular values below the precision of the product are noise.
        if p <= n:
            values, V = np.linalg.eigh(X.T @ X)
        else:
            values, U = np.linalg.eigh(X @ X.T)
        keep = values > max(float(values[-1]), 0.0) * 1e-13 + 1e-300
        self.values = values[keep]
        root = np.sqrt(self.values)
        if p <= n:
            self.V = V[:, keep]
            self.U = X @ self.V / root
        else:
            self.U = U[:, keep]
            self.V = X.T @ self.U / root

    @property
    def scale(self) -> float:
        """Mean squared singular value: the unit in which penalties are natural."""
        return float(self.values.mean()) if self.values.size else 1.0

    def fit(self, responses: np.ndarray, penalties: np.ndarray) -> LinearMap:
        """Return the map whose penalty has, for each response, the least left-out error.

        Parameters
        ----------
        responses : ndarray, shape (n, q)
            Of the training images.
        penalties : ndarray
            Candidates, > 0; a single one is taken as it is.
        """
        chosen = np.zeros(responses.shape[1], dtype=int)
        if len(penalties) > 1:
            chosen = np.argmin(self.left_out(responses, penalties), 0)
        return self.solve(responses, penalties[chosen])

    def solve(self, responses: np.ndarray, penalty: np.ndarray) -> LinearMap:
        """Return the map of penalties that are given, one for each response (q,)."""
        y_mean = responses.mean(0)
        root = np.sqrt(self.values)[:, None]
        weights = self.V @ (root / (root**2 + penalty) * (self.U.T @ (responses - y_mean)))
        return LinearMap(weights, self.x_mean, y_mean, penalty)

    def left_out(self, responses: np.ndarray, penalties: np.ndarray) -> np.ndarray:
        """Return the mean squared error of leaving out each image, (penalties, q)."""
        Yc = responses - responses.mean(0)
        Z, n, T = self.U.T @ Yc, len(Yc), self.block
        errors = np.empty((len(penalties), Yc.shape[1]))
        Ub = self.U.reshape(n // T, T, -1)
        for k, penalty in enumerate(penalties):
            shrink = self.values / (self.values + penalty)
            residual = Yc - self.U @ (shrink[:, None] * Z)
            if T == 1:
                left = residual / (1.0 - 1.0 / n - (self.U**2 @ shrink))[:, None]
            else:
                hat = (Ub * shrink) @ Ub.transpose(0, 2, 1) + 1.0 / n
                left = np.linalg.solve(np.eye(T) - hat, residual.reshape(n // T, T, -1))
            errors[k] = (left**2).reshape(n, -1).mean(0)
        return errors


def ridge(features: ArrayLike, responses: ArrayLike, penalties: ArrayLike) -> LinearMap:
    """Fit a ridge regression; each response takes the penalty of least leave-one-out error.

    Parameters
    ----------
    features : array_like, shape (n, p)
        Not normalized; the intercept is not penalized.
    responses : array_like, shape (n, q)
        All responses share one decomposition of the features.
    penalties : array_like
        Candidates, > 0.

    Returns
    -------
    LinearMap

    Notes
    -----
    Costs one eigendecomposition of min(n, p), whatever the number of penalties and responses.

    Examples
    --------
    >>> X = np.array([[0.0], [1.0], [2.0]])
    >>> fit = ridge(X, 3.0 * X + 1.0, [1e-9])
    >>> fit(np.array([[3.0]])).round(6)
    array([[10.]])
    """
    X, Y = _pair(features, responses)
    return Ridge(X).fit(Y, candidates(penalties))


def candidates(penalties: ArrayLike) -> np.ndarray:
    """Return the penalties to choose from, one or more, > 0."""
    found = np.atleast_1d(as_floats("penalties", penalties))
    check_finite("penalties", found)
    if found.ndim != 1 or not found.size or found.min() <= 0:
        raise ValueError(f"penalties must be numbers > 0, got {penalties!r}")
    return found


def pls(
    features: ArrayLike,
    responses: ArrayLike,
    n_components: int = 25,
    *,
    tolerance: float = TOLERANCE,
    max_iter: int = MAX_ITER,
) -> LinearMap:
    r"""Fit partial least squares with components that all responses share (PLS2).

    Each component's weights are the dominant left singular vector of :math:`X^T Y` (C15); then
    :math:`X^T Y` loses what the component explains.

    Parameters
    ----------
    features : array_like, shape (n, p)
        Centered here, not scaled.
    responses : array_like, shape (n, q)
        Centered here, not scaled.
    n_components : int
        At most min(n - 1, p).
    tolerance, max_iter : float, int
        Where power iterations stop: squared change of the weights. The defaults and the start are
        scikit-learn's, hence the same predictions; they are steps towards the singular vector, not
        the vector itself.

    Returns
    -------
    LinearMap

    Raises
    ------
    ValueError
        More components than images or features allow.

    References
    ----------
    Dayal, MacGregor 1997, doi:10.1002/(SICI)1099-128X(199701)11:1<73::AID-CEM435>3.0.CO;2-#: the
    cross product is deflated instead of the features.
    """
    X, Y = _pair(features, responses)
    _check_components(n_components, X)
    check_range("tolerance", tolerance, 0.0)
    check_count("max_iter", max_iter)
    x_mean, y_mean = X.mean(0), Y.mean(0)
    X, Y = X - x_mean, Y - y_mean
    S = X.T @ Y
    least = LEFT * np.linalg.norm(S)
    P: list[np.ndarray] = []
    Q: list[np.ndarray] = []
    R: list[np.ndarray] = []
    Y_now = Y
    for _ in range(n_components):
        w = _dominant(S, Y_now, tolerance, max_iter) if np.linalg.norm(S) > least else None
        if w is None:  # features of lower rank allow no more components
            break
        r = w - sum((p @ w) * old for p, old in zip(P, R, strict=True))
        t = X @ r
        norm = t @ t
        p, q = X.T @ t / norm, S.T @ r / norm
        S = S - np.outer(p, q) * norm
        Y_now = Y_now - np.outer(t, q)
        P.append(p)
        Q.append(q)
        R.append(r)
    weights = np.array(R).T @ np.array(Q) if R else np.zeros((X.shape[1], Y.shape[1]))
    return LinearMap(weights, x_mean, y_mean)


def _dominant(S: np.ndarray, Y: np.ndarray, tolerance: float, max_iter: int) -> np.ndarray | None:
    """Return the dominant left singular vector of S by power iterations in its small space."""
    varied = np.flatnonzero((np.abs(Y) > np.finfo(float).eps).any(0))
    if not varied.size:
        return None
    G = S.T @ S
    a = np.zeros(S.shape[1])
    a[varied[0]] = 1.0  # the start of NIPALS: the first response that varies
    size = np.sqrt(a @ G @ a)
    if not size > 0:
        return None
    a /= size
    for _ in range(max_iter - 1):
        if S.shape[1] == 1:
            break
        new = G @ a
        new /= np.sqrt(new @ G @ new)
        step = new - a
        a = new
        if step @ G @ step < tolerance:
            break
    w = S @ a
    return w / np.linalg.norm(w)


def pls_each(features: ArrayLike, responses: ArrayLike, n_components: int = 25) -> LinearMap:
    """Fit partial least squares for each response alone (PLS1), all of them in one pass.

    Parameters
    ----------
    features : array_like, shape (n, p)
        Centered here, not scaled.
    responses : array_like, shape (n, q)
        Each has components of its own.
    n_components : int
        At most min(n - 1, p).

    Returns
    -------
    LinearMap
    """
    X, Y = _pair(features, responses)
    _check_components(n_components, X)
    x_mean, y_mean = X.mean(0), Y.mean(0)
    X, Y = X - x_mean, Y - y_mean
    S = X.T @ Y
    start = np.linalg.norm(S, axis=0)
    weights = np.zeros_like(S)
    P: list[np.ndarray] = []
    R: list[np.ndarray] = []
    for _ in range(n_components):
        size = np.linalg.norm(S, axis=0)
        alive = size > LEFT * start
        W = np.where(alive, S / np.where(alive, size, 1.0), 0.0)
        r = W.copy()
        for p_old, r_old in zip(P, R, strict=True):
            r -= (p_old * W).sum(0) * r_old
        t = X @ r
        norm = (t * t).sum(0)
        norm = np.where(alive & (norm > 0), norm, np.inf)
        p, q = (X.T @ t) / norm, (S * r).sum(0) / norm
        S = S - np.where(np.isfinite(norm), p * (q * np.where(np.isfinite(norm), norm, 0.0)), 0.0)
        weights += r * q
        P.append(p)
        R.append(r)
    return LinearMap(weights, x_mean, y_mean)


def _check_components(n_components: int, X: np.ndarray) -> None:
    check_count("n_components", n_components)
    most = min(X.shape[0] - 1, X.shape[1])
    if n_components > most:
        raise ValueError(
            f"n_components is {n_components}, but {X.shape[0]} training images with "
            f"{X.shape[1]} features allow {most} at most"
        )


def _pair(features: ArrayLike, responses: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    X, Y = as_floats("features", features), as_floats("responses", responses)
    if X.ndim != 2 or Y.ndim != 2 or len(X) != len(Y):
        raise ValueError(
            f"features (n, p) and responses (n, q) must have the same rows, got {X.shape} and "
            f"{Y.shape}"
        )
    check_finite("features", X)
    check_finite("responses", Y)
    return X, Y
