"""Whether there is anything to find in an array, at which rank, how far from the edge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from tractable.core.checks import check_count, quiet
from tractable.tensors.amp import UNEQUAL_NOISE, Noise, amp
from tractable.tensors.amp_result import AMPResult
from tractable.tensors.evolution import state_evolution
from tractable.tensors.observations import Observations, check_noise_by, observe
from tractable.tensors.priors import Gaussian, Prior
from tractable.tensors.thresholds import thresholds

__all__ = ["Component", "Detectability", "detectability"]

PER_PARAMETER = 3.0  # nats of evidence that each learned number has to earn, and more
NOTHING = 0.05  # expected squared cosine below which a component is not there


@dataclass(frozen=True)
class Component:
    """What theory says of one component."""

    noise: float
    """Noise variance Delta in units of this component."""
    beta: float
    """Its strength in the convention Y = beta u o v o w + W / sqrt(sum N_a)."""
    phase: str
    """``easy``, ``hard`` or ``impossible``."""
    margin: float
    """log(delta_alg / Delta): above 0 message passing finds it. inf: there is no threshold."""
    cosine: tuple[float, ...]
    """Expected cosine of each mode's factor with the truth, by state evolution."""
    als: bool
    """Whether ALS started from the spectra of the unfoldings would find it: Delta < N^(1 - p/2)."""


@dataclass(frozen=True, eq=False)
class Detectability:
    """Whether there is anything to find, and how well."""

    rank: int
    """Number of components of the largest evidence; 0: nothing."""
    components: tuple[Component, ...]
    """What theory says of each, in the order of the fit: strongest first in ``auto`` units."""
    evidence: np.ndarray
    """Log evidence over noise alone of ranks 0, 1, .., rank_max, in nats."""
    scree: tuple[np.ndarray, ...]
    """Singular values of each unfolding over their noise edge, largest first."""
    noise_variance: float
    """Noise variance of an entry of the array."""
    verdict: str
    """All of this in words."""
    fit: AMPResult | None
    """The decomposition at that rank, or None."""


def detectability(
    Y: Any,
    rank_max: int = 3,
    *,
    priors: Prior | str | Sequence[Prior | str] = "gaussian",
    mask: Any = None,
    n_starts: int = 1,
    n_scree: int = 10,
    seed: int = 0,
    **settings: Any,
) -> Detectability:
    """Ask of an array, or of a decomposition, whether its low-rank structure can be recovered.

    Ranks 1 to ``rank_max`` are fitted and compared by their evidence. For each component of the
    best one the thresholds of the theory and state evolution are evaluated at its own noise level,
    for Gaussian factors of its mean and variance.

    Parameters
    ----------
    Y : array_like or AMPResult
        The array; or a fit, of which only the theory is evaluated.
    rank_max : int
        Highest rank that is tried. It stops at the first rank that brings nothing.
    priors, mask, n_starts, seed
        As of `amp`.
    n_scree : int
        Singular values of each unfolding.
    **settings
        Handed to `amp`.

    Returns
    -------
    Detectability
        Rank, components with phase and margin, scree, and a verdict in words.

    Examples
    --------
    >>> noise = np.random.default_rng(0).normal(size=(30, 40, 50))
    >>> detectability(noise).verdict
    'No low-rank structure is found: ...'
    """
    if isinstance(Y, AMPResult):
        return _report(Y, np.zeros(0), (), Y.shape)
    check_count("rank_max", rank_max)
    with quiet():
        order = Y.ndim if hasattr(Y, "ndim") else np.ndim(Y)
        by = check_noise_by(settings.get("noise_by"), order)
        data = observe(Y, 1, mask=mask, noise_mode=by)
        scree = tuple(_scree(data, mode, n_scree) for mode in range(data.order))
        power = data.square_sum / data.n_observed
        null = noise_alone(data, Noise.of(settings.get("noise", "estimate"), data, "auto"))
        evidence, best = [0.0], None
        cost = PER_PARAMETER * 2 * data.order + np.log(data.n_observed)
        for rank in range(1, rank_max + 1):
            fit = amp(
                Y, rank, priors=priors, mask=mask, n_starts=n_starts, seed=seed,
                progress=False, **settings,
            )  # fmt: skip
            evidence.append(fit.log_evidence - null)
            weakest = float((fit.predicted_cosine**2).min())
            if evidence[-1] - evidence[-2] < cost or weakest < NOTHING or fit.status == "collapsed":
                break
            best = fit
    return _report(best, np.array(evidence), scree, data.shape, power)


def noise_alone(data: Observations, noise: Noise) -> float:
    """Return the log-likelihood of an array as noise alone, of a variance for each slice if so."""
    counts = torch.tensor([float(data.n_observed)], dtype=torch.float64)
    squares = torch.tensor([data.square_sum], dtype=torch.float64)
    variance = torch.tensor([noise.mean], dtype=torch.float64)
    if noise.relative is not None and data.slice_squares is not None:
        assert data.slice_counts is not None
        squares, counts = data.slice_squares, data.slice_counts
        variance = noise.mean * noise.relative[0]
    return float(-0.5 * (counts * (2 * np.pi * variance).log() + squares / variance).sum())


def _scree(data: Any, mode: int, count: int) -> np.ndarray:
    """Return singular values of an unfolding over the largest that noise alone would have."""
    size = data.shape[mode]
    rest = data.fraction * float(np.prod(data.shape)) / size
    values = np.linalg.eigvalsh(data.engine.gram(mode).numpy())[::-1][:count].clip(0)
    edge = np.sqrt(data.square_sum / data.n_observed) * (np.sqrt(rest) + np.sqrt(size))
    return np.sqrt(values) / edge


def _report(
    fit: AMPResult | None,
    evidence: np.ndarray,
    scree: tuple[np.ndarray, ...],
    shape: tuple[int, ...],
    power: float = np.nan,
) -> Detectability:
    if fit is None:
        gain = float(evidence[-1]) if len(evidence) > 1 else 0.0
        verdict = (
            f"No low-rank structure is found: one component changes the evidence by {gain:.1f} "
            f"nats. The noise variance of an entry is {power:.3g}."
        )
        return Detectability(0, (), evidence, scree, power, verdict, None)
    components = tuple(_component(fit, k) for k in range(fit.rank))
    verdict = " ".join([_headline(fit, components), *map(_sentence, range(fit.rank), components)])
    if fit.noise_spread.size and fit.noise_spread.max() > UNEQUAL_NOISE:
        worst = int(np.argmax(fit.noise_spread))
        verdict += (
            f" Beware: the noise differs between the slices of mode {worst}, and noise of the "
            f"strongest can pass for a component; say noise_by={worst}."
        )
    return Detectability(fit.rank, components, evidence, scree, fit.noise_variance, verdict, fit)


def component_priors(fit: AMPResult, k: int) -> list[Gaussian]:
    """Return Gaussians of unit second moment with the mean that a component has in each mode."""
    found = []
    for a, x in enumerate(fit.factors):
        size = np.linalg.norm(x[:, k])
        mean = x[:, k].mean() / size * np.sqrt(len(x)) * fit.predicted_cosine[a, k] if size else 0.0
        mean = float(np.clip(abs(mean), 0, 0.999))
        # A mean within its own sampling error is none.
        mean = 0.0 if mean < 3 / np.sqrt(len(x)) else mean
        found.append(Gaussian(mean, 1 - mean**2))
    return found


def _component(fit: AMPResult, k: int) -> Component:
    shape, order = fit.shape, len(fit.shape)
    n_geo = float(np.exp(np.mean(np.log(shape))))
    shrunk = float(np.prod(fit.predicted_cosine[:, k] ** 2).clip(1e-12))
    strength = fit.strengths[k] ** 2 / shrunk
    variance = fit.noise_variance
    if fit.noise_slices is not None:  # weighted slices speak as one of their harmonic mean
        variance = float(1 / np.mean(1 / fit.noise_slices))
    noise = variance * n_geo / (fit.observed * max(strength, 1e-300))
    priors = component_priors(fit, k)
    edge = thresholds(shape, priors)
    evolved = state_evolution(shape, priors, noise, start="informed", max_iter=2000, tol=1e-9)
    overlap = evolved.overlap[:, 0, 0]
    aspect = np.array(shape) / n_geo
    phase = edge.phase(noise)
    phase = "easy" if phase == "smooth" else phase
    return Component(
        noise=noise,
        beta=float(1 / np.sqrt(noise * aspect.sum())),
        phase=phase,
        margin=float(np.log(edge.alg / noise)) if edge.alg > 0 else -np.inf,
        cosine=tuple(float(c) for c in np.sqrt(overlap.clip(0, 1))),
        als=bool(noise < n_geo ** (1 - order / 2)),
    )


def _headline(fit: AMPResult, components: Sequence[Component]) -> str:
    many = "one component" if fit.rank == 1 else f"{fit.rank} components"
    return (
        f"Low-rank structure is found: {many}, with a noise variance of "
        f"{fit.noise_variance:.3g} per entry and a signal of {fit.snr_entry:.2g} times that."
    )


def _sentence(k: int, component: Component) -> str:
    cosines = ", ".join(f"{c:.2f}" for c in component.cosine)
    how = {
        "easy": "easy: message passing reaches the best estimate there is",
        "hard": "hard: a better estimate exists than message passing finds from its prior",
        "impossible": "below the limit of what any method can recover beyond its mean",
    }[component.phase]
    also = "finds it" if component.als else "misses it"
    return (
        f"Component {k + 1} (Delta = {component.noise:.3g}) is {how}; expected cosines "
        f"{cosines}; ALS from an SVD start {also}."
    )
