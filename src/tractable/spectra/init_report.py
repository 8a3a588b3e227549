"""What an initialization did to each layer of a model, to read and to keep."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["InitLayer", "InitReport"]


@dataclass(frozen=True)
class InitLayer:
    """What was done to one layer."""

    name: str
    """Name in ``model.named_modules()``."""
    shape: tuple[int, ...]
    """Shape of the weight."""
    done: str
    """orthogonal, delta-orthogonal, gaussian, readout (zero, lecun, keep), tied, or skipped."""
    sigma_w: float
    """Standard deviation of the weights times the root of the fan-in; NaN where skipped."""
    sigma_b: float
    """Standard deviation that the biases were drawn with; NaN where skipped."""
    ortho_error: float
    """``max |W W^T / s^2 - 1|`` of the stored weight; NaN where it is not orthogonal by design."""
    remark: str
    """Why it was skipped, or what to know."""


@dataclass(frozen=True)
class InitReport:
    r"""What `init_` did.

    Parameters
    ----------
    scheme, nonlinearity : str
        As used.
    depth : int
        Hidden layers L.
    q_star, sigma_w, sigma_b : float
        The point on the critical line; standard deviations.
    variance : float
        Predicted :math:`\sigma^2_{JJ^T}`, from h^1 to the last hidden layer.
    stable : bool
        Whether q* does not repel.
    input_scale : float
        Factor on the first layer's weight that sets q^1 to q* on ``input_batch``; 1 without one.
        It multiplies J too: divide eigenvalues by its square, or measure J from h^1 on.
    layers : tuple of InitLayer
        Layer by layer.
    """

    scheme: str
    nonlinearity: str
    depth: int
    q_star: float
    sigma_w: float
    sigma_b: float
    variance: float
    stable: bool
    input_scale: float
    layers: tuple[InitLayer, ...]

    @property
    def skipped(self) -> tuple[InitLayer, ...]:
        """The layers that were left as they were, with the reason as remark."""
        return tuple(layer for layer in self.layers if layer.done == "skipped")

    def __str__(self) -> str:
        head = (
            f"{self.scheme} weights for {self.nonlinearity}, {self.depth} hidden layers: "
            f"q* = {self.q_star:.4g}, sigma_w = {self.sigma_w:.6g} (sigma_w^2 = "
            f"{self.sigma_w**2:.6g}), sigma_b = {self.sigma_b:.4g} (sigma_b^2 = "
            f"{self.sigma_b**2:.4g}), predicted variance of J J^T {self.variance:.4g}"
        )
        rows = [
            f"  {layer.name or '(model)'} {layer.shape}: {layer.done}"
            + (f"; {layer.remark}" if layer.remark else "")
            for layer in self.layers
        ]
        return "\n".join([head, *rows])

    def to_dataset(self) -> xr.Dataset:
        """Return the report as a dataset with one row per layer."""
        import xarray as xr

        columns = {
            "shape": [str(layer.shape) for layer in self.layers],
            **{
                key: [getattr(layer, key) for layer in self.layers]
                for key in ("done", "sigma_w", "sigma_b", "ortho_error", "remark")
            },
        }
        attrs = {key: value for key, value in asdict(self).items() if key != "layers"}
        attrs["stable"] = int(self.stable)
        return xr.Dataset(
            {key: ("layer", np.array(values), {"units": "1"}) for key, values in columns.items()},
            coords={"layer": [layer.name for layer in self.layers]},
            attrs={"result": "InitReport", **attrs},
        )

    @classmethod
    def from_dataset(cls, dataset: xr.Dataset) -> InitReport:
        """Return the report that `to_dataset` wrote."""
        if dataset.attrs.get("result") != "InitReport":
            raise ValueError(
                f"dataset must hold an InitReport, got {dataset.attrs.get('result')!r}"
            )
        layers = tuple(_layer_of(dataset, i) for i in range(dataset.sizes["layer"]))
        attrs = dataset.attrs
        return cls(
            scheme=str(attrs["scheme"]),
            nonlinearity=str(attrs["nonlinearity"]),
            depth=int(attrs["depth"]),
            q_star=float(attrs["q_star"]),
            sigma_w=float(attrs["sigma_w"]),
            sigma_b=float(attrs["sigma_b"]),
            variance=float(attrs["variance"]),
            stable=bool(attrs["stable"]),
            input_scale=float(attrs["input_scale"]),
            layers=layers,
        )


def _layer_of(dataset: xr.Dataset, index: int) -> InitLayer:
    row = dataset.isel(layer=index)
    shape = str(row["shape"].item()).strip("()").split(",")
    return InitLayer(
        str(row["layer"].item()),
        tuple(int(size) for size in shape if size.strip()),
        str(row["done"].item()),
        float(row["sigma_w"]),
        float(row["sigma_b"]),
        float(row["ortho_error"]),
        str(row["remark"].item()),
    )
