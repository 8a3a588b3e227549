"""What a decomposition returns: factors with their uncertainty, and what they predict."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tractable.tensors.cp import CP, cp_tensor, normalized
from tractable.tensors.prior_text import prior_from_text, prior_to_text

if TYPE_CHECKING:
    import xarray as xr

    from tractable.tensors.beliefs import Beliefs
    from tractable.tensors.priors import Prior
    from tractable.tensors.watch import Watch

__all__ = ["AMPResult", "assemble"]

HISTORY = ("noise", "delta", "predicted_error", "free_entropy", "log_evidence", "change")


@dataclass(frozen=True, eq=False)
class AMPResult:
    """A decomposition with its uncertainty.

    With ``units="auto"`` columns have unit norm, ``weights`` (sorted, positive) carry the scale of
    the array, and the largest entry of a column is positive in all modes but the last. With
    ``units="model"`` factors are posterior means as they are, and weights are 1.
    """

    factors: list[np.ndarray]
    """Posterior means, (N_a, r) for each mode."""
    cov: list[np.ndarray]
    """Posterior covariance of each row, (N_a, r, r)."""
    weights: np.ndarray
    """Strength of each component, (r,)."""
    noise: float
    """Noise variance Delta in model units."""
    noise_variance: float
    """Noise variance of an entry of the array; with ``noise_by`` the mean over slices."""
    noise_slices: np.ndarray | None
    """Noise variance of each slice of the mode ``noise_by``, or None."""
    snr_entry: float
    """Mean square of the signal over the noise variance, of one entry."""
    beta: float
    """Strength of the spike in the convention Y = beta u o v o w + W / sqrt(sum N_a)."""
    Q: list[np.ndarray]
    """Self-overlaps xhat^T xhat / N_a in model units, (r, r) for each mode."""
    predicted_mse: np.ndarray
    """Predicted mean squared error of a row in model units, (p,): the mean posterior variance."""
    predicted_cosine: np.ndarray
    """Predicted cosine of each component with the truth, (p, r)."""
    predicted_error: float
    """Predicted relative squared error of the tensor without noise."""
    nishimori_gap: float
    """Largest entry of Q + mean posterior covariance - prior second moment: 0 if all agree."""
    free_entropy: float
    """Bethe free entropy over N (T7), in nats."""
    log_evidence: float
    """Log evidence of the observed entries, in nats: what starts and ranks are compared by."""
    history: dict[str, np.ndarray]
    """One value for each sweep: noise, delta, free_entropy, change, Q (T, p, r, r), ..."""
    status: str
    """``converged``, ``oscillating``, ``max_iter``, ``collapsed``, ``interrupted``, ``stopped``."""
    n_iter: int
    """Number of sweeps."""
    priors: list[Prior | None]
    """Priors of the modes, learned ones included."""
    shape: tuple[int, ...]
    """Shape of the array."""
    units: str = "auto"
    """``auto`` or ``model``."""
    start: int = 0
    """Which of the starts this is."""
    all_evidence: np.ndarray = field(default_factory=lambda: np.zeros(0))
    """Log evidence of all starts."""
    n_guards: int = 0
    """How often a diverging sweep was taken back."""
    factorized: bool = False
    """Whether a prior's tilted density was approximated by a product."""
    observed: float = 1.0
    """Share of the entries that were observed."""
    noise_spread: np.ndarray = field(default_factory=lambda: np.ones(0))
    """Mean over harmonic mean of the noise variances of each mode's slices, (p,); see `amp`."""

    @property
    def rank(self) -> int:
        """Number of components r."""
        return int(self.factors[0].shape[1])

    @property
    def std(self) -> list[np.ndarray]:
        """Posterior standard deviations of the factors, (N_a, r) for each mode."""
        return [np.sqrt(np.einsum("irr->ir", c).clip(0)) for c in self.cov]

    @property
    def strengths(self) -> np.ndarray:
        """Norm of each component's outer product in the units of the array, (r,)."""
        norms = [np.linalg.norm(x, axis=0) for x in self.factors]
        return self._root() * self.weights * np.prod(norms, axis=0)

    def reconstruct(self) -> np.ndarray:
        """Return the array without noise: the sum of the weighted outer products of the factors."""
        return self._root() * cp_tensor(self.weights, self.factors)

    def predict(self, indices: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
        """Return entries of `reconstruct` alone.

        Parameters
        ----------
        indices : ndarray (n, p), or p arrays of shape (n,) as of ``np.nonzero``
            Which entries.
        """
        if isinstance(indices, np.ndarray):
            indices = list(indices.T)
        if len(indices) != len(self.factors):
            raise ValueError(f"indices must have {len(self.factors)} columns, got {len(indices)}")
        product = self._root() * self.weights
        for x, index in zip(self.factors, indices, strict=True):
            product = product * x[np.asarray(index)]
        return product.sum(-1)

    def _root(self) -> float:
        n_geo = np.exp(np.mean(np.log(self.shape)))
        return float(n_geo ** (-(len(self.shape) - 1) / 2)) if self.units == "model" else 1.0

    def to_cp(self) -> Any:
        """Return weights and unit-norm factors: a TensorLy ``CPTensor`` where it is installed.

        Weights are sorted and carry the scale of the array, for both kinds of units.
        """
        weights, factors, _ = normalized(self._root() * self.weights, self.factors)
        try:
            from tensorly.cp_tensor import CPTensor
        except ImportError:
            return CP(weights, factors)
        return CPTensor((weights, factors))

    def align(self, other: Any) -> AMPResult:
        """Return this result with components in the order and signs closest to those of ``other``.

        Parameters
        ----------
        other : AMPResult, CPTensor, or sequence of matrices
            Of the same shape and rank.
        """
        from dataclasses import replace

        from tractable.tensors.metrics import permutation_align

        order, signs = permutation_align(other, self)
        factors = [x[:, order] * s for x, s in zip(self.factors, signs, strict=True)]
        cov = [
            c[:, order][:, :, order] * s[:, None] * s[None, :]
            for c, s in zip(self.cov, signs, strict=True)
        ]
        Q = [
            q[order][:, order] * s[:, None] * s[None, :] for q, s in zip(self.Q, signs, strict=True)
        ]
        return replace(
            self,
            factors=factors,
            cov=cov,
            Q=Q,
            weights=self.weights[order],
            predicted_cosine=self.predicted_cosine[:, order],
        )

    def report(self, path: str | Path, *, names: Sequence[str] | None = None) -> Path:
        """Write one self-contained HTML page: the fit, what theory says of it, and pictures.

        Each component stands with its noise Delta, its phase, its distance from the algorithmic
        threshold, and its cosines: those of the posterior (T5) beside those of state evolution
        (T16) at its own noise.

        Parameters
        ----------
        path : str or Path
            Of the page, ending in ``.html``; an older one is replaced.
        names : sequence of str, optional
            Labels of the p modes.

        Returns
        -------
        Path

        Raises
        ------
        ValueError
            For another ending, or another number of names than modes.
        """
        from tractable.tensors.page import write_page

        return write_page(self, path, names)

    # --- files -------------------------------------------------------------------------------

    def to_dataset(self) -> xr.Dataset:
        """Return all numbers as a dataset."""
        import xarray as xr

        variables: dict[str, Any] = {}
        for a, (x, c, q) in enumerate(zip(self.factors, self.cov, self.Q, strict=True)):
            variables[f"factor_{a}"] = ((f"mode_{a}", "component"), x, {"units": self.units})
            dims = (f"mode_{a}", "component", "component_")
            variables[f"cov_{a}"] = (dims, c, {"units": self.units})
            variables[f"Q_{a}"] = (("component", "component_"), q, {"units": "1"})
        one = {"units": "1"}
        variables |= {
            "weights": ("component", self.weights, {"units": "units of the array"}),
            "predicted_mse": ("mode", self.predicted_mse, one),
            "predicted_cosine": (("mode", "component"), self.predicted_cosine, one),
            "all_evidence": ("start_", self.all_evidence, {"units": "nat"}),
            "noise_spread": ("mode_", self.noise_spread, one),
        }
        if self.noise_slices is not None:
            variables["noise_slices"] = ("slice", self.noise_slices, one)
        for name, values in self.history.items():
            axes = ("sweep", "mode", "component", "component_")[: values.ndim]
            variables[f"history_{name}"] = (axes, values, one)
        scalars = {
            name: getattr(self, name)
            for name in (
                *("noise", "noise_variance", "snr_entry", "beta", "predicted_error"),
                *("nishimori_gap", "free_entropy", "log_evidence", "status", "n_iter", "units"),
                *("start", "n_guards", "observed"),
            )
        }
        attrs = {
            "result": "AMPResult",
            **scalars,
            "factorized": int(self.factorized),
            "shape": json.dumps(self.shape),
            "priors": json.dumps([prior_to_text(prior) for prior in self.priors]),
        }
        return xr.Dataset(variables, attrs=attrs)

    @classmethod
    def from_dataset(cls, dataset: xr.Dataset) -> AMPResult:
        """Return the result that `to_dataset` wrote; priors of one's own come back as None."""
        name = dataset.attrs.get("result")
        if name != "AMPResult":
            raise ValueError(f"dataset must hold an AMPResult, got {name or 'no result name'}")
        attrs, order = dataset.attrs, len(json.loads(dataset.attrs["shape"]))
        numbers = {
            key: float(attrs[key])
            for key in (
                *("noise", "noise_variance", "snr_entry", "beta", "predicted_error"),
                *("nishimori_gap", "free_entropy", "log_evidence"),
            )
        }
        counts = {key: int(attrs[key]) for key in ("n_iter", "start", "n_guards")}
        return cls(
            factors=[dataset[f"factor_{a}"].values for a in range(order)],
            cov=[dataset[f"cov_{a}"].values for a in range(order)],
            Q=[dataset[f"Q_{a}"].values for a in range(order)],
            weights=dataset.weights.values,
            noise_slices=dataset.noise_slices.values if "noise_slices" in dataset else None,
            predicted_mse=dataset.predicted_mse.values,
            predicted_cosine=dataset.predicted_cosine.values,
            all_evidence=dataset.all_evidence.values,
            history={
                str(key).removeprefix("history_"): value.values
                for key, value in dataset.data_vars.items()
                if str(key).startswith("history_")
            },
            noise_spread=dataset.noise_spread.values if "noise_spread" in dataset else np.ones(0),
            observed=float(attrs.get("observed", 1.0)),
            status=str(attrs["status"]),
            units=str(attrs["units"]),
            factorized=bool(attrs["factorized"]),
            shape=tuple(json.loads(attrs["shape"])),
            priors=[prior_from_text(text) for text in json.loads(attrs["priors"])],
            **numbers,  # type: ignore[arg-type]  # floats, by name
            **counts,
        )

    def save(self, path: str | Path) -> Path:
        """Write the result as netCDF, and return the path."""
        path = Path(path)
        self.to_dataset().to_netcdf(path, engine="h5netcdf")
        return path

    @classmethod
    def load(cls, path: str | Path) -> AMPResult:
        """Read what `save` wrote."""
        import xarray as xr

        if not Path(path).is_file():
            raise ValueError(f"path must be a file written by AMPResult.save, got {str(path)!r}")
        return cls.from_dataset(xr.load_dataset(path, engine="h5netcdf"))


def assemble(
    beliefs: Beliefs, watch: Watch, stopped: str | None, *, units: str, factorized: bool
) -> AMPResult:
    """Return the result of the start of the largest evidence."""
    evidence = watch.history[-1]["log_evidence"]
    best = int(np.nanargmax(evidence)) if np.isfinite(evidence).any() else 0
    from tractable.tensors.learning import noise_spread

    data, order = beliefs.data, beliefs.order
    means = [x[best].numpy().copy() for x in beliefs.mean]
    covs = [np.ascontiguousarray(c[best].numpy()) for c in beliefs.cov]
    Q = [x.T @ x / len(x) for x in means]
    variance = np.array([np.einsum("irr->r", c) / len(c) for c in covs])  # (p, r)
    own = np.array([np.diag(q) for q in Q])
    scale, noise = float(beliefs.scale[best]), float(beliefs.noise[best])
    _, whole, _ = beliefs.signal_power()
    priors: list[Any] = [choices[best] for choices in beliefs.priors]
    gaps = [
        np.abs(q + c.sum(0) / len(c) - prior.moments(beliefs.rank)[1].numpy()).max()
        for q, c, prior in zip(Q, covs, priors, strict=True)
    ]
    weights, signs = np.ones(beliefs.rank), None
    if units == "auto":
        root = data.n_geo ** (-(order - 1) / 2)
        weights, factors, signs = normalized(np.full(beliefs.rank, scale * root), means)
        moved = signs.order
        covs = [
            c[:, moved][:, :, moved] * (g[:, None] * g[None, :])
            for c, g in zip(covs, signs.factors, strict=True)
        ]
        Q = [
            q[moved][:, moved] * np.sign(g[:, None] * g[None, :])
            for q, g in zip(Q, signs.factors, strict=True)
        ]
        variance, own = variance[:, moved], own[:, moved]
        means = factors
    delta = noise / scale**2
    relative = beliefs.relative
    history = {
        name: np.array([record[name][best] for record in watch.history])
        for name in (*HISTORY, "Q", "predicted_mse")
    }
    return AMPResult(
        factors=means,
        cov=covs,
        weights=weights,
        noise=delta,
        noise_variance=noise,
        noise_slices=None if relative is None else (relative[best] * noise).numpy(),
        snr_entry=float(whole[best]) / data.n_observed / delta,
        beta=float(1 / np.sqrt(delta * sum(n / data.n_geo for n in data.shape))),
        Q=Q,
        predicted_mse=variance.sum(1),
        predicted_cosine=np.sqrt(own / (own + variance).clip(1e-300)),
        predicted_error=float(watch.history[-1]["predicted_error"][best]),
        nishimori_gap=float(max(gaps)),
        free_entropy=float(watch.history[-1]["free_entropy"][best]),
        log_evidence=float(evidence[best]),
        history=history,
        status=stopped or watch.status(best),
        n_iter=len(watch.history),
        priors=priors,
        shape=data.shape,
        units=units,
        start=best,
        all_evidence=np.asarray(evidence),
        n_guards=int(watch.n_guards[best]),
        factorized=factorized,
        observed=float(data.fraction),
        noise_spread=noise_spread(beliefs, best).numpy(),
    )
