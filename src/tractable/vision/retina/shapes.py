"""Generated images: shapes of both contrasts on a background with the spectrum of photographs."""

from __future__ import annotations

import numpy as np

from tractable.core.checks import check_count, check_range

__all__ = ["SHAPES", "make_shapes_on_pink"]

SHAPES = ("disc", "square", "cross", "triangle", "ring", "bar")
CHUNK = 2000


def make_shapes_on_pink(
    n: int,
    size: int = 32,
    n_classes: int = 6,
    *,
    contrast: float = 0.35,
    bg_std: float = 0.15,
    exponent: float = 1.15,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Return images of one shape each on 1/f noise, and which shape it is.

    Place, scale, rotation and the sign of the contrast are random; the strength of the contrast is
    uniform from half of ``contrast`` to all of it.

    Parameters
    ----------
    n : int
        Images.
    size : int
        Side in pixels, 8 or more.
    n_classes : int
        Of disc, square, cross, triangle, ring, bar the first 2 .. 6.
    contrast : float
        Largest difference between shape and background, in (0, 1].
    bg_std : float
        Standard deviation of the background, 0 .. 0.5; its mean is 0.5.
    exponent : float
        The background's amplitude falls with frequency to this power: 1 as in photographs; 0 is
        white noise, the negative control.
    seed : int
        The same seed makes the same images.

    Returns
    -------
    images : ndarray of float32, shape (n, 1, size, size)
        In [0, 1].
    labels : ndarray of int64, shape (n,)

    Notes
    -----
    A demonstration: the retina of networks trained on these images does not become
    center-surround as it does with photographs. At the default contrast the task is hardly learned
    and the bottleneck falls nearly silent; at 0.5 and little noise the cells get a surround, but
    they are less round.

    Examples
    --------
    >>> images, labels = make_shapes_on_pink(4, size=16)
    >>> images.shape, images.dtype, bool(labels.max() < 6)
    ((4, 1, 16, 16), dtype('float32'), True)
    """
    check_count("n", n)
    check_count("size", size, 8)
    check_range("n_classes", n_classes, 2, len(SHAPES))
    check_range("contrast", contrast, 0, 1, open_low=True)
    check_range("bg_std", bg_std, 0, 0.5)
    check_range("exponent", exponent, 0, 4)
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_classes, n)
    parts = []
    for some in np.split(labels, range(CHUNK, n, CHUNK)):
        background = 0.5 + bg_std * pink_noise(len(some), size, exponent, rng)
        sign = rng.choice([-1.0, 1.0], len(some)) * rng.uniform(contrast / 2, contrast, len(some))
        drawn = background + sign[:, None, None] * masks(some, size, rng)
        parts.append(np.clip(drawn, 0, 1).astype(np.float32))
    return np.concatenate(parts)[:, None], labels


def pink_noise(n: int, size: int, exponent: float, rng: np.random.Generator) -> np.ndarray:
    """Return noise (n, size, size), mean 0 and variance 1, of amplitude 1 / f^exponent."""
    f = np.hypot(np.fft.fftfreq(2 * size)[:, None], np.fft.rfftfreq(2 * size)[None, :])
    f[0, 0] = np.inf if exponent else 1.0
    white = np.fft.rfft2(rng.standard_normal((n, 2 * size, 2 * size)))
    noise = np.fft.irfft2(white * f**-exponent, s=(2 * size, 2 * size))
    return noise[:, :size, :size] / noise.std()  # cut from twice the size: it must not wrap around


def masks(labels: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Return the share of each pixel (n, size, size) that the shape covers."""
    n = len(labels)
    radius = size * rng.uniform(0.15, 0.3, n)[:, None, None]
    angle = rng.uniform(0, 2 * np.pi, n)[:, None, None]
    place = rng.uniform(0.3, 0.7, (2, n, 1, 1)) * (size - 1)
    y, x = np.mgrid[:size, :size][:, None] - place
    u = np.cos(angle) * x + np.sin(angle) * y
    v = np.cos(angle) * y - np.sin(angle) * x
    r = np.hypot(x, y)
    half = radius / np.sqrt(2)
    distance = np.stack(
        [
            r - radius,
            np.maximum(abs(u), abs(v)) - half * 1.1,
            np.minimum(
                np.maximum(abs(u) - radius, abs(v) - radius / 3),
                np.maximum(abs(v) - radius, abs(u) - radius / 3),
            ),
            np.maximum(-v, abs(u) * np.sqrt(0.75) + v / 2) - radius / 2,
            abs(r - 0.75 * radius) - 0.25 * radius,
            np.maximum(abs(u) - radius, abs(v) - radius / 4),
        ]
    )
    own = np.take_along_axis(distance, labels[None, :, None, None], axis=0)[0]
    return np.clip(0.5 - own, 0, 1)
