"""Drifting gratings: tuning to orientation, spatial frequency and phase."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tractable.core.checks import as_floats, check_count, check_finite, check_range
from tractable.vision.retina.errors import check_image_shape
from tractable.vision.retina.field_sets import SILENT
from tractable.vision.retina.gradients import select_units
from tractable.vision.retina.layers import Model, activations

__all__ = ["GratingTuning", "grating_images", "gratings"]


@dataclass(frozen=True, eq=False)
class GratingTuning:
    """Responses of n cells to gratings that drift through all phases.

    Parameters
    ----------
    sf : ndarray, shape (n_sf,)
        Spatial frequencies, cycles per pixel.
    theta : ndarray, shape (n_theta,)
        Orientations of the bars, radians, as `OrientationStats.angle`.
    phase : ndarray, shape (n_phase,)
        Phases at the center of the image, evenly spaced, radians.
    response : ndarray of float64, shape (n, n_sf, n_theta, n_phase)
        Activation.
    blank : ndarray of float64, shape (n,)
        Activation for the mean gray alone.
    unit : ndarray of int64, shape (n, 3)
        Channel, row and column of each cell in the layer's map.
    """

    sf: np.ndarray
    theta: np.ndarray
    phase: np.ndarray
    response: np.ndarray
    blank: np.ndarray
    unit: np.ndarray

    def __len__(self) -> int:
        return len(self.response)

    @property
    def f0(self) -> np.ndarray:
        """Mean over phases minus the blank response, shape (n, n_sf, n_theta), (R20)."""
        return np.asarray(self.response.mean(-1) - self.blank[:, None, None])

    @property
    def f1(self) -> np.ndarray:
        """Amplitude of the first harmonic over phases, shape (n, n_sf, n_theta), (R20)."""
        wave = np.exp(-1j * self.phase)
        return np.asarray(2 * np.abs(self.response @ wave) / len(self.phase))

    @property
    def silent(self) -> np.ndarray:
        """True for cells that answer no grating differently from the blank, shape (n,)."""
        flat = self.response.reshape(len(self), -1) - self.blank[:, None]
        return np.asarray(np.abs(flat).max(1) < SILENT)

    @property
    def n_silent(self) -> int:
        """Number of silent cells; their numbers are NaN."""
        return int(self.silent.sum())

    def preferred(self) -> tuple[np.ndarray, np.ndarray]:
        """Return frequency and orientation of the strongest response (the larger of F0 and F1)."""
        at = self._best()
        sf, theta = self.sf[at[0]].astype(float), self.theta[at[1]].astype(float)
        sf[self.silent], theta[self.silent] = np.nan, np.nan
        return sf, theta

    def ratio(self) -> np.ndarray:
        """Return ``F1 / |F0|`` at the preferred grating, shape (n,): simple cells are above 1."""
        i, at = np.arange(len(self)), self._best()
        with np.errstate(divide="ignore", invalid="ignore"):
            found = self.f1[i, at[0], at[1]] / np.abs(self.f0[i, at[0], at[1]])
        found[self.silent] = np.nan
        return np.asarray(found)

    def simple(self) -> np.ndarray:
        """Return True for cells with F1 / F0 > 1, shape (n,); False for silent ones."""
        return np.asarray(np.nan_to_num(self.ratio(), nan=0.0) > 1)

    def selectivity(self) -> np.ndarray:
        r"""Return :math:`|\sum R e^{2 i \theta}| / \sum R` at the preferred frequency, shape (n,).

        R is the larger of F0 and F1: 0 for a cell without preferred orientation, 1 for one that
        answers to one only. Needs orientations that are evenly spaced over 180 degrees.
        """
        strength = self._strength()[np.arange(len(self)), self._best()[0]]
        with np.errstate(invalid="ignore"):
            vector = np.abs(strength @ np.exp(2j * self.theta)) / strength.sum(1)
        vector[self.silent] = np.nan
        return np.asarray(vector)

    def _strength(self) -> np.ndarray:
        return np.maximum(np.abs(self.f0), self.f1)

    def _best(self) -> tuple[np.ndarray, np.ndarray]:
        flat = self._strength().reshape(len(self), -1).argmax(1)
        row, column = np.unravel_index(flat, (len(self.sf), len(self.theta)))
        return np.asarray(row), np.asarray(column)

    def to_dataset(self) -> Any:
        """Return an `xarray.Dataset`."""
        import xarray as xr

        one, angle = {"units": "1"}, {"units": "rad"}
        dims = ("unit", "sf", "theta", "phase")
        return xr.Dataset(
            {
                "response": (dims, self.response, {"units": "activation"}),
                "blank": ("unit", self.blank, {"units": "activation"}),
                "index": (("unit", "axis"), self.unit, one),
            },
            coords={
                "sf": ("sf", self.sf, {"units": "cycles / px"}),
                "theta": ("theta", self.theta, angle),
                "phase": ("phase", self.phase, angle),
            },
        )

    @classmethod
    def from_dataset(cls, dataset: Any) -> GratingTuning:
        """Read what `to_dataset` wrote."""
        names = ("sf", "theta", "phase", "response", "blank", "index")
        return cls(*(dataset[name].values for name in names))


def grating_images(
    shape: tuple[int, int, int],
    sf: float | Sequence[float] | np.ndarray,
    theta: float | Sequence[float] | np.ndarray,
    phase: float | Sequence[float] | np.ndarray,
    *,
    contrast: float = 0.5,
    mean: float = 0.5,
) -> np.ndarray:
    r"""Return sinusoidal gratings :math:`m + c\, m \cos(2 \pi f \cdot (r - r_0) + \phi)`, (R20).

    Parameters
    ----------
    shape : (C, H, W)
        All colors are equal; r0 is pixel (H // 2, W // 2).
    sf : float or sequence
        Cycles per pixel, 0 < sf <= 0.5.
    theta : float or sequence
        Orientation of the bars, radians, from the axis of columns to that of rows.
    phase : float or sequence
        Radians, at r0.
    contrast : float
        Amplitude over mean, in (0, 1].
    mean : float
        Gray of the background, > 0.

    Returns
    -------
    ndarray of float64, shape (n_sf, n_theta, n_phase, C, H, W)

    Examples
    --------
    >>> grating_images((1, 1, 4), 0.25, np.pi / 2, 0.0).ravel().round(2).tolist()  # upright bars
    [0.25, 0.5, 0.75, 0.5]
    """
    given = {"sf": sf, "theta": theta, "phase": phase}
    f, angle, phi = (np.atleast_1d(as_floats(name, v)) for name, v in given.items())
    for name, values in (("sf", f), ("theta", angle), ("phase", phi)):
        if values.ndim != 1 or not len(values):
            raise ValueError(f"{name} must be a number or a sequence, got shape {values.shape}")
        check_finite(name, values)
    if f.min() <= 0 or f.max() > 0.5:
        raise ValueError(f"sf must be in (0, 0.5] cycles per pixel, got {f.min():g} .. {f.max():g}")
    check_range("contrast", contrast, 0.0, 1.0, open_low=True)
    check_range("mean", mean, 0.0, open_low=True)
    colors, height, width = check_image_shape("shape", shape)
    y, x = np.arange(height) - height // 2, np.arange(width) - width // 2
    along = np.sin(angle)[:, None, None] * x - np.cos(angle)[:, None, None] * y[:, None]
    wave = 2 * np.pi * f[:, None, None, None] * along
    pictures = mean * (1 + contrast * np.cos(wave[:, :, None] + phi[:, None, None]))
    return np.repeat(pictures[:, :, :, None], colors, axis=3)


def gratings(
    model: Model,
    layer: str | None = None,
    *,
    sf: Sequence[float] | np.ndarray = (0.0625, 0.125, 0.1875, 0.25, 0.375),
    theta: Sequence[float] | np.ndarray | None = None,
    phase: Sequence[float] | np.ndarray | None = None,
    n_theta: int = 12,
    n_phase: int = 8,
    contrast: float = 0.5,
    mean: float = 0.5,
    shape: tuple[int, int, int] | None = None,
    through: str = "post",
    position: str | tuple[int, int] = "center",
    units: Sequence[int] | None = None,
    pad: str | None = None,
    batch_size: int = 256,
) -> GratingTuning:
    """Return the responses of a layer's cells to drifting gratings.

    Parameters
    ----------
    model : nn.Module or callable
        Any network, or a function of images.
    layer : str, optional
        Name of a submodule; None takes the model's own output.
    sf : sequence of float
        Spatial frequencies, cycles per pixel, in (0, 0.5].
    theta : sequence of float, optional
        Orientations of the bars, radians; default ``n_theta`` of them.
    phase : sequence of float, optional
        Phases, radians, evenly spaced over a whole turn; default ``n_phase`` of them.
    n_theta : int
        Orientations, evenly spaced over 180 degrees, 2 or more.
    n_phase : int
        Phases, evenly spaced over 360 degrees, 4 or more: with fewer a second harmonic looks like
        a mean or a first one.
    contrast, mean
        As for `grating_images`.
    shape : (C, H, W), optional
        Of the image, where the model has no ``in_shape``.
    through : str
        ``"post"``: responses, as a physiologist records them. ``"pre"`` and ``"linear"`` as for
        `capture`; without rectification F0 is near 0.
    position, units, pad
        As for `receptive_fields`.
    batch_size : int
        Images of one pass.

    Returns
    -------
    GratingTuning

    Raises
    ------
    ValueError
        Frequencies outside (0, 0.5], too few phases, no shape, unknown layer.

    Notes
    -----
    Of a linear cell F1 is contrast times mean times the modulus of the field's Fourier transform,
    F0 is 0; a rectified linear cell at threshold has F1 / F0 = pi / 2; the energy of a quadrature
    pair has F1 = 0. The blank response is taken off F0, so that an offset alone makes no cell
    complex.

    References
    ----------
    Skottun, De Valois, Grosof, Movshon, Albrecht, Bonds 1991, Vision Research 31, 1078-1086,
    doi:10.1016/0042-6989(91)90033-2

    Examples
    --------
    >>> conv = torch.nn.Conv2d(1, 2, 5, padding=2)
    >>> net = torch.nn.Sequential(conv, torch.nn.ReLU())
    >>> tuning = gratings(net, "1", shape=(1, 16, 16))
    >>> tuning.response.shape, tuning.ratio().shape
    ((2, 5, 12, 8), (2,))
    """
    check_count("n_theta", n_theta, 2)
    check_count("n_phase", n_phase, 4)
    size = shape or getattr(model, "in_shape", None)
    if size is None:
        raise ValueError("shape=(C, H, W) of the image must be given: the model has no in_shape")
    theta = np.arange(n_theta) * np.pi / n_theta if theta is None else as_floats("theta", theta)
    phase = _phases(n_phase if phase is None else phase)
    pictures = grating_images(size, sf, theta, phase, contrast=contrast, mean=mean)
    flat = pictures.reshape(-1, *size)
    batch = torch.from_numpy(np.concatenate([np.full_like(flat[:1], mean), flat]))
    index: list[np.ndarray] = []

    def chosen(u: Tensor) -> Tensor:
        values, unit = select_units(u, position, units)
        index.append(unit)
        return values

    found = activations(
        model, layer, batch, through=through, batch_size=batch_size, pad=pad, select=chosen
    )
    values = found.double().numpy().T
    response = values[:, 1:].reshape(len(values), *pictures.shape[:3])
    frequencies, theta = (np.atleast_1d(np.asarray(v, dtype=np.float64)) for v in (sf, theta))
    return GratingTuning(frequencies, theta, phase, response, values[:, 0], index[0])


def _phases(given: int | Sequence[float] | np.ndarray) -> np.ndarray:
    """Return phases that are evenly spaced over a turn: only then harmonics are sums over them."""
    if isinstance(given, int | np.integer):
        return np.arange(given) * 2 * np.pi / given
    phase = as_floats("phase", given)
    check_finite("phase", phase)
    n = len(phase) if phase.ndim == 1 else 0
    turned = np.exp(1j * (np.sort(phase.ravel()) - np.arange(phase.size) * 2 * np.pi / max(n, 1)))
    if n < 4 or np.abs(turned - turned[:1]).max() > 1e-6:
        raise ValueError(f"phase must be 4 or more phases, evenly spaced over 2 pi, got {given!r}")
    return phase
