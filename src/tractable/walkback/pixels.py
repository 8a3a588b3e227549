"""Images as points of a continuous space: dequantized, standardized, rotated to components."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tractable.core.checks import as_floats, check_count, check_finite, check_range, check_shape
from tractable.core.seeds import derive

__all__ = ["PixelSpace", "bits_per_dim", "dequantize"]


def dequantize(images: ArrayLike, levels: int = 256, *, seed: int = 0) -> np.ndarray:
    """Return y = (k + u) / levels with u uniform in [0, 1): integers become a density.

    Parameters
    ----------
    images : array_like of int, any shape
        Intensities k, 0 .. levels - 1.
    levels : int
        Number of levels, >= 2.
    seed : int
        Decides u.

    Returns
    -------
    ndarray of float64, of the same shape
        Values in [0, 1).

    Examples
    --------
    >>> y = dequantize(np.array([[0, 16]]), levels=17)
    >>> (np.floor(y * 17)).tolist()
    [[0.0, 16.0]]
    """
    k = np.asarray(images)
    check_count("levels", levels, 2)
    if k.dtype.kind not in "ui":
        raise TypeError(
            f"images must be integers, got {k.dtype}; intensities in [0, 1] are dequantized already"
        )
    if k.size and not 0 <= k.min() <= k.max() < levels:
        raise ValueError(
            f"images must be 0 .. {levels - 1}, got {k.min()} .. {k.max()}; give levels="
        )
    uniform = np.random.default_rng(derive(seed, "dequantize")).random(k.shape)
    return (k + uniform) / levels


@dataclass(frozen=True, eq=False)
class PixelSpace:
    r"""An invertible linear map between images and what is learned: s = R'(y - m) / c.

    One scale c for all pixels; R is the orthogonal basis of the principal components, or 1, so
    that :math:`\log p(y) = \log p(s) - n \log c`.

    Parameters
    ----------
    shape : tuple of int
        Of one image.
    mean : ndarray, shape (n,)
        m, intensity in [0, 1].
    scale : float
        c, the standard deviation over all pixels.
    basis : ndarray of shape (n, n), optional
        R, columns are components in falling order of variance; None without rotation.
    variances : ndarray, shape (n,)
        Variance of each coordinate of s in the data.
    levels : int
        Intensities before dequantization.

    Examples
    --------
    >>> from tractable.data import load_images
    >>> y = dequantize(load_images("digits").images)
    >>> space = PixelSpace.of(y)
    >>> s = space.forward(y)
    >>> s.shape, bool(abs(space.inverse(s) - y).max() < 1e-12)
    ((1797, 64), True)
    """

    shape: tuple[int, ...]
    mean: np.ndarray
    scale: float
    basis: np.ndarray | None
    variances: np.ndarray
    levels: int = 256

    @classmethod
    def of(cls, y: ArrayLike, *, rotate: bool = True, levels: int = 256) -> PixelSpace:
        r"""Return the space of dequantized training images.

        Parameters
        ----------
        y : array_like, shape (N, \*shape)
            Intensities in [0, 1], N >= 2.
        rotate : bool
            Whether to rotate to principal components, largest variance first.
        levels : int
            Intensities before dequantization; for bits per dimension.
        """
        y = as_floats("y", y)
        if y.ndim < 2 or len(y) < 2:
            raise ValueError(f"y must have shape (n_images, ...), n_images >= 2, got {y.shape}")
        check_finite("y", y)
        flat = y.reshape(len(y), -1)
        mean = flat.mean(0)
        centered = flat - mean
        scale = float(np.sqrt((centered**2).mean()))
        if scale == 0:
            raise ValueError("y must vary, got values that are all the same")
        centered /= scale
        if not rotate:
            return cls(y.shape[1:], mean, scale, None, centered.var(0), levels)
        values, vectors = np.linalg.eigh(centered.T @ centered / len(y))
        order = np.argsort(values)[::-1]
        variances = np.maximum(values[order], 0.0)
        return cls(y.shape[1:], mean, scale, vectors[:, order], variances, levels)

    @property
    def dim(self) -> int:
        """Number of pixels times channels, n."""
        return len(self.mean)

    def forward(self, y: ArrayLike) -> np.ndarray:
        r"""Return s, shape (N, n), of images y, shape (N, \*shape)."""
        y = as_floats("y", y)
        check_shape("y", y.shape, ("n_images", *self.shape))
        check_finite("y", y)
        s = (y.reshape(len(y), self.dim) - self.mean) / self.scale
        return s if self.basis is None else s @ self.basis

    def inverse(self, s: ArrayLike) -> np.ndarray:
        r"""Return images y, shape (N, \*shape), of s, shape (N, n); not clipped to [0, 1]."""
        if hasattr(s, "detach"):
            s = s.detach().cpu().numpy()
        s = as_floats("s", s)
        check_shape("s", s.shape, ("n_images", self.dim))
        check_finite("s", s)
        y = s if self.basis is None else s @ self.basis.T
        return (y * self.scale + self.mean).reshape(len(s), *self.shape)

    def bits_per_dim(self, log_prob: ArrayLike) -> np.ndarray:
        """Return bits per dimension of log densities of s, in nats; see `bits_per_dim`."""
        return bits_per_dim(log_prob, self.dim, scale=self.scale, levels=self.levels)


def bits_per_dim(
    log_prob: ArrayLike, dim: int, *, scale: float = 1.0, levels: int = 256
) -> np.ndarray:
    r"""Return the bits per dimension of a density of dequantized data.

    .. math:: \frac{-\log p(s) + n \log c}{n \log 2} + \log_2 \mathrm{levels}

    for s = (y - m) / c with y in [0, 1]: for 256 levels the usual figure, 8 for a uniform law.

    Parameters
    ----------
    log_prob : array_like
        log p(s), nats; a lower bound gives an upper bound.
    dim : int
        n, >= 1.
    scale : float
        c > 0.
    levels : int
        Intensities before dequantization, >= 2.

    Examples
    --------
    >>> bits_per_dim(0.0, 64).item()  # the uniform law on [0, 1]^64
    8.0
    """
    check_count("dim", dim)
    check_range("scale", scale, 0, open_low=True)
    check_count("levels", levels, 2)
    density = as_floats("log_prob", log_prob)
    if np.isnan(density).any():  # minus infinity is a density of 0
        raise ValueError(f"log_prob must not be NaN, got {np.isnan(density).sum()} NaN")
    nats = -density + dim * np.log(scale)
    return nats / (dim * np.log(2)) + np.log2(levels)
