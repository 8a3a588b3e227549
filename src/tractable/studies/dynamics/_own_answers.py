"""Answers and pictures of the study of one's own network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from tractable.dynamics import plots
from tractable.study import Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from tractable.studies.dynamics.dynamics_own import DynamicsOwn

KINDS = {"root": "fixed", "slow": "slow", "local_min": "local minimum"}


def answers(study: DynamicsOwn, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
    """Yield what the network does, in sentences and a table of points."""
    n, units = measured.sizes["point"], measured.sizes["unit"]
    unstable = theory.n_unstable.values.astype(int)
    yield (
        f"{measured.attrs['name']}, {units} units; starts: {measured.attrs['source']}. The search "
        f"found {n} {KINDS[study.kind]} point{'s' * (n != 1)}{_lost(measured)}. Largest speed q: "
        f"{float(measured.point_q.max()):.1e} (half the squared step)."
    )
    stable = int((unstable == 0).sum())
    listed = len(unstable)
    yield (
        f"Of the {listed} with the most starts, listed below, {stable} are stable; the others have "
        f"{_span(unstable[unstable > 0])} unstable directions."
        if 1 < listed != stable
        else f"It has {unstable[0]} unstable direction{'s' * (unstable[0] != 1)}."
        if listed != stable
        else f"All {listed} listed below are stable."
        if listed > 1
        else "It is stable."
    )
    degree = int(measured.index_sum)
    if study.kind == "root" and degree not in (0, 1):
        yield f"The degrees of the roots add up to {degree:+d}, not +1: some are missing."
    elif study.kind == "root" and degree == 1:
        yield "The degrees of the roots add up to +1, as they must where none is missing."
    unit = "steps" if measured.attrs["dt"] == 0 else "units of time"
    first = theory.tau.values[:, 0]
    several = f" (median; {_number(first.min())} to {_number(first.max())})" if listed > 1 else ""
    yield f"The slowest mode of a point lasts {_number(np.median(first))} {unit}{several}."
    rotating = theory.frequency.values[:, 0] > 0
    if rotating.any():
        yield (
            f"At {int(rotating.sum())} of {listed} points the slowest mode oscillates, with "
            f"{_number(float(np.median(theory.frequency.values[rotating, 0])))} cycles per "
            f"{unit.removesuffix('s').replace('units of', 'unit of')}."
        )
    yield _table(theory, measured, unit)


def _table(theory: xr.Dataset, measured: xr.Dataset, unit: str) -> Table:
    edges = measured.edge.values.astype(int).reshape(-1, 2)
    rows = []
    for row, point in enumerate(measured.shown.values.astype(int)):
        count = int(theory.n_unstable.values[row])
        leads = sorted({int(t) for s, t in edges if s == point})
        rows.append(
            (
                int(point),
                "stable" if count == 0 else f"{count} unstable",
                float(measured.point_q.values[point]),
                int(measured.point_starts.values[point]),
                *(float(t) for t in theory.tau.values[row, :2]),
                float(theory.frequency.values[row, 0]),
                ", ".join(map(str, leads)) or "-",
            )
        )
    taus = tuple(f"τ{i + 1} ({unit})" for i in range(min(2, theory.sizes["mode"])))
    columns = ("point", "stability", "q", "starts", *taus, "frequency", "leads to")
    return Table("Points", columns, tuple(rows))


def figures(study: DynamicsOwn, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
    """Return all pictures by name."""
    shown = measured.shown.values.astype(int)
    unstable = theory.n_unstable.values.astype(int)
    labels = ["stable" if k == 0 else f"saddle({k})" for k in unstable]
    space = plots.plot_state_space(
        measured.state.values,
        measured.point_state.values if study.kind != "root" else None,
        roots=measured.point_state.values[shown] if study.kind == "root" else None,
        stability=labels if study.kind == "root" else None,
    )
    space.set_label(
        "States from which the search started, in the plane of their two largest principal "
        "components, and the points that it found."
    )
    values = theory.eigenvalue_real.values + 1j * theory.eigenvalue_imag.values
    spectrum = plots.plot_eigenvalues(values)
    spectrum.set_label("Eigenvalues of the Jacobian at the points, and the unit circle.")
    # growing perturbations leave the picture, unless there is nothing else
    kept = np.abs(theory.decay.values).max(axis=1) <= 2
    kept = kept if kept.any() else np.ones(len(kept), bool)
    tau = theory.tau.values[kept, 0]
    recovery = plots.plot_decay(
        measured.lag.values,
        measured.decay.values[kept],
        theory.decay.values[kept].clip(-2, 2),
        theta=tau if np.ptp(tau) > 1e-6 * tau.max() else None,
        theta_label="slowest time constant",
        unit="steps",
    )
    recovery.set_label(
        "What is left of a small displacement along the slowest mode after each number of steps: "
        "the linear theory (lines) and the network itself (markers); at points from which it grows "
        "only where there are no others."
    )
    speeds = plots.plot_speed_scan(
        measured.scan_tol.values,
        measured.scan_n_points.values,
        pc1=measured.scan_pc_fraction.values,
        q=measured.point_q.values,
    )
    speeds.set_label(
        "Speeds q at the points, and how many distinct points a threshold on q would have given."
    )
    return {"states": space, "eigenvalues": spectrum, "recovery": recovery, "speeds": speeds}


def _lost(measured: xr.Dataset) -> str:
    """Return how many starts led to no point, and the reason of most."""
    n = int(measured.n_rejected)
    if n == 0:
        return ", and every start led to one"
    reason = measured.attrs.get("rejected", "")
    return f"; {n} start{'s' * (n != 1)} led to none{f' (most: {reason})' if reason else ''}"


def _number(value: float) -> str:
    return "over 1,000,000" if value > 1e6 else f"{value:.3g}"


def _span(counts: np.ndarray) -> str:
    low, high = int(counts.min()), int(counts.max())
    return str(low) if low == high else f"{low} to {high}"
