"""A user's examples in coordinates of orthonormal inputs: what can be read from them.

X = L d R^T, with orthonormal L (P, k) and R (N1, k). In the coordinates L every input direction has
the same length, and independent noise in the targets stays independent in Y^T L.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tractable.linear.arrays import as_float64, check_rows, check_scale
from tractable.linear.noise import Edge, noise_and_rank
from tractable.linear.shrinkage import signals_above

if TYPE_CHECKING:
    from tractable.linear.arrays import Numbers
    from tractable.linear.spikes import SpikeResult

__all__ = ["Coordinates", "coordinates", "read_examples", "read_signals"]

Floats = NDArray[np.float64]

RANK_TOL = 1e-10
ENOUGH = 10  # spare examples from which the residuals of least squares give the noise


@dataclass(frozen=True, eq=False)
class Coordinates:
    """Examples, and their input-output correlation in orthonormal coordinates."""

    X: Floats
    """Inputs, (P, N1), centered if asked."""
    Y: Floats
    """Targets, (P, N3), centered if asked."""
    X_mean: Floats
    """What was taken from the inputs, (N1,)."""
    Y_mean: Floats
    """What was taken from the targets, (N3,)."""
    whitening: Floats
    """(N1, k): X @ whitening has orthonormal columns, L."""
    length: float
    """Root mean square of d: the length of an input direction over all examples."""
    spread: float
    """Standard deviation of d^2 over its mean; 0 for white inputs."""
    white: bool
    """Whether the spread is within the tolerance."""
    U: Floats
    """Output singular vectors of Y^T L, (N3, K)."""
    s: Floats
    """Its singular values, (K,), descending, in the unit of the targets."""
    V: Floats
    """Its input singular vectors, (k, K), in the coordinates L."""
    residual_noise: float | None
    """Standard deviation of a target around least squares; None with too few examples."""

    @property
    def n_examples(self) -> int:
        """P."""
        return len(self.X)

    @property
    def n_in(self) -> int:
        """N1."""
        return self.X.shape[1]

    @property
    def n_out(self) -> int:
        """N3."""
        return self.Y.shape[1]

    @property
    def n_directions(self) -> int:
        """k, the rank of the inputs."""
        return self.whitening.shape[1]


def coordinates(
    x: Floats, y: Floats, *, center: bool = False, white_tol: float = 1e-3
) -> Coordinates:
    """Return the coordinates of examples x (P, N1) and y (P, N3).

    Examples
    --------
    >>> c = coordinates(2 * np.eye(4)[:, :3], np.ones((4, 2)))
    >>> c.white, c.n_directions, c.length, float((c.s**2).sum().round(9))
    (True, 3, 2.0, 6.0)
    """
    for name, value in (("X", x), ("Y", y)):
        if not value.size:
            raise ValueError(
                f"{name} must have at least one row and one column, got shape {value.shape}"
            )
    x_mean = x.mean(0) if center else np.zeros(x.shape[1])
    y_mean = y.mean(0) if center else np.zeros(y.shape[1])
    x, y = x - x_mean, y - y_mean
    L, d, Rt = np.linalg.svd(x, full_matrices=False)
    if d[0] == 0:
        raise ValueError("X must not be constant (after centering): there is nothing to learn from")
    k = int(np.sum(d > RANK_TOL * d[0]))
    L, d, R = L[:, :k], d[:k], Rt[:k].T
    square = d**2
    length, spread = float(np.sqrt(square.mean())), float(square.std() / square.mean())
    U, s, Vt = np.linalg.svd(y.T @ L, full_matrices=False)
    spare = len(x) - k - int(center)
    rest = y - L @ (L.T @ y)
    noise = float(np.sqrt(np.sum(rest**2) / (y.shape[1] * spare))) if spare >= ENOUGH else None
    if noise is not None and noise <= RANK_TOL * np.sqrt(np.mean(y**2)):
        noise = 0.0  # rounding
    return Coordinates(
        X=x,
        Y=y,
        X_mean=x_mean,
        Y_mean=y_mean,
        whitening=R / d,
        length=length,
        spread=spread,
        white=spread <= white_tol,
        U=U,
        s=s,
        V=Vt.T,
        residual_noise=noise,
    )


def read_examples(**arrays: Numbers) -> list[Floats]:
    """Return matrices with as many rows each, the first of which are the inputs.

    Examples
    --------
    >>> read_examples(X=np.ones((3, 2)), Y=np.ones((4, 1)))
    Traceback (most recent call last):
    ValueError: X and Y must have the same number of examples (rows), got 3 and 4
    """
    read = {name: as_float64(name, value) for name, value in arrays.items()}
    for name, value in read.items():
        if value.ndim != 2:
            hint = f"; {name}[:, None] is one column" if value.ndim == 1 else ""
            raise ValueError(f"{name} must have shape (examples, columns), got {value.shape}{hint}")
        check_scale(name, float(np.abs(value).max(initial=0.0)))
    check_rows(**{name: value.shape for name, value in read.items()})
    return list(read.values())


def read_signals(c: Coordinates, sigma: float | None, edge: Edge) -> tuple[float, int, SpikeResult]:
    """Return the noise of a target, the number of signals, and the signals in units of targets."""
    k, n_out = c.n_directions, c.n_out
    size = c.residual_noise if sigma is None else sigma
    size, rank = noise_and_rank(c.s, n_out, k, sigma=size, edge=edge)
    return size, rank, signals_above(c.s[:rank], n_out / k, size * np.sqrt(k))
