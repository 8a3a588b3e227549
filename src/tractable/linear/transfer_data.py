"""Whether task B would help task A, from a user's own examples of both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tractable.core.checks import check_range
from tractable.linear.examples import Coordinates, coordinates, read_examples, read_signals
from tractable.linear.noise import Edge
from tractable.linear.records import brief, from_dataset, to_dataset
from tractable.linear.transfer import transfer_benefit

if TYPE_CHECKING:
    import xarray as xr

    from tractable.linear.arrays import Numbers

__all__ = ["TransferEstimate", "transfer_from_data"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TransferEstimate:
    """Expected benefit of learning B beside A; see `transfer_from_data`."""

    benefit: float
    """T: smallest test error of A alone minus that of A learned with B. Positive: B helps."""
    alone: float
    """Smallest expected test error of A alone."""
    joint: float
    """Smallest expected test error of A, learned with B."""
    snr_a: Floats
    """Estimated strengths of A, (r_a,), in units of its noise."""
    snr_b: Floats
    """Estimated strengths of B, (r_b,), in units of its noise."""
    overlap: Floats
    """Estimated v_i . v_j of their input vectors, (r_a, r_b); the signs are arbitrary."""
    sigma_a: float
    """Standard deviation of the noise in a target of A."""
    sigma_b: float
    """Standard deviation of the noise in a target of B."""
    reliable: bool
    """Whether no reason speaks against the estimate."""
    reasons: tuple[str, ...]
    """What speaks against it."""

    __repr__ = brief

    def to_dataset(self) -> xr.Dataset:
        """Return a dataset with the dimensions signal_a and signal_b."""
        dims: dict[str, tuple[str, ...]] = {
            "snr_a": ("signal_a",),
            "snr_b": ("signal_b",),
            "overlap": ("signal_a", "signal_b"),
        }
        return to_dataset(self, dims)

    @classmethod
    def from_dataset(cls, dataset: xr.Dataset) -> TransferEstimate:
        """Return the result that `to_dataset` wrote."""
        return from_dataset(cls, dataset)


def transfer_from_data(
    X: Numbers,
    Y_a: Numbers,
    Y_b: Numbers,
    *,
    sigma_a: float | None = None,
    sigma_b: float | None = None,
    depth: int = 2,
    init_strength: float = 1e-5,
    center: bool = False,
    edge: Edge = "tw99",
) -> TransferEstimate:
    r"""Return whether learning task B beside task A would help with A, from examples of both.

    Strengths come from the singular values of each task, overlaps from its input vectors, corrected
    for noise; the benefit is then that of `transfer_benefit`.

    .. math:: q_{ij} = \frac{\hat v_i \cdot \hat v_j}{O_{v,i} \, O_{v,j}}

    Parameters
    ----------
    X : array, shape (P, N1)
        Inputs, shared by both tasks.
    Y_a, Y_b : array, shape (P, N3A), (P, N3B)
        Targets.
    sigma_a, sigma_b : float, > 0, optional
        Standard deviation of the noise in a target; estimated when missing.
    depth : int, >= 1
        Number of weight matrices.
    init_strength : float, > 0
        Initial strength of each mode.
    center : bool
        Take the means away first.
    edge : str
        Which edge separates signals from noise; see `detection_edge`.

    Returns
    -------
    TransferEstimate
        With rank 0 of A its benefit is 0, and it is not reliable: a strong B may still help.

    Raises
    ------
    ValueError
        NaN, or numbers of examples that differ.

    Notes
    -----
    The prediction is for whitened inputs, and for targets in units of their own noise.

    References
    ----------
    Lampinen, Ganguli 2019, arXiv:1809.10374; the estimation from data is derived here.

    Examples
    --------
    >>> from tractable.linear import aligned_tasks
    >>> pair = aligned_tasks(3.0, 10.0, q=1.0, n_in=200, n_out_a=100, seed=3)
    >>> estimate = transfer_from_data(pair.a.X, pair.a.Y, pair.b.Y)
    >>> abs(float(estimate.overlap[0, 0])) > 0.9, estimate.benefit > 0.05
    (True, True)
    """
    x, *tasks = read_examples(X=X, Y_a=Y_a, Y_b=Y_b)
    found = []
    for name, y, sigma in (("sigma_a", tasks[0], sigma_a), ("sigma_b", tasks[1], sigma_b)):
        if sigma is not None:
            check_range(name, sigma, 0.0, open_low=True)
        c = coordinates(x, y, center=center)
        size, rank, spikes = read_signals(c, sigma, edge)
        if size == 0:
            raise ValueError(
                f"{name.replace('sigma', 'Y')} must have noise, but its correlation with the "
                f"inputs has a low rank: every signal is learned exactly, alone as with another "
                f"task; pass {name} to assume some noise"
            )
        found.append((c, size, rank, spikes))
    (c_a, size_a, rank_a, spikes_a), (c_b, size_b, rank_b, spikes_b) = found
    k = c_a.n_directions
    snr_a = spikes_a.s_signal / (size_a * np.sqrt(k))
    snr_b = spikes_b.s_signal / (size_b * np.sqrt(k))
    raw = c_a.V[:, :rank_a].T @ c_b.V[:, :rank_b]
    overlap = raw / np.maximum(np.outer(spikes_a.overlap_in, spikes_b.overlap_in), 1e-12)
    # The nearest overlaps that two orthonormal sets can have: singular values of at most 1.
    left, share, right = np.linalg.svd(overlap, full_matrices=False)
    largest = float(share.max(initial=0.0))
    overlap = np.clip((left * np.minimum(share, 1.0)) @ right, -1.0, 1.0)
    reasons = _reasons(c_a, c_b, rank_a, rank_b, largest)
    if rank_a:
        # A task without signals still adds its outputs, and their noise.
        result = transfer_benefit(
            snr_a,
            snr_b if rank_b else np.zeros(1),
            overlap if rank_b else np.zeros((rank_a, 1)),
            c_a.n_out / k,
            c_b.n_out / k,
            n_in=k,
            depth=depth,
            init_strength=init_strength,
        )
        benefit, alone, joint = result.benefit, result.alone, result.joint
    else:
        benefit, alone, joint = 0.0, 1.0, 1.0
    return TransferEstimate(
        benefit=benefit,
        alone=alone,
        joint=joint,
        snr_a=snr_a,
        snr_b=snr_b,
        overlap=overlap,
        sigma_a=float(size_a),
        sigma_b=float(size_b),
        reliable=not reasons,
        reasons=reasons,
    )


def _reasons(
    c_a: Coordinates, c_b: Coordinates, rank_a: int, rank_b: int, largest: float
) -> tuple[str, ...]:
    reasons = []
    for name, rank in (("A", rank_a), ("B", rank_b)):
        if rank == 0:
            reasons.append(f"no signal of task {name} stands out of the noise")
    if not c_a.white:
        reasons.append("the inputs are not white: the estimate is for whitened inputs")
        if c_a.n_examples < 2 * c_a.n_directions:
            reasons.append(
                f"P = {c_a.n_examples} < 2 N1 = {2 * c_a.n_directions}: whitening is poor"
            )
    if min(c_a.n_directions, c_a.n_out, c_b.n_out) < 50:
        reasons.append("fewer than 50 inputs or outputs: the laws of large matrices are rough")
    if largest > 1.1:
        reasons.append(f"overlaps up to {largest:.2f} were cut to 1: they are uncertain")
    return tuple(reasons)
