"""An array as message passing sees it: checked, missing entries found, the others weighted."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tractable.core.checks import TractableWarning, check_choice
from tractable.tensors.contractions import Contractions, DenseContractions
from tractable.tensors.weights import MaskWeights

__all__ = ["Observations", "as_tensor", "is_chunked", "observe", "unmasked"]

CHUNK = 1 << 20  # entries of a chunk where a temporary is needed
SMALL, UNEQUAL, SHORT = 10_000, 50.0, 20  # where the theory of large tensors is poor
P_STRUCTURED = 1e-3


@dataclass(frozen=True, eq=False)
class Observations:
    """What message passing needs of an array, whatever holds its entries.

    Parameters
    ----------
    shape : tuple of int
        (N_1, .., N_p).
    engine : Contractions
        Of the array with zeros at missing entries.
    n_observed : int
        Entries that are there.
    square_sum : float
        Sum of the squares of the observed entries.
    weights : MaskWeights, optional
        The mask, where it is structured: A and the Onsager term then differ from row to row.
    noise_mode : int, optional
        Mode whose slices have noise variances of their own.
    slice_squares, slice_counts : Tensor, optional
        Sum of squares and number of observed entries of the slices of ``noise_mode``.
    """

    shape: tuple[int, ...]
    engine: Contractions
    n_observed: int
    square_sum: float
    weights: MaskWeights | None = None
    noise_mode: int | None = None
    slice_squares: Tensor | None = None
    slice_counts: Tensor | None = None
    count: Callable[[], MaskWeights] | None = None
    """Makes the mask's weights where entries are missing at random: for strong signals."""
    mode_squares: tuple[Tensor, ...] = ()
    """Sum of the squares of the slices of every mode."""
    mode_counts: tuple[Tensor, ...] = ()
    """Number of observed entries of the slices of every mode."""

    @property
    def order(self) -> int:
        """Number of modes p."""
        return len(self.shape)

    @functools.cached_property
    def n_geo(self) -> float:
        """Geometric mean N of the sizes."""
        return float(np.exp(np.mean(np.log(self.shape))))

    @property
    def fraction(self) -> float:
        """Share of the entries that are observed."""
        return self.n_observed / float(np.prod(self.shape))

    @property
    def row_wise(self) -> bool:
        """Whether A differs between the rows of a mode."""
        return self.weights is not None or self.noise_mode is not None


def unmasked(Y: Any) -> np.ndarray:
    """Return a NumPy array; NaN where a `numpy.ma.MaskedArray` is masked.

    Examples
    --------
    >>> unmasked(np.ma.masked_equal([1.0, 2.0, 3.0], 2.0))
    array([ 1., nan,  3.])
    """
    if not isinstance(Y, np.ma.MaskedArray) or not np.ma.getmaskarray(Y).any():
        return np.asarray(Y)
    values = np.where(np.ma.getmaskarray(Y), np.nan, Y.data)
    return values.astype(np.result_type(Y.dtype, np.float32))


def is_chunked(Y: Any) -> bool:
    """Whether an array is one of dask: in chunks, perhaps larger than the memory."""
    return hasattr(Y, "dask") and hasattr(Y, "chunks")


def as_tensor(Y: Any, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
    """Return a C-contiguous float tensor of an array; not copied where it is one already."""
    if isinstance(Y, Tensor):
        tensor = Y.detach()
    else:
        values = unmasked(Y.to_numpy() if hasattr(Y, "to_numpy") else Y)
        if values.dtype == object:
            raise TypeError(
                "Y must be an array of numbers, got objects; are its rows of one length?"
            )
        if values.dtype.kind in "OSUMm":
            raise TypeError(f"Y must be an array of numbers, got {values.dtype}")
        if values.dtype.kind == "c":
            raise TypeError(
                "Y must be real, got complex numbers; decompose the real part or the power"
            )
        if not values.dtype.isnative:
            values = values.astype(values.dtype.newbyteorder("="))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a read-only array is never written to
            tensor = torch.from_numpy(np.ascontiguousarray(values))
    if tensor.is_complex():
        raise TypeError("Y must be real, got complex numbers; decompose the real part or the power")
    if not tensor.is_floating_point():
        warnings.warn(f"Y holds {tensor.dtype}; it is taken as float32", TractableWarning, 4)
        tensor = tensor.float()
    check_dtype(dtype)
    if dtype is None:
        dtype = tensor.dtype if tensor.dtype in (torch.float32, torch.float64) else torch.float32
    return tensor.to(device=device, dtype=dtype).contiguous()


def check_dtype(dtype: Any) -> None:
    """Refuse types in which the passes over an array are not made."""
    if dtype not in (None, torch.float32, torch.float64):
        raise ValueError(f"dtype must be torch.float32, torch.float64 or None, got {dtype!r}")


def check_tensor_shape(shape: Sequence[int], rank: int) -> None:
    """Refuse what is no tensor, and warn where the theory of large tensors is poor."""
    if len(shape) < 2:
        raise ValueError(f"Y must have at least 2 modes, got shape {tuple(shape)}")
    if min(shape) < 2:
        raise ValueError(
            f"every mode of Y must have at least 2 entries, got shape {tuple(shape)}; "
            "drop the mode of size 1 (Y.squeeze())"
        )
    if isinstance(rank, bool) or not isinstance(rank, int | np.integer) or rank < 1:
        raise ValueError(f"rank must be an integer >= 1, got {rank!r}")
    most = int(np.prod(shape)) // max(shape)
    if rank > most:
        raise ValueError(
            f"rank must be at most {most}, the product of all sizes of {tuple(shape)} but the "
            f"largest, got {rank}"
        )
    poor = []
    if rank > min(shape):
        poor.append(f"rank {rank} exceeds the smallest size {min(shape)}")
    if np.prod([float(n) for n in shape]) < SMALL:
        poor.append(f"Y has fewer than {SMALL} entries")
    if max(shape) / min(shape) > UNEQUAL:
        poor.append(f"sizes differ by more than a factor {UNEQUAL:.0f}")
    if min(shape) < SHORT:
        poor.append(f"a mode has fewer than {SHORT} entries")
    if poor:
        warnings.warn(
            f"shape {tuple(shape)}: {'; '.join(poor)}. Predictions hold for large tensors, with "
            "errors of order 1/sqrt(N_a)",
            TractableWarning,
            4,
        )


def observe(
    Y: Any,
    rank: int,
    *,
    mask: Any = None,
    noise_mode: int | None = None,
    dtype: torch.dtype | None = None,
    device: Any = None,
) -> Observations:
    """Check an array and find its missing entries; it is copied only if some are missing."""
    if is_chunked(Y):
        from tractable.tensors.chunked import observe_chunks

        check_tensor_shape(Y.shape, rank)
        return observe_chunks(Y, mask=mask, noise_mode=noise_mode, dtype=dtype)
    tensor = as_tensor(Y, dtype, device)
    check_tensor_shape(tensor.shape, rank)
    present = _present(tensor, mask)
    shape = tuple(int(n) for n in tensor.shape)
    if present is None:
        counts = None
    else:
        tensor = torch.where(present, tensor, tensor.new_zeros(()))
        counts = [_slice_sums(present, mode) for mode in range(len(shape))]
        refuse_empty_slices(counts)
        if bool(present.all()):
            present = counts = None
    by_mode = _slice_squares(tensor)
    squares = float(by_mode[0].sum())
    _refuse_overflow(tensor, squares)
    n_observed = tensor.numel() if counts is None else int(counts[0].sum())
    _refuse_constant(tensor, present, squares)
    weights = count = None
    if present is not None and counts is not None:
        count = functools.partial(MaskWeights.of_mask, present, tensor.dtype)
        if is_structured(counts, shape):
            weights, count = count(), None
    by_size = tuple(torch.full((n,), n_observed / n, dtype=torch.float64) for n in shape)
    found = Observations(
        shape, DenseContractions(tensor), n_observed, squares, weights, count=count,
        mode_squares=by_mode,
        mode_counts=by_size if counts is None else tuple(c.double() for c in counts),
    )  # fmt: skip
    if noise_mode is None:
        return found
    return replace(
        found,
        noise_mode=noise_mode,
        slice_squares=by_mode[noise_mode],
        slice_counts=found.mode_counts[noise_mode],
    )


def _slice_squares(tensor: Tensor) -> tuple[Tensor, ...]:
    """Return the sum of squares of the slices of every mode, in one pass."""
    matrix = tensor.view(len(tensor), -1)
    first = torch.zeros(len(tensor), dtype=torch.float64)
    rest = torch.zeros(matrix.shape[1], dtype=torch.float64)
    step = max(1, CHUNK // matrix.shape[1])
    for start in range(0, len(matrix), step):
        part = matrix[start : start + step].double().square()
        first[start : start + step] = part.sum(1).cpu()
        rest += part.sum(0).cpu()
    others = rest.view(tensor.shape[1:])
    axes = range(others.ndim)
    sums = (others.sum([b for b in axes if b != a]) if len(axes) > 1 else others for a in axes)
    return (first, *sums)


def _refuse_overflow(tensor: Tensor, squares: float) -> None:
    """Refuse what is so large or so small that its squares are no numbers of its type."""
    largest = max((float(chunk.abs().max()) for chunk in _chunks(tensor)), default=0.0)
    limits = torch.finfo(tensor.dtype)
    if largest and not (
        np.isfinite(squares) and squares < limits.max**0.9 and largest**2 > limits.tiny * 1e6
    ):
        raise ValueError(
            f"Y has entries as large as {largest:.3g}, whose squares are beyond the range of "
            f"{tensor.dtype}; multiply Y by {1 / largest:.0e}"
        )


def _present(tensor: Tensor, mask: Any) -> Tensor | None:
    """Return which entries are there, or None if all are; infinity is refused."""
    total = sum(float(torch.dot(c, c)) for c in _chunks(tensor))
    given = None
    if mask is not None:
        given = torch.as_tensor(mask.to_numpy() if hasattr(mask, "to_numpy") else mask)
        if tuple(given.shape) != tuple(tensor.shape):
            raise ValueError(
                f"mask must have the shape of Y, {tuple(tensor.shape)}, got {tuple(given.shape)}"
            )
        if given.dtype != torch.bool and not bool(((given == 0) | (given == 1)).all()):
            raise ValueError("mask must be True or 1 where an entry is observed, else False or 0")
        given = given.to(tensor.device).bool()
    if not np.isfinite(total):
        infinite = torch.isinf(tensor) if given is None else torch.isinf(tensor) & given
        n = int(infinite.sum())
        if n:
            first = tuple(int(i) for i in np.argwhere(infinite.cpu().numpy())[0])
            raise ValueError(
                f"Y must not hold infinity, got {n} infinite entries (first at index {first}); "
                "mark entries that are missing by NaN or by mask="
            )
        nan = torch.isnan(tensor)
        if bool(nan.any()):
            if given is None or bool((nan & given).any()):
                n = int(nan.sum())
                warnings.warn(f"Y holds {n} NaN; they are taken as missing", TractableWarning, 5)
            given = ~nan if given is None else given & ~nan
    if given is not None and not bool(given.any()):
        raise ValueError("Y has no observed entry: all are NaN or masked")
    return given


def _slice_sums(present: Tensor, mode: int) -> Tensor:
    others = [axis for axis in range(present.ndim) if axis != mode]
    return present.sum(others).cpu()


def refuse_empty_slices(counts: Sequence[Tensor]) -> None:
    """Raise where nothing of a slice is observed, with mode and index."""
    for mode, count in enumerate(counts):
        empty = torch.nonzero(count == 0).flatten().tolist()
        if empty:
            raise ValueError(
                f"Y has no observed entry at index {empty[0]} of mode {mode} "
                f"({len(empty)} such slices in this mode); remove these slices before fitting"
            )


def is_structured(counts: Sequence[Tensor], shape: Sequence[int]) -> bool:
    """Whether slices differ in their number of observed entries by more than binomial chance."""
    from scipy.stats import chi2

    total = float(np.prod(shape))
    fraction = float(counts[0].sum()) / total
    if fraction == 1.0:
        return False
    for count, size in zip(counts, shape, strict=True):
        cells = total / size
        spread = cells * fraction * (1 - fraction)
        statistic = float(((count.double() - cells * fraction) ** 2).sum()) / spread
        if chi2.sf(statistic, size - 1) < P_STRUCTURED:
            return True
    return False


def _refuse_constant(tensor: Tensor, present: Tensor | None, squares: float) -> None:
    flat = tensor.reshape(-1)
    first = flat[0] if present is None else tensor[present][0]
    sample = flat[:CHUNK] if present is None else tensor[present]
    if squares == 0.0 or (
        bool((sample == first).all()) and bool(_all_equal(tensor, present, first))
    ):
        raise ValueError(f"Y is constant ({float(first):g}): there is nothing to decompose")


def _all_equal(tensor: Tensor, present: Tensor | None, value: Tensor) -> bool:
    if present is not None:
        return bool((tensor[present] == value).all())
    return all(bool((chunk == value).all()) for chunk in _chunks(tensor))


def _chunks(tensor: Tensor) -> Iterator[Tensor]:
    flat = tensor.view(-1)
    for start in range(0, len(flat), CHUNK):
        yield flat[start : start + CHUNK]


def check_noise_by(noise_by: Any, order: int) -> int | None:
    """Return the mode of a heteroscedastic noise, or None."""
    if noise_by is None:
        return None
    modes = (noise_by,) if isinstance(noise_by, int | np.integer) else noise_by
    one = isinstance(modes, Sequence | np.ndarray) and len(modes) == 1
    if not one or isinstance(modes[0], bool) or not isinstance(modes[0], int | np.integer):
        raise ValueError(f"noise_by must name one mode, such as (0,), got {noise_by!r}")
    check_choice("noise_by", modes[0], range(order))
    return int(modes[0])
