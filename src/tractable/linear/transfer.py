"""Does learning task B beside task A help with A? The benefit of transfer, without training.

Tasks share inputs and hidden layers and have outputs of their own; together they are one task with
stacked outputs, whose singular modes mix those of both.

Source: Lampinen, Ganguli 2019, arXiv:1809.10374; the formula of the joint error is derived here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from tractable.core.checks import check_choice, check_range
from tractable.linear.arrays import as_float64
from tractable.linear.best_time import least_error
from tractable.linear.bulk import bulk_nodes, check_aspect
from tractable.linear.generalization import (
    generalization_curve,
    learned_strengths,
    nodes_for,
)
from tractable.linear.inputs import check_count, check_size
from tractable.linear.records import from_dataset, to_dataset
from tractable.linear.spikes import spike_forward
from tractable.linear.strengths import check_depth

if TYPE_CHECKING:
    import xarray as xr

    from tractable.linear.arrays import Numbers

__all__ = ["TransferResult", "transfer_benefit", "transfer_threshold"]

Floats = NDArray[np.float64]
NoiseConvention = Literal["n_in", "n_out"]

NOTHING = 1e-6  # a benefit below it comes from the initial strengths


@dataclass(frozen=True)
class TransferResult:
    """What learning B beside A does to the test error of A; see `transfer_benefit`."""

    benefit: float
    """T: alone minus joint. Positive: B helps."""
    alone: float
    """Smallest test error of A when it is learned alone."""
    joint: float
    """Smallest test error of A when B is learned with it."""
    t_alone: float
    """Time of the smallest error, alone."""
    t_joint: float
    """Time of the smallest error of A, joint."""

    def to_dataset(self) -> xr.Dataset:
        """Return a dataset whose attributes are the numbers."""
        return to_dataset(self, {})

    @classmethod
    def from_dataset(cls, dataset: xr.Dataset) -> TransferResult:
        """Return the result that `to_dataset` wrote."""
        return from_dataset(cls, dataset)


def transfer_benefit(
    snr_a: Numbers | Sequence[float],
    snr_b: Numbers | Sequence[float],
    q: Numbers | Sequence[Sequence[float]],
    aspect_a: float,
    aspect_b: float | None = None,
    *,
    n_in: int | None = None,
    n_hidden: int | None = None,
    init_strength: float = 1e-5,
    depth: int = 2,
    tau: float = 1.0,
    noise_convention: NoiseConvention = "n_in",
) -> TransferResult:
    r"""Return how much learning task B beside task A lowers the best test error of A.

    With teachers :math:`\bar s_i u_i v_i^T`, the modes of the stacked task have the squared
    strengths and the composition of the eigenvalues and eigenvectors of
    :math:`M_{ij} = \bar s_i \bar s_j \, v_i \cdot v_j`. Of mode k, the part :math:`c_k^2` (sum
    over the modes of A) belongs to A; :math:`f_A = N_{3A} / N_{3J}`, :math:`A_J = N_{3J} / N_1`:

    .. math::
        \epsilon_A^{joint} \sum \bar s_A^2 = \sum \bar s_A^2
          + \sum_k \{ u_k^2 [O_{u,k}^2 c_k^2 + (1 - O_{u,k}^2) f_A] - 2 u_k s_k O_k c_k^2 \}
          + f_A (K - r) \langle u(x, t)^2 \rangle_{in}

    .. math:: T^{A \leftarrow B} = \min_t \epsilon_A^{alone} - \min_t \epsilon_A^{joint}

    Parameters
    ----------
    snr_a, snr_b : float or array, shape (r_a,), (r_b,), >= 0
        Singular values of the teachers, in units of the noise.
    q : float in [-1, 1], or array, shape (r_a, r_b)
        Overlaps v_i . v_j of input vectors of A and B. A number is the overlap of matched pairs,
        all others being 0.
    aspect_a, aspect_b : float, > 0
        Outputs over inputs of each task; that of B equals that of A when missing.
    n_in : int, optional
        N1; 100 when missing. The best errors hardly depend on it.
    n_hidden : int, optional
        Narrowest hidden layer; full rank when missing.
    init_strength : float, > 0
        Initial strength of each mode.
    depth : int, >= 1
        Number of weight matrices.
    tau : float, > 0
        Time constant.
    noise_convention : str
        ``"n_in"``: noise of variance sigma^2 / N1 in every entry. ``"n_out"``: sigma^2 / N3 of the
        single task, as in the scripts of the authors; at N3 = N1 / 2 the signals are then weaker
        by sqrt(2).

    Returns
    -------
    TransferResult

    Raises
    ------
    ValueError
        An argument is out of its range, or overlaps that no two sets of orthonormal vectors have.

    Notes
    -----
    T depends on abs(q), not on the sign, and not on the output vectors. A useless B costs: it
    doubles the outputs, and with them the noise in the input vectors.

    References
    ----------
    Lampinen, Ganguli 2019, arXiv:1809.10374.

    Examples
    --------
    >>> related = transfer_benefit(0.84, 10.0, 0.8, 0.5, n_in=100, n_hidden=50)
    >>> unrelated = transfer_benefit(3.0, 3.0, 0.0, 0.5, n_in=100, n_hidden=50)
    >>> round(related.benefit, 3), round(unrelated.benefit, 4)
    (0.301, -0.0522)
    """
    s_a, s_b = (
        np.atleast_1d(as_float64(name, value, low=0.0))
        for name, value in (("snr_a", snr_a), ("snr_b", snr_b))
    )
    for name, s in (("snr_a", s_a), ("snr_b", s_b)):
        if s.ndim != 1:
            raise ValueError(f"{name} must be a list of strengths, got shape {s.shape}")
    if not s_a.any():
        raise ValueError("snr_a must have a value above 0: without task A there is no error of A")
    check_aspect("aspect_a", aspect_a)
    aspect_b = aspect_a if aspect_b is None else aspect_b
    check_aspect("aspect_b", aspect_b)
    check_depth(depth)
    check_size("init_strength", init_strength)
    check_choice("noise_convention", noise_convention, ("n_in", "n_out"))
    n_in = 100 if n_in is None else n_in
    check_count("n_in", n_in, 2)
    if n_hidden is not None:
        check_count("n_hidden", n_hidden)
    for name, s, aspect in (("snr_a", s_a, aspect_a), ("snr_b", s_b, aspect_b)):
        most = min(n_in, max(1, round(aspect * n_in)))
        if len(s) > most:
            raise ValueError(
                f"{name} must hold at most min(n_in, n_out) = {most} values, got {len(s)}"
            )
    overlaps = _overlaps(q, len(s_a), len(s_b))
    if noise_convention == "n_out":
        s_a, s_b = s_a * np.sqrt(aspect_a), s_b * np.sqrt(aspect_b)
    t_alone, alone = _alone(
        tuple(s_a.tolist()), aspect_a, n_in, n_hidden, init_strength, depth, tau
    )
    t_joint, joint = _joint(
        tuple(s_a.tolist()), tuple(s_b.tolist()), tuple(overlaps.ravel().tolist()),
        aspect_a, aspect_b, n_in, n_hidden, init_strength, depth, tau,
    )  # fmt: skip
    return TransferResult(
        benefit=alone - joint,
        alone=alone,
        joint=joint,
        t_alone=t_alone,
        t_joint=t_joint,
    )


def transfer_threshold(
    snr_a: float,
    snr_b: float,
    aspect: float,
    *,
    n_in: int | None = None,
    n_hidden: int | None = None,
    init_strength: float = 1e-5,
    depth: int = 2,
) -> float:
    """Return the overlap q* above which task B helps with task A.

    Parameters
    ----------
    snr_a, snr_b : float, >= 0
        Strength of each rank-1 teacher, in units of the noise.
    aspect : float, > 0
        Outputs over inputs, of each task.
    n_in, n_hidden, init_strength, depth
        As in `transfer_benefit`.

    Returns
    -------
    float
        In [0, 1]; 0 when B helps at every overlap, infinity when it never does.

    References
    ----------
    Lampinen, Ganguli 2019, arXiv:1809.10374.

    Examples
    --------
    >>> round(transfer_threshold(3.0, 3.0, 0.5, n_hidden=50), 3)
    0.9
    """
    from scipy.optimize import brentq

    def benefit(q: float) -> float:
        return transfer_benefit(
            float(snr_a),
            float(snr_b),
            q,
            aspect,
            n_in=n_in,
            n_hidden=n_hidden,
            init_strength=init_strength,
            depth=depth,
        ).benefit

    check_aspect("aspect", aspect)
    check_range("snr_a", snr_a, 0.0)
    check_range("snr_b", snr_b, 0.0)

    # Where A cannot be learned alone, nor from B, the benefit is exactly 0 up to rounding.
    grid = np.linspace(0.0, 1.0, 21)
    values = np.array([benefit(float(point)) for point in grid])
    helps = values > NOTHING
    if not helps[-1]:
        return float("inf")
    below = np.flatnonzero(~helps)
    if below.size == 0:
        return 0.0
    low, high = grid[below[-1]], grid[below[-1] + 1]
    if values[below[-1]] > -NOTHING:  # from no effect to benefit: where the benefit begins
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (low, middle) if benefit(middle) > NOTHING else (middle, high)
        return float(high)
    return float(brentq(benefit, low, high, xtol=1e-6))


# --- parts ---------------------------------------------------------------------------------------


def _overlaps(q: Numbers | Sequence[Sequence[float]], r_a: int, r_b: int) -> Floats:
    values = as_float64("q", q)
    if np.any(np.abs(values) > 1):
        raise ValueError(f"q must be in [-1, 1], got {values.flat[np.abs(values).argmax()]:g}")
    if values.ndim == 0:
        matrix = np.zeros((r_a, r_b))
        np.fill_diagonal(matrix, float(values))
        return matrix
    if values.shape != (r_a, r_b):
        raise ValueError(f"q must be a number or have shape ({r_a}, {r_b}), got {values.shape}")
    if np.linalg.norm(values, 2) > 1 + 1e-9:
        raise ValueError(
            "q must be overlaps of two orthonormal sets, with singular values <= 1, got "
            f"{np.linalg.norm(values, 2):g}"
        )
    return values


@lru_cache(maxsize=256)  # one task A, and many of B and overlaps
def _alone(
    s_a: tuple[float, ...],
    aspect: float,
    n_in: int,
    n_hidden: int | None,
    a0: float,
    depth: int,
    tau: float,
) -> tuple[float, float]:
    """Return time and value of the smallest test error of A alone."""
    curve = generalization_curve(
        s_a, aspect, [0.0], n_in=n_in, n_hidden=n_hidden, depth=depth, init_strength=a0, tau=tau
    )
    return curve.t_opt, curve.test_opt


@lru_cache(maxsize=4096)  # a curve over the overlap, and the overlap at which it turns
def _joint(
    of_task_a: tuple[float, ...],
    of_task_b: tuple[float, ...],
    overlaps: tuple[float, ...],
    aspect_a: float,
    aspect_b: float,
    n_in: int,
    n_hidden: int | None,
    a0: float,
    depth: int,
    tau: float,
) -> tuple[float, float]:
    """Return time and value of the smallest test error of A, when A and B are learned together."""
    both, s_a = np.array(of_task_a + of_task_b), np.array(of_task_a)
    gram = np.eye(len(both))
    gram[: len(s_a), len(s_a) :] = np.reshape(overlaps, (len(s_a), -1))
    gram[len(s_a) :, : len(s_a)] = gram[: len(s_a), len(s_a) :].T
    eigenvalue, vector = np.linalg.eigh(both[:, None] * gram * both)
    order = np.argsort(eigenvalue)[::-1]
    s = np.sqrt(np.maximum(eigenvalue[order], 0.0))
    of_a = (vector[: len(s_a), order] ** 2).sum(0)  # c_k^2
    aspect = aspect_a + aspect_b
    share = aspect_a / aspect
    n_modes = min(n_in, max(1, round(aspect * n_in)))
    rank = n_modes if n_hidden is None else min(n_hidden, n_modes)
    if len(s) > n_modes and s[n_modes] <= 1e-6 * s[0]:  # of signals that the tasks share, one is 0
        s, of_a = s[:n_modes], of_a[:n_modes]
    n_noise = n_modes - len(s)
    if n_noise < 0:
        raise ValueError(
            f"snr_a and snr_b must hold at most as many different signals together as there are "
            f"modes, min(n_in, n_out) = {n_modes}, got {len(s)}"
        )
    fitted = max(rank - len(s), 0) / n_noise if n_noise else 0.0
    spike = spike_forward(s, aspect)
    x, weight = bulk_nodes(aspect, 1 - fitted, n_nodes=nodes_for(depth))
    kept = np.arange(len(s)) < rank
    square = (spike.overlap_out**2 * of_a + (1 - spike.overlap_out**2) * share) * kept
    cross = s * spike.overlap * of_a * kept
    power = float(np.sum(s_a**2))
    everything = np.concatenate([spike.s_data, x])
    squares = np.concatenate([square, share * n_noise * weight])

    def error(t: Floats) -> Floats:
        u = learned_strengths(everything, t, a0, depth, tau)
        gain = 2 * cross @ u[: len(s)]
        u *= u
        return (power + squares @ u - gain) / power

    useful = cross > 1e-12 * power
    goal = np.minimum(cross[useful] / square[useful], spike.s_data[useful])
    decaying = bool(everything.size) and a0 > everything.min()
    return least_error(error, spike.s_data[useful], goal, a0, depth, tau, decaying=decaying)
