"""Predict the Jacobian spectrum of a chain that was watched: by mean field, or from its slopes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tractable.spectra.audit_layers import LayerAudit
from tractable.spectra.chain import Chain
from tractable.spectra.phase import variance_per_layer

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Prediction", "layer_ensemble", "predict"]

ORTHOGONAL = 0.05  # deviation from orthogonality that is called orthogonal
LEVELS = np.concatenate(
    [np.linspace(0.002, 0.04, 8), np.linspace(0.05, 0.95, 61), np.linspace(0.96, 0.998, 8)]
)


@dataclass(frozen=True, eq=False)
class Prediction:
    r"""The spectrum of :math:`J J^T` that theory expects of a chain.

    Parameters
    ----------
    kind : str
        ``"mean field"`` or ``"observed slopes"``.
    ensemble : str
        ``"orthogonal"``, ``"gaussian"``, ``"mixed"``, or ``"other"`` (no curve then).
    depth : int
        Hidden layers.
    mean : float
        Mean eigenvalue on the smaller side: product of the layers' sigma_w^2 mu_1.
    relative_variance : float
        Variance of the eigenvalues over their mean squared: the sum of v and r over the layers.
    p, quantile : ndarray, shape (k,)
        Quantiles of the eigenvalues; empty without a curve.
    """

    kind: str
    ensemble: str
    depth: int
    mean: float
    relative_variance: float
    p: np.ndarray = field(default_factory=lambda: np.zeros(0))
    quantile: np.ndarray = field(default_factory=lambda: np.zeros(0))

    @property
    def variance(self) -> float:
        r"""Variance :math:`\sigma^2_{JJ^T}`."""
        return self.relative_variance * self.mean**2

    def summary(self) -> dict[str, Any]:
        """Return the numbers without the curve."""
        names = ("kind", "ensemble", "depth", "mean", "relative_variance")
        return {name: getattr(self, name) for name in names}

    def to_dataset(self) -> xr.Dataset:
        """Return the quantiles as a dataset, the numbers as attributes."""
        import xarray as xr

        return xr.Dataset(
            {"quantile": ("p", self.quantile, {"units": "1"})},
            coords={"p": self.p},
            attrs={"result": "Prediction", **self.summary()},
        )

    @classmethod
    def from_dataset(cls, dataset: xr.Dataset) -> Prediction:
        """Return the prediction that `to_dataset` wrote."""
        attrs = {key: value for key, value in dataset.attrs.items() if key != "result"}
        return cls(**attrs, p=dataset["p"].values, quantile=dataset["quantile"].values)


def layer_ensemble(layer: LayerAudit) -> str:
    """Return whether a layer's weights look orthogonal, Gaussian, or like neither.

    Independent entries of any law have the singular values of Gaussian ones. The relative variance
    of the eigenvalues tells them: the ratio of the smaller to the larger side.
    """
    if layer.ortho_error <= ORTHOGONAL:
        return "orthogonal"
    expected = min(layer.n_in, layer.n_out) / max(layer.n_in, layer.n_out)
    if math.isfinite(layer.r) and abs(layer.r - expected) <= 0.3 * max(expected, 0.3):
        return "gaussian"
    return "other"


def predict(
    chain: Chain, layers: tuple[LayerAudit, ...]
) -> tuple[Prediction | None, Prediction | None, str]:
    """Return the predictions by mean field and from the observed slopes, and what is missing."""
    hidden = layers[: len(chain.hidden)]
    weights = hidden[1:]  # the spectrum is that from h^1 on
    ensembles = [layer_ensemble(layer) for layer in weights]
    kinds = set(ensembles) or {"orthogonal"}
    ensemble = "other" if "other" in kinds else kinds.pop() if len(kinds) == 1 else "mixed"
    sides = [hidden[0].n_out, *(layer.n_out for layer in hidden[1:])]
    stretch = sides[-1] / min(sides[0], sides[-1])
    scale = math.prod(layer.sigma_w**2 for layer in weights) * stretch

    q, slopes, variances = hidden[0].q, [], []
    for i, call in enumerate(chain.hidden):
        assert call.phi is not None
        if i:
            before = chain.hidden[i - 1].phi
            assert before is not None
            q = hidden[i].sigma_w ** 2 * before.second_moment(q) + hidden[i].sigma_b ** 2
        q = max(q, 1e-300)
        slopes.append(call.phi.mu(1, q))
        variances.append(0.0 if call.phi.is_linear else variance_per_layer(call.phi, q))
    spread = sum(
        0.0 if kind == "orthogonal" else min(layer.n_in, layer.n_out) / max(layer.n_in, layer.n_out)
        for kind, layer in zip(ensembles, weights, strict=True)
    )
    even = len(set(sides)) == 1
    expected = Prediction(
        "mean field",
        ensemble,
        len(hidden),
        scale * math.prod(slopes),
        sum(variances) + spread if even else math.nan,
    )
    observed = Prediction(
        "observed slopes",
        ensemble,
        len(hidden),
        scale * math.prod(layer.mu1 for layer in hidden),
        sum(layer.v for layer in hidden) + sum(layer.r for layer in weights) if even else math.nan,
    )
    reason = ""
    if ensemble == "other":
        names = [w.name for w, kind in zip(weights, ensembles, strict=True) if kind == "other"]
        reason = (
            f"the weights of {len(names)} layers ({names[0]!r} first) are neither orthogonal nor "
            "independent, as of a trained network: mean and variance are predicted, no curve"
        )
    return expected, observed, reason
