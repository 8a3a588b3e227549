"""Is a receptive field round or oriented? Two statistics of orientation, one of roundness.

The spectral anisotropy is exact under rotation and cheap; the bank of bars is the published
statistic. Four-fold patterns fool the first, so `radial_fraction` stands beside it.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage, optimize
from scipy.linalg import lapack

from tractable.core.checks import as_floats, check_choice, check_finite, check_range

__all__ = [
    "BarBank",
    "OrientationStats",
    "anisotropy_floor",
    "bar_bank",
    "opposite_ratio",
    "orientation",
    "radial_fraction",
    "radial_profile",
]

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


# --- roundness ------------------------------------------------------------------------------


def radial_fraction(rf: np.ndarray) -> np.ndarray:
    r"""Return the share of a field's square that the best function of the radius explains, (R10).

    The function is linear between knots at whole pixels, so that it is continuous in the center;
    the center is searched around the peak.

    Parameters
    ----------
    rf : ndarray, shape (n, H, W) or (H, W)
        Receptive fields; NaN gives NaN.

    Returns
    -------
    ndarray, shape (n,)
        1 for a field that is round about some point. White noise has 0.055 at 32 pixels and 0.14
        at 16: the floor, see `anisotropy_floor`.

    Examples
    --------
    >>> y, x = np.mgrid[-16:16, -16:16]
    >>> r2 = (x - 0.3) ** 2 + (y - 0.2) ** 2
    >>> dog = np.exp(-r2 / 0.98) / 0.49 - np.exp(-r2 / 2.88) / 1.44
    >>> bool(radial_fraction(dog)[0] > 0.98)
    True
    """
    fields = check_fields(rf)
    found = np.full(len(fields), np.nan)
    for i in np.flatnonzero(is_alive(fields)):
        found[i] = _best_center(fields[i])[1]
    return found


def radial_profile(rf: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the best function of the radius of one field (H, W): radii in pixels, and values.

    Examples
    --------
    >>> y, x = np.mgrid[-8:8, -8:8]
    >>> radius, value = radial_profile(np.exp(-(x**2 + y**2) / 8))
    >>> bool(np.allclose(value[:4], np.exp(-radius[:4] ** 2 / 8), atol=0.01))
    True
    """
    field = check_fields(rf)[0]
    center, _ = _best_center(field)
    design, knots = _hats(field.shape, center)
    coefficients, *_ = np.linalg.lstsq(design, field.ravel(), rcond=None)
    return knots, coefficients


def opposite_ratio(rf: np.ndarray) -> np.ndarray:
    """Return the volume of the sign opposite to the peak over that of the peak's sign.

    About 1 for a balanced center and surround, 0 for a blob.

    Parameters
    ----------
    rf : ndarray, shape (n, H, W) or (H, W)
        Receptive fields.

    Examples
    --------
    >>> opposite_ratio(np.array([[0.0, -1.0], [4.0, -1.0]])).tolist()
    [0.5]
    """
    fields = check_fields(rf)
    flat = fields.reshape(len(fields), -1)
    found = np.full(len(flat), np.nan)
    for i in np.flatnonzero(is_alive(fields)):
        values = flat[i] * np.sign(flat[i][np.abs(flat[i]).argmax()])
        found[i] = -values[values < 0].sum() / values[values > 0].sum()
    return found


@functools.lru_cache(maxsize=8)
def anisotropy_floor(size: int, n: int = 200, seed: int = 0) -> tuple[float, float]:
    """Return mean A and mean radial fraction of white noise of this size: what chance gives."""
    noise = np.random.default_rng(seed).standard_normal((n, size, size))
    few = noise[: min(n, 40)]
    return float(orientation(noise).anisotropy.mean()), float(radial_fraction(few).mean())


def _best_center(field: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the center (row, column) that explains most, and the share."""
    row, column = np.unravel_index(np.abs(field).argmax(), field.shape)
    flat, total = field.ravel(), float((field**2).sum())
    grid, overlap = _around(field.shape, int(row), int(column))
    shares = _explained(flat, overlap) / total
    start, most = grid[shares.argmax()], float(shares.max())

    def missed(center: np.ndarray) -> float:
        return -float(_explained(flat, _overlap(field.shape, center[None]))[0]) / total

    simplex = start + np.array([(0, 0), (0.25, 0), (0, 0.25)])
    options = {"initial_simplex": simplex, "xatol": 1e-3, "fatol": 1e-6, "maxfev": 100}
    found = optimize.minimize(missed, start, method="Nelder-Mead", options=options)
    return (found.x, -float(found.fun)) if -found.fun >= most else (start, most)


@dataclass(frozen=True, eq=False)
class _Overlap:
    """Hat functions of the radius about several centers, and their Gram matrices, factored.

    Neighbors overlap, others do not: all Gram matrices together are one tridiagonal matrix.
    """

    lower: np.ndarray
    """Knot below each pixel, (centers, pixels); knots are numbered through."""
    down: np.ndarray
    up: np.ndarray
    """Weights on that knot and on the next."""
    kept: np.ndarray
    """Knots that have any weight, (centers, knots)."""
    diagonal: np.ndarray
    side: np.ndarray
    """The factor L D L' of the tridiagonal matrix."""


@functools.lru_cache(maxsize=16)  # the fields of a set peak at one of a few pixels
def _around(shape: tuple[int, int], row: int, column: int) -> tuple[np.ndarray, _Overlap]:
    """Return the centers around a peak, every half pixel, and their hat functions."""
    steps = np.arange(-2, 2.25, 0.5)
    grid = np.array([(row + dy, column + dx) for dy in steps for dx in steps])
    return grid, _overlap(shape, grid)


def _overlap(shape: tuple[int, ...], centers: np.ndarray) -> _Overlap:
    m, (y, x) = len(centers), (np.arange(side) for side in shape)
    dy, dx = y - centers[:, :1], x - centers[:, 1:]
    radius = np.sqrt((dy**2)[:, :, None] + (dx**2)[:, None, :]).reshape(m, -1)
    lower = radius.astype(np.intp)
    up = radius - lower
    down, n = 1 - up, int(lower.max()) + 2
    lower += n * np.arange(m)[:, None]
    main = _on_knots(lower, down * down, up * up, m * n)
    side = np.bincount(lower.ravel(), (down * up).ravel(), m * n)[:-1]
    kept = main > 1e-12
    side *= kept[1:] & kept[:-1]
    used = kept.reshape(m, n)
    # the first knot may carry almost no weight where the center lies between pixels
    ridge = 1e-12 * (main * kept).reshape(m, n).sum(1) / used.sum(1)
    main = np.where(kept, main + np.repeat(ridge, n), 1.0)
    diagonal, side, _ = lapack.dpttrf(main, side)
    return _Overlap(lower, down, up, used, diagonal, side)


def _on_knots(lower: np.ndarray, at: np.ndarray, after: np.ndarray, n: int) -> np.ndarray:
    """Return sums over pixels, of one value to the knot below and of another to the next."""
    index = lower.ravel()
    total = np.bincount(index, at.ravel(), n)
    total[1:] += np.bincount(index, after.ravel(), n)[:-1]
    return np.asarray(total)


def _explained(flat: np.ndarray, hats: _Overlap) -> np.ndarray:
    """Return the square of a field's projection on the hat functions about each center."""
    right = _on_knots(hats.lower, hats.down * flat, hats.up * flat, hats.kept.size)
    right *= hats.kept.ravel()
    weights, _ = lapack.dpttrs(hats.diagonal, hats.side, right)
    return np.asarray((right * weights).reshape(hats.kept.shape).sum(1))


def _hats(shape: tuple[int, ...], center: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[: shape[0], : shape[1]]
    radius = np.hypot(y - center[0], x - center[1]).ravel()
    knots = np.arange(int(radius.max()) + 2)
    return np.clip(1 - np.abs(radius[:, None] - knots), 0, None), knots.astype(float)


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
