"""What the pictures of `tractable.dynamics` share: colors, checks of arrays, legends, components.

Colors: Okabe and Ito, and viridis without its pale end. Hollow markers mean growing modes in every
picture. Matplotlib is imported when something is drawn, not before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from tractable.core.checks import check_finite, check_shape

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__: list[str] = []

Array: TypeAlias = Any  # NumPy array, torch tensor, xarray variable or nested list of numbers

BLUE, VERMILLION, GREEN, PINK = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
ORANGE, SKY, BLACK, GRAY = "#E69F00", "#56B4E9", "#000000", "#7F7F7F"
CYCLE = (BLUE, VERMILLION, GREEN, PINK, ORANGE, SKY, BLACK)
LIGHT = "#C8C8C8"  # reference lines
GROUPS = {"negative": VERMILLION, "neutral": GRAY, "positive": BLUE}
RASTER = 2000  # clouds of more markers become an image inside a vector figure
THETA = "position along the line, θ"


@contextmanager
def canvas(
    ax: Axes | None, caption: str, *, size: tuple[float, float] | None = None
) -> Iterator[tuple[Figure, Axes]]:
    """Give the figure and axes to draw in.

    A new figure has the library's style and the caption; given axes keep their settings.
    """
    from tractable import plot

    with plot.style() if ax is None else nullcontext():
        figure, axes = plot.axes_of(ax, size=size) if ax is None else plot.axes_of(ax)
        if ax is None:
            figure.set_label(caption)
        yield figure, axes


# Checks ------------------------------------------------------------------------------------------


def plain(name: str, value: Array) -> np.ndarray:
    """Return a NumPy array of a tensor (any device, with or without gradient), array or list."""
    if hasattr(value, "detach"):
        value = value.detach().cpu().resolve_conj().resolve_neg()
        if value.dtype.is_floating_point:
            value = value.double()  # NumPy has no bfloat16
        return np.asarray(value.numpy())
    if value is None:
        raise TypeError(f"{name} must be an array, got None")
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} must be an array, got rows of unequal length") from error


def depth(value: Array) -> int:
    """Return the number of dimensions of an array, tensor or nested list."""
    return int(value.ndim if hasattr(value, "ndim") else np.ndim(value))


def numbers(
    name: str, value: Array, shape: Sequence[int | str], *, infinite: bool = False
) -> np.ndarray:
    """Return a float64 array of that shape; NaN, and infinity unless permitted, are refused."""
    array = complex_numbers(name, value, shape, infinite=infinite)
    if np.any(array.imag):
        raise ValueError(
            f"{name} must be real, got imaginary parts up to {np.abs(array.imag).max():.3g}; "
            "an oscillating mode is a pair: draw its real part, imaginary part or modulus"
        )
    return np.ascontiguousarray(array.real)


def complex_numbers(
    name: str, value: Array, shape: Sequence[int | str], *, infinite: bool = False
) -> np.ndarray:
    """Return a float64 or complex128 array of that shape; see `numbers`."""
    array = plain(name, value)
    if array.size == 0 and array.ndim < len(shape) and 0 in array.shape:
        width = [size if isinstance(size, int) else 0 for size in shape[1:]]
        array = array.reshape(0, *width)  # an empty list has no width
    if array.dtype.kind not in "bifuc" and array.size:
        raise TypeError(f"{name} must hold numbers, got {array.dtype.name}")
    check_shape(name, array.shape, shape)
    array = array.astype(np.complex128 if np.iscomplexobj(array) else np.float64)
    if not infinite:
        check_finite(name, array)
    elif np.isnan(array).any():
        raise ValueError(f"{name} must not be NaN, got {np.isnan(array).sum()} of {array.size} NaN")
    return array


def mask(name: str, value: Array | None, shape: tuple[int, ...]) -> np.ndarray:
    """Return a boolean array of that shape; all False where nothing is given."""
    if value is None:
        return np.zeros(shape, dtype=bool)
    return numbers(name, value, shape).astype(bool)


def names(name: str, value: Sequence[Any], n: int) -> list[str]:
    """Return n strings."""
    if isinstance(value, str):
        raise TypeError(f"{name} must be a sequence of {n} strings, got one string")
    found = [str(item) for item in value]
    check_shape(name, (len(found),), (n,))
    return found


# Drawing -----------------------------------------------------------------------------------------


def escape(text: str) -> str:
    """Return text that Matplotlib draws letter by letter: "$" starts no formula."""
    return text.replace("$", r"\$")


def group_order(groups: Sequence[str]) -> dict[str, str]:
    """Return the color of each group: negative, neutral, positive, then others as they come."""
    present = dict.fromkeys(groups)
    known = [name for name in GROUPS if name in present]
    others = [name for name in present if name not in GROUPS]
    cycle = CYCLE if not known else (GREEN, PINK, ORANGE, SKY, BLACK)
    colors = {name: GROUPS[name] for name in known}
    return colors | {name: cycle[i % len(cycle)] for i, name in enumerate(others)}


def legend(ax: Axes, *, where: str = "right", columns: int = 1, **settings: Any) -> None:
    """Put a legend outside the axes, if there is anything to name."""
    anchor = {
        "right": {"loc": "upper left", "bbox_to_anchor": (1.02, 1.0)},
        "above": {"loc": "lower left", "bbox_to_anchor": (0.0, 1.01), "ncols": columns},
    }[where]
    shown = settings.get("handles") or ax.get_legend_handles_labels()[0]
    if shown:
        settings = {"frameon": False, "fontsize": "small", "borderaxespad": 0.2, **settings}
        ax.legend(**anchor, **settings)  # type: ignore[arg-type]


def color_scale(
    ax: Axes,
    values: np.ndarray,
    label: str,
    *,
    integer: bool = False,
) -> Callable[[Any], np.ndarray]:
    """Draw a colorbar beside the axes; return the function from values to colors.

    Values of a label with θ are a manifold coordinate: the scale is [-1, 1]. Integers are indices.
    """
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize
    from matplotlib.ticker import MaxNLocator

    low, high = (float(values.min()), float(values.max())) if len(values) else (-1.0, 1.0)
    if "θ" in label and low >= -1 and high <= 1:
        low, high = -1.0, 1.0
    if low == high:
        low, high = low - 1, high + 1
    dark = ListedColormap(colormaps["viridis"](np.linspace(0, 0.92, 256)))
    scale = ScalarMappable(Normalize(low, high), dark)
    ticks = MaxNLocator(5, integer=integer, steps=[1, 2, 5, 10])
    bar = ax.get_figure().colorbar(  # type: ignore[union-attr]
        scale, ax=ax, label=label, ticks=ticks, aspect=25, pad=0.02
    )
    bar.outline.set_visible(False)
    return scale.to_rgba


def decimals(value: float, scale: float) -> str:
    """Return the number with two digits of what varies on this scale, and a true minus sign."""
    places = int(np.clip(1 - np.floor(np.log10(scale)), 0, 9)) if scale > 0 else 2
    text = f"{round(value, places) + 0.0:.{places}f}"
    return text.replace("-", "−")


def framed(width: float, height: float, *, inches: float = 4.6) -> tuple[float, float]:
    """Return the size of a figure whose axes show width x height on equal scales."""
    tall = float(np.clip(inches * height / width if width > 0 else inches, 2.4, 3.8))
    return inches + 1.6, tall + 0.9


def bins(values: np.ndarray, most: int = 60) -> np.ndarray:
    """Return equal bins for a histogram, at least 10 and at most ``most``."""
    if values.size == 0:
        return np.linspace(-1, 1, 11)
    low, high = float(values.min()), float(values.max())
    if high - low <= 1e-12 * max(abs(low), abs(high)):
        half = 0.5 * max(abs(low), 1e-3)
        low, high = low - half, high + half
    n = len(np.histogram_bin_edges(values, bins="auto")) - 1 if values.size > 1 else 10
    return np.linspace(low, high, min(max(n, 10), most) + 1)


def limits(*parts: np.ndarray, margin: float = 0.06) -> tuple[float, float]:
    """Return axis limits around all values, with a margin."""
    values = np.concatenate([np.ravel(part) for part in parts])
    if values.size == 0:
        return -1.0, 1.0
    low, high = float(values.min()), float(values.max())
    pad = margin * (high - low) or 0.5 * max(abs(low), 1e-3)
    return low - pad, high + pad


def principal_axes(x: np.ndarray, k: int = 2) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the mean (N,), k unit principal axes (k, N) and their shares of the variance (k,).

    The largest entry of each axis is positive. Where N < k the missing axes are zero.
    """
    mean = x.mean(0)
    centered = x - mean
    variances, vectors = np.linalg.eigh(centered.T @ centered)
    variances, vectors = np.maximum(variances[::-1][:k], 0), vectors.T[::-1][:k]
    sign = np.sign(vectors[np.arange(len(vectors)), np.abs(vectors).argmax(1)])
    axes, share = np.zeros((k, x.shape[1])), np.zeros(k)
    axes[: len(vectors)] = vectors * sign[:, None]
    total = float((centered**2).sum())
    if total > 0:
        share[: len(vectors)] = variances / total
    return mean, axes, share


def spread(wanted: np.ndarray, gap: float, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    """Move sorted positions as little as possible (least squares) so that none are closer than gap.

    Positions end in [low, high] if ``(n - 1) gap`` fits into it.
    """
    from scipy.optimize import isotonic_regression

    if len(wanted) == 0:
        return np.zeros(0)
    steps = gap * np.arange(len(wanted))
    free = np.asarray(isotonic_regression(wanted - steps).x)
    return np.clip(free, low, max(high - steps[-1], low)) + steps
