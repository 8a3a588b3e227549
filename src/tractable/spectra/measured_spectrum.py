"""What a measurement of Jacobians returns: singular values with weights, and their errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from tractable.core.checks import check_finite, check_range

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["MeasuredSpectrum"]


@dataclass(frozen=True, eq=False, repr=False)
class MeasuredSpectrum:
    r"""Spectra of the input-output Jacobians :math:`J = \partial f / \partial x` of some samples.

    The spectrum of a sample is a measure on the singular values s of J, those of the smaller side:
    ``min(n_in, n_out)`` of them. Exactly, it has one atom for each; by stochastic quadrature,
    each probe gives k atoms with weights, and the probes are averaged. Functions of
    :math:`\lambda = s^2` carry that letter.

    Parameters
    ----------
    method : str
        ``"exact"`` or ``"slq"`` (stochastic Lanczos quadrature).
    nodes : ndarray of float64, shape (samples, probes, k)
        Singular values s, descending; exact: one probe, k = min(n_in, n_out).
    weights : ndarray of float64, shape (samples, probes, k)
        Their weights; the sum of each probe is 1.
    n_in, n_out : int
        Sizes of one sample's input and output.
    notes : tuple of str
        What was done on the way: eval mode, precision, layers.
    """

    method: str
    nodes: np.ndarray
    weights: np.ndarray
    n_in: int
    n_out: int
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.nodes)

    def __repr__(self) -> str:
        return (
            f"MeasuredSpectrum({self.method}, {len(self)} samples, {self.n_in} -> {self.n_out}, "
            f"mean {self.mean:.4g}, variance {self.variance:.4g}, s_max {self.s_max.max():.4g})"
        )

    @property
    def exact(self) -> bool:
        """Whether these are all the singular values."""
        return self.method == "exact"

    @property
    def singular_values(self) -> np.ndarray:
        """All singular values, descending, shape (samples, min(n_in, n_out)).

        Raises
        ------
        ValueError
            Stochastic quadrature knows their distribution, not each of them.
        """
        if not self.exact:
            raise ValueError(
                "stochastic quadrature gives no single singular values; use cdf, quantile, s_max, "
                'or measure with method="exact"'
            )
        return self.nodes[:, 0]

    @property
    def s_max(self) -> np.ndarray:
        """Largest singular value of each sample, shape (samples,); a lower bound with few steps."""
        return self.nodes.max(axis=(1, 2))

    @property
    def mean(self) -> float:
        r"""Mean of :math:`\lambda` over the spectrum and the samples (m_1)."""
        return float(self._average(self.nodes**2).mean())

    @property
    def mean_error(self) -> float:
        """Standard error of `mean`, over samples, or over probes where there is one sample."""
        return self._error(self._average(self.nodes**2))

    @property
    def variances(self) -> np.ndarray:
        r"""Variance of :math:`\lambda` in each sample, :math:`\sigma^2_{JJ^T}`, (samples,)."""
        first = self._average(self.nodes**2).mean(axis=1)
        second = self._average(self.nodes**4).mean(axis=1)
        return np.maximum(second - first**2, 0.0)

    @property
    def variance(self) -> float:
        """Mean of `variances` over the samples."""
        return float(self.variances.mean())

    @property
    def relative_variance(self) -> float:
        r"""Mean over the samples of :math:`\sigma^2_{JJ^T} / m_1^2`: shape without scale."""
        first = self._average(self.nodes**2).mean(axis=1)
        return float((self.variances / np.maximum(first**2, 1e-300)).mean())

    def cdf(self, lam: ArrayLike, *, sample: int | None = None) -> np.ndarray:
        r"""Return the share of :math:`\lambda` at or below each value.

        Parameters
        ----------
        lam : array_like
            Values >= 0, any shape.
        sample : int, optional
            One sample; by default all, pooled.
        """
        return self._shares(lam, sample).mean(axis=(0, 1))

    def cdf_error(self, lam: ArrayLike) -> np.ndarray:
        """Return the standard error of `cdf`: over samples, or over the probes of one sample."""
        shares = self._shares(lam, None)
        values = shares.mean(axis=1) if len(self) > 1 else shares[0]
        if len(values) < 2:
            return np.zeros_like(values[0]) if self.exact else np.full_like(values[0], np.nan)
        return values.std(axis=0, ddof=1) / np.sqrt(len(values))

    def quantile(self, p: ArrayLike, *, sample: int | None = None) -> np.ndarray:
        r"""Return the smallest :math:`\lambda` with `cdf` >= p, for p in [0, 1].

        Raises
        ------
        ValueError
            p outside [0, 1].
        """
        at = np.asarray(p, dtype=float)
        check_finite("p", np.atleast_1d(at))
        if at.size:
            check_range("p", float(at.min()), 0, 1)
            check_range("p", float(at.max()), 0, 1)
        chosen = self._chosen(sample)
        lam = (self.nodes[chosen] ** 2).ravel()
        order = np.argsort(lam, kind="stable")
        share = np.cumsum(self.weights[chosen].ravel()[order])
        index = np.searchsorted(share / share[-1], at - 1e-12)
        return lam[order][np.minimum(index, len(lam) - 1)]

    def condition(self, p: float = 0.05) -> float:
        """Return the ratio of the singular values at the quantiles 1 - p and p (inf if s_p = 0).

        Raises
        ------
        ValueError
            p outside (0, 0.5).
        """
        check_range("p", p, 0, 0.5, open_low=True, open_high=True)
        low, high = self.quantile([p, 1 - p])
        return float((high / low) ** 0.5) if low > 0 else float("inf")

    def mass_below(self, eps: float) -> tuple[float, float]:
        r"""Return the share of :math:`\lambda` below ``eps`` and its standard error.

        Stochastic quadrature does not resolve exact zeros one by one; this is what it can say.
        """
        check_range("eps", eps, 0)
        at = np.array([eps])
        return float(self.cdf(at)[0]), float(self.cdf_error(at)[0])

    @property
    def resolution(self) -> float:
        """How finely `cdf` is resolved: the largest step of the pooled distribution function.

        A probe's true distribution function lies between the sums of the Gauss weights left of a
        node without and with that node, so half of this bounds the error of the quadrature at the
        nodes; the error over probes comes on top (`cdf_error`). Of an exact measurement: the
        largest multiplicity over the number of singular values.
        """
        if self.exact:
            return 1.0 / self.nodes.shape[2]
        return float(np.median(self.weights.max(axis=2)))

    def to_dataset(self) -> xr.Dataset:
        """Return nodes and weights as a dataset; `from_dataset` reads it."""
        import xarray as xr

        dims = ("sample", "probe", "node")
        return xr.Dataset(
            {
                "nodes": (dims, self.nodes, {"units": "1"}),
                "weights": (dims, self.weights, {"units": "1"}),
            },
            attrs={
                "result": "MeasuredSpectrum",
                "method": self.method,
                "n_in": self.n_in,
                "n_out": self.n_out,
                "notes": "\n".join(self.notes),
            },
        )

    @classmethod
    def from_dataset(cls, dataset: xr.Dataset) -> MeasuredSpectrum:
        """Return the result that `to_dataset` wrote.

        Raises
        ------
        ValueError
            The dataset holds something else.
        """
        if dataset.attrs.get("result") != "MeasuredSpectrum":
            raise ValueError(
                f"dataset must hold a MeasuredSpectrum, got {dataset.attrs.get('result')!r}"
            )
        notes = dataset.attrs["notes"]
        return cls(
            dataset.attrs["method"],
            dataset["nodes"].values,
            dataset["weights"].values,
            int(dataset.attrs["n_in"]),
            int(dataset.attrs["n_out"]),
            tuple(notes.split("\n")) if notes else (),
        )

    # --- helpers -----------------------------------------------------------------------------

    def _average(self, values: np.ndarray) -> np.ndarray:
        """Return the weighted means, shape (samples, probes)."""
        return (values * self.weights).sum(axis=2)

    def _error(self, means: np.ndarray) -> float:
        values = means.mean(axis=1) if len(means) > 1 else means[0]
        if len(values) < 2:
            return 0.0 if self.exact else float("nan")
        return float(values.std(ddof=1) / np.sqrt(len(values)))

    def _chosen(self, sample: int | None) -> list[int]:
        """Return the numbers of the samples meant: one, from the end if negative, or all."""
        if sample is None:
            return list(range(len(self)))
        if not -len(self) <= sample < len(self):
            raise IndexError(f"sample must be one of {len(self)} samples, got {sample}")
        return [range(len(self))[sample]]

    def _shares(self, lam: ArrayLike, sample: int | None) -> np.ndarray:
        """Return the distribution function of each probe, shape (samples, probes, *lam.shape)."""
        at = np.asarray(lam, dtype=float)
        check_finite("lam", np.atleast_1d(at))
        chosen = self._chosen(sample)
        shares = np.empty((len(chosen), self.nodes.shape[1], at.size))
        for i, index in enumerate(chosen):
            for probe in range(self.nodes.shape[1]):
                values = self.nodes[index, probe, ::-1] ** 2
                below = np.concatenate([[0.0], np.cumsum(self.weights[index, probe, ::-1])])
                shares[i, probe] = below[np.searchsorted(values, at.ravel(), side="right")]
        return np.minimum(shares, 1.0).reshape(*shares.shape[:2], *at.shape)
