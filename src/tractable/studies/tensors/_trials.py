"""Message passing on drawn tensors whose truth is known, for the studies of this folder."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray as xr

    from tractable.study import Cost

__all__ = ["cost_of", "padded", "trial"]

UNITS = {"units": "1"}


def trial(
    shape: Sequence[int],
    priors: str | Sequence[str],
    noise: float,
    seed: int,
    start: str = "prior",
    init_scale: float = 0.0,
    max_iter: int = 200,
    schedule: str = "sequential",
) -> xr.Dataset:
    """Draw a tensor of rank 1 with matched moments, and follow message passing on it.

    ``start`` is "prior", "spectral" or "truth". Returns the overlap M_a and the self-overlap Q_a of
    every sweep, the start first, and the predicted and true squared error of the signal.
    """
    import xarray as xr

    from tractable.core.checks import quiet
    from tractable.tensors import SpikedTensor
    from tractable.tensors.amp import amp

    model = SpikedTensor(tuple(shape), priors=_list(priors), noise=noise)
    sample = model.sample(seed, moment_matched=True)
    truth = [x.numpy()[:, 0] for x in sample.factors]
    overlap: list[np.ndarray] = []
    own: list[np.ndarray] = []

    def record(state: dict[str, Any]) -> None:
        estimate = [x[0, :, 0].cpu().numpy() for x in state["factors"]]
        overlap.append(np.array([f @ x / len(x) for f, x in zip(estimate, truth, strict=True)]))
        own.append(np.array([f @ f / len(f) for f in estimate]))

    init: Any = [x.clone() for x in sample.factors] if start == "truth" else start
    with quiet():  # what has not settled is seen in the overlaps
        fit = amp(
            sample.Y,
            1,
            priors=model.priors,
            noise=noise,
            units="model",
            init=init,
            init_scale=init_scale,
            max_iter=max_iter,
            schedule=schedule,
            seed=seed,
            callback=record,
            progress=False,
        )
    M, Q = np.stack(overlap), np.stack(own)
    # A pair of factors may come out with both signs flipped: the data do not know.
    M = np.abs(M) if start == "spectral" else M
    power = float(np.prod([x @ x / len(x) for x in truth]))
    error = 1 + (np.prod(Q[-1]) - 2 * np.prod(M[-1])) / power
    return xr.Dataset(
        {
            "overlap": (("sweep", "mode"), M, UNITS),
            "self_overlap": (("sweep", "mode"), Q, UNITS),
            "final": ("mode", M[-1], UNITS),
            "final_self": ("mode", Q[-1], UNITS),
            "error": ((), error, UNITS),
            "predicted_error": ((), float(fit.predicted_error), UNITS),
            "n_sweeps": ((), len(M), UNITS),
        },
        coords={"sweep": np.arange(1, len(M) + 1)},
    )


def _list(priors: str | Sequence[str]) -> Any:
    return priors if isinstance(priors, str) else list(priors)


def padded(datasets: Sequence[xr.Dataset], dim: str) -> xr.Dataset:
    """Concatenate trials of different length: a converged one stays where it is."""
    import xarray as xr

    length = max(dataset.sizes["sweep"] for dataset in datasets)
    sweeps = np.arange(1, length + 1)
    same = [d.reindex(sweep=sweeps, method="ffill") for d in datasets]
    return xr.concat(same, dim)


def cost_of(
    shape: Sequence[int], priors: str | Sequence[str], noise: float, n_trials: int, n_sweeps: int
) -> Cost:
    """Time two sweeps on a tensor of at most 2 million entries, and scale to all trials."""
    from tractable.study import Cost

    entries = float(np.prod(shape))
    shrink = max(1.0, entries / 2e6) ** (1 / len(shape))
    small = [max(2, round(size / shrink)) for size in shape]
    trial(small, priors, noise, 0, max_iter=1)  # pays for the imports
    started = time.perf_counter()
    trial(small, priors, noise, 0, max_iter=2)
    seconds = (time.perf_counter() - started) / 2 * n_sweeps * entries / float(np.prod(small))
    operations = n_trials * n_sweeps * 4 * entries
    return Cost(operations, 3 * 8 * entries, n_trials * seconds)
