"""How far a sampled spectrum is from a law: distances between distributions, not moments."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tractable.core.checks import as_floats, check_finite
from tractable.spectra.law import SpectralLaw

__all__ = ["Comparison", "compare"]

TIE = 1e-7  # values closer than this, relative to an atom, belong to it


@dataclass(frozen=True)
class Comparison:
    """Distances between sampled eigenvalues and a law."""

    ks: float
    """Kolmogorov-Smirnov: largest difference of the distributions, taken between the samples."""
    wasserstein_log: float
    """Mean absolute difference of log lambda at equal quantiles, from the 1 % one upward."""
    edge_ratio: float
    """Largest sampled eigenvalue over the theory's upper edge."""
    atoms: tuple[tuple[float, float, float], ...]
    """For each atom: its place, its mass in theory, and the sampled share within 1e-7."""
    shift: float
    """log of the factor that was divided out of the samples; 0 unless aligned."""
    n: int
    """Number of sampled eigenvalues."""


def compare(theory: SpectralLaw, eigenvalues: ArrayLike, *, aligned: bool = False) -> Comparison:
    """Compare sampled eigenvalues of J J^T with a law.

    Parameters
    ----------
    theory : SpectralLaw
        The law.
    eigenvalues : array
        Samples, any shape.
    aligned : bool
        Divide the samples by their mean over the theory's first: a diagnostic of the rigid shift by
        which the variance q^l of a finite network wanders. It makes shallow cases worse.

    Examples
    --------
    >>> from tractable.spectra import JacobianSpectrum, simulate
    >>> sampled = simulate("relu", 2, "gaussian", q=1.0, width=200, n_draws=2, seed=0)
    >>> law = JacobianSpectrum("relu", 2, "gaussian", q=1.0)
    >>> compare(law, sampled.eigenvalues(2)).ks < 0.05
    True
    """
    lam = np.sort(as_floats("eigenvalues", eigenvalues).ravel())
    check_finite("eigenvalues", lam)
    if not lam.size or lam[0] < -1e-9 * max(lam[-1], 1e-300):
        raise ValueError("eigenvalues must be non-negative and not empty")
    lam = np.maximum(lam, 0.0)
    shift = 0.0
    if aligned:
        shift = float(np.log(lam.mean() / theory.moments(1)[0]))
        lam = lam * np.exp(-shift)
    top = lam[-1]
    noise = 1e-26 * top  # squares of singular values that rounding makes
    at = 0.5 * (lam[1:] + lam[:-1])
    share = np.arange(1, lam.size) / lam.size
    apart = (np.diff(lam) > 1e-9 * np.maximum(at, noise)) & (at > noise)
    for place, _ in theory.atoms:
        apart &= np.abs(at - place) > TIE * max(place, noise)
    ks = float(np.abs(theory.cdf(at[apart]) - share[apart]).max()) if apart.any() else 0.0
    p = (np.arange(lam.size) + 0.5) / lam.size
    zero = theory.atoms[0][1] if theory.atoms and theory.atoms[0][0] == 0 else 0.0
    use = (p > zero + 0.01 * (1 - zero)) & (lam > noise)
    difference = np.log(lam[use]) - theory.log_quantile(p[use])
    width = [TIE * place if place else noise for place, _ in theory.atoms]
    atoms = tuple(
        (place, mass, float((np.abs(lam - place) <= near).mean()))
        for (place, mass), near in zip(theory.atoms, width, strict=True)
    )
    edge = float(top / theory.s_max**2)
    return Comparison(ks, float(np.abs(difference).mean()), edge, atoms, shift, lam.size)
