"""The findings of a line-attractor report, in sentences with numbers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from tractable.dynamics.dimension import n_pc, participation_ratio

if TYPE_CHECKING:
    from tractable.dynamics.line_attractor import LineAttractor

__all__ = ["AT_REST", "median_of", "sentences", "share_of"]

AT_REST = 0.01  # normalized velocity below which a relaxing state counts as at rest


def share_of(variances: np.ndarray, k: int) -> float:
    """Return the share of the k largest variances; NaN where there is none."""
    total = float(variances.sum())
    return float(variances[:k].sum()) / total if total > 0 else math.nan


def median_of(values: np.ndarray) -> float:
    """Return the median of what is not NaN; NaN of nothing. Takes inf."""
    values = np.sort(values[~np.isnan(values)])
    if not len(values):
        return math.nan
    low, high = values[(len(values) - 1) // 2], values[len(values) // 2]
    return float(low) if low == high else float((low + high) / 2)


def sentences(r: LineAttractor) -> tuple[str, ...]:
    """Say the findings of a report."""
    first = _states(r)
    if not len(r):
        return (first, f"No points of kind {r.kind!r}: nothing to say about a line.")
    return (first, *_line(r), *_modes(r), *_motion(r), _signatures(r))


def _states(r: LineAttractor) -> str:
    one, two, three = (share_of(r.state_variances, k) for k in (1, 2, 3))
    dimension = participation_ratio(r.state_variances)
    return (
        f"Visited states: {one:.1%}, {two:.1%}, {three:.1%} of the variance in 1, 2, 3 PCs; "
        f"participation ratio {dimension:.2f}, {n_pc(r.state_variances, 0.9)} PCs for 90 %."
    )


def _line(r: LineAttractor) -> tuple[str, str]:
    moved = median_of(r.displacement)
    part = moved / r.length if r.length else math.nan
    return (
        f"{len(r)} points of kind {r.kind!r} (q convention {r.q_convention!r}): PC1 holds "
        f"{r.pc_fraction:.1%} of their variance, local dimension {median_of(r.local_dim):.2f}, "
        f"{r.spline_fraction:.1%} of the variance off a curve of length {r.length:.3g}.",
        f"Starts moved by {moved:.3g} (median) to reach them, {part:.1%} of that length; "
        f"overlap of axis and readout {r.axis_readout:.3f}.",
    )


def _modes(r: LineAttractor) -> list[str]:
    unit = _unit(r)
    n_slow = median_of(r.n_slow.astype(float))
    tangent, axis = median_of(r.tangent_overlap), median_of(r.axis_overlap)
    above = float(np.mean(np.nan_to_num(r.overlap_p, nan=1.0) < 0.01))  # of a plane: two dimensions
    found = [
        f"The slowest mode has tau_1 = {median_of(r.tau_1):.4g} {unit} (median over points), the "
        f"second {median_of(r.tau_2):.3g}: ratio {median_of(r.gap):.3g}; a median of {n_slow:g} "
        f"modes is slower than {r.tau_min:g} {unit}.",
        f"Its overlap with the tangent is {tangent:.3f}, with the axis {axis:.3f} (medians). "
        f"Random directions overlap by {r.null_mean:.3f}, 99 % of them by less than "
        f"{r.null_99:.3f}; {above:.0%} of the points exceed that.",
    ]
    if r.oscillating.any() or r.growing.any():
        swings, grows = float(np.mean(r.oscillating)), float(np.mean(r.growing))
        found.append(
            f"The slowest mode oscillates at {swings:.0%} of the points and grows at {grows:.0%}"
            + (f" (e-fold in {median_of(r.tau_1[r.growing]):.3g} {unit})." if grows else ".")
        )
    return found


def _motion(r: LineAttractor) -> tuple[str, str]:
    drift, lifetime = median_of(np.abs(r.drift)), median_of(r.lifetime)
    up = float(np.mean(r.drift > 0))
    start, end, n_steps = r.relaxation[1, 0], r.relaxation[1, -1], r.relaxation.shape[1]
    return (
        f"Drift along the curve: {drift:.2g} per step (median), so that a memory would cross it "
        f"in {lifetime:.3g} {_unit(r)}; {up:.0%} of the points drift towards larger theta.",
        f"Relaxation at constant input: normalized velocity {start:.2g} at first, {end:.2g} after "
        f"{n_steps} steps (median); below {AT_REST:g} after {r.relaxation_steps:g} steps.",
    )


def _signatures(r: LineAttractor) -> str:
    short = [s for s in r.signatures if not s.measured >= s.at_least]
    missing = "; ".join(f"{s.name} is {s.measured:.3g}, not {s.at_least:.3g}" for s in short)
    n = len(r.signatures)
    head = f"{n - len(short)} of {n} signatures of a line attractor hold"
    return f"{head}: {missing}." if missing else f"{head}."


def _unit(r: LineAttractor) -> str:
    return "steps" if r.dt is None else "units of time"
