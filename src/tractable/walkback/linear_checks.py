"""What a linear operator is made of, checked: maps, covariances, shifts, temperatures, states."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from tractable.core.checks import as_floats, check_finite, check_range, check_shape


def matrices(A: ArrayLike, D: ArrayLike, name: str = "A") -> tuple[np.ndarray, np.ndarray]:
    """Return a map (of that name) and D as float64 matrices of one size.

    Raises
    ------
    ValueError
        Not square, not of one size, not finite, or D is not a covariance.
    """
    a, d = np.atleast_2d(as_floats(name, A)), np.atleast_2d(as_floats("D", D))
    n = len(a)
    for which, value in ((name, a), ("D", d)):
        check_shape(which, value.shape, (n, n))
        check_finite(which, value)
    if not np.allclose(d, d.T, atol=1e-10 * np.abs(d).max()) or np.linalg.eigvalsh(d).min() <= 0:
        raise ValueError("D must be symmetric with positive eigenvalues: it is a noise covariance")
    return a, d


def as_temperatures(value: ArrayLike) -> np.ndarray:
    """Return temperatures as a vector.

    Raises
    ------
    ValueError
        None, or not all finite and above 0.
    """
    t = as_floats("temperatures", value)
    if t.ndim != 1 or not t.size:
        raise ValueError(f"temperatures must have shape (L,) with L >= 1, got {t.shape}")
    check_finite("temperatures", t)
    check_range("temperatures", float(t.min()), 0, open_low=True)
    return t


def as_shift(b: ArrayLike | None, n: int) -> np.ndarray:
    """Return a shift as a vector of n numbers; None is 0.

    Raises
    ------
    ValueError
        Of another shape, or not finite.
    """
    shift = np.zeros(n) if b is None else as_floats("b", b)
    check_shape("b", shift.shape, (n,))
    check_finite("b", shift)
    return shift


def as_law(
    whose: str, mean: ArrayLike, cov: ArrayLike, n: int, *, singular: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Return the moments ``<whose>_mean`` and ``<whose>_cov`` of a Gaussian in n dimensions.

    Raises
    ------
    ValueError
        Not (n,) and (n, n), not finite, or no covariance; one with eigenvalues 0 passes where
        ``singular`` ones are allowed.
    """
    at, spread = as_floats(f"{whose}_mean", mean), as_floats(f"{whose}_cov", cov)
    check_shape(f"{whose}_mean", at.shape, (n,))
    check_finite(f"{whose}_mean", at)
    check_shape(f"{whose}_cov", spread.shape, (n, n))
    check_covariance(f"{whose}_cov", spread, singular=singular)
    return at, spread


def as_states(x: ArrayLike, n: int) -> np.ndarray:
    """Return states as float64 of shape (B, n).

    Raises
    ------
    ValueError
        Of another shape, or not finite.
    """
    states = np.atleast_2d(as_floats("x", x))
    check_shape("x", states.shape, ("B", n))
    check_finite("x", states)
    return states


def check_covariance(name: str, value: np.ndarray, *, singular: bool = False) -> None:
    """Refuse what is no covariance, or no covariance of a density.

    Raises
    ------
    ValueError
        Not finite, not symmetric, or an eigenvalue is not above 0 (below it for ``singular``).
    """
    check_finite(name, value)
    rounding = 1e-8 * max(np.abs(value).max(), 1e-300)
    lowest = np.linalg.eigvalsh(value).min()
    if not np.allclose(value, value.T, atol=rounding) or (
        lowest < -rounding if singular else lowest <= 0
    ):
        sign = "no negative" if singular else "positive"
        raise ValueError(f"{name} must be symmetric with {sign} eigenvalues: it is a covariance")
