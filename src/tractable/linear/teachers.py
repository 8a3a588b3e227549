"""Tasks to learn: low-rank teachers with noise, pairs of tasks with a given alignment, shuffles.

Source: Lampinen, Ganguli 2019, arXiv:1809.10374.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from tractable.core.checks import check_choice, check_range
from tractable.linear.arrays import as_float64, as_kind_of
from tractable.linear.inputs import check_count, random_numbers
from tractable.linear.records import brief

if TYPE_CHECKING:
    from tractable.linear.arrays import Numbers

__all__ = [
    "NoisyTask",
    "TaskPair",
    "aligned_tasks",
    "noisy_task",
    "permute_examples",
    "shuffle_entries",
]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class NoisyTask:
    """Examples of a low-rank teacher, with noisy targets; see `noisy_task`."""

    X: Floats
    """Inputs, (P, N1)."""
    Y: Floats
    """Targets, (P, N3): teacher plus noise."""
    teacher: Floats
    """The map behind them, (N3, N1)."""
    U: Floats
    """Output vectors of the teacher, (N3, r)."""
    s_signal: Floats
    """Its singular values, (r,), in units of sigma = 1."""
    V: Floats
    """Input vectors of the teacher, (N1, r)."""

    __repr__ = brief

    @property
    def cov_yx(self) -> Floats:
        """Input-output correlation Y^T X, summed over examples, (N3, N1)."""
        return self.Y.T @ self.X

    @property
    def cov_x(self) -> Floats:
        """Input correlation X^T X, summed over examples, (N1, N1)."""
        return self.X.T @ self.X


@dataclass(frozen=True, eq=False)
class TaskPair:
    """Two noisy tasks with the same inputs; see `aligned_tasks`."""

    a: NoisyTask
    b: NoisyTask
    q: float
    """Overlap v_A . v_B of every matched pair of input vectors."""


def noisy_task(
    snr: Numbers | Sequence[float],
    *,
    n_in: int = 100,
    n_out: int = 50,
    n_examples: int | None = None,
    inputs: Literal["orthogonal", "gaussian"] = "orthogonal",
    noise: float = 1.0,
    seed: int = 0,
) -> NoisyTask:
    r"""Return examples of a random low-rank teacher with noise in the targets.

    .. math:: Y = X W^T + \frac{\sigma}{\sqrt{N_1}} \, \xi, \qquad
              W = \sum_a \bar s_a u_a v_a^T

    Parameters
    ----------
    snr : float or sequence of float, >= 0
        Singular values of the teacher, in units of the noise (sigma = 1).
    n_in, n_out : int, >= 1
        N1 and N3.
    n_examples : int, optional
        P; N1 when missing.
    inputs : str
        ``"orthogonal"``: X^T X = (P / N1) I for P >= N1, orthonormal rows for P < N1;
        ``"gaussian"``: independent entries of variance 1 / N1.
    noise : float, >= 0
        sigma; 0 gives clean targets.
    seed : int
        Decides everything random.

    Returns
    -------
    NoisyTask

    Examples
    --------
    >>> task = noisy_task([6, 4, 2], n_in=100, n_out=50, seed=1)
    >>> task.X.shape, task.Y.shape, np.linalg.matrix_rank(task.teacher)
    ((100, 100), (100, 50), np.int64(3))
    """
    s = _strengths("snr", snr, n_in, n_out)
    random = random_numbers("seed", seed)
    U, V = _orthonormal(n_out, len(s), random), _orthonormal(n_in, len(s), random)
    X = _inputs(n_in, n_in if n_examples is None else n_examples, inputs, random)
    return _examples(X, U, s, V, noise, random)


def aligned_tasks(
    snr_a: Numbers | Sequence[float],
    snr_b: Numbers | Sequence[float],
    q: float,
    *,
    n_in: int = 100,
    n_out_a: int = 50,
    n_out_b: int | None = None,
    noise: float = 1.0,
    seed: int = 0,
) -> TaskPair:
    r"""Return two tasks whose teachers' input vectors overlap by exactly q, pair by pair.

    .. math:: V_B = O \, R(\phi) \, O^T V_A, \qquad \cos\phi = q

    R rotates by phi in every coordinate plane, O is a random rotation: v_A . v_B = q for each
    matched pair, and the rest of v_B, of length sin(phi), spreads over the other directions.

    Parameters
    ----------
    snr_a, snr_b : float or sequence of float, >= 0
        Singular values of the teachers, in units of the noise.
    q : float, in [-1, 1]
        Overlap of matched input vectors.
    n_in : int, even
        N1.
    n_out_a, n_out_b : int
        Outputs of each task; those of B are as many as those of A when missing.
    noise : float, >= 0
        sigma.
    seed : int
        Decides everything random.

    Returns
    -------
    TaskPair

    References
    ----------
    Lampinen, Ganguli 2019, arXiv:1809.10374.

    Examples
    --------
    >>> pair = aligned_tasks([3, 2], [5, 4], q=0.8, seed=0)
    >>> np.einsum("ia,ia->a", pair.a.V, pair.b.V).round(12)
    array([0.8, 0.8])
    """
    check_range("q", q, -1.0, 1.0)
    check_count("n_in", n_in)
    if n_in % 2:
        raise ValueError(f"n_in must be even (the rotation turns planes), got {n_in}")
    n_out_b = n_out_a if n_out_b is None else n_out_b
    s_a = _strengths("snr_a", snr_a, n_in, n_out_a)
    s_b = _strengths("snr_b", snr_b, n_in, n_out_b)
    random = random_numbers("seed", seed)
    rank = max(len(s_a), len(s_b))
    O = _orthonormal(n_in, n_in, random)
    V = _orthonormal(n_in, rank, random)
    z = (O.T @ V).reshape(n_in // 2, 2, rank)
    turned = np.stack(
        [
            q * z[:, 0] - np.sqrt(1 - q * q) * z[:, 1],
            np.sqrt(1 - q * q) * z[:, 0] + q * z[:, 1],
        ],
        axis=1,
    )
    V_b = O @ turned.reshape(n_in, rank)
    X = np.eye(n_in)
    U_a, U_b = _orthonormal(n_out_a, len(s_a), random), _orthonormal(n_out_b, len(s_b), random)
    return TaskPair(
        a=_examples(X, U_a, s_a, V[:, : len(s_a)], noise, random),
        b=_examples(X, U_b, s_b, V_b[:, : len(s_b)], noise, random),
        q=float(q),
    )


def shuffle_entries(Y: Numbers, seed: int = 0) -> Numbers:
    r"""Return the targets with all entries shuffled: no structure is left, the variance is.

    With orthonormal inputs the input-output correlation becomes pure noise with

    .. math:: \sigma_r^2 = \sigma^2 + \sum_a \bar s_a^2 / N_3, \qquad
              \text{edges } \sigma_r |1 \pm \sqrt A|

    Parameters
    ----------
    Y : array, shape (P, N3)
        Targets.
    seed : int
        Decides the permutation.

    Notes
    -----
    `permute_examples`, the usual shuffle of labels, does *not* do this: with orthonormal inputs it
    leaves all singular values as they are.

    References
    ----------
    Lampinen, Ganguli 2019, arXiv:1809.10374.

    Examples
    --------
    >>> float(shuffle_entries(np.arange(4.0).reshape(2, 2), seed=1).sum())
    6.0
    """
    values = as_float64("Y", Y)
    random = random_numbers("seed", seed)
    return as_kind_of(random.permutation(values.ravel()).reshape(values.shape), Y)


def permute_examples(Y: Numbers, seed: int = 0) -> Numbers:
    """Return the targets handed to other examples, each whole: a permutation of the rows.

    With orthonormal inputs and P = N1 this only renames inputs: the singular values of the
    input-output correlation, and so the whole course of learning, stay the same. To destroy
    structure use `shuffle_entries`.

    Parameters
    ----------
    Y : array, shape (P, N3)
        Targets.
    seed : int
        Decides the permutation.

    Examples
    --------
    >>> permute_examples(np.arange(4.0).reshape(2, 2), seed=1).tolist() in (
    ...     [[0.0, 1.0], [2.0, 3.0]], [[2.0, 3.0], [0.0, 1.0]])
    True
    """
    values = as_float64("Y", Y)
    if values.ndim == 0:
        raise ValueError("Y must have an axis of examples, got one number")
    return as_kind_of(random_numbers("seed", seed).permutation(values, axis=0), Y)


# --- parts ---------------------------------------------------------------------------------------


def _strengths(name: str, snr: Numbers | Sequence[float], n_in: int, n_out: int) -> Floats:
    s = np.atleast_1d(as_float64(name, snr, low=0.0))
    check_count("n_in", n_in)
    check_count("n_out", n_out)
    if s.ndim != 1 or len(s) > min(n_in, n_out):
        raise ValueError(
            f"{name} must hold at most min(n_in, n_out) = {min(n_in, n_out)} singular values, got "
            f"shape {s.shape}"
        )
    return s


def _orthonormal(n: int, k: int, random: np.random.Generator) -> Floats:
    """Return k orthonormal columns, uniformly distributed."""
    Q, R = np.linalg.qr(random.normal(size=(n, k)))
    return Q * np.sign(np.diag(R))


def _inputs(n_in: int, n_examples: int, kind: str, random: np.random.Generator) -> Floats:
    check_choice("inputs", kind, ("orthogonal", "gaussian"))
    check_count("n_examples", n_examples)
    if kind == "gaussian":
        return random.normal(size=(n_examples, n_in)) / np.sqrt(n_in)
    if n_examples >= n_in:
        return np.sqrt(n_examples / n_in) * _orthonormal(n_examples, n_in, random)
    return _orthonormal(n_in, n_examples, random).T


def _examples(
    X: Floats, U: Floats, s: Floats, V: Floats, noise: float, random: np.random.Generator
) -> NoisyTask:
    check_range("noise", noise, 0.0)
    teacher = (U * s) @ V.T
    n_in = X.shape[1]
    Y = X @ teacher.T + noise / np.sqrt(n_in) * random.normal(size=(len(X), len(U)))
    return NoisyTask(X=X, Y=Y, teacher=teacher, U=U, s_signal=s, V=V)
