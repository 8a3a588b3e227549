"""Pictures of the theory: phase plane, densities, depth, universality."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from tractable import plot

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from tractable.spectra.law import SpectralLaw

__all__ = ["plot_collapse", "plot_density", "plot_edges", "plot_phase_plane"]


def plot_phase_plane(
    plane: xr.Dataset,
    name: str,
    ax: Axes | None = None,
    *,
    models: Mapping[str, tuple[float, float]] | None = None,
) -> Figure:
    """Draw xi_c over the plane (color, logarithmic), the critical line, and models as dots.

    ``plane`` is `PhaseDiagram.to_dataset` with the critical line as ``line_w`` and ``line_b``;
    ``models`` gives (sigma_w, sigma_b) by name, such as those of `Audit.layers`.
    """
    figure, ax = plot.axes_of(ax, size=(5.6, 3.8))
    depth = np.log10(np.clip(np.nan_to_num(plane.xi_c.values, posinf=1e3), 0.3, 1e3))
    mesh = ax.pcolormesh(plane.sigma_w, plane.sigma_b, depth.T, shading="nearest", cmap="viridis")
    bar = figure.colorbar(mesh, ax=ax, label=r"$\log_{10}\,\xi_c$ (layers)")
    bar.ax.set_label("scale")
    plot.theory(ax, plane.line_w, plane.line_b, color="w", label=r"critical, $\chi = 1$")
    ax.set(
        xlabel=r"$\sigma_w$",
        ylabel=r"$\sigma_b$",
        xlim=(float(plane.sigma_w.min()), float(plane.sigma_w.max())),
        ylim=(0, float(plane.sigma_b.max())),
    )
    for i, (model, (sigma_w, sigma_b)) in enumerate((models or {}).items()):
        ax.plot(sigma_w, sigma_b, "o", color=f"C{i + 1}", mec="w", ls="none", label=model)
    ax.legend(loc="upper left", labelcolor="white", facecolor="#333333")
    dots = f" Dots: {', '.join(models)}." if models else ""
    figure.set_label(
        f"Phase plane of {name}: the depth over which correlations relax, and the critical line."
        f"{dots}"
    )
    return figure


def plot_density(
    law: SpectralLaw,
    eigenvalues: ArrayLike | None = None,
    ax: Axes | None = None,
    *,
    log: bool = True,
) -> Figure:
    """Draw the density of log10 s, or of s: theory as a line, samples as points, atoms with mass.

    Parameters
    ----------
    law : SpectralLaw
        Theory.
    eigenvalues : array, optional
        Sampled ones.
    ax : Axes, optional
        Where to draw; by default a new figure.
    log : bool
        The density of log10 s, which shows small singular values; False: of s itself.
    """
    figure, ax = plot.axes_of(ax)
    if not log:
        return _plot_linear_density(law, eigenvalues, ax, figure)
    lam = law.grid(600)
    # Sampled values below 1e-13 of the largest are rounding noise.
    lam = lam[lam > max(law.quantile(law.cdf(0.0) + 2e-3), 1e-25 * law.s_max**2)]
    scale = np.log(10.0)
    if len(law.support) and lam.size:
        plot.theory(ax, 0.5 * np.log10(lam), 2 * scale * law.density(lam, log=True))
    if eigenvalues is not None:
        low, high = (
            0.5 * np.log10(lam[0] if lam.size else law.s_max**2 / 2),
            np.log10(law.s_max * 1.1),
        )
        values = np.asarray(eigenvalues, dtype=float).ravel()
        x = 0.5 * np.log10(np.maximum(values, 1e-300))
        for place, _ in law.atoms:
            x = x[np.abs(x - 0.5 * np.log10(max(place, 1e-300))) > 1e-7]
        count, ends = np.histogram(x, bins=40, range=(low, high))
        width = np.diff(ends)
        plot.measurement(
            ax,
            0.5 * (ends[1:] + ends[:-1]),
            count / (values.size * width),
            error=np.sqrt(count) / (values.size * width),
            label="sampled",
            ms=3,
        )
    for place, mass in law.atoms:
        if place > 0:
            at = 0.5 * np.log10(place)
            ax.axvline(at, color="C0", ls=":", lw=1)
            ax.annotate(f"{mass:.3f}", (at, 0.9), xycoords=("data", "axes fraction"), fontsize=7)
    ax.set(xlabel=r"$\log_{10} s$", ylabel="density")
    ax.legend(loc="best", fontsize=7)
    figure.set_label("Density of the logarithm of the singular values of the Jacobian.")
    return figure


def _plot_linear_density(
    law: SpectralLaw, eigenvalues: ArrayLike | None, ax: Axes, figure: Figure
) -> Figure:
    top = 1.05 * law.s_max
    for low, high in law.support:
        u = 0.5 * (1 - np.cos(np.linspace(0.0, np.pi, 400)[1:-1]))
        s = np.sqrt(low) + (np.sqrt(high) - np.sqrt(low)) * u
        plot.theory(ax, s, law.density(s=s), label="_" if ax.lines else "theory")
    inside = np.linspace(0.02 * top, 0.98 * top, 200)
    height = float(np.quantile(law.density(s=inside), 0.98))
    if eigenvalues is not None:
        s = np.sqrt(np.maximum(np.asarray(eigenvalues, dtype=float).ravel(), 0.0))
        n = s.size
        for place, _ in law.atoms:
            s = s[np.abs(s - np.sqrt(place)) > 1e-7]
        count, ends = np.histogram(s, bins=40, range=(0.0, top))
        width = np.diff(ends)
        plot.measurement(
            ax,
            0.5 * (ends[1:] + ends[:-1]),
            count / (n * width),
            error=np.sqrt(count) / (n * width),
            label="sampled",
            ms=3,
        )
        height = max(height, float(np.quantile(count / (n * width), 0.95)))
    for place, mass in law.atoms:
        ax.axvline(np.sqrt(place), color="C0", ls=":", lw=1)
        ax.annotate(
            f"{mass:.3f}", (np.sqrt(place), 0.9), xycoords=("data", "axes fraction"), fontsize=7
        )
    ax.set(xlabel="singular value s", ylabel="density", xlim=(-0.02 * top, 1.05 * top))
    if height > 0:
        ax.set_ylim(0, 1.3 * height)
    ax.legend(loc="best", fontsize=7)
    figure.set_label("Density of the singular values of the Jacobian; dotted, atoms with mass.")
    return figure


def plot_edges(theory: xr.Dataset, measured: xr.Dataset) -> Figure:
    """Draw largest singular value and variance against depth, one color per network."""
    figure, axes = plot.new(1, 2, size=(8.4, 3.4))
    for i, net in enumerate(theory.net.values):
        one = theory.sel(net=net)
        plot.theory(axes[0], theory.depth, one.s_max, color=f"C{i}", label=str(net))
        plot.theory(axes[1], theory.depth, one.variance, color=f"C{i}", label="_")
        sampled = measured.s_max.sel(net=net)
        plot.measurement(
            axes[0],
            measured.depth,
            sampled.mean("seed"),
            error=sampled.std("seed"),
            color=f"C{i}",
            label="_",
            ms=3,
        )
    for ax, label in zip(axes, (r"$s_{max}$", r"$\sigma_{JJ}^2$"), strict=True):
        ax.set(xlabel="depth L", ylabel=label, xscale="log", yscale="log")
    axes[0].legend(fontsize=6)
    figure.set_label(
        "Largest singular value and variance of the eigenvalues against depth: theory as lines, "
        "networks of finite width as points."
    )
    return figure


def plot_collapse(theory: xr.Dataset, measured: xr.Dataset, classes: Mapping[str, str]) -> Figure:
    """Draw the distributions at the largest depth over the two limit laws."""
    kinds = ("bernoulli", "smooth")
    figure, axes = plot.new(1, 2, size=(8.4, 3.4), sharey=True)
    for ax, kind in zip(axes, kinds, strict=True):
        names = [phi for phi, own in classes.items() if own == kind]
        plot.theory(ax, theory.lam, theory.cdf.sel(phi=names[0]), color="k", label="limit law")
        for i, phi in enumerate(names):
            last = measured.cdf.sel(phi=phi).isel(depth=-1)
            part = slice(4 * i, None, 16)
            plot.measurement(
                ax, measured.lam[part], last[part], color=f"C{i}", label=phi, ms=3, mfc="none"
            )
        ax.set(xlabel=r"eigenvalue $\lambda$", title=f"{kind}, L = {int(measured.depth[-1])}")
        ax.legend(fontsize=7)
    axes[0].set_ylabel("distribution")
    figure.set_label("Distributions of the eigenvalues at fixed variance, over the limit laws.")
    return figure
