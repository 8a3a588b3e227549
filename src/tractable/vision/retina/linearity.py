"""How linear a layer is in the image, and how well the image can be read back from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import isotonic_regression
from scipy.special import ndtri
from torch import Tensor

from tractable.core.checks import as_floats, check_choice, check_count, check_range
from tractable.vision.retina.errors import check_images
from tractable.vision.retina.gradients import row_and_column
from tractable.vision.retina.layers import Activations, activations
from tractable.vision.retina.map_grid import map_grid
from tractable.vision.retina.ridge import N_MIN, RIDGE_GRID, r2_scores
from tractable.vision.retina.ridge import ridge as fit_ridge

__all__ = ["LinearityResult", "linearity", "reconstruction", "rectification_cap"]

SCORED = 0.2  # the last fifth of the images
MULTIOUTPUT = ("variance_weighted", "uniform")
Position = tuple[int, int] | str | None


@dataclass(frozen=True, eq=False)
class LinearityResult:
    """Held-out quality of a linear prediction, in total and per target.

    Parameters
    ----------
    r2 : float
        Over the targets that are not silent; NaN if all are.
    r2_per_channel, pearson, ln_r2, cap, active : ndarray of float64, shape (n_targets,)
        R^2; correlation; R^2 after a monotone function of the prediction; the largest R^2 that a
        rectified Gaussian of this active share can have; share of images with an output. NaN for
        targets active on less than ``min_active`` of the images.
    penalty : float
        The chosen one.
    n_silent : int
        Targets left out of ``r2``.
    predicted, actual : ndarray of float64, shape (n_scored, n_targets)
        The scored part, for the scatter.
    """

    r2: float
    r2_per_channel: np.ndarray
    pearson: np.ndarray
    ln_r2: np.ndarray
    cap: np.ndarray
    active: np.ndarray
    penalty: float
    n_silent: int
    predicted: np.ndarray
    actual: np.ndarray

    def to_dataset(self) -> Any:
        """Return an `xarray.Dataset`."""
        import xarray as xr

        per = ("r2_per_channel", "pearson", "ln_r2", "cap", "active")
        return xr.Dataset(
            {name: ("target", getattr(self, name), {"units": "1"}) for name in per}
            | {n: (("image", "target"), getattr(self, n)) for n in ("predicted", "actual")},
            attrs={"r2": self.r2, "penalty": self.penalty, "n_silent": self.n_silent},
        )

    @classmethod
    def from_dataset(cls, dataset: Any) -> LinearityResult:
        """Read what `to_dataset` wrote."""
        per = ("r2_per_channel", "pearson", "ln_r2", "cap", "active", "predicted", "actual")
        return cls(
            r2=float(dataset.attrs["r2"]),
            penalty=float(dataset.attrs["penalty"]),
            n_silent=int(dataset.attrs["n_silent"]),
            **{name: dataset[name].values for name in per},
        )


def rectification_cap(active: np.ndarray | float) -> np.ndarray:
    r"""Return the largest R^2 of a linear prediction of a rectified Gaussian.

    .. math::
        \frac{\Phi(m)^2}{m^2 \Phi + m \varphi + \Phi - (m \Phi + \varphi)^2},
        \qquad \Phi(m) = \text{active share}

    Parameters
    ----------
    active : float or ndarray
        Share of positive outputs, 0 .. 1; NaN at 0, 1 at 1.

    Examples
    --------
    >>> round(float(rectification_cap(0.5)), 4)
    0.7335
    """
    share = as_floats("active", active)
    inner = np.clip(share, 1e-12, 1 - 1e-12)
    m = ndtri(inner)
    density = np.exp(-(m**2) / 2) / np.sqrt(2 * np.pi)
    variance = m**2 * inner + m * density + inner - (m * inner + density) ** 2
    return np.where(share <= 0, np.nan, np.where(share >= 1, 1.0, inner**2 / variance))


def linearity(
    model: Activations,
    layer: str | None,
    images: Tensor,
    *,
    position: Position = None,
    window: int | None = None,
    ridge: str = "loo",
    penalties: tuple[float, ...] = RIDGE_GRID,
    multioutput: str = "variance_weighted",
    cap: bool = True,
    through: str = "post",
    min_active: float = 0.02,
    batch_size: int = 256,
) -> LinearityResult:
    """Return how well a ridge regression from the image predicts a layer at one position.

    Parameters
    ----------
    model : nn.Module, callable or array
        Any network, a function of images, or its activations, (n, units) or (n, channels, H, W).
    layer : str or None
        Name of a layer; None for a callable or an array.
    images : tensor, shape (n, C, H, W)
        The last fifth is scored, never fitted; 50 fitted images or more.
    position : (row, column), "pooled" or None
        In the layer's map; None: its center. ``"pooled"``: nine places around the center, each
        with its own window of the image, in one regression.
    window : int, optional
        Odd side of the part of the image to regress on, around the position; None: the whole
        image, and half of it for ``"pooled"``.
    ridge : str
        How the penalty is chosen: ``"loo"``, or ``"validation"`` on the last eighth of the
        images that are fitted.
    penalties : tuple of float
        Grid.
    multioutput : str
        ``"variance_weighted"`` (as published) or ``"uniform"`` mean over channels.
    cap : bool
        Fill in the cap of rectification.
    through : str
        As for `capture`.
    min_active : float
        Channels active on a smaller share of the images are silent: NaN, counted.
    batch_size : int
        Images of one pass.

    Returns
    -------
    LinearityResult

    References
    ----------
    Lindsey, Ocko, Ganguli & Deny (2019), arXiv:1901.00945, figure 3.
    """
    check_images("images", images, finite=True)
    check_choice("multioutput", multioutput, MULTIOUTPUT)
    check_range("min_active", min_active, 0, 1)
    _enough(images, ridge)
    shape = _shape(model, layer, images, through)
    if position == "pooled" and window is None:
        window = min(images.shape[2:]) // 2 | 1
    if len(shape) == 2 and window is not None:
        raise ValueError(f"window must be None for a layer without a map, got {window}")
    places = _places(shape, position)
    pixels = places
    if window is not None:
        grid = map_grid(model, layer, images, through, shape)
        pixels = [grid.pixel(place) for place in places]
    u = activations(
        model, layer, images, through=through, batch_size=batch_size,
        select=(lambda a: a) if len(shape) == 2 else _at(places),
    )  # fmt: skip
    y = u.double().numpy()
    y = y[:, None] if len(shape) == 2 else y  # (n, places, channels)
    n_fit = len(images) - int(np.ceil(SCORED * len(images)))
    # all places of an image in a row, so that images that choose a penalty are not fitted
    x = np.stack([_window(images, pixel, window) for pixel in pixels], 1)
    fit_x, test_x = (part.reshape(-1, x.shape[2]) for part in (x[:n_fit], x[n_fit:]))
    fit_y, test_y = (part.reshape(-1, y.shape[2]) for part in (y[:n_fit], y[n_fit:]))
    found = _regress(fit_x, fit_y, test_x, ridge, penalties, len(places))
    return _result(*found, fit_y, test_y, multioutput, cap, min_active)


def reconstruction(
    model: Activations,
    layer: str | None,
    images: Tensor,
    *,
    position: tuple[int, int] | str | None = None,
    ridge: str = "loo",
    penalties: tuple[float, ...] = RIDGE_GRID,
    multioutput: str = "variance_weighted",
    through: str = "post",
    batch_size: int = 256,
) -> LinearityResult:
    """Return how well a ridge regression reads a pixel back from all activations of a layer.

    Parameters
    ----------
    position : (row, column), "all" or None
        Of the pixel; None: the center of the image; all colors of it.
    model, layer, images, ridge, penalties, multioutput, through, batch_size
        As for `linearity`.
    """
    check_images("images", images, finite=True)
    check_choice("multioutput", multioutput, MULTIOUTPUT)
    _enough(images, ridge)
    height, width = images.shape[2:]
    if position == "all":
        y = images.flatten(1)
    else:
        if isinstance(position, str):
            check_choice("position", position, ("center", "all"))
        middle = (height // 2, width // 2)
        named = position is None or isinstance(position, str)
        row, column = middle if named else row_and_column(position)
        _inside("position", (row, column), (height, width))
        y = images[:, :, row, column]
    code = activations(
        model, layer, images, through=through, batch_size=batch_size, select=lambda u: u.flatten(1)
    ).numpy()
    n_fit = len(images) - int(np.ceil(SCORED * len(images)))
    targets = y.double().numpy()
    found = _regress(code[:n_fit], targets[:n_fit], code[n_fit:], ridge, penalties)
    return _result(*found, targets[:n_fit], targets[n_fit:], multioutput, False, 0.0)


def _enough(images: Tensor, how: str) -> None:
    """Refuse too few images by the names of the caller's arguments."""
    check_choice("ridge", how, ("loo", "validation"))
    fitted = len(images) - int(np.ceil(SCORED * len(images)))
    if how == "validation":
        fitted -= fitted // 8
    if fitted < N_MIN:
        raise ValueError(
            f"images must leave at least {N_MIN} to fit, got {len(images)}, of which {fitted} are "
            "fitted and the others choose the penalty or are scored"
        )


def _regress(
    x: np.ndarray,
    y: np.ndarray,
    x_scored: np.ndarray,
    how: str,
    penalties: tuple[float, ...],
    places: int = 1,
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return predictions of the fitted and of the scored rows, and the penalty."""
    if how == "validation":
        n = len(x) - places * (len(x) // places // 8)
        fit = fit_ridge(x[:n], y[:n], penalties, select=how, validation=(x[n:], y[n:]))
    else:
        fit = fit_ridge(x, y, penalties, select=how)
    return fit.predict(x), fit.predict(x_scored), fit.penalty


def _result(
    fitted: np.ndarray, predicted: np.ndarray, penalty: float, fit_y: np.ndarray,
    y: np.ndarray, multioutput: str, cap: bool, min_active: float,
) -> LinearityResult:  # fmt: skip
    everything = np.concatenate([fit_y, y])
    active = np.where((everything < 0).any(0), everything != 0, everything > 0).mean(0)
    silent = (active < min_active) | (np.ptp(fit_y, axis=0) == 0) | (np.ptp(y, axis=0) == 0)
    r2, curve = r2_scores(y, predicted), np.full(y.shape[1], np.nan)
    pearson = np.full(y.shape[1], np.nan)
    for i in np.flatnonzero(~silent):
        if np.ptp(predicted[:, i]) > 0:
            pearson[i] = np.corrcoef(y[:, i], predicted[:, i])[0, 1]
        curve[i] = _monotone_r2(fitted[:, i], fit_y[:, i], predicted[:, i], y[:, i])
    r2[silent] = np.nan
    weights = y.var(0) if multioutput == "variance_weighted" else np.ones(y.shape[1])
    alive = ~silent
    total = float((r2 * weights)[alive].sum() / weights[alive].sum()) if alive.any() else np.nan
    caps = np.where(silent | (everything < 0).any(0), np.nan, rectification_cap(active))
    if not cap:
        caps = np.full_like(r2, np.nan)
    return LinearityResult(
        total, r2, pearson, curve, caps, active, penalty, int(silent.sum()), predicted, y
    )


def _monotone_r2(
    fitted: np.ndarray, fit_y: np.ndarray, predicted: np.ndarray, y: np.ndarray
) -> float:
    """Return R^2 after the best increasing function of the prediction, found on the fitted rows."""
    order = np.argsort(fitted, kind="stable")
    curve = isotonic_regression(fit_y[order]).x
    scores = r2_scores(y[:, None], np.interp(predicted, fitted[order], curve)[:, None])
    return float(scores[0])


def _shape(model: Activations, layer: str | None, images: Tensor, through: str) -> tuple[int, ...]:
    if isinstance(model, Tensor | np.ndarray):
        return tuple(model.shape)
    return tuple(activations(model, layer, images[:1], through=through).shape)


def _places(shape: tuple[int, ...], position: Position) -> list[tuple[int, int]]:
    """Return the positions in the map."""
    if len(shape) == 2:
        if position is not None:
            raise ValueError(f"position must be None for a layer without a map, got {position!r}")
        return [(0, 0)]
    height, width = shape[2:]
    center = (height // 2, width // 2)
    if position is None:
        return [center]
    if isinstance(position, str):
        check_choice("position", position, ("center", "pooled"))
        if position == "center":
            return [center]
        if min(height, width) < 3:
            raise ValueError(
                f"position must not be 'pooled' for a map of {height} x {width}: nine places "
                "around the center need 3 x 3"
            )
        step = max(1, min(height, width) // 8)
        return [
            (center[0] + i * step, center[1] + j * step) for i in (-1, 0, 1) for j in (-1, 0, 1)
        ]
    place = row_and_column(position)
    _inside("position", place, (height, width))
    return [place]


def _inside(name: str, place: tuple[int, int], shape: tuple[int, int]) -> None:
    if not (0 <= place[0] < shape[0] and 0 <= place[1] < shape[1]):
        raise ValueError(f"{name} must be inside the map of {shape[0]} x {shape[1]}, got {place}")


def _at(places: list[tuple[int, int]]) -> Any:
    rows, columns = [p[0] for p in places], [p[1] for p in places]
    return lambda u: u[:, :, rows, columns].transpose(1, 2)


def _window(images: Tensor, place: tuple[int, int], window: int | None) -> np.ndarray:
    """Return the flat pixels around a place, those outside the image as zeros."""
    if window is None:
        return images.flatten(1).numpy()
    check_count("window", window)
    if window % 2 == 0:
        raise ValueError(f"window must be odd, got {window}")
    from torch.nn import functional

    half = window // 2
    padded = functional.pad(images, (half,) * 4)
    r, c = place
    return padded[:, :, r : r + window, c : c + window].flatten(1).numpy()
