"""Phase diagrams over noise, prior mean and shape."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from tractable.core.checks import as_floats, check_choice, check_finite, check_range, check_shape
from tractable.core.progress import track
from tractable.tensors.curve import FixedPointCurve, fixed_point_curve
from tractable.tensors.model import aspect_ratios
from tractable.tensors.priors import Gaussian, Prior, as_priors
from tractable.tensors.thresholds import thresholds_of, two_zero_mean_threshold

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["PHASES", "PhaseDiagram", "branch_overlaps", "phase_diagram"]

Array = np.ndarray
PHASES = ("easy", "hard", "impossible", "smooth")
AXES = ("mean", "noise", "shape")
Axis = tuple[str, Any]


@dataclass(frozen=True)
class PhaseDiagram:
    """Phases and overlaps on a grid; the first axis of the arrays is y, the second x."""

    x_name: str
    """``mean``, ``noise`` or ``shape``."""
    x: Array
    """Values, (nx,) or, of shapes, (nx, p)."""
    y_name: str
    """As ``x_name``."""
    y: Array
    """Values, (ny,) or (ny, p)."""
    phase: Array
    """Index into `PHASES`, (ny, nx)."""
    found: Array
    """Overlaps M_a that message passing finds, (ny, nx, p)."""
    best: Array
    """Overlaps of the Bayes optimum, (ny, nx, p)."""
    alg: Array
    """Algorithmic threshold at each point, (ny, nx)."""
    it: Array
    """Information-theoretic threshold, (ny, nx)."""
    dyn: Array
    """Dynamical threshold, (ny, nx)."""

    def share(self, phase: str) -> float:
        """Return the share of the grid that is in a phase."""
        check_choice("phase", phase, PHASES)
        return float((self.phase == PHASES.index(phase)).mean())

    def to_dataset(self) -> xr.Dataset:
        """Return all fields as an `xarray.Dataset`."""
        import xarray as xr

        grid, one = ("y", "x"), {"units": "1"}
        axes = {}
        for name, values in (("x", self.x), ("y", self.y)):
            dims = (name,) if values.ndim == 1 else (name, "mode")
            axes[f"{name}_value"] = (dims, values, one)
        return xr.Dataset(
            {
                **axes,
                "phase": (grid, self.phase, {**one, "meaning": ", ".join(PHASES)}),
                "found": ((*grid, "mode"), self.found, one),
                "best": ((*grid, "mode"), self.best, one),
                **{name: (grid, getattr(self, name), one) for name in ("alg", "it", "dyn")},
            },
            attrs={"x_name": self.x_name, "y_name": self.y_name},
        )

    @classmethod
    def from_dataset(cls, dataset: xr.Dataset) -> PhaseDiagram:
        """Return the diagram that `to_dataset` stored."""
        fields = ("phase", "found", "best", "alg", "it", "dyn")
        return cls(
            x_name=dataset.attrs["x_name"],
            x=dataset.x_value.values,
            y_name=dataset.attrs["y_name"],
            y=dataset.y_value.values,
            **{name: dataset[name].values for name in fields},
        )


def phase_diagram(
    x: Axis,
    y: Axis,
    *,
    shape: Sequence[float] = (1, 1, 1),
    priors: Prior | str | Sequence[Prior | str] = "gaussian",
    noise: float | None = None,
    modes: Sequence[int] | None = None,
    progress: bool = True,
) -> PhaseDiagram:
    """Return phases and overlaps at rank 1 on a grid of two of noise, mean and shape.

    Every column is one curve of fixed points, so that the diagram costs as many curves as there are
    values of the axis that is not the noise.

    Parameters
    ----------
    x, y : (name, values)
        ``("mean", (nx,))`` sets the mean of the Gaussian priors of ``modes``;
        ``("noise", (ny,))`` is Delta > 0; ``("shape", sequence of shapes)``.
    shape : sequence of float
        Sizes or aspect ratios, where shape is not an axis.
    priors : Prior, str, or one for each mode
        With a mean on an axis those of ``modes`` must be Gaussian; their variances are kept.
    noise : float, optional
        Needed where noise is not an axis.
    modes : sequence of int, optional
        Modes whose mean varies; all by default.
    progress : bool
        Show progress on a terminal.

    Returns
    -------
    PhaseDiagram

    Raises
    ------
    ValueError
        For equal or unknown axes, and noise levels <= 0.

    Examples
    --------
    >>> diagram = phase_diagram(("mean", [0.1, 0.2]), ("noise", [0.1, 0.25, 0.5]))
    >>> [[PHASES[i] for i in row] for row in diagram.phase]
    [['hard', 'easy'], ['impossible', 'hard'], ['impossible', 'impossible']]
    """
    axes = {"x": x, "y": y}
    values = {side: _axis(side, *axis) for side, axis in axes.items()}
    if x[0] == y[0]:
        raise ValueError(f"x and y must be different axes, got {x[0]!r} twice")
    if "noise" not in (x[0], y[0]):
        if noise is None:
            raise ValueError("noise must be given where it is not an axis")
        check_finite("noise", noise)
        check_range("noise", noise, 0, open_low=True)
    curve_of = _curves(shape, priors, modes)
    nx, ny = len(values["x"]), len(values["y"])
    # The axis of noise is computed at once; what remains is a list of curves.
    cells: list[tuple[Any, Any, Array, dict[str, Any]]] = []
    if y[0] == "noise":
        cells = [(slice(None), i, values["y"], {x[0]: values["x"][i]}) for i in range(nx)]
    elif x[0] == "noise":
        cells = [(j, slice(None), values["x"], {y[0]: values["y"][j]}) for j in range(ny)]
    else:
        level = np.array([noise], float)
        cells = [
            (j, i, level, {x[0]: values["x"][i], y[0]: values["y"][j]})
            for j in range(ny)
            for i in range(nx)
        ]
    order = len(values["x"][0] if x[0] == "shape" else values["y"][0] if y[0] == "shape" else shape)
    phase = np.empty((ny, nx), int)
    found, best = np.empty((2, ny, nx, order))
    levels = {name: np.empty((ny, nx)) for name in ("alg", "it", "dyn")}
    for row, column, noises, setting in track(cells, "phase diagram", show=progress):
        curve = curve_of(**setting)
        limits = thresholds_of(curve)
        single = len(noises) == 1 and isinstance(row, int) and isinstance(column, int)
        weak, optimum = branch_overlaps(curve, noises)
        codes = np.array([PHASES.index(limits.phase(float(level))) for level in noises])
        phase[row, column] = codes[0] if single else codes
        found[row, column] = weak[0] if single else weak
        best[row, column] = optimum[0] if single else optimum
        for name, grid in levels.items():
            grid[row, column] = getattr(limits, name)
    return PhaseDiagram(x[0], values["x"], y[0], values["y"], phase, found, best, **levels)


def branch_overlaps(curve: FixedPointCurve, noise: Array) -> tuple[Array, Array]:
    """Return the overlaps that message passing finds and those of the Bayes optimum, (K, p) each.

    The first is the weakest stable fixed point at each noise, the second that of the largest free
    entropy, (T24). With two zero-mean modes message passing is started at random; with three or
    more it stays at the means.

    Examples
    --------
    >>> curve = fixed_point_curve((1, 1, 1), "gaussian(0.2)")
    >>> found, best = branch_overlaps(curve, np.array([0.2]))
    >>> found[0, 0].round(4).item(), best[0, 0].round(4).item()
    (0.0548, 0.8035)
    """
    noise = np.atleast_1d(as_floats("noise", noise))
    check_shape("noise", noise.shape, ("K",))
    check_finite("noise", noise)
    turns = curve.turning_points()
    edges = np.concatenate([[0.0], turns, [np.inf]])
    mean = np.array([float(channel.prior.moments(1)[0]) for channel in curve.channels])
    trivial = curve.n_zero_mean >= 2
    onset = _onset(curve)
    shape = (len(noise), curve.order)
    found = np.broadcast_to(mean**2, shape).copy()
    best, best_phi = found.copy(), np.full(len(noise), 0.0 if trivial else -np.inf)
    missing = noise < onset  # of these the weakest branch is still to be found
    for low, high in pairwise(edges):
        start, end = _noise_range(curve, low, high, onset)
        if start < end:
            continue  # Delta rises with t: unstable
        inside = (noise <= start) & (noise >= end)
        if not inside.any():
            continue
        M, _, _, phi = curve.at(curve.solve(noise[inside], low, high))
        rows = np.flatnonzero(inside)
        first = missing[rows]
        found[rows[first]] = M[first]
        missing[rows] = False
        better = phi > best_phi[rows]
        best[rows[better]], best_phi[rows[better]] = M[better], phi[better]
    return found, best


def _onset(curve: FixedPointCurve) -> float:
    """Return the noise below which the means are not a stable fixed point."""
    if curve.n_zero_mean <= 1:
        return np.inf
    if curve.n_zero_mean > 2:
        return 0.0
    return two_zero_mean_threshold(
        tuple(curve.aspect), [channel.prior for channel in curve.channels]
    )


def _noise_range(
    curve: FixedPointCurve, low: float, high: float, onset: float
) -> tuple[float, float]:
    """Return the noise at both ends of a branch."""
    start = float(curve.at(low)[1][0]) if low > 0 else onset
    end = float(curve.at(high)[1][0]) if np.isfinite(high) else 0.0
    return start, end


def _axis(side: str, name: str, values: Any) -> Array:
    check_choice(side, name, AXES)
    array = np.asarray(values, float)
    check_finite(side, array)
    if name == "shape":
        if array.ndim != 2 or not len(array):
            raise ValueError(f"{side} must be a list of shapes of equal order, got {array.shape}")
        return np.stack([aspect_ratios(row) for row in array])
    if array.ndim != 1 or not len(array):
        raise ValueError(f"{side} must hold a list of values of {name}, got {array.shape}")
    if name == "noise" and (array <= 0).any():
        raise ValueError(f"{side}: noise must be > 0, got {array.min():g}")
    return array


def _curves(
    shape: Sequence[float],
    priors: Prior | str | Sequence[Prior | str],
    modes: Sequence[int] | None,
) -> Callable[..., FixedPointCurve]:
    """Return the function (mean, shape) -> curve."""

    def curve_of(mean: float | None = None, shape: Any = shape) -> FixedPointCurve:
        order = len(shape)
        made = list(as_priors(priors, order))
        for a in range(order) if modes is None else modes if mean is not None else ():
            check_range("modes", a, 0, order - 1)
            prior = made[a]
            if mean is None:
                continue
            if not isinstance(prior, Gaussian):
                raise ValueError(f"an axis of means needs Gaussian priors, got {prior!r}")
            made[a] = Gaussian(mean, float(prior.parameters(1)[1]))
        return fixed_point_curve(shape, made)

    return curve_of
