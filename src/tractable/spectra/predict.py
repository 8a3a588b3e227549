"""Predict the Jacobian spectrum of a chain that was watched: by mean field, or from its slopes."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tractable.core.checks import quiet
from tractable.spectra.audit_layers import LayerAudit, squared_slopes
from tractable.spectra.chain import Chain
from tractable.spectra.derivative_law import DerivativeLaw, empirical_law, law_of
from tractable.spectra.layered import Factor, LayeredEquation
from tractable.spectra.master import MasterEquation
from tractable.spectra.phase import variance_per_layer
from tractable.spectra.smoothed import smoothed_quantiles

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Prediction", "layer_ensemble", "predict"]

ORTHOGONAL = 0.05  # deviation from orthogonality that is called orthogonal
MAX_LAWS = 64  # different laws up to which a curve is computed
Q_STEP = 0.2  # relative step of q between laws that are told apart
V_STEP = 0.3  # the same of v
MAX_SLOPES = 4000  # observed slopes of a layer that enter a prediction
Law = Callable[[int], DerivativeLaw]  # by level of refinement
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
        Variance of the eigenvalues over their mean squared: the sum of v and r over the layers; of
        uneven widths that of the curve, NaN without one.
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


def _with_curve(
    prediction: Prediction,
    hidden: tuple[LayerAudit, ...],
    ensembles: list[str],
    laws: list[Law],
) -> Prediction:
    """Return the prediction with the quantiles of the spectrum from h^1 on.

    The first factor D^1 stands alone: its weight is a square orthogonal matrix of scale 1, which
    free products do not see. Layers of about the same law share it, and the mean is then set to
    the exact one.
    """
    factors = []
    for i, (layer, law) in enumerate(zip(hidden, laws, strict=True)):
        gaussian = i > 0 and ensembles[i - 1] == "gaussian"
        n_in = layer.n_out if i == 0 else layer.n_in
        mean = law(0).moments(1)[0]
        factors.append(Factor(law, -math.log(mean), gaussian, layer.n_out, n_in))
    smaller = min(hidden[0].n_out, hidden[-1].n_out) / hidden[-1].n_out
    if len({id(law(0)) for law in laws}) > MAX_LAWS:
        return prediction
    with quiet():  # a left tail below the resolution does not change the quantiles shown
        try:
            whole = _equation(factors)
            quantile = smoothed_quantiles(whole, 1 - (1 - LEVELS) * smaller)
            first, second = whole.moments(2) / smaller
        except (ValueError, RuntimeError, FloatingPointError):
            return prediction
    spread = prediction.relative_variance
    if math.isnan(spread):  # of uneven widths, where it is no sum over the layers
        spread = float(second / first**2 - 1)
    quantile = quantile * (prediction.mean / first)
    return replace(prediction, relative_variance=spread, p=LEVELS, quantile=quantile)


def _equation(factors: list[Factor]) -> MasterEquation | LayeredEquation:
    """Return the equation of equal layers where they are, which is quicker, else that of layers."""
    first = factors[0]
    equal = all(
        factor.levels(0) is first.levels(0)
        and not factor.gaussian
        and factor.n_in == factor.n_out == first.n_in
        for factor in factors
    )
    if equal:
        return MasterEquation(first.levels, len(factors), False, first.log_sigma_w2)
    return LayeredEquation(tuple(factors))


def _expected_laws(chain: Chain, qs: list[float]) -> list[Law]:
    """Return the law of phi'^2 of each layer by mean field; those of about one q share it."""
    groups = _alike(qs, Q_STEP)
    laws: list[Law] = []
    for call, group in zip(chain.hidden, groups, strict=True):
        assert call.phi is not None
        members = [q for q, own in zip(qs, groups, strict=True) if own == group]
        laws.append(functools.partial(law_of, call.phi, float(np.mean(members))))
    return laws


def _observed_laws(chain: Chain, hidden: tuple[LayerAudit, ...]) -> list[Law]:
    """Return the law of the observed phi'^2 of each layer; layers alike in v share theirs."""
    groups = _alike([layer.v for layer in hidden], V_STEP)
    keys = [(layer.nonlinearity, group) for layer, group in zip(hidden, groups, strict=True)]
    pooled: dict[tuple[str, int], list[np.ndarray]] = {}
    for key, call, layer in zip(keys, chain.hidden, hidden, strict=True):
        assert call.acts is not None
        assert call.argument is not None
        slopes = squared_slopes(call.acts, call.argument).numpy()
        pooled.setdefault(key, []).append(_thinned(slopes) / layer.mu1)
    shared = {}
    for key, parts in pooled.items():
        law = empirical_law(np.concatenate(parts))
        shared[key] = functools.partial(_same_law, law)
    return [shared[key] for key in keys]


def _alike(values: list[float], step: float) -> list[int]:
    """Return a number for each value: equal for values within a relative step of each other."""
    sizes = [math.log(max(value, 1e-12)) for value in values]
    group, start = 0, -math.inf
    groups = [0] * len(values)
    for i in sorted(range(len(values)), key=lambda i: sizes[i]):
        if sizes[i] > start + step:
            group, start = group + 1, sizes[i]
        groups[i] = group
    return groups


def _same_law(law: DerivativeLaw, level: int) -> DerivativeLaw:
    return law


def _thinned(slopes: np.ndarray) -> np.ndarray:
    """Return at most a few thousand of the observed slopes, spread over the batch."""
    flat = slopes.ravel()
    return flat[:: max(1, flat.size // MAX_SLOPES)]


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

    q = hidden[0].q
    qs, slopes, variances = [], [], []
    for i, call in enumerate(chain.hidden):
        assert call.phi is not None
        if i:
            before = chain.hidden[i - 1].phi
            assert before is not None
            q = hidden[i].sigma_w ** 2 * before.second_moment(q) + hidden[i].sigma_b ** 2
        q = max(q, 1e-300)
        qs.append(q)
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
    if ensemble != "other":
        expected = _with_curve(expected, hidden, ensembles, _expected_laws(chain, qs))
        observed = _with_curve(observed, hidden, ensembles, _observed_laws(chain, hidden))
    else:
        names = [w.name for w, kind in zip(weights, ensembles, strict=True) if kind == "other"]
        reason = (
            f"the weights of {len(names)} layers ({names[0]!r} first) are neither orthogonal nor "
            "independent, as of a trained network: mean and variance are predicted, no curve"
        )
    return expected, observed, reason
