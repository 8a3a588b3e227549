"""Receptive fields of the units of a layer, silent ones as NaN and counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tractable.vision.retina.errors import DeadBottleneckError

__all__ = ["RFSet"]

SILENT = 1e-9  # a largest gradient below this is none


@dataclass(frozen=True, eq=False)
class RFSet:
    """Receptive fields of the units of one layer.

    Parameters
    ----------
    rf : ndarray of float64, shape (n, H, W), or (n, channels, H, W) of color images
        Activation per unit of intensity; NaN for a silent unit.
    unit : ndarray of int64, shape (n, 3)
        Channel, row and column of each unit in the layer's map.
    layer : str
        Name of the layer.
    base : str
        Where the gradient was taken.
    through : str
        ``"pre"``, ``"post"`` or ``"linear"``.
    n_images : int
        Images averaged over.
    """

    rf: np.ndarray
    unit: np.ndarray
    layer: str
    base: str
    through: str
    n_images: int = 1

    def __len__(self) -> int:
        return len(self.rf)

    @property
    def dead(self) -> np.ndarray:
        """True for silent units, shape (n,)."""
        return np.isnan(self.rf).reshape(len(self.rf), -1).any(1)

    @property
    def n_dead(self) -> int:
        """Number of silent units."""
        return int(self.dead.sum())

    def alive(self) -> np.ndarray:
        """Return the fields of the units that are not silent.

        Raises
        ------
        DeadBottleneckError
            All are silent.
        """
        if self.n_dead == len(self):
            raise DeadBottleneckError(
                f"all {len(self)} units of {self.layer} are silent (base {self.base}, "
                f"through {self.through}); take base='images' or another seed"
            )
        return self.rf[~self.dead]

    def normalized(self) -> np.ndarray:
        """Return the fields over their root mean square plus 1e-5, as published."""
        axes = tuple(range(1, self.rf.ndim))
        return self.rf / (np.sqrt((self.rf**2).mean(axes, keepdims=True)) + 1e-5)

    def gray(self) -> np.ndarray:
        """Return (n, H, W): of color fields the first principal component over the colors.

        Its sign is that of the sum over colors at the largest entry.
        """
        if self.rf.ndim == 3:
            return self.rf
        n, colors, height, width = self.rf.shape
        found = np.full((n, height, width), np.nan)
        for i in np.flatnonzero(~self.dead):
            flat = self.rf[i].reshape(colors, -1)
            _, s, v = np.linalg.svd(flat, full_matrices=False)
            peak = np.abs(v[0]).argmax()
            sign = np.sign(flat[:, peak].sum()) * np.sign(v[0, peak])
            found[i] = (s[0] * v[0] * (sign or 1.0)).reshape(height, width)
        return found

    def to_dataset(self) -> Any:
        """Return an `xarray.Dataset` with the fields and the units."""
        import xarray as xr

        inner = ("row", "column") if self.rf.ndim == 3 else ("color", "row", "column")
        return xr.Dataset(
            {
                "rf": (("unit", *inner), self.rf, {"units": "activation / intensity"}),
                "index": (("unit", "axis"), self.unit, {"units": "1"}),
            },
            coords={"axis": ["channel", "row", "column"]},
            attrs={
                "layer": self.layer,
                "base": self.base,
                "through": self.through,
                "n_images": self.n_images,
            },
        )

    @classmethod
    def from_dataset(cls, dataset: Any) -> RFSet:
        """Read what `to_dataset` wrote."""
        a = dataset.attrs
        return cls(
            dataset["rf"].values,
            dataset["index"].values,
            layer=str(a["layer"]),
            base=str(a["base"]),
            through=str(a["through"]),
            n_images=int(a["n_images"]),
        )
