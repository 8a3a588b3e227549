"""Train and test error of a deep linear network in time, without training it.

A low-rank teacher with noise gives a data matrix whose signals and noise are known
(`tractable.linear.spikes`, `tractable.linear.bulk`). Every singular mode of it is learned by the
law of `tractable.linear.deep_strength`; overlaps with the teacher turn strengths into errors.

Source: Lampinen, Ganguli 2019, arXiv:1809.10374; depths other than 2 and 4, and fewer examples than
inputs with A != 1: derived here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tractable.linear.arrays import as_float64
from tractable.linear.best_time import least_error, unit_grid
from tractable.linear.bulk import NODES, bulk_nodes, check_aspect
from tractable.linear.inputs import check_count, check_size
from tractable.linear.records import brief, from_dataset, to_dataset
from tractable.linear.spikes import spiked
from tractable.linear.strengths import check_depth, deep_strength
from tractable.linear.universal import growth_table

if TYPE_CHECKING:
    import xarray as xr

    from tractable.linear.arrays import Numbers

__all__ = ["GeneralizationCurve", "Modes", "generalization_curve", "noisy_modes"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class GeneralizationCurve:
    """Errors in time, and the best time to stop; see `generalization_curve`.

    Errors are those of the map, squared: train over the energy of the targets, test over that of
    the teacher. Both are 1 for the map that is zero.
    """

    t: Floats
    """Times, (T,), in the unit of tau."""
    train: Floats
    """Training error, (T,)."""
    test: Floats
    """Test error, (T,): squared distance from the teacher over its squared norm."""
    test_signal: Floats
    """Part of the test error that the teacher's modes make, (T,)."""
    test_noise: Floats
    """Part that learned noise makes, (T,); test is the sum of the two."""
    strengths: Floats
    """Strengths of the teacher's modes, (r, T)."""
    t_opt: float
    """Time of the smallest test error, over all times; 0 when learning does not help."""
    test_opt: float
    """Smallest test error."""
    test_final: float
    """Test error when everything is learned."""
    test_shrinkage: float
    """Error of optimal shrinkage of the same data, which uses no gradient."""

    __repr__ = brief

    def to_dataset(self) -> xr.Dataset:
        """Return a dataset with the dimensions mode and t."""
        curves = ("t", "train", "test", "test_signal", "test_noise")
        dims: dict[str, tuple[str, ...]] = {name: ("t",) for name in curves}
        return to_dataset(self, dims | {"strengths": ("mode", "t")}, units={"t": "tau"})

    @classmethod
    def from_dataset(cls, dataset: xr.Dataset) -> GeneralizationCurve:
        """Return the result that `to_dataset` wrote."""
        return from_dataset(cls, dataset)


@dataclass(frozen=True, eq=False)
class Modes:
    """What a student can learn from noisy examples of a teacher: signals and noise.

    Strengths obey tau du/dt = L u^(2 - 2/L) (s - u) in the units used here; see `noisy_modes`.
    """

    s_signal: Floats
    """Strengths of the teacher, (r,), that the errors are measured by."""
    s_data: Floats
    """Strengths in the data, (r,)."""
    overlap: Floats
    """O of each, (r,)."""
    learned: NDArray[np.bool_]
    """Whether the student's rank reaches the mode, (r,)."""
    x_in: Floats
    """Strengths of noise that the student can fit: quadrature nodes."""
    w_in: Floats
    """Their weights, times the number of noise modes."""
    noise_out: float
    """Energy of the noise that it cannot fit."""
    clock: float
    """tau of the learned strengths over the user's tau."""
    gain: float
    """Initial strength in these units over the user's."""
    unexplained: float
    """Energy of the targets outside the span of the inputs: N3 (D - 1) for D > 1."""


def generalization_curve(
    snr: Numbers | Sequence[float],
    aspect: float,
    t: Numbers | Sequence[float],
    *,
    n_in: int,
    n_hidden: int | None = None,
    depth: int = 2,
    init_strength: float = 1e-5,
    density: float = 1.0,
    tau: float = 1.0,
) -> GeneralizationCurve:
    r"""Return train and test error in time of a network that learns a noisy low-rank teacher.

    With K = min(N1, N3, P) modes, of which the teacher has r, :math:`u_a(t)` the strengths learned
    of :math:`\hat s_a`, and integrals over the fitted part of the bulk ("in") and the rest:

    .. math::
        \epsilon_{train} &= \frac{(K - r) [\langle x^2 \rangle_{out}
          + \langle (u(x, t) - x)^2 \rangle_{in}] + \sum_a (u_a - \hat s_a)^2}
          {\sum_a \hat s_a^2 + (K - r) \langle x^2 \rangle} \\
        \epsilon_{test} &= \frac{(K - r) \langle u(x, t)^2 \rangle_{in}
          + \sum_a (u_a^2 - 2 u_a \bar s_a O_a + \bar s_a^2)}{\sum_a \bar s_a^2}

    Parameters
    ----------
    snr : array, shape (r,), >= 0
        Singular values of the teacher, in units of the noise.
    aspect : float, > 0
        A = N3 / N1, outputs over inputs.
    t : array, shape (T,), >= 0, ascending
        Times, in the unit of tau: steps of gradient descent times the learning rate for tau = 1.
    n_in : int, >= 2
        N1. The sizes decide how much noise there is to learn, not the best error.
    n_hidden : int, >= 1, optional
        Narrowest layer: the student's rank is min(n_hidden, K). Full rank when missing.
    depth : int, >= 1
        Number of weight matrices L.
    init_strength : float, > 0
        Initial strength of every mode of the product of all layers.
    density : float, > 0
        D = P / N1, examples over inputs. The inputs are orthogonal: X^T X = D for D >= 1,
        orthonormal examples for D < 1.
    tau : float, > 0
        Time constant.

    Returns
    -------
    GeneralizationCurve

    Raises
    ------
    ValueError
        An argument is out of its range; the message names it.

    Notes
    -----
    Independent Gaussian inputs are *not* covered unless P is many times N1: their correlation has
    a spectrum of its own. Train on them (`train_students`), or whiten (`optimal_stopping`).

    References
    ----------
    Lampinen, Ganguli 2019, arXiv:1809.10374.

    Examples
    --------
    >>> curve = generalization_curve([3.0], 0.5, [1.0, 2.0, 20.0], n_in=100, n_hidden=50)
    >>> curve.test.round(3), round(curve.t_opt, 3), round(curve.test_opt, 4)
    (array([0.996, 0.245, 5.627]), 2.217, 0.1579)
    >>> curve = generalization_curve([0.84], 0.5, [0.0, 20.0], n_in=100)  # below A^(1/4)
    >>> curve.t_opt, round(curve.test_opt, 6)
    (0.0, 1.0)
    """
    s = np.sort(np.atleast_1d(as_float64("snr", snr, low=0.0)))[::-1]
    if s.ndim != 1:
        raise ValueError(f"snr must be a list of strengths, got shape {s.shape}")
    times = np.atleast_1d(as_float64("t", t, low=0.0, high=np.inf))
    if times.ndim != 1 or (times[1:] < times[:-1]).any():
        raise ValueError("t must be a list of times in ascending order")
    check_depth(depth)
    check_size("init_strength", init_strength)
    check_size("tau", tau)
    modes = noisy_modes(s, aspect, n_in=n_in, n_hidden=n_hidden, depth=depth, density=density)
    tau, a0 = tau * modes.clock, init_strength * modes.gain
    power = float(modes.s_signal @ modes.s_signal)
    if power == 0:
        raise ValueError("snr must have a value above 0: without a teacher there is no test error")

    goal = modes.s_signal * modes.overlap
    cross = 2 * goal * modes.learned
    everything = np.concatenate([modes.s_data, modes.x_in])
    squares = np.concatenate([modes.learned, modes.w_in])

    def test(at: Floats) -> Floats:
        u = learned_strengths(everything, at, a0, depth, tau)
        gain = cross @ u[: len(s)]
        u *= u  # in place, here and below: fresh memory costs more than the arithmetic
        return (power + squares @ u - gain) / power

    useful = modes.learned & (goal > 0)
    decaying = bool(everything.size) and a0 > everything.min()
    t_opt, test_opt = least_error(
        test, modes.s_data[useful], goal[useful], a0, depth, tau, decaying=decaying
    )
    u = learned_strengths(everything, times, a0, depth, tau)
    signals = u[: len(s)] * modes.learned[:, None]
    # sum of w (x - u)^2, multiplied out: products of matrices are quick, and u^2 is needed anyway.
    # Signals count zero here: whole arrays are quicker than parts of them.
    weights = np.concatenate([np.zeros(len(s)), modes.w_in])
    weighted = weights * everything
    fitted_energy = float(weighted @ everything)
    residual = fitted_energy - 2 * (weighted @ u)
    u *= u
    noise = weights @ u
    gap = signals - modes.s_data[:, None]
    residual = np.maximum(residual + noise, 0.0) + (gap * gap).sum(0)
    noise /= power
    signal = (power + (signals * signals).sum(0) - cross @ signals) / power
    rest = modes.noise_out + modes.unexplained
    energy = float(modes.s_data @ modes.s_data) + fitted_energy + rest
    end = modes.s_data * modes.learned
    final = float(end @ (end - 2 * goal)) + power + fitted_energy
    return GeneralizationCurve(
        t=times,
        train=(residual + rest) / energy,
        test=signal + noise,
        test_signal=signal,
        test_noise=noise,
        strengths=signals / modes.gain,
        t_opt=t_opt,
        test_opt=test_opt,
        test_final=final / power,
        test_shrinkage=1 - float(goal @ goal) / power,
    )


def learned_strengths(s: Floats, t: Floats, a0: float, depth: int, tau: float) -> Floats:
    """Return the strengths (K, T) that are learned of s (K,) at times t (T,); white inputs.

    The same as `deep_strength`, without its checks and in one pass for two layers.

    Examples
    --------
    >>> s, t = np.array([3.0, 1.0]), np.linspace(0, 9, 4)
    >>> here = learned_strengths(s, t, 1e-5, 2, 1.0)
    >>> bool(np.allclose(here, deep_strength(s[:, None], t, 1e-5, 2), rtol=1e-12))
    True
    """
    if depth != 2 or s.size == 0 or s.min() < max(1e-12, (1 + 1e-9) * a0):
        if depth > 2 and s.size and s.min() > max(1e-12, (1 + 1e-9) * a0):
            return grown_strengths(s, t, a0, depth, tau)
        return np.asarray(deep_strength(s[:, None], t, a0, depth, tau=tau))
    # s / (1 + (s / a0 - 1) exp(-2 s t / tau)); times are rows, so that memory is in order
    rate, start = (2 / tau) * s, s / a0 - 1
    if evenly_spaced(t, rate):
        # Exponentials cost the most: within a block of times they are the product of two, and
        # s / (1 + c f) = (s / f) / (1 / f + c) takes one sum and one quotient.
        block = math.isqrt(len(t))
        coarse = np.exp(-t[::block, None] * rate)
        coarse *= start
        fine = np.exp((t[:block] - t[0])[:, None] * rate)
        table = coarse[:, None, :] + fine
        fine *= s
        np.divide(fine, table, out=table)
        return table.reshape(-1, len(s))[: len(t)].T
    u = np.exp(-t[:, None] * rate)
    u *= start
    u += 1
    return np.divide(s, u, out=u).T


def grown_strengths(s: Floats, t: Floats, a0: float, depth: int, tau: float) -> Floats:
    """Return what `deep_strength` does for depths above 2 and growing modes, 0 < a0 < s.

    Examples
    --------
    >>> s, t = np.array([3.0, 1.0]), np.linspace(0, 9, 4)
    >>> here = grown_strengths(s, t, 1e-5, 4, 1.0)
    >>> bool(np.allclose(here, deep_strength(s[:, None], t, 1e-5, 4), rtol=1e-11))
    True
    """
    table, start = growth_table(1 - 2 / depth), a0 / s
    begin = table.value(np.log(start) - np.log1p(-start))
    rate = depth / tau * s ** (2 - 2 / depth)
    with np.errstate(over="ignore"):
        u = np.exp(-table.inverse(begin[:, None] + rate[:, None] * t))
    u += 1
    np.divide(s[:, None], u, out=u)
    u[:, t == 0] = a0
    return u


def evenly_spaced(t: Floats, rate: Floats) -> bool:
    """Return whether times are many, equally spaced, and close enough for `learned_strengths`.

    Examples
    --------
    >>> evenly_spaced(np.linspace(0, 9, 100), np.ones(1)), evenly_spaced(np.ones(5), np.ones(1))
    (True, False)
    >>> evenly_spaced(np.linspace(0, 1e5, 100), np.ones(1))  # exp(1e4) has no number
    False
    """
    n = len(t)
    if n < 64 or rate.max() * (t[-1] - t[0]) > 300 * math.isqrt(n):
        return False
    return bool(np.abs(t - t[0] - (t[-1] - t[0]) * unit_grid(n)).max() <= 1e-14 * t[-1])


def noisy_modes(
    s: Floats,
    aspect: float,
    *,
    n_in: int,
    n_hidden: int | None = None,
    depth: int = 2,
    density: float = 1.0,
) -> Modes:
    r"""Return the signals and the noise that a student meets, in units of white inputs.

    .. math:: D \ge 1:\; \bar s \to \sqrt D \, \bar s, \quad \tau \to D^{-1/L} \tau, \quad
              u(0) \to \sqrt D \, u(0); \qquad
              D < 1:\; A \to A / D, \quad \hat s \to \sqrt D \, \hat s, \quad O \to \sqrt D \, O

    Parameters
    ----------
    s : array, shape (r,)
        Singular values of the teacher, descending.
    aspect, n_in, n_hidden, depth, density
        As in `generalization_curve`.

    Examples
    --------
    >>> modes = noisy_modes(np.array([3.0]), 0.5, n_in=100)
    >>> modes.s_data.round(3), round(float(modes.w_in.sum()))
    (array([3.249]), 49)
    """
    check_aspect("aspect", aspect)
    check_count("n_in", n_in, 2)
    check_size("density", density)
    n_out, n_examples = max(1, round(aspect * n_in)), max(1, round(density * n_in))
    n_modes = min(n_in, n_out, n_examples)
    if len(s) > n_modes:
        raise ValueError(
            f"snr must hold at most min(n_in, n_out, n_examples) = {n_modes} values, got {len(s)}"
        )
    if n_hidden is not None:
        check_count("n_hidden", n_hidden)
    rank = min(n_modes, n_modes if n_hidden is None else n_hidden)
    few = min(density, 1.0)
    shape = aspect / few
    gain = math.sqrt(max(density, 1.0))
    s_data, out, into = spiked(gain * s, shape)
    n_noise = n_modes - len(s)
    fitted = max(rank - len(s), 0) / n_noise if n_noise else 0.0
    x_in, w_in = bulk_nodes(shape, 1 - fitted, n_nodes=nodes_for(depth))
    noise_out = 0.0
    if fitted < 1:
        x_out, w_out = bulk_nodes(shape, 0.0, 1 - fitted)
        noise_out = few * n_noise * float(w_out @ x_out**2)
    scale = math.sqrt(few)
    return Modes(
        s_signal=gain * s,
        s_data=scale * s_data,
        overlap=scale * np.sqrt(out * into),
        learned=np.arange(len(s)) < rank,
        x_in=scale * x_in,
        w_in=n_noise * w_in,
        noise_out=noise_out,
        clock=max(density, 1.0) ** (-1 / depth),
        gain=gain,
        unexplained=n_out * max(density - 1.0, 0.0),
    )


def nodes_for(depth: int) -> int:
    """Return the quadrature nodes of the bulk: deeper networks learn each mode more suddenly."""
    return NODES if depth <= 2 else 6 * NODES
