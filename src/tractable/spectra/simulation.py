"""Jacobians of networks of finite width at initialization, sampled."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from tractable.core.checks import check_choice, check_count, check_finite, check_range
from tractable.core.nonlinearity import Nonlinearity, as_nonlinearity
from tractable.core.progress import track
from tractable.core.seeds import derive, generator
from tractable.spectra.graded import GradedProduct
from tractable.spectra.phase import ENSEMBLES, critical_line

if TYPE_CHECKING:
    import torch
    import xarray as xr

__all__ = ["SimulatedSpectra", "simulate"]


@dataclass(frozen=True)
class SimulatedSpectra:
    """Singular values of sampled Jacobians at several depths."""

    depth: np.ndarray
    """Depths L, ascending, shape (n_depths,)."""
    singular_values: np.ndarray
    """Ascending; of J up to each depth, shape (n_draws, n_depths, width)."""
    q: np.ndarray
    """Mean square of the pre-activations of each layer, shape (n_draws, L_max)."""
    chi: np.ndarray
    """sigma_w^2 times the mean of phi'^2 of each layer, shape (n_draws, L_max)."""
    width: int
    """Units of every layer."""

    def eigenvalues(self, depth: int) -> np.ndarray:
        """Return the eigenvalues of J J^T at one of the depths, all draws pooled, ascending."""
        found = np.flatnonzero(self.depth == depth)
        if not found.size:
            raise ValueError(f"depth must be one of {self.depth.tolist()}, got {depth}")
        return np.sort(self.singular_values[:, found[0]].ravel() ** 2)

    def to_dataset(self) -> xr.Dataset:
        """Return the arrays along ``draw``, ``depth``, ``index`` and ``layer``."""
        import xarray as xr

        return xr.Dataset(
            {
                "singular_values": (
                    ("draw", "depth", "index"),
                    self.singular_values,
                    {"units": "1"},
                ),
                "q": (("draw", "layer"), self.q, {"units": "1"}),
                "chi": (("draw", "layer"), self.chi, {"units": "1"}),
                "width": ((), self.width, {"units": "1"}),
            },
            coords={"depth": self.depth},
        )

    @classmethod
    def from_dataset(cls, dataset: xr.Dataset) -> SimulatedSpectra:
        """Return the spectra that `to_dataset` wrote."""
        values = {f.name: dataset[f.name].values for f in fields(cls) if f.name != "width"}
        return cls(**values, width=int(dataset["width"]))


def simulate(
    phi: Nonlinearity | str | Callable[..., Any],
    depth: int | Sequence[int],
    ensemble: str = "orthogonal",
    *,
    q: float,
    width: int = 400,
    n_draws: int = 1,
    mode: str = "network",
    start: str = "drawn",
    graded: bool = False,
    seed: int = 0,
    device: str | torch.device = "cpu",
    sigma_w: float | None = None,
    sigma_b: float | None = None,
    progress: bool = True,
) -> SimulatedSpectra:
    """Sample networks of finite width and return the singular values of their Jacobians.

    Parameters
    ----------
    phi : Nonlinearity, str or callable
        The nonlinearity.
    depth : int or sequence of int
        Depths at which J is decomposed; each J contains the layers of the one before.
    ensemble : {"orthogonal", "gaussian"}
        Weights.
    q : float
        Variance of the first pre-activations, > 0: the network is the critical one with this q*,
        unless sigma_w and sigma_b are given.
    width : int
        Units N, >= 2.
    n_draws : int
        Networks.
    mode : {"network", "free"}
        ``network`` propagates one input, so that D^l follows from the layers below; ``free`` draws
        h^l anew for each layer.
    start : {"drawn", "scaled"}
        ``scaled`` gives the first pre-activations the mean square q exactly; as they are drawn, it
        scatters by q sqrt(2/N), and a narrow spectrum is shifted by that of its draw.
    graded : bool
        Decompose the product layer by layer, so that small singular values are right down to 1e-260
        of the largest, and zeros are exact: for spectra of log s. On the CPU; about three times the
        work.
    seed : int
        Decides weights, biases and input.
    device : str or torch.device
        Where the matrices are; float64 throughout.
    sigma_w, sigma_b : float, optional
        Standard deviations, both or none.
    progress : bool
        Show progress on a terminal.

    Notes
    -----
    Matrices are multiplied in float64: unless ``graded``, singular values below 1e-14 of the
    largest are noise. Sample mean, variance and maximum fluctuate like exp(c L / N): compare
    distributions and quantiles.

    Examples
    --------
    >>> spectra = simulate("tanh", [2, 4], q=0.1, width=50, seed=1)
    >>> spectra.singular_values.shape
    (1, 2, 50)
    """
    import torch

    phi = as_nonlinearity(phi)
    for one in np.atleast_1d(np.asarray(depth, dtype=object)):
        check_count("depth", one)
    depths = np.unique(np.atleast_1d(np.asarray(depth, dtype=int)))
    if not depths.size:
        raise ValueError("depth must hold one or more depths, got none")
    check_count("seed", seed, 0)
    check_choice("ensemble", ensemble, ENSEMBLES)
    check_choice("mode", mode, ("network", "free"))
    check_choice("start", start, ("drawn", "scaled"))
    check_range("q", q, 0, open_low=True)
    check_count("width", width, 2)
    check_count("n_draws", n_draws)
    if (sigma_w is None) != (sigma_b is None):
        raise ValueError("give both sigma_w and sigma_b, or neither")
    check_finite("q", q)
    if sigma_w is not None and sigma_b is not None:
        for name, value in (("sigma_w", sigma_w), ("sigma_b", sigma_b)):
            check_finite(name, value)
            check_range(name, value, 0, open_low=name == "sigma_w")
    else:
        point = critical_line(phi, q)
        if not point.feasible[0]:
            raise ValueError(f"{phi.name} has no critical network with q = {q:g}: sigma_b^2 < 0")
        sigma_w, sigma_b = float(point.sigma_w[0]), float(point.sigma_b[0])
    n_layers = int(depths[-1])
    values = np.empty((n_draws, depths.size, width))
    moved, growth = np.empty((2, n_draws, n_layers))
    total = n_draws * n_layers
    steps = track(range(total), "layers of all draws", total=total, show=progress)
    for step in steps:
        draw, layer = divmod(step, n_layers)
        if layer == 0:
            random = generator(derive(seed, "draw", draw))
            J = torch.eye(width, dtype=torch.float64, device=device)
            product = GradedProduct(width) if graded else None
            x: torch.Tensor | None = None
        W = sigma_w * _weights(width, ensemble, random)
        bias = sigma_b * torch.randn(width, generator=random, dtype=torch.float64)
        if x is None or mode == "free":
            h = math.sqrt(q) * torch.randn(width, generator=random, dtype=torch.float64)
            if start == "scaled":
                h *= math.sqrt(q / float((h * h).mean()))
        else:
            h = W @ x + bias
        d = torch.from_numpy(phi.deriv(h.numpy()))
        x = torch.from_numpy(phi(h.numpy()))
        if product is not None:
            product.multiply((d[:, None] * W).numpy())
        else:
            J = d.to(device)[:, None] * (W.to(device) @ J)
        moved[draw, layer] = float((h * h).mean())
        growth[draw, layer] = sigma_w**2 * float((d * d).mean())
        found = np.flatnonzero(depths == layer + 1)
        if found.size:
            if product is not None:
                s = product.singular_values()
            else:
                s = torch.linalg.svdvals(J).cpu().numpy()
            values[draw, found[0]] = np.sort(s)
    return SimulatedSpectra(depths, values, moved, growth, width)


def _weights(width: int, ensemble: str, random: torch.Generator) -> torch.Tensor:
    """Return a matrix of unit scale: Haar by QR with the signs of R, or Gaussian / sqrt(N)."""
    import torch

    matrix = torch.randn(width, width, generator=random, dtype=torch.float64)
    if ensemble == "gaussian":
        return matrix / math.sqrt(width)
    q, r = torch.linalg.qr(matrix)
    return q * torch.where(r.diagonal() < 0, -1.0, 1.0)
