"""How far a sampled spectrum is from a law: distances between distributions, not moments."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tractable.core.checks import as_floats, check_choice, check_finite, check_range
from tractable.spectra.deep_spectrum import JacobianSpectrum
from tractable.spectra.law import SpectralLaw
from tractable.spectra.simulation import SimulatedSpectra

__all__ = ["Comparison", "compare"]

TIE = 1e-7  # values closer than this, relative to an atom, belong to it
SAME = 1e-9  # relative distance below which samples are one value


@dataclass(frozen=True)
class Comparison:
    """Distances between sampled eigenvalues and a law."""

    ks: float
    """Kolmogorov-Smirnov: largest difference of the distributions, between and beyond samples."""
    wasserstein_log: float
    """Mean absolute difference of log lambda at equal quantiles, from the 1 % one upward; NaN where
    all of these samples are zero."""
    edge_ratio: float
    """Largest sampled eigenvalue over the theory's upper edge."""
    atoms: tuple[tuple[float, float, float], ...]
    """For each atom: its place, its mass in theory, and the sampled share within ``tie``."""
    shift: float
    """log of the factor that was divided out of the samples (its mean over draws); 0 unless
    aligned."""
    n: int
    """Number of sampled eigenvalues."""

    @property
    def z_ks(self) -> float:
        r"""The distance in units of independent samples, :math:`\sqrt n` times ``ks``.

        Eigenvalues of one matrix repel one another and are spread more evenly than independent
        ones, so that values far below 1 are usual, and a value above 1.6 would be rare.
        """
        return self.ks * float(np.sqrt(self.n))

    @property
    def z_atoms(self) -> tuple[float, ...]:
        """For each atom, sampled share minus mass, over the deviation of independent samples."""
        return tuple(
            (share - mass) / float(np.sqrt(max(mass * (1 - mass), 1 / self.n) / self.n))
            for _, mass, share in self.atoms
        )


def compare(
    theory: SpectralLaw,
    eigenvalues: ArrayLike | SimulatedSpectra,
    *,
    aligned: bool = False,
    align: str = "none",
    resolution: float = 1e-26,
    tie: float = TIE,
) -> Comparison:
    """Compare sampled eigenvalues of J J^T with a law.

    Parameters
    ----------
    theory : SpectralLaw
        The law.
    eigenvalues : array or SimulatedSpectra
        Samples, any shape; or simulated networks, taken at the depth of the theory.
    aligned : bool
        The same as ``align="mean"``.
    align : {"none", "mean", "chi"}
        What to divide out of the samples first, a diagnostic of the rigid shift by which the
        variance q^l of a finite network wanders: ``mean``, their mean over the theory's, which
        makes shallow cases worse; ``chi``, prod_l chi(q^l) / chi of each draw, which needs
        simulated networks. The shift is reported beside the distance.
    resolution : float
        Eigenvalues below this share of the largest are rounding, 0 <= resolution < 1; 0 for those
        of ``simulate(graded=True)``.
    tie : float
        Samples closer than this to an atom, relative to it, belong to it, > 0; about 1e-4 for
        Jacobians in float32.

    Raises
    ------
    ValueError
        For negative or no eigenvalues, and where ``align="chi"`` has no q^l to go by.

    Examples
    --------
    >>> from tractable.spectra import JacobianSpectrum, simulate
    >>> sampled = simulate("relu", 2, "gaussian", q=1.0, width=200, n_draws=2, seed=0)
    >>> law = JacobianSpectrum("relu", 2, "gaussian", q=1.0)
    >>> compare(law, sampled.eigenvalues(2)).ks < 0.05
    True

    A narrow spectrum is shifted by the variance that its draw happened to have:

    >>> sampled = simulate("tanh", 16, q=0.03, width=200, seed=0)
    >>> law = JacobianSpectrum("tanh", 16, q=0.03)
    >>> compare(law, sampled, align="chi").ks < compare(law, sampled).ks
    True
    """
    if not isinstance(theory, SpectralLaw):
        raise TypeError(
            f"theory must be a law such as JacobianSpectrum, got {type(theory).__name__}"
        )
    check_choice("align", align, ("none", "mean", "chi"))
    check_range("resolution", resolution, 0, 1, open_high=True)
    check_range("tie", tie, 0, 0.5, open_low=True)
    if aligned and align == "chi":
        raise ValueError("aligned=True means align='mean': give it or align='chi', not both")
    shift = 0.0
    if isinstance(eigenvalues, SimulatedSpectra):
        eigenvalues, shift = _of_networks(theory, eigenvalues, align)
    elif align == "chi":
        raise ValueError(
            "align='chi' needs the variances q^l: give the SimulatedSpectra of `simulate`, "
            f"not {type(eigenvalues).__name__}"
        )
    lam = np.sort(as_floats("eigenvalues", eigenvalues).ravel())
    check_finite("eigenvalues", lam)
    if not lam.size or lam[0] < -1e-9 * max(lam[-1], 1e-300):
        raise ValueError("eigenvalues must be non-negative and not empty")
    lam = np.maximum(lam, 0.0)
    if aligned or align == "mean":
        shift = float(np.log(lam.mean() / theory.moments(1)[0]))
        lam = lam * np.exp(-shift)
    top = lam[-1]
    noise = resolution * top
    at, share = _between(lam, noise)
    apart = np.full(at.size, True)
    for place, _ in theory.atoms:
        apart &= np.abs(at - place) > tie * max(place, noise)
    ks = float(np.abs(theory.cdf(at[apart]) - share[apart]).max()) if apart.any() else 0.0
    p = (np.arange(lam.size) + 0.5) / lam.size
    zero = theory.atoms[0][1] if theory.atoms and theory.atoms[0][0] == 0 else 0.0
    use = (p > zero + 0.01 * (1 - zero)) & (lam > noise)
    difference = np.log(lam[use]) - theory.log_quantile(p[use])
    distance = float(np.abs(difference).mean()) if use.any() else np.nan
    width = [tie * place if place else noise for place, _ in theory.atoms]
    atoms = tuple(
        (place, mass, float((np.abs(lam - place) <= near).mean()))
        for (place, mass), near in zip(theory.atoms, width, strict=True)
    )
    edge = float(top / theory.s_max**2)
    return Comparison(ks, distance, edge, atoms, shift, lam.size)


def _between(lam: np.ndarray, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Return places between sorted samples and the shares of samples below them.

    The middle of each gap, and the lowest and the highest sample at half their own share, so that
    mass of the law beyond them counts; both sides of what was sampled more than once, for the
    middle would miss mass of the law in a wide gap beside many equal samples.
    """
    n = lam.size
    middle = 0.5 * (lam[1:] + lam[:-1])
    gaps = np.flatnonzero(np.diff(lam) > SAME * np.maximum(middle, noise))
    first, last = np.concatenate([[0], gaps + 1]), np.concatenate([gaps, [n - 1]])
    many = last > first
    ends = np.array([i for i in {0, n - 1} if i in first[~many]], dtype=int)
    below, above = lam[first[many]] * (1 - SAME), lam[last[many]] * (1 + SAME)
    at = np.concatenate([middle[gaps], lam[ends], below, above])
    share = np.concatenate([gaps + 1, ends + 0.5, first[many], last[many] + 1]) / n
    known = (at > noise) | (lam[-1] == 0)
    known[at.size - above.size - below.size : at.size - above.size] &= lam[first[many]] > 0
    return at[known], share[known]


def _of_networks(
    theory: SpectralLaw, simulated: SimulatedSpectra, align: str
) -> tuple[np.ndarray, float]:
    """Return all eigenvalues at the depth of the theory, and the mean shift taken out of them."""
    if not isinstance(theory, JacobianSpectrum) or theory.depth is None:
        raise ValueError(
            "simulated networks are compared with a JacobianSpectrum: of another law give "
            "their eigenvalues(depth)"
        )
    if align != "chi":
        return simulated.eigenvalues(theory.depth), 0.0
    if theory.phi is None:
        raise ValueError("align='chi' needs equal layers: the theory was given layers=")
    at = np.flatnonzero(simulated.depth == theory.depth)
    simulated.eigenvalues(theory.depth)  # names the depths there are
    phi, sigma_w2 = theory.phi, theory.sigma_w**2
    q = simulated.q[:, : theory.depth]
    chi = np.array([[sigma_w2 * phi.mu(1, float(one)) for one in row] for row in q])
    shifts = np.log(chi / theory.chi).sum(1)
    lam = simulated.singular_values[:, at[0]] ** 2 * np.exp(-shifts)[:, None]
    return lam, float(shifts.mean())
