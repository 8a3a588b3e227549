"""Fits of one training set, shared by all responses that are put to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from tractable.vision.convrnn.regressions import LinearMap, Ridge, pls, pls_each

__all__ = ["PENALTIES", "Fitter", "Method", "principal_axes", "shifted", "stacked"]

Method = Literal["ridge", "pls", "pls1"]
PENALTIES = np.geomspace(1e-4, 1e4, 17)
"""Candidates of the ridge, in units of the mean squared singular value of the features."""


class Fitter:
    """The fits of some features: a ridge decomposes them once, whatever is then put to it.

    Parameters
    ----------
    features : ndarray, shape (n, p)
        Rows of one image stand together.
    method : str
        ``ridge``, ``pls`` (joint) or ``pls1`` (each response alone).
    n_components : int
        Of partial least squares.
    block : int
        Rows of each image.
    penalties : ndarray, optional
        Of the ridge, absolute; default `PENALTIES` times the mean squared singular value.
    """

    def __init__(
        self,
        features: np.ndarray,
        method: Method,
        n_components: int,
        block: int,
        penalties: np.ndarray | None,
    ) -> None:
        self.features, self.method, self.n_components = features, method, n_components
        self.block = block
        if method == "ridge":
            self.ridge = Ridge(features, block)
            self.penalties = PENALTIES * self.ridge.scale if penalties is None else penalties

    def fit(self, responses: np.ndarray, penalty: np.ndarray | None = None) -> LinearMap:
        """Return the map to responses (n, q); the ridge's penalties may be given, (q,)."""
        if self.method == "ridge":
            if penalty is not None:
                return self.ridge.solve(responses, penalty)
            return self.ridge.fit(responses, self.penalties)
        fit = pls if self.method == "pls" else pls_each
        return fit(self.features, responses, self.n_components)

    def error(self, responses: np.ndarray) -> np.ndarray:
        """Return each response's mean squared error on images left out, (q,).

        Of a ridge from leaving out each image, of partial least squares from two halves.
        """
        if self.method == "ridge":
            return self.ridge.left_out(responses, self.penalties).min(0)
        images = np.arange(len(responses)) // self.block
        odd = images % 2 == 1
        total = np.zeros(responses.shape[1])
        for inside in (odd, ~odd):
            part = Fitter(
                self.features[inside], self.method, self.n_components, self.block, None
            ).fit(responses[inside])
            total += ((part(self.features[~inside]) - responses[~inside]) ** 2).sum(0)
        return total / len(responses)


def stacked(parts: Sequence[np.ndarray], rows: np.ndarray) -> np.ndarray:
    """Return the bins' features (or responses) of some images, the bins of an image together."""
    chosen = np.stack([part[rows] for part in parts], 1)
    return chosen.reshape(-1, chosen.shape[-1])


def shifted(parts: Sequence[np.ndarray], shift: int) -> list[np.ndarray]:
    """Return features that come later by some bins; the first (or last) one is repeated."""
    last = len(parts) - 1
    return [parts[min(max(b - shift, 0), last)] for b in range(len(parts))]


def principal_axes(features: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and the first principal axes (p, n) of training features.

    Directions in which the features do not vary but for rounding have an axis of zeros: divided by
    their length they would be noise of any size.
    """
    mean = features.mean(0)
    X = features - mean
    n = min(n, len(X) - 1, X.shape[1])
    if X.shape[1] <= len(X):
        _, V = np.linalg.eigh(X.T @ X)
        return mean, V[:, ::-1][:, :n]
    values, U = np.linalg.eigh(X @ X.T)
    U, values = U[:, ::-1][:, :n], values[::-1][:n]
    varies = values > max(float(values[0]) * 1e-13, 1e-300)
    return mean, X.T @ np.where(varies, U / np.sqrt(np.where(varies, values, 1.0)), 0.0)
