"""Simple or complex: how much the receptive field of a cell depends on the image around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tractable.core.checks import as_floats, check_count, check_finite, check_range
from tractable.core.seeds import derive, generator
from tractable.vision.retina.errors import check_image_shape
from tractable.vision.retina.field_sets import SILENT
from tractable.vision.retina.fields import rf_ensemble
from tractable.vision.retina.layers import Model

__all__ = ["ComplexityResult", "complexity", "pairwise_cosine"]

DEVIATION, MIDDLE = 0.1, 0.5  # every field is shown with this contrast around this gray


@dataclass(frozen=True, eq=False)
class ComplexityResult:
    """How much the receptive fields of n cells change from image to image; NaN for silent ones.

    Parameters
    ----------
    complexity : ndarray of float64, shape (n,)
        Mean over pixels of the standard deviation over images of the field at contrast 0.1: 0 for
        a linear cell, 0.1 at most.
    cosine : ndarray of float64, shape (n,)
        Mean absolute cosine between the fields at two images: 1 for a linear cell.
    n_used : ndarray of int64, shape (n,)
        Images at which the cell has a gradient; with fewer than two it is silent.
    layer : str
        Name of the layer.
    """

    complexity: np.ndarray
    cosine: np.ndarray
    n_used: np.ndarray
    layer: str

    def __len__(self) -> int:
        return len(self.complexity)

    @property
    def n_silent(self) -> int:
        """Number of silent cells, which are not in the mean."""
        return int(np.isnan(self.complexity).sum())

    def mean(self) -> tuple[float, float]:
        """Return the mean complexity over cells and 1.96 standard errors; NaN if all are silent."""
        alive = self.complexity[~np.isnan(self.complexity)]
        if not len(alive):
            return float("nan"), float("nan")
        spread = alive.std(ddof=1) / np.sqrt(len(alive)) if len(alive) > 1 else float("nan")
        return float(alive.mean()), float(1.96 * spread)

    def to_dataset(self) -> Any:
        """Return an `xarray.Dataset`."""
        import xarray as xr

        names = ("complexity", "cosine", "n_used")
        data = {name: ("unit", getattr(self, name), {"units": "1"}) for name in names}
        return xr.Dataset(data, attrs={"layer": self.layer})

    @classmethod
    def from_dataset(cls, dataset: Any) -> ComplexityResult:
        """Read what `to_dataset` wrote."""
        complexity, cosine, n_used = (
            dataset[name].values for name in ("complexity", "cosine", "n_used")
        )
        return cls(complexity, cosine, n_used, str(dataset.attrs["layer"]))


def complexity(
    model: Model,
    layer: str | None = None,
    *,
    images: Tensor | None = None,
    n_init: int = 10,
    std: float = 0.1,
    shape: tuple[int, int, int] | None = None,
    through: str = "pre",
    position: str | tuple[int, int] = "center",
    units: Sequence[int] | None = None,
    pad: str | None = None,
    seed: int = 0,
) -> ComplexityResult:
    r"""Return how much the receptive field of each cell of a layer depends on the image, (R18).

    The gradient w at each image is brought to mean 0 and standard deviation 0.1, moved to 0.5 and
    cut to [0, 1]; complexity is the mean over pixels of its standard deviation over images.

    Parameters
    ----------
    model : nn.Module or callable
        Any network, or a function of images.
    layer : str, optional
        Name of a submodule; None takes the model's own output.
    images : tensor, shape (m, C, H, W), optional
        Two or more images; by default ``n_init`` Gaussian ones around 0 (black), as published.
    n_init : int
        Random images, 2 or more.
    std : float
        Their standard deviation, > 0.
    shape : (C, H, W), optional
        Of the random images, where the model has no ``in_shape``.
    through, position, units, pad
        As for `receptive_fields`. With ``through="linear"`` every cell is linear.
    seed : int
        Of the random images.

    Returns
    -------
    ComplexityResult

    Raises
    ------
    ValueError
        Fewer than two images, no shape, unknown layer.

    Notes
    -----
    A cell below its threshold has no gradient; such images are left out for it and counted. A cell
    that squares a filter has fields of one shape and two signs: complexity near 0.08, cosine 1.
    The energy of a quadrature pair has complexity near 0.07 and cosine 2 / pi. The two are told
    apart by the cosine only.

    References
    ----------
    Lindsey, Ocko, Ganguli, Deny 2019, arXiv:1901.00945, figure 5.

    Examples
    --------
    >>> conv = torch.nn.Conv2d(1, 3, 5, padding=2)
    >>> found = complexity(conv, shape=(1, 9, 9))
    >>> bool(found.complexity.max() < 1e-6), bool(found.cosine.min() > 0.999)
    (True, True)
    """
    if images is None:
        check_count("n_init", n_init, 2)
        check_range("std", std, 0.0, open_low=True)
        check_finite("std", float(std))
        size = shape or getattr(model, "in_shape", None)
        if size is None:
            raise ValueError(
                "shape=(C, H, W) of the image must be given: the model has no in_shape"
            )
        size = check_image_shape("shape", size)
        draw = generator(derive(seed, "initial images"))
        images = std * torch.randn(n_init, *size, generator=draw)
    elif not isinstance(images, Tensor) or len(images) < 2:
        got = f"{len(images)}" if hasattr(images, "__len__") else type(images).__name__
        raise ValueError(f"images must be a tensor of two images or more, got {got}")
    fields = rf_ensemble(
        model, layer, images, through=through, position=position, units=units, pad=pad
    )
    fields = fields.reshape(*fields.shape[:2], -1)
    used = np.abs(fields).max(2) >= SILENT
    found = np.full((2, len(fields)), np.nan)
    for i, (own, on) in enumerate(zip(fields, used, strict=True)):
        if on.sum() >= 2:
            found[:, i] = _spread(own[on]), pairwise_cosine(own[on])
    return ComplexityResult(found[0], found[1], used.sum(1), layer or "output")


def _spread(fields: np.ndarray) -> float:
    """Return the mean over pixels of the deviation over images of fields at equal contrast."""
    centered = fields - fields.mean(1, keepdims=True)
    deviation = centered.std(1, keepdims=True)
    shown = MIDDLE + DEVIATION * centered / np.where(deviation > 0, deviation, 1.0)
    return float(np.clip(shown, 0.0, 1.0).std(0).mean())


def pairwise_cosine(fields: np.ndarray) -> float:
    r"""Return the mean absolute cosine :math:`|w \cdot w'| / |w| |w'|` over pairs of fields, (R19).

    Parameters
    ----------
    fields : ndarray, shape (m, ...)
        Two or more; those that are zero throughout or hold NaN are left out.

    Returns
    -------
    float
        In [0, 1]; NaN if fewer than two are left.

    Examples
    --------
    >>> pairwise_cosine(np.array([[1.0, 0.0], [-2.0, 0.0], [0.0, 1.0]]))  # 1, 0, 0
    0.3333333333333333
    """
    flat = as_floats("fields", fields)
    if flat.ndim < 2 or len(flat) < 2:
        raise ValueError(f"fields must have shape (m, ...) with m >= 2, got {flat.shape}")
    if np.isinf(flat).any():
        raise ValueError(f"fields must not be infinite, got {int(np.isinf(flat).sum())} entries")
    flat = flat.reshape(len(flat), -1)
    flat = flat[np.isfinite(flat).all(1)]
    norm = np.linalg.norm(flat, axis=1)
    unit = flat[norm > 0] / norm[norm > 0, None]
    m = len(unit)
    if m < 2:
        return float("nan")
    cosines = np.abs(unit @ unit.T)[~np.eye(m, dtype=bool)]
    return float(cosines.mean())
