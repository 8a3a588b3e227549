"""Training of linear-stopping: networks, and other estimators, on examples that were left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import xarray as xr

    from tractable.linear import StoppingReport
    from tractable.studies.linear._stopping_cases import Case

STARTS = ("aligned", "orthogonal")


def train(
    case: Case,
    report: StoppingReport,
    steps: int,
    *,
    learning_rate: float,
    depth: int,
    init_strength: float,
) -> xr.Dataset:
    """Train on the inputs that the report asks for, and test on the examples left out."""
    import xarray as xr

    from tractable.linear import HeldOut, train_students

    Z, Z_test = case.X - report.X_mean, case.X_test - report.X_mean
    if report.whitening is not None:
        Z, Z_test = Z @ report.whitening, Z_test @ report.whitening
    T, T_test = case.Y - report.Y_mean, case.Y_test - report.Y_mean
    P = len(Z)
    curves = [
        train_students(
            T.T @ Z / P,
            None,
            cov_x=Z.T @ Z / P,
            energy=np.array([np.sum(T**2) / P]),
            held_out=HeldOut(T_test.T @ Z_test, Z_test.T @ Z_test, np.sum(T_test**2)),
            learning_rate=learning_rate,
            steps=steps,
            depth=depth,
            init_strength=init_strength,
            start=start,  # type: ignore[arg-type]  # one of STARTS
            n_records=500,
            progress=False,
        )
        for start in STARTS
    ]
    grid = np.linspace(0.0, learning_rate * steps, 400)
    line = ("start", "point")

    def on_grid(name: str) -> np.ndarray:
        return np.stack([np.interp(grid, c.t, getattr(c, name)[0]) for c in curves])

    # Least squares, which training ends at, and optimal shrinkage of it.
    final, shrunk = endpoints(Z, T, Z_test, T_test, report)
    return xr.Dataset(
        {
            "t": ("point", grid, {"units": "tau"}),
            "train_loss": (line, on_grid("train"), {"units": "1"}),
            "test_loss": (line, on_grid("test"), {"units": "1"}),
            "best_t": ("start", [c.best_t[0] for c in curves], {"units": "tau"}),
            "best_loss": ("start", [c.best_test[0] for c in curves], {"units": "1"}),
            "final_loss": ((), final, {"units": "1"}),
            "shrunk_loss": ((), shrunk, {"units": "1"}),
        },
        coords={"start": list(STARTS)},
    )


def endpoints(
    Z: np.ndarray, T: np.ndarray, Z_test: np.ndarray, T_test: np.ndarray, report: StoppingReport
) -> tuple[float, float]:
    """Return the test losses of least squares and of its optimal shrinkage."""
    from tractable.linear import optimal_shrinkage

    W = np.linalg.lstsq(Z, T, rcond=None)[0].T
    power = np.sum(T_test**2)
    final = np.sum((T_test - Z_test @ W.T) ** 2) / power
    if report.whitening is None or min(W.shape) < 2:
        return float(final), float("nan")  # shrinkage needs whitened inputs
    # In whitened inputs of unit variance the noise of an entry is that of a target over sqrt(P).
    better = optimal_shrinkage(W, sigma=report.sigma / np.sqrt(len(Z))).estimate
    return float(final), float(np.sum((T_test - Z_test @ better.T) ** 2) / power)


def loss_at(measured: xr.Dataset, time: xr.DataArray) -> xr.DataArray:
    """Return the measured test losses at the predicted times, with dims case, split, start."""
    loss = measured.test_loss.transpose("case", "split", "start", "point")
    t = measured.t.transpose("case", "split", "point").values
    when, values = time.transpose("case", "split").values, np.zeros(loss.shape[:3])
    for case, split, start in np.ndindex(values.shape):
        values[case, split, start] = np.interp(
            when[case, split], t[case, split], loss.values[case, split, start]
        )
    return loss.isel(point=0, drop=True).copy(data=values)
