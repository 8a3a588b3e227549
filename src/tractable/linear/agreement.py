"""How well a theory describes simulated networks, mode by mode."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from tractable.linear.records import from_dataset, to_dataset

if TYPE_CHECKING:
    import xarray as xr

    from tractable.linear.mode_dynamics import ModeDynamics
    from tractable.linear.simulation import Simulation

__all__ = ["Agreement", "agreement"]


@dataclass(frozen=True, eq=False)
class Agreement:
    """Differences between networks and theory; made by `Simulation.compare`.

    Parameters
    ----------
    strength_error : ndarray, shape (S, K)
        Largest difference of strengths over time, relative to the mode's final strength.
    half_rise_ratio : ndarray, shape (S, K)
        Measured half-rise time over the predicted one; NaN-free: 0 where either never rises.
    train_error_difference : ndarray, shape (S,)
        Largest difference of training errors over time, relative to the zero map's.
    """

    strength_error: np.ndarray
    half_rise_ratio: np.ndarray
    train_error_difference: np.ndarray

    def to_dataset(self) -> xr.Dataset:
        """Return the numbers by seed and mode."""
        dims = {
            "strength_error": ("seed", "mode"),
            "half_rise_ratio": ("seed", "mode"),
            "train_error_difference": ("seed",),
        }
        return to_dataset(self, dims)

    @classmethod
    def from_dataset(cls, dataset: xr.Dataset) -> Self:
        """Return the result that `to_dataset` wrote."""
        return from_dataset(cls, dataset)


def agreement(simulation: Simulation, theory: ModeDynamics) -> Agreement:
    """Compare networks with a theory at the times that were recorded."""
    predicted = theory.strengths(simulation.t)
    final = np.abs(theory.final_strength())
    scale = np.where(final > 0, final, 1.0)
    gap = np.abs(simulation.strengths() - predicted).max(-1) / scale
    measured, expected = simulation.half_rise(), theory.half_rise()
    both = np.isfinite(measured) & np.isfinite(expected) & (expected > 0)
    ratio = np.where(both, measured / np.where(both, expected, 1.0), 0.0)
    errors = np.abs(simulation.train_error() - theory.train_error(simulation.t)).max(-1)
    return Agreement(gap, np.where(np.isfinite(ratio), ratio, 0.0), errors)
