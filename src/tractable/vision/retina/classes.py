"""Which kind of cell is it? Center-surround or blob, ON or OFF, oriented even or odd."""

from __future__ import annotations

import enum
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from tractable.core.checks import check_range
from tractable.vision.retina.field_sets import SILENT, RFSet
from tractable.vision.retina.fits import DoGFit, GaborFit, fit_dog, fit_gabor
from tractable.vision.retina.orientation import check_fields, orientation
from tractable.vision.retina.roundness import opposite_ratio, radial_fraction

__all__ = ["CellClasses", "CellKind", "classify_rf"]


class CellKind(enum.StrEnum):
    """Kinds of receptive fields."""

    CENTER_SURROUND_ON = "center_surround_on"
    CENTER_SURROUND_OFF = "center_surround_off"
    BLOB_ON = "blob_on"
    BLOB_OFF = "blob_off"
    ORIENTED_EVEN = "oriented_even"
    ORIENTED_ODD = "oriented_odd"
    UNCLASSIFIED = "unclassified"
    DEAD = "dead"


@dataclass(frozen=True, eq=False)
class CellClasses:
    """Kinds of n cells, with the numbers they rest on; NaN for dead cells.

    Parameters
    ----------
    kind : tuple of CellKind
        Of each cell.
    anisotropy, radial : ndarray, shape (n,)
        As `orientation` and `radial_fraction` say.
    volume_ratio : ndarray, shape (n,)
        Surround over center volume of the fitted difference of Gaussians; 1 is balanced.
    opposite : ndarray, shape (n,)
        As `opposite_ratio` says: the same question without a fit.
    dog, gabor : tuple of DoGFit, of GaborFit
        The fits; compare them by ``aic``.
    """

    kind: tuple[CellKind, ...]
    anisotropy: np.ndarray
    radial: np.ndarray
    volume_ratio: np.ndarray
    opposite: np.ndarray
    dog: tuple[DoGFit, ...]
    gabor: tuple[GaborFit, ...]

    def __len__(self) -> int:
        return len(self.kind)

    def counts(self) -> dict[str, int]:
        """Return how many cells of each kind there are; kinds without a cell are left out."""
        found = Counter(self.kind)
        return {str(kind): found[kind] for kind in CellKind if found[kind]}

    def records(self) -> list[dict[str, Any]]:
        """Return one mapping per cell, ready for a table."""
        return [
            {
                "kind": str(kind),
                "anisotropy": float(self.anisotropy[i]),
                "radial_fraction": float(self.radial[i]),
                "volume_ratio": float(self.volume_ratio[i]),
                "opposite_ratio": float(self.opposite[i]),
                "r2_dog": self.dog[i].r2,
                "r2_gabor": self.gabor[i].r2,
                "aic_dog": self.dog[i].aic,
                "aic_gabor": self.gabor[i].aic,
            }
            for i, kind in enumerate(self.kind)
        ]

    def to_dataset(self) -> Any:
        """Return an `xarray.Dataset` with the numbers of `records`."""
        import xarray as xr

        rows = self.records()
        numbers = [name for name in rows[0] if name != "kind"] if rows else []
        data = {
            name: ("unit", np.array([row[name] for row in rows]), {"units": "1"})
            for name in numbers
        }
        return xr.Dataset({"kind": ("unit", [str(kind) for kind in self.kind]), **data})


def classify_rf(
    rf: RFSet | np.ndarray,
    *,
    oriented_above: float = 0.35,
    round_below: float = 0.2,
    radial_above: float = 0.6,
    gabor_r2: float = 0.6,
    surround_above: float = 0.2,
) -> CellClasses:
    """Sort cells by their receptive fields.

    Dead: the largest gradient is below 1e-9. Oriented: anisotropy of 0.35 or more, and a Gabor
    function explains 0.6. Center-surround: anisotropy below 0.2, radial fraction of 0.6 or more,
    and a surround, no wider than the field, of 0.2 or more of the center's volume; blob: with less.
    The sign of the center says ON or OFF, the phase of the Gabor function even or odd. All else is
    unclassified.

    Parameters
    ----------
    rf : RFSet or ndarray, shape (n, H, W)
        Receptive fields.
    oriented_above, round_below, radial_above, gabor_r2, surround_above : float
        The thresholds, in this order.

    Returns
    -------
    CellClasses

    Examples
    --------
    >>> y, x = np.mgrid[-8:8, -8:8]
    >>> r2 = x**2 + y**2
    >>> dog = np.exp(-r2 / 2) / 2 - np.exp(-r2 / 8) / 8
    >>> gabor = np.exp(-r2 / 8) * np.sin(2 * np.pi * x / 5)
    >>> classify_rf(np.stack([-dog, gabor, 0 * dog])).counts()
    {'center_surround_off': 1, 'oriented_odd': 1, 'dead': 1}
    """
    limits = {
        "oriented_above": oriented_above,
        "round_below": round_below,
        "radial_above": radial_above,
        "gabor_r2": gabor_r2,
    }
    for name, limit in limits.items():
        check_range(name, limit, 0.0, 1.0)
    check_range("surround_above", surround_above, 0.0)
    fields = check_fields(rf.gray() if isinstance(rf, RFSet) else rf).copy()
    largest = np.abs(np.nan_to_num(fields, nan=0.0)).reshape(len(fields), -1).max(1)
    fields[(largest < SILENT) | np.isnan(fields).any((1, 2))] = np.nan
    a, radial = orientation(fields).anisotropy, radial_fraction(fields)
    dogs = tuple(fit_dog(one) for one in fields)
    gabors = tuple(fit_gabor(one) for one in fields)
    # A surround wider than the field cannot be told from the offset: it is none.
    size = max(fields.shape[1:])
    volume = np.array([np.where(dog.sigma_surround > size, 0.0, dog.volume_ratio) for dog in dogs])
    kinds = []
    for i, one in enumerate(fields):
        if np.isnan(a[i]):
            kinds.append(CellKind.DEAD)
        elif a[i] >= oriented_above and gabors[i].r2 >= gabor_r2:
            kinds.append(CellKind.ORIENTED_EVEN if gabors[i].even else CellKind.ORIENTED_ODD)
        elif a[i] < round_below and radial[i] >= radial_above:
            on = one.ravel()[np.abs(one).argmax()] > 0
            kinds.append(_round_kind(on=bool(on), surround=bool(volume[i] >= surround_above)))
        else:
            kinds.append(CellKind.UNCLASSIFIED)
    return CellClasses(tuple(kinds), a, radial, volume, opposite_ratio(fields), dogs, gabors)


def _round_kind(*, on: bool, surround: bool) -> CellKind:
    if surround:
        return CellKind.CENTER_SURROUND_ON if on else CellKind.CENTER_SURROUND_OFF
    return CellKind.BLOB_ON if on else CellKind.BLOB_OFF
