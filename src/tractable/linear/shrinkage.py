"""Optimal shrinkage: the estimator of a noisy low-rank matrix that no stopping time can beat.

Source: Gavish, Donoho 2017, arXiv:1405.7511; as a bar for gradient descent, Lampinen, Ganguli 2019,
arXiv:1809.10374.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from tractable.core.checks import check_choice, check_range
from tractable.linear.arrays import LARGEST, as_float64, as_kind_of, check_scale
from tractable.linear.bulk import bulk_edges
from tractable.linear.noise import (
    Convention,
    Edge,
    bulk_misfit,
    check_matrix,
    detection_edge,
    noise_and_rank,
)
from tractable.linear.records import brief, from_dataset, to_dataset
from tractable.linear.spikes import SpikeResult, shrink, spike_inverse

if TYPE_CHECKING:
    import xarray as xr

    from tractable.linear.arrays import Numbers

__all__ = ["ShrinkInfo", "optimal_shrinkage"]

Floats = NDArray[np.float64]
Loss = Literal["frobenius", "operator", "nuclear"]


@dataclass(frozen=True, eq=False)
class ShrinkInfo:
    """A denoised matrix, and what was found on the way; see `optimal_shrinkage`."""

    estimate: Any
    """Denoised matrix, (M, N), of the kind of the input (NumPy or torch, its float type)."""
    rank: int
    """Signals above the edge; 0 is a legal answer, with an estimate of zeros."""
    sigma: float
    """Standard deviation of the noise in an entry, given or estimated."""
    edge: float
    """Singular value above which a direction counts as a signal, in the units of Y."""
    s_data: Floats
    """Singular values of Y, (min(M, N),), descending."""
    s_shrunk: Floats
    """Those of the estimate; 0 from ``rank`` on."""
    s_signal: Floats
    """Estimated singular values of the signal, (rank,), in the units of Y."""
    overlap: Floats
    """Estimated overlap O of each signal's singular vectors with the true ones, (rank,)."""
    misfit: float
    """Kolmogorov-Smirnov distance of the rest from the Marchenko-Pastur law, in [0, 1]."""
    expected_error: float
    """Expected squared error over the squared norm of the signal; 1 at rank 0."""

    __repr__ = brief

    def to_dataset(self) -> xr.Dataset:
        """Return a dataset with the dimensions row, column, mode and signal."""
        dims: dict[str, tuple[str, ...]] = {
            "estimate": ("row", "column"),
            "s_data": ("mode",),
            "s_shrunk": ("mode",),
            "s_signal": ("signal",),
            "overlap": ("signal",),
        }
        return to_dataset(self, dims)

    @classmethod
    def from_dataset(cls, dataset: xr.Dataset) -> ShrinkInfo:
        """Return the result that `to_dataset` wrote."""
        return from_dataset(cls, dataset)


def optimal_shrinkage(
    Y: Numbers,
    *,
    sigma: float | None = None,
    noise: Convention = "per_entry",
    loss: Loss = "frobenius",
    edge: Edge = "tw99",
) -> ShrinkInfo:
    r"""Denoise a matrix of low rank plus independent noise.

    .. math:: \hat W = \sum_{a \le r} \eta(\hat s_a) \, \hat u_a \hat v_a^T, \qquad
              \eta = s O \;(\text{Frobenius}), \quad
              s \frac{\min(O_u, O_v)}{\max(O_u, O_v)} \;(\text{operator}), \quad
              s \, (O - \sqrt{(1 - O_u^2)(1 - O_v^2)})_+ \;(\text{nuclear})

    Parameters
    ----------
    Y : array or tensor, shape (M, N)
        Data: signal of low rank plus noise of equal size in all entries. Center it first where the
        mean is no part of the signal.
    sigma : float, >= 0, optional
        Size of the noise in the convention of `noise`; estimated by `estimate_noise` when missing.
    noise : str
        ``"per_entry"``: sigma is the standard deviation of an entry. ``"sqrt_n_in"``: sigma is that
        times sqrt(N), as in `spike_forward`.
    loss : str
        Which error is smallest: ``"frobenius"``, ``"operator"`` or ``"nuclear"``.
    edge : str
        ``"tw99"``: pure noise gives rank 0 in 99 % of matrices. ``"asymptotic"``: the bare edge.

    Returns
    -------
    ShrinkInfo
        With the estimate, its rank, sigma, the singular values before and after.

    Raises
    ------
    ValueError
        NaN in Y, a Y that is no matrix, a negative sigma, an unknown convention, loss or edge.

    Notes
    -----
    One SVD. The aspect is A = M / N; transposing Y transposes the estimate.

    References
    ----------
    Gavish, Donoho 2017, arXiv:1405.7511; Lampinen, Ganguli 2019, arXiv:1809.10374; operator loss of
    matrices that are not square: Leeb 2020, arXiv:2005.11807.

    Examples
    --------
    >>> random = np.random.default_rng(0)
    >>> signal = 40 * np.outer(np.ones(100), np.ones(200)) / np.sqrt(100 * 200)
    >>> info = optimal_shrinkage(signal + random.normal(size=(100, 200)))
    >>> info.rank, round(info.sigma, 1), info.s_signal.round(0)
    (1, 1.0, array([40.]))
    >>> error = float(((info.estimate - signal) ** 2).sum() / (signal**2).sum())
    >>> round(error, 1), round(info.expected_error, 1)
    (0.2, 0.2)
    """
    matrix = as_float64("Y", Y)
    check_matrix("Y", matrix)
    check_scale("Y", float(np.abs(matrix).max()))
    check_choice("noise", noise, ("per_entry", "sqrt_n_in"))
    check_choice("loss", loss, ("frobenius", "operator", "nuclear"))
    n_out, n_in = matrix.shape
    if sigma is not None:
        check_range("sigma", sigma, 0.0, LARGEST)
        sigma = float(sigma) / (np.sqrt(n_in) if noise == "sqrt_n_in" else 1.0)
    U, s, Vt = np.linalg.svd(matrix, full_matrices=False)
    size, rank = noise_and_rank(s, n_out, n_in, sigma=sigma, edge=edge)
    unit = size * np.sqrt(n_in)
    spikes = signals_above(s[:rank], n_out / n_in, unit)
    shrunk = np.zeros_like(s)
    shrunk[:rank] = _shrunken(s[:rank], spikes, n_out / n_in, unit, loss)
    estimate = (U[:, :rank] * shrunk[:rank]) @ Vt[:rank]
    power = float(np.sum(spikes.s_signal**2))
    explained = float(np.sum((spikes.s_signal * spikes.overlap) ** 2))
    rows, columns = n_out - rank, n_in - rank
    fits = size > 0 and min(rows, columns) > 0
    misfit = bulk_misfit(s[rank:], columns, rows, size * np.sqrt(columns)) if fits else 0.0
    return ShrinkInfo(
        estimate=as_kind_of(estimate, Y),
        rank=rank,
        sigma=float(size),
        edge=float(detection_edge(n_in, n_out, unit, edge=edge)),
        s_data=s,
        s_shrunk=shrunk,
        s_signal=spikes.s_signal,
        overlap=spikes.overlap,
        misfit=misfit,
        expected_error=1.0 - explained / power if power > 0 else 1.0,
    )


def signals_above(s_data: Floats, aspect: float, unit: float) -> SpikeResult:
    """Return the signals behind detected singular values; without noise they are the data's own.

    Values that a margin of finite size has let in below the bare edge cannot occur: the
    Tracy-Widom edge lies above it for all but the smallest matrices, where they are clipped to it.
    """
    if unit > 0:
        just_above = bulk_edges(aspect, unit)[1] * (1 + 1e-12)
        return spike_inverse(np.maximum(s_data, just_above), aspect, unit)
    one = np.ones_like(s_data)
    return SpikeResult(s_data, s_data, one, one, one, one.astype(bool))


def _shrunken(s: Floats, spikes: SpikeResult, aspect: float, unit: float, loss: Loss) -> Floats:
    if loss == "operator":  # s itself only where the overlaps are equal: in square matrices
        low = np.minimum(spikes.overlap_out, spikes.overlap_in)
        high = np.maximum(spikes.overlap_out, spikes.overlap_in)
        return spikes.s_signal * low / np.where(high > 0, high, 1.0)
    if loss == "nuclear":
        across = np.sqrt((1 - spikes.overlap_out**2) * (1 - spikes.overlap_in**2))
        return spikes.s_signal * np.maximum(spikes.overlap - across, 0.0)
    return shrink(s, aspect, unit) if unit > 0 else s
