"""Is a receptive field round or oriented? Two statistics of orientation, one of roundness.

The spectral anisotropy is exact under rotation and cheap; the bank of bars is the published
statistic. Four-fold patterns fool the first, so `radial_fraction` stands beside it.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from tractable.core.checks import as_floats, check_choice, check_finite, check_range

__all__ = ["BarBank", "OrientationStats", "bar_bank", "check_fields", "is_alive", "orientation"]

N_ANGLES, N_WIDTHS, N_OFFSETS = 50, 30, 30
ORTHOGONAL = (12, 13)  # the right angle lies between these two of 50 angles


@dataclass(frozen=True, eq=False)
class OrientationStats:
    """Orientation statistics of n receptive fields; NaN for silent ones.

    Parameters
    ----------
    anisotropy : ndarray, shape (n,)
        A of (R8), 0 (isotropic) to 1 (a grating).
    angle : ndarray, shape (n,)
        Preferred orientation of the bars, radians in [0, pi), from the axis of columns to that of
        rows.
    bar_ratio, bar_std : ndarray, shape (n,)
        Of the tuning to bars: preferred over orthogonal, and standard deviation; NaN with the
        method ``"spectral"``.
    tuning : ndarray, shape (n, n_angles)
        Response to angle, its maximum 1, the preferred one first.
    method : str
        ``"spectral"`` or ``"bars"``.
    """

    anisotropy: np.ndarray
    angle: np.ndarray
    bar_ratio: np.ndarray
    bar_std: np.ndarray
    tuning: np.ndarray
    method: str

    def __len__(self) -> int:
        return len(self.anisotropy)

    def to_dataset(self) -> Any:
        """Return an `xarray.Dataset`."""
        import xarray as xr

        one = {"units": "1"}
        return xr.Dataset(
            {
                "anisotropy": ("unit", self.anisotropy, one),
                "angle": ("unit", self.angle, {"units": "rad"}),
                "bar_ratio": ("unit", self.bar_ratio, one),
                "bar_std": ("unit", self.bar_std, one),
                "tuning": (("unit", "theta"), self.tuning, one),
            },
            attrs={"method": self.method},
        )

    @classmethod
    def from_dataset(cls, dataset: Any) -> OrientationStats:
        """Read what `to_dataset` wrote."""
        names = ("anisotropy", "angle", "bar_ratio", "bar_std", "tuning")
        parts = {name: dataset[name].values for name in names}
        return cls(**parts, method=str(dataset.attrs["method"]))


def orientation(
    rf: np.ndarray, method: str = "spectral", *, n_angles: int = 50
) -> OrientationStats:
    r"""Measure how oriented receptive fields are.

    Spectral (R8): with :math:`P = |\hat w(f)|^2` of the zero-padded field, without f = 0 and beyond
    half a cycle per pixel,
    :math:`A = |\sum P e^{2 i \theta}| / \sum P`. Bars (R9): responses to a bank of bars.

    Parameters
    ----------
    rf : ndarray, shape (n, H, W) or (H, W)
        Receptive fields; a field with NaN gives NaN.
    method : str
        ``"spectral"``, or ``"bars"`` for the published statistic besides.
    n_angles : int
        Angles of the spectral tuning curve, of 180 degrees; the bank of bars has 50 of 360.

    Returns
    -------
    OrientationStats

    Notes
    -----
    The ratio of the bars is not invariant under rotation: the same Gabor turned by 45 degrees has
    14.9 instead of 10.0, since the offsets of the bars run along one diagonal only.

    References
    ----------
    Lindsey, Ocko, Ganguli, Deny 2019, arXiv:1901.00945.

    Examples
    --------
    >>> y, x = np.mgrid[-16:16, -16:16]
    >>> gabor = np.exp(-(x**2 + y**2) / 18) * np.cos(2 * np.pi * x / 6)
    >>> stats = orientation(gabor)
    >>> round(float(stats.anisotropy[0]), 4), round(float(np.degrees(stats.angle[0])))
    (0.8986, 90)
    """
    fields = check_fields(rf)
    check_choice("method", method, ("spectral", "bars"))
    check_range("n_angles", n_angles, 4)
    n, nan = len(fields), np.full(len(fields), np.nan)
    size = n_angles if method == "spectral" else N_ANGLES
    a, angle, ratio, std = nan.copy(), nan.copy(), nan.copy(), nan.copy()
    tuning = np.full((n, size), np.nan)
    alive = np.flatnonzero(is_alive(fields))
    if len(alive):
        a[alive], angle[alive], curves = _spectral(fields[alive], n_angles)
        if method == "spectral":
            tuning[alive] = curves
        else:
            bank = bar_bank(fields.shape[1], fields.shape[2])
            tuning[alive], ratio[alive], std[alive] = bank.tuning(fields[alive])
    return OrientationStats(a, angle, ratio, std, tuning, method)


def _spectral(fields: np.ndarray, n_angles: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return anisotropy, preferred orientation, and tuning of the spectral power."""
    height, width = 2 * fields.shape[1], 2 * fields.shape[2]
    power = np.abs(np.fft.fft2(fields, s=(height, width))) ** 2
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None, :]
    radius, theta = np.hypot(fx, fy), np.arctan2(fy, fx)
    inside = (radius > 0) & (radius <= 0.5)
    weights = power[:, inside]
    total = weights.sum(1)
    total = np.where(total > 0, total, np.nan)
    vector = weights @ np.exp(2j * theta[inside]) / total
    angle = (np.angle(vector) / 2 + np.pi / 2) % np.pi
    centers = np.arange(n_angles) * np.pi / n_angles
    # a smooth window of 15 degrees around each orientation (that of the frequency, turned by 90)
    width_ = np.radians(15.0)
    distance = theta[inside][None] + np.pi / 2 - centers[:, None]
    distance = (distance + np.pi / 2) % np.pi - np.pi / 2
    window = np.exp(-0.5 * (distance / width_) ** 2)
    tuning = weights @ (window / window.sum(1, keepdims=True)).T
    first = np.rint(angle / (np.pi / n_angles)).astype(int) % n_angles
    rolled = np.stack([np.roll(curve, -start) for curve, start in zip(tuning, first, strict=True)])
    return np.abs(vector), angle, rolled / rolled.max(1, keepdims=True)


# --- bars -----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class BarBank:
    """Bars of 50 angles, 30 widths and 30 offsets, without their means.

    Parameters
    ----------
    bars : ndarray of float32, shape (50 * 30 * 30, H * W)
        Angle is the slowest index, offset the fastest.
    size : (int, int)
        Height and width of the fields.
    """

    bars: np.ndarray
    size: tuple[int, int]

    def __post_init__(self) -> None:
        if np.ndim(self.bars) != 2 or np.asarray(self.bars).dtype.kind != "f":
            raise ValueError(
                f"bars must be numbers of shape (bars, H * W), got {np.asarray(self.bars).dtype} "
                f"{np.shape(self.bars)}"
            )
        check_finite("bars", self.bars)
        if len(self.size) != 2 or np.prod(self.size) != self.bars.shape[1]:
            raise ValueError(
                f"size must be (H, W) with H * W = {self.bars.shape[1]}, the columns of bars, "
                f"got {self.size}"
            )

    def scores(self, fields: np.ndarray) -> np.ndarray:
        """Return the absolute covariances, shape (n, 50, 30, 30)."""
        flat = fields.reshape(len(fields), -1)
        flat = (flat - flat.mean(1, keepdims=True)).astype(np.float32)
        found = np.abs(flat @ self.bars.T) / np.float32(flat.shape[1])
        return found.reshape(len(fields), N_ANGLES, N_WIDTHS, N_OFFSETS)

    def tuning(self, fields: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return tuning curves (n, 50), ratio of preferred to orthogonal, and deviation.

        The published ratio takes the angle 13 of 50; the orthogonal lies between 12 and 13, so
        both are averaged. `bar_ratio_13` has the published one.
        """
        curves = np.stack([self._curve(field) for field in fields])
        return curves, 1 / curves[:, ORTHOGONAL].mean(1), curves.std(1)

    def _curve(self, field: np.ndarray) -> np.ndarray:
        score = self.scores(field[None])[0]
        half = N_ANGLES // 2
        folded = np.maximum(score[:half], score[half:])  # theta and theta + pi are one bar
        tiled = np.concatenate([folded, folded])
        smooth = ndimage.uniform_filter(tiled, 5, mode="wrap")
        best = np.unravel_index(smooth.argmax(), smooth.shape)
        curve = np.roll(smooth[:, best[1]].max(1), -int(best[0]))
        return (curve / curve.max()).astype(np.float64)


@functools.lru_cache(maxsize=2)
def bar_bank(height: int, width: int) -> BarBank:
    r"""Return the bank of bars for fields of this size.

    Parameters
    ----------
    height, width : int
        Of the fields, >= 8.

    Notes
    -----
    45,000 bars: 184 MB for 32 x 32. It is kept for the next call.

    Examples
    --------
    >>> bar_bank(8, 8).bars.shape
    (45000, 64)
    """
    check_range("height", height, 8, 128)
    check_range("width", width, 8, 128)
    y, x = np.mgrid[:height, :width].astype(np.float64)
    largest = np.log2(max(height, width) / 4)
    widths = 2 * np.rint(2 ** np.linspace(1, largest, N_WIDTHS))
    offsets = np.arange(N_OFFSETS)
    bars = np.empty((N_ANGLES, N_WIDTHS, N_OFFSETS, height * width), np.float32)
    for i, theta in enumerate(np.arange(N_ANGLES) * 2 * np.pi / N_ANGLES):
        cos, sin = np.cos(theta), np.sin(theta)
        # pixel (p, p) lies on the edge of every bar of offset p: exactly 0 this way
        along = cos * (x.ravel() - offsets[:, None]) + sin * (y.ravel() - offsets[:, None])
        for j, bar in enumerate(widths):
            bars[i, j] = (along >= 0) & (along <= bar)
    flat = bars.reshape(-1, height * width)
    flat -= flat.mean(1, keepdims=True)
    return BarBank(flat, (height, width))


# --- boundary -------------------------------------------------------------------------------


def check_fields(rf: np.ndarray) -> np.ndarray:
    """Return fields as float64 (n, H, W); a single one may come as (H, W)."""
    fields = as_floats("rf", rf)
    fields = fields[None] if fields.ndim == 2 else fields
    if fields.ndim != 3 or 0 in fields.shape:
        raise ValueError(
            f"rf must have shape (n, H, W) or (H, W), got {np.shape(rf)}; of color fields take "
            "RFSet.gray()"
        )
    if np.isinf(fields).any():
        raise ValueError(
            f"rf must be finite (NaN marks a silent unit), got {np.isinf(fields).sum()} inf"
        )
    return fields


def is_alive(fields: np.ndarray) -> np.ndarray:
    """Return True for fields without NaN that are not zero, shape (n,)."""
    flat = fields.reshape(len(fields), -1)
    return np.isfinite(flat).all(1) & (np.abs(flat).max(1, initial=0.0) > 0)
