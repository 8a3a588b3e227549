"""Roundness: how much of a field a function of the radius explains, and its opposite sign."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from scipy import optimize
from scipy.linalg import lapack

from tractable.vision.retina.orientation import check_fields, is_alive, orientation

__all__ = ["anisotropy_floor", "opposite_ratio", "radial_fraction", "radial_profile"]


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
def anisotropy_floor(
    size: int | tuple[int, int], n: int = 200, seed: int = 0
) -> tuple[float, float]:
    """Return mean A and mean radial fraction of white noise of this size: what chance gives.

    ``size`` is the side of a square, or height and width.
    """
    height, width = (size, size) if isinstance(size, int) else size
    noise = np.random.default_rng(seed).standard_normal((n, height, width))
    few = noise[: min(n, 40)]
    return float(orientation(noise).anisotropy.mean()), float(radial_fraction(few).mean())


def _best_center(field: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the center (row, column) that explains most, and the share."""
    row, column = np.unravel_index(np.abs(field).argmax(), field.shape)
    flat, total = field.ravel(), float((field**2).sum())
    grid, overlap = _around(field.shape, int(row), int(column))
    shares = _explained(flat, overlap) / total
    start, most = grid[shares.argmax()], float(shares.max())

    y, x = (np.arange(side, dtype=float) for side in field.shape)

    def missed(center: np.ndarray) -> float:
        return -_explained_about(center, y, x, flat) / total

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


def _explained_about(center: np.ndarray, y: np.ndarray, x: np.ndarray, flat: np.ndarray) -> float:
    """Return what `_explained` does of one center: a search asks for thousands, one by one."""
    dy, dx = y - center[0], x - center[1]
    radius = np.sqrt(np.add.outer(dy * dy, dx * dx).ravel())
    lower = radius.astype(np.intp)
    up = radius - lower
    down, n, bins = 1 - up, int(lower.max()) + 2, np.bincount
    main, right = bins(lower, down * down, n), bins(lower, down * flat, n)
    main[1:] += bins(lower, up * up, n)[:-1]
    right[1:] += bins(lower, up * flat, n)[:-1]
    side = bins(lower, down * up, n)[:-1]
    kept = main > 1e-12
    if kept.all():
        main += 1e-12 * main.sum() / n
    else:
        side *= kept[1:] & kept[:-1]
        right *= kept
        main = np.where(kept, main + 1e-12 * (main * kept).sum() / kept.sum(), 1.0)
    diagonal, side, _ = lapack.dpttrf(main, side)
    weights, _ = lapack.dpttrs(diagonal, side, right)
    return float((right * weights).sum())


def _hats(shape: tuple[int, ...], center: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[: shape[0], : shape[1]]
    radius = np.hypot(y - center[0], x - center[1]).ravel()
    knots = np.arange(int(radius.max()) + 2)
    return np.clip(1 - np.abs(radius[:, None] - knots), 0, None), knots.astype(float)
