"""A weak signal in a noisy matrix: what its singular value and vectors become, and back.

Data matrix S = W + Z, shape (N3, N1): W has few singular values s (the signal, in units of sigma),
Z independent entries of variance sigma^2 / N1; A = N3 / N1. Below the threshold s = A^(1/4) the
signal leaves no trace.

Source: Benaych-Georges, Nadakuditi 2012, doi:10.1016/j.jmva.2012.04.019; used for learning by
Lampinen, Ganguli 2019, arXiv:1809.10374.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tractable.core.checks import check_range
from tractable.linear.arrays import LARGEST, as_float64
from tractable.linear.bulk import bulk_edges, check_aspect
from tractable.linear.records import from_dataset, to_dataset

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["SpikeResult", "detection_threshold", "shrink", "spike_forward", "spike_inverse"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SpikeResult:
    """Singular values of signal and data, and the overlaps of their singular vectors.

    Overlaps are not squared. The output vectors live in the space of N3, the input vectors in that
    of N1; for A != 1 they differ.
    """

    s_signal: Floats
    """Singular values of the signal, in the units of sigma; 0 where nothing can be detected."""
    s_data: Floats
    """Singular values of the data matrix, in the units of sigma."""
    overlap_out: Floats
    """abs(cosine) of the output (left) singular vectors of signal and data, in [0, 1]."""
    overlap_in: Floats
    """abs(cosine) of the input (right) singular vectors, in [0, 1]."""
    overlap: Floats
    """O, the product of the two."""
    detectable: NDArray[np.bool_]
    """Whether the signal stands out of the noise."""

    def to_dataset(self) -> xr.Dataset:
        """Return the arrays as a dataset with the dimension ``mode``."""
        dims = {name: ("mode",) for name in self.__dataclass_fields__}
        return to_dataset(self, dims)

    @classmethod
    def from_dataset(cls, dataset: xr.Dataset) -> SpikeResult:
        """Return the result that `to_dataset` wrote."""
        return from_dataset(cls, dataset)


def detection_threshold(aspect: float, sigma: float = 1.0) -> float:
    r"""Return the weakest singular value of a signal that leaves a trace: :math:`\sigma A^{1/4}`.

    Examples
    --------
    >>> round(detection_threshold(0.5), 4)
    0.8409
    """
    check_aspect("aspect", aspect)
    check_range("sigma", sigma, 0.0, LARGEST)
    return float(sigma * aspect**0.25)


def spike_forward(s: ArrayLike, aspect: float, sigma: float = 1.0) -> SpikeResult:
    r"""Return what noise makes of a signal: singular value and overlaps in the data matrix.

    In units of sigma, for :math:`s > A^{1/4}`:

    .. math:: \hat s = \frac{\sqrt{(1 + s^2)(A + s^2)}}{s}, \qquad
              |u \cdot \hat u|^2 = 1 - \frac{A (1 + s^2)}{s^2 (A + s^2)}, \qquad
              |v \cdot \hat v|^2 = 1 - \frac{A + s^2}{s^2 (1 + s^2)}

    and below :math:`\hat s = 1 + \sqrt A` with overlap 0.

    Parameters
    ----------
    s : array, >= 0
        Singular values of the signal, in the units of sigma.
    aspect : float, > 0
        A = N3 / N1 = outputs over inputs.
    sigma : float, > 0
        Noise: the entries have the standard deviation sigma / sqrt(n_in).

    Returns
    -------
    SpikeResult
        Arrays of the shape of s.

    Raises
    ------
    ValueError
        A negative s, an aspect that is not positive, NaN.

    Notes
    -----
    The limit of large N. At the threshold the finite-size bias is large; 1.5 times above it, or
    with N1 >= 400, it is a few percent.

    References
    ----------
    Benaych-Georges, Nadakuditi 2012, doi:10.1016/j.jmva.2012.04.019;
    Lampinen, Ganguli 2019, arXiv:1809.10374.

    Examples
    --------
    >>> spike = spike_forward([0.5, 1.5, 3.0], aspect=0.5)
    >>> spike.s_data.round(3)
    array([1.707, 1.993, 3.249])
    >>> (spike.overlap_out**2).round(3), (spike.overlap_in**2).round(3)
    (array([0.   , 0.737, 0.942]), array([0.   , 0.624, 0.894]))
    """
    check_aspect("aspect", aspect)
    check_range("sigma", sigma, 0.0, LARGEST, open_low=True)
    signal = as_float64("s", s, low=0.0)
    s_data, out, into = spiked(signal / sigma, aspect)
    return SpikeResult(
        s_signal=signal,
        s_data=sigma * s_data,
        overlap_out=np.sqrt(out),
        overlap_in=np.sqrt(into),
        overlap=np.sqrt(out * into),
        detectable=(signal / sigma) ** 2 > math.sqrt(aspect),
    )


def spiked(s: Floats, aspect: float) -> tuple[Floats, Floats, Floats]:
    """Return singular values and both squared overlaps of `spike_forward`, unchecked, sigma = 1."""
    # At the threshold s^2 = sqrt(A) the formulas reach what holds below it: 1 + sqrt(A) and 0.
    root = math.sqrt(aspect)
    seen = np.maximum(s * s, root)
    gap = (seen - root) * (seen + root) / seen
    wide, narrow = aspect + seen, 1 + seen
    return np.sqrt(narrow * wide / seen), gap / wide, gap / narrow


def spike_inverse(s_data: ArrayLike, aspect: float, sigma: float = 1.0) -> SpikeResult:
    r"""Return the signal behind a singular value of the data matrix.

    In units of sigma, for :math:`y > 1 + \sqrt A`:

    .. math:: s^2 = \tfrac12 \Big( y^2 - 1 - A + \sqrt{(y^2 - 1 - A)^2 - 4 A} \Big)

    A value inside the bulk is undetectable: s = 0 and overlap 0, not NaN.

    Parameters
    ----------
    s_data : array, >= 0
        Singular values y of the data matrix, in the units of sigma.
    aspect : float, > 0
        A = N3 / N1 = outputs over inputs.
    sigma : float, > 0
        Noise: the entries have the standard deviation sigma / sqrt(n_in).

    Returns
    -------
    SpikeResult
        Arrays of the shape of s_data; ``s_data`` itself is returned as it came.

    Notes
    -----
    The bare edge of the limit of large N. For data of finite size use `detection_edge`, as
    `optimal_shrinkage` and `optimal_stopping` do.

    References
    ----------
    Gavish, Donoho 2017, arXiv:1405.7511.

    Examples
    --------
    >>> spike_inverse([1.2, 3.2489], aspect=0.5).s_signal.round(3)
    array([0., 3.])
    """
    check_aspect("aspect", aspect)
    check_range("sigma", sigma, 0.0, LARGEST, open_low=True)
    values = as_float64("s_data", s_data, low=0.0)
    y = values / sigma
    seen = y > bulk_edges(aspect)[1]
    centered = np.where(seen, y**2 - 1 - aspect, 2 * np.sqrt(aspect))
    square = (centered + np.sqrt(np.maximum(centered**2 - 4 * aspect, 0.0))) / 2
    forward = spike_forward(np.where(seen, np.sqrt(square), 0.0) * sigma, aspect, sigma)
    return SpikeResult(
        s_signal=forward.s_signal,
        s_data=values,
        overlap_out=forward.overlap_out,
        overlap_in=forward.overlap_in,
        overlap=forward.overlap,
        detectable=seen,
    )


def shrink(s_data: ArrayLike, aspect: float, sigma: float = 1.0) -> Floats:
    r"""Return the best strengths for the singular vectors of the data: least Frobenius error.

    .. math:: \eta(y) = s \, O = \frac{\sqrt{(y^2 - 1 - A)^2 - 4 A}}{y}, \qquad
              \eta(y) = 0 \;\; (y \le 1 + \sqrt A)

    Parameters
    ----------
    s_data : array, >= 0
        Singular values y of the data matrix, in the units of sigma.
    aspect : float, > 0
        A = N3 / N1.
    sigma : float, > 0
        Noise: the entries have the standard deviation sigma / sqrt(n_in).

    Returns
    -------
    array, shape of s_data
        Shrunken singular values, in the units of sigma.

    References
    ----------
    Gavish, Donoho 2017, arXiv:1405.7511.

    Examples
    --------
    >>> shrink([1.0, 2.0, 5.0], aspect=1.0).round(4)
    array([0.    , 0.    , 4.5826])
    """
    check_aspect("aspect", aspect)
    check_range("sigma", sigma, 0.0, LARGEST, open_low=True)
    y = as_float64("s_data", s_data, low=0.0) / sigma
    low, high = bulk_edges(aspect)
    # (y^2 - 1 - A)^2 - 4 A = (y^2 - low^2)(y^2 - high^2), without cancellation
    product = np.where(y > high, (y - low) * (y + low) * (y - high) * (y + high), 0.0)
    return sigma * np.sqrt(product) / np.where(y > 0, y, 1.0)
