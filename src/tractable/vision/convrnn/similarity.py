"""Do two systems arrange the same images alike? Dissimilarity matrices and kernel alignment."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from tractable.core.checks import as_floats, check_finite

__all__ = ["cka", "rdm", "rdm_correlation"]


def rdm(features: ArrayLike) -> np.ndarray:
    """Return the dissimilarities of images: one minus the correlation of their patterns.

    Parameters
    ----------
    features : array_like, shape (n, p)
        Patterns of n >= 3 images, p >= 2.

    Returns
    -------
    ndarray, shape (n, n)
        Symmetric, 0 on the diagonal.

    Raises
    ------
    ValueError
        A pattern does not vary; the message names its image.

    Examples
    --------
    >>> rdm([[0.0, 1.0], [1.0, 0.0], [0.0, 2.0]])[0].tolist()
    [0.0, 2.0, 0.0]
    """
    X = _patterns("features", features)
    if len(X) < 3 or X.shape[1] < 2:
        raise ValueError(f"features must hold 3 images of 2 numbers at least, got {X.shape}")
    X = X - X.mean(1, keepdims=True)
    norm = np.linalg.norm(X, axis=1)
    flat = np.flatnonzero(norm <= 1e-12 * max(float(norm.max()), 1e-300))
    if len(flat):
        raise ValueError(f"features: the pattern of image {flat[0]} does not vary")
    X = X / norm[:, None]
    out = 1.0 - X @ X.T
    np.fill_diagonal(out, 0.0)
    return np.clip(out, 0.0, 2.0)


def rdm_correlation(a: ArrayLike, b: ArrayLike) -> float:
    """Return Spearman's correlation of the upper triangles of two dissimilarity matrices.

    Parameters
    ----------
    a, b : array_like, shape (n, n)
        From `rdm`, of the same images in the same order.

    Examples
    --------
    >>> one = rdm(np.random.default_rng(0).normal(size=(6, 4)))
    >>> rdm_correlation(one, one**3)
    1.0
    """
    from scipy.stats import spearmanr

    first, second = _patterns("a", a), _patterns("b", b)
    if first.shape != second.shape or first.shape[0] != first.shape[1]:
        raise ValueError(
            f"a and b must be square and of one shape, got {first.shape} and {second.shape}"
        )
    upper = np.triu_indices(len(first), 1)
    return float(spearmanr(first[upper], second[upper]).statistic)


def cka(x: ArrayLike, y: ArrayLike, *, debiased: bool = True) -> float:
    r"""Return the linear centered kernel alignment of two sets of features.

    .. math:: \mathrm{CKA} = \frac{\mathrm{HSIC}(K, L)}
        {\sqrt{\mathrm{HSIC}(K, K)\,\mathrm{HSIC}(L, L)}}

    (C16), K and L the matrices of inner products. With more features than images the biased one
    is close to 1 for any two; the debiased one is 0 on average for independent features.

    Parameters
    ----------
    x, y : array_like, shapes (n, p) and (n, q)
        The same n >= 4 images.
    debiased : bool
        The unbiased estimate of HSIC, with the diagonals left out.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(8, 3))
    >>> cka(x, 3 * x[:, [2, 0, 1]])
    1.0

    References
    ----------
    Kornblith, Norouzi, Lee, Hinton 2019, arXiv:1905.00414; debiased: arXiv:2010.15327.
    """
    X, Y = _patterns("x", x), _patterns("y", y)
    if len(X) != len(Y) or len(X) < 4:
        raise ValueError(f"x and y must hold the same 4 images or more, got {len(X)} and {len(Y)}")
    K, L = ((Z - Z.mean(0)) @ (Z - Z.mean(0)).T for Z in (X, Y))
    measure = _hsic_unbiased if debiased else _hsic
    scale = measure(K, K) * measure(L, L)
    if scale <= 0:
        raise ValueError("x or y does not vary over the images")
    return float(measure(K, L) / np.sqrt(scale))


def _hsic(K: np.ndarray, L: np.ndarray) -> float:
    return float((K * L).sum())


def _hsic_unbiased(K: np.ndarray, L: np.ndarray) -> float:
    n = len(K)
    K, L = K - np.diag(np.diag(K)), L - np.diag(np.diag(L))
    inner = (K * L).sum()
    both = K.sum() * L.sum() / ((n - 1) * (n - 2))
    rows = K.sum(0) @ L.sum(0) * 2 / (n - 2)
    return float((inner + both - rows) / (n * (n - 3)))


def _patterns(name: str, values: ArrayLike) -> np.ndarray:
    X = as_floats(name, values)
    if X.ndim != 2:
        raise ValueError(f"{name} must have shape (images, numbers), got {X.shape}")
    check_finite(name, X)
    return X
