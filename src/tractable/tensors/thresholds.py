"""Where a low-rank signal can be found: by message passing, by any means, or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from tractable.core.checks import check_count, check_finite, check_range
from tractable.tensors.curve import FixedPointCurve, fixed_point_curve
from tractable.tensors.model import aspect_ratios
from tractable.tensors.priors import Gaussian, Prior, as_priors

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "Strength",
    "Thresholds",
    "signal_strength",
    "spectral_threshold",
    "thresholds",
    "tricritical_mean",
    "two_zero_mean_threshold",
]

Kind = Literal["first-order", "continuous", "smooth", "never-easy"]
KINDS = ("first-order", "continuous", "smooth", "never-easy")


@dataclass(frozen=True)
class Thresholds:
    """Noise levels Delta, in model units, between the phases at rank 1."""

    alg: float
    """Below it message passing reaches the Bayes optimum (easy). 0: never; inf: always."""
    it: float
    """Below it an estimate better than the uninformed one exists. inf where nothing separates."""
    dyn: float
    """Above it the informed fixed point is gone."""
    kind: Kind
    """``first-order``: a hard phase between ``alg`` and ``it``. ``continuous``: alg = it = dyn.
    ``smooth``: no transition. ``never-easy``: three or more zero-mean modes, alg = 0."""
    turning: tuple[float, ...]
    """Noise at all turning points of the curve of fixed points, weakest signal first."""
    aspect: tuple[float, ...]
    """Aspect ratios n_a."""

    @property
    def hard_width(self) -> float:
        """Width of the hard phase, it - alg; 0 without one."""
        return 0.0 if self.kind in ("smooth", "continuous") else self.it - self.alg

    def phase(self, noise: float) -> str:
        """Return ``easy``, ``hard``, ``impossible`` or ``smooth`` at a noise level.

        Examples
        --------
        >>> thresholds((1, 1, 1), "gaussian(0.2)").phase(0.2)
        'hard'
        """
        check_finite("noise", noise)
        check_range("noise", noise, 0, open_low=True)
        if self.kind == "smooth":
            return "smooth"
        return "easy" if noise < self.alg else "hard" if noise < self.it else "impossible"

    def to_dataset(self) -> xr.Dataset:
        """Return all fields as an `xarray.Dataset`."""
        import xarray as xr

        one = {"units": "1"}
        return xr.Dataset(
            {
                "alg": ((), self.alg, one),
                "it": ((), self.it, one),
                "dyn": ((), self.dyn, one),
                "turning": ("turn", np.array(self.turning), one),
                "aspect": ("mode", np.array(self.aspect), one),
            },
            attrs={"kind": self.kind},
        )

    @classmethod
    def from_dataset(cls, dataset: xr.Dataset) -> Thresholds:
        """Return the thresholds that `to_dataset` stored."""
        alg, it, dyn = (float(dataset[name]) for name in ("alg", "it", "dyn"))
        turning, aspect = (
            tuple(map(float, dataset[name].values)) for name in ("turning", "aspect")
        )
        return cls(alg, it, dyn, dataset.attrs["kind"], turning, aspect)


def thresholds(shape: Sequence[float], priors: Prior | str | Sequence[Prior | str]) -> Thresholds:
    r"""Return the thresholds of a shape and its priors at rank 1, (T22)-(T24).

    Turning points of the curve of all fixed points, where

    .. math:: \frac{d \log \Delta}{d \log t} = \sum_a \frac{e_a}{1 + e_a} - 1 = 0,
              \qquad e_a = \frac{d \log M_a}{d \log A_a}

    are found as roots, so that nothing has to be iterated near a spinodal.

    Parameters
    ----------
    shape : sequence of float
        Sizes or aspect ratios: only their ratios matter.
    priors : Prior, str, or one for each mode
        True and assumed; scalar.

    Returns
    -------
    Thresholds

    Notes
    -----
    Where the curve turns more than twice, ``alg`` is its lowest minimum, ``dyn`` its highest
    maximum, and ``turning`` has all. With two zero-mean modes the priors' means are a fixed point
    at every noise; a random or spectral start leaves it below `two_zero_mean_threshold`. Where the
    other means are middling, a weak estimate sets in there, and ``alg``, ``it`` and ``dyn`` are
    those of the jump to a strong one.

    References
    ----------
    Kadmon, Ganguli 2018, arXiv:1810.10065.

    Examples
    --------
    >>> found = thresholds((1, 1, 1), "gaussian(0.2)")
    >>> [round(value, 5) for value in (found.alg, found.it, found.dyn)], found.kind
    ([0.15331, 0.27627, 0.29349], 'first-order')
    """
    return thresholds_of(fixed_point_curve(shape, priors))


def thresholds_of(curve: FixedPointCurve) -> Thresholds:
    """Return the thresholds of a curve that is at hand."""
    turns = curve.turning_points()
    noise = curve.at(turns)[1] if len(turns) else np.array([])
    aspect = tuple(float(n) for n in curve.aspect)
    rest = (tuple(map(float, noise)), aspect)
    zeros = curve.n_zero_mean
    # From k = 0 or 1 zero-mean modes Delta falls from infinity, from 2 it starts at a finite value,
    # from 3 and more at 0. What comes first is then a minimum, or a maximum.
    if zeros <= 1 and len(turns) < 2:
        return Thresholds(np.inf, np.inf, np.inf, "smooth", *rest)
    if zeros >= 3:
        it = _equal_entropy(curve, 0.0, float(turns[-1]), 0.0, float(noise[-1]))
        return Thresholds(0.0, it, float(noise.max()), "never-easy", *rest)
    if zeros == 2:
        start = two_zero_mean_threshold(tuple(curve.aspect), [c.prior for c in curve.channels])
        if not len(turns):
            return Thresholds(start, start, start, "continuous", *rest)
        dyn = float(noise.max())
        if len(turns) == 1:
            it = _equal_entropy(curve, 0.0, float(turns[-1]), start, dyn)
            return Thresholds(start, it, dyn, "first-order", *rest)
        # A weak estimate sets in continuously at ``start``, and a strong one follows by a jump.
        alg = float(noise.min())
        it = _equal_entropy(curve, float(turns[0]), float(turns[-1]), alg, dyn)
        return Thresholds(alg, it, dyn, "first-order", *rest)
    alg, dyn = float(noise.min()), float(noise.max())
    it = _equal_entropy(curve, float(turns[0]), float(turns[-1]), alg, dyn)
    return Thresholds(alg, it, dyn, "first-order", *rest)


def _equal_entropy(
    curve: FixedPointCurve, t_low: float, t_high: float, low: float, high: float
) -> float:
    """Return the noise at which the weak branch, t < t_low, and the strong one have equal phi.

    ``t_low = 0`` stands for the trivial fixed point, whose phi is 0.
    """

    def advantage(log_noise: float) -> tuple[float, float]:
        """Return phi of the strong branch less that of the weak one, and its derivative.

        A fixed point is a stationary point of phi, so that d phi / d log Delta = -t / 2.
        """
        t = curve.solve(np.exp(log_noise), t_high, np.inf)
        strong, weak = float(curve.at(t)[3][0]), 0.0
        t_weak = 0.0
        if t_low > 0.0:
            t_weak = float(curve.solve(np.exp(log_noise), 0.0, t_low)[0])
            weak = float(curve.at(t_weak)[3][0])
        return strong - weak, (t_weak - float(t[0])) / 2

    low = max(low, float(curve.noise[-1]) * 2)
    left, right = np.log(low * (1 + 1e-10)), np.log(high * (1 - 1e-10))
    value, slope = advantage(left)
    if value <= 0:  # strong branch nowhere better: the transition is that of alg
        return low
    at, value, slope = right, *advantage(right)
    for _ in range(60):
        step = at - value / slope if slope < 0 else np.nan
        at, before = step if left < step < right else (left + right) / 2, at
        if abs(at - before) < 1e-13:
            break
        value, slope = advantage(at)
        left, right = (at, right) if value > 0 else (left, at)
    return float(np.exp(at))


def tricritical_mean(shape: Sequence[float]) -> float:
    r"""Return the prior mean, over the standard deviation, beyond which there is no hard phase.

    The smallest :math:`\mu` of Gaussian priors N(mu, 1) at which the curve of fixed points, (T23),
    does not turn,

    .. math:: \max_t \frac{d \log \Delta}{d \log t} = 0

    For cubes it is :math:`\mu^2 = (p - 2)^2 / (4 (p - 1))`. Longer arrays have a smaller one.

    Parameters
    ----------
    shape : sequence of float
        Sizes or aspect ratios, at least two.

    Returns
    -------
    float
        0 for matrices, where a mean makes every transition smooth.

    Examples
    --------
    >>> [round(tricritical_mean(shape) ** 2, 6) for shape in ((1, 1, 1), (1, 1, 1, 1), (1, 1, 8))]
    [0.125, 0.333333, 0.099192]
    """
    from scipy.optimize import brentq, minimize_scalar

    aspect = tuple(aspect_ratios(shape))
    if len(aspect) == 2:
        return 0.0

    def steepest(mean: float) -> float:
        curve = fixed_point_curve(aspect, Gaussian(mean))
        log_t, k = np.log(curve.t), int(np.argmax(curve.slope))
        around = log_t[max(k - 1, 0)], log_t[min(k + 1, len(log_t) - 1)]
        found = minimize_scalar(
            lambda s: -float(curve.log_noise(np.array([s]))[1][0]),
            bounds=around, method="bounded", options={"xatol": 1e-9},
        )  # fmt: skip
        return max(-float(found.fun), float(curve.slope[k]))

    # A small mean has a hard phase from order 3 on, a mean as large as the order has none.
    return float(brentq(steepest, 0.01, float(len(aspect)), xtol=1e-12))


def two_zero_mean_threshold(
    shape: Sequence[float], priors: Prior | str | Sequence[Prior | str]
) -> float:
    r"""Return the noise below which two zero-mean modes are found together, as in a matrix, (T25).

    .. math:: \Delta_c = \sigma_1^2 \sigma_2^2
              \sqrt{n_1 n_2} \prod_{b > 2} n_b \mu_b^2

    Parameters
    ----------
    shape : sequence of float
        Sizes or aspect ratios.
    priors : Prior, str, or one for each mode
        Exactly two of zero mean.

    Raises
    ------
    ValueError
        For another number of zero-mean modes.

    Examples
    --------
    >>> zero, mean = "gaussian(0)", "gaussian(0.8)"
    >>> round(two_zero_mean_threshold((1, 1, 1), [zero, zero, mean]), 6)
    0.64
    """
    aspect = aspect_ratios(shape)
    value, zeros = 1.0, 0
    for n, prior in zip(aspect, as_priors(priors, len(aspect)), strict=True):
        first, second = (float(moment.reshape(-1)[0]) for moment in prior.moments(1))
        if abs(first) < 1e-12:
            zeros += 1
            value *= np.sqrt(n) * second
        else:
            value *= n * first**2
    if zeros != 2:
        raise ValueError(f"priors must have exactly two zero-mean modes, got {zeros}")
    return float(value)


def spectral_threshold(
    shape: Sequence[int], priors: Prior | str | Sequence[Prior | str] = "gaussian"
) -> float:
    r"""Return the noise below which the signal leaves the noise of every unfolding, (T26).

    .. math:: \Delta < N^{1 - p/2} \prod_a \rho_a

    the same for every mode and whatever the aspect ratios. Above it, a start from the leading
    singular vectors is a random one; it falls with N, the thresholds of `thresholds` do not.

    Parameters
    ----------
    shape : sequence of int
        Sizes N_a themselves.
    priors : Prior, str, or one for each mode
        Enter by E[x^2].

    Examples
    --------
    >>> spectral_threshold((50, 60, 75))
    0.128224
    """
    for size in shape:
        check_count("shape", size, 2)
    sizes = [int(size) for size in shape]
    if len(sizes) < 2:
        raise ValueError(f"shape must have at least 2 sizes, got {tuple(shape)}")
    second = [float(prior.moments(1)[1]) for prior in as_priors(priors, len(sizes))]
    n_geo = np.exp(np.mean(np.log(sizes)))
    return float(n_geo ** (1 - len(sizes) / 2) * np.prod(second))


@dataclass(frozen=True)
class Strength:
    """One signal strength in the three units that are in use."""

    noise: float
    """Delta, model units."""
    snr_entry: float
    """Variance of an entry of the signal over that of the noise."""
    beta: float
    """Of Y = beta u o v o w + noise of variance 1 / sum N_a, with unit vectors."""


def signal_strength(
    shape: Sequence[int],
    priors: Prior | str | Sequence[Prior | str] = "gaussian",
    *,
    noise: float | None = None,
    snr_entry: float | None = None,
    beta: float | None = None,
) -> Strength:
    r"""Convert one measure of signal strength at rank 1 into all three, (T28).

    .. math:: \mathrm{snr} = \frac{\prod_a \rho_a}{\Delta N^{p-1}}, \qquad
              \beta^2 = \frac{\prod_a \rho_a}{\Delta \sum_a n_a}

    Parameters
    ----------
    shape : sequence of int
        Sizes N_a.
    priors : Prior, str, or one for each mode
        Enter by rho_a = E[x^2].
    noise, snr_entry, beta : float
        Exactly one of them.

    Examples
    --------
    >>> strength = signal_strength((100, 100, 100), noise=0.25)
    >>> round(strength.beta, 6), strength.snr_entry
    (1.154701, 0.0004)
    """
    given = {"noise": noise, "snr_entry": snr_entry, "beta": beta}
    chosen = {name: value for name, value in given.items() if value is not None}
    if len(chosen) != 1:
        raise ValueError(f"give exactly one of noise, snr_entry and beta, got {sorted(chosen)}")
    [(name, value)] = chosen.items()
    check_finite(name, value)
    check_range(name, value, 0, open_low=True)
    aspect = aspect_ratios(shape)
    power = float(np.prod([float(p.moments(1)[1]) for p in as_priors(priors, len(aspect))]))
    n_geo = float(np.exp(np.mean(np.log(np.asarray(shape, float)))))
    per_entry = power / n_geo ** (len(aspect) - 1)
    if name == "snr_entry":
        value = per_entry / value
    elif name == "beta":
        value = power / (value**2 * aspect.sum())
    return Strength(
        float(value), round(per_entry / value, 15), float(np.sqrt(power / (value * aspect.sum())))
    )
