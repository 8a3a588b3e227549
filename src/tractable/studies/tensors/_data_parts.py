"""Drawn and fitted tensors, for the studies that compare message passing on data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["ONE", "compared", "fitted", "scored", "specialized", "with_missing"]

ONE = {"units": "1"}
METHODS = ("AMP", "ALS, SVD start", "ALS, best of uniform", "ALS, best of Gaussian")


def fitted(*arguments: Any, **settings: Any) -> Any:
    """Return `amp` without progress; an interruption goes on as one, so that nothing is cached."""
    from tractable.core.checks import quiet
    from tractable.tensors import amp

    with quiet():  # what has not converged is seen in the results
        fit = amp(*arguments, progress=False, **settings)
    if fit.status == "interrupted":
        raise KeyboardInterrupt
    return fit


def scored(cp: Any, sample: Any) -> tuple[float, float]:
    """Return mean cosine over modes and relative tensor error of a rank-1 estimate."""
    from tractable.tensors import relative_error
    from tractable.tensors.cp import as_cp, cp_tensor

    weights, factors = as_cp(cp)
    cosines = [
        abs(float(x[:, 0] @ t[:, 0].numpy()))
        / max(float(np.linalg.norm(x) * np.linalg.norm(t.numpy())), 1e-300)
        for x, t in zip(factors, sample.factors, strict=True)
    ]
    return float(np.mean(cosines)), relative_error(cp_tensor(weights, factors), sample.W)


def compared(
    shape: Sequence[int], mean: float, noise: float, seed: int, n_starts: int, max_iter: int
) -> xr.Dataset:
    """Decompose one draw by message passing and by alternating least squares."""
    import time

    import torch
    import xarray as xr

    from tractable.tensors import Gaussian, SpikedTensor
    from tractable.tensors.baselines import als

    model = SpikedTensor(tuple(shape), priors=Gaussian(mean), noise=noise)
    sample = model.sample(seed, moment_matched=True, dtype=torch.float32)

    def ours() -> Any:
        return fitted(
            sample.Y, 1, priors=Gaussian(mean), noise=noise, units="model", seed=seed
        ).to_cp()

    def theirs(init: str) -> Any:
        return als(
            sample.Y, 1, init=init, n_starts=n_starts, seed=seed, max_iter=max_iter, tol=1e-6
        )

    rows = []
    for method in (ours, *(lambda i=i: theirs(i) for i in ("svd", "uniform", "gaussian"))):
        started = time.process_time()
        cp = method()
        rows.append((*scored(cp, sample), time.process_time() - started))
    cosine, error, _ = (np.array(column) for column in zip(*rows, strict=True))
    return xr.Dataset(
        {"cosine": ("algorithm", cosine, ONE), "error": ("algorithm", error, ONE)},
        coords={"algorithm": list(METHODS)},
    )


def specialized(size: int, rank: int, mean: float, noise: float, seed: int) -> xr.Dataset:
    """Fit one draw of several components from a perturbed and from the symmetric start."""
    import torch
    import xarray as xr

    from tractable.tensors import (
        Gaussian,
        SpikedTensor,
        factor_match_score,
        overlap,
        permutation_align,
    )

    model = SpikedTensor((size,) * 3, rank, Gaussian(mean), noise)
    sample = model.sample(seed, moment_matched=True, dtype=torch.float64)
    settings = {"priors": Gaussian(mean), "noise": noise, "units": "model", "seed": seed}
    fit = fitted(sample.Y, rank, init="prior", **settings)
    # Rounding grows where the symmetric state is unstable, so this is seen in its first sweeps.
    symmetric = fitted(sample.Y, rank, init="prior", init_scale=0.0, max_iter=3, **settings)
    gap = max(float(np.ptp(x, axis=1).max()) for x in symmetric.factors)
    order, _ = permutation_align(sample.factors, fit)
    M = np.mean(
        [overlap(t, x[:, order]) for t, x in zip(sample.factors, fit.factors, strict=True)], 0
    )
    return xr.Dataset(
        {
            "score": ((), factor_match_score(sample.factors, fit), ONE),
            "symmetric_gap": ((), gap, ONE),
            "symmetric_score": ((), factor_match_score(sample.factors, symmetric), ONE),
            "own_overlap": ((), float(np.diag(M).mean()), ONE),
            "other_overlap": ((), float((M.sum() - np.trace(M)) / (rank * (rank - 1))), ONE),
            "n_sweeps": ((), float(fit.n_iter), ONE),
        }
    )


def with_missing(
    size: int, mean: float, ratio: float, fraction: float, structured: bool, seed: int
) -> xr.Dataset:
    """Fit one draw of which a fraction is observed, at noise ratio times that fraction.

    ``structured``: in half of the first mode a third of the third mode is missing altogether; the
    fit then is repeated with A the same for all rows.
    """
    import torch
    import xarray as xr

    from tractable.tensors import Gaussian, SpikedTensor, overlap, relative_error

    noise = ratio * fraction
    model = SpikedTensor((size,) * 3, priors=Gaussian(mean), noise=noise)
    sample = model.sample(seed, moment_matched=True, dtype=torch.float32)
    random = np.random.default_rng([seed, 7])
    mask = np.ones(sample.Y.shape, bool)
    if structured:
        rows = random.permutation(size)[: size // 2]
        for row in rows:
            mask[row][:, random.permutation(size)[: size // 3]] = False
    elif fraction < 1:
        mask = random.random(mask.shape) < fraction
    settings = {"priors": Gaussian(mean), "noise": noise, "units": "model", "seed": seed}
    fit = fitted(sample.Y, 1, mask=mask, **settings)
    M = [float(overlap(t, x)[0, 0]) for t, x in zip(sample.factors, fit.factors, strict=True)]
    error = relative_error(fit.reconstruct(), sample.W)
    same = error
    if structured:
        plain = fitted(sample.Y, 1, mask=mask, row_wise=False, **settings)
        same = relative_error(plain.reconstruct(), sample.W)
    return xr.Dataset(
        {
            "overlap": ("mode", np.array(M), ONE),
            "error": ((), error, ONE),
            "error_homogeneous": ((), same, ONE),
            "predicted_error": ((), fit.predicted_error, ONE),
        }
    )
