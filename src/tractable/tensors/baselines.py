"""What message passing is compared with: least squares as TensorLy has it, and the spectrum."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from tractable.core.checks import check_choice, check_count
from tractable.tensors.cp import CP, normalized

__all__ = ["als", "hals", "spectral"]

INITS = ("svd", "uniform", "gaussian")


def als(
    Y: Any,
    rank: int,
    *,
    init: str = "svd",
    n_starts: int = 1,
    mask: Any = None,
    max_iter: int = 200,
    tol: float = 1e-7,
    seed: int = 0,
) -> CP:
    """Return the least-squares decomposition of TensorLy (``parafac``), the best of several starts.

    Parameters
    ----------
    Y : array_like, shape (N_1, .., N_p)
    rank : int
    init : "svd", "uniform" or "gaussian"
        Singular vectors of the unfoldings; uniform numbers in (0, 1), which are positive;
        standard normal numbers.
    n_starts : int
        Random starts; the smallest residual wins.
    mask : array of bool, optional
        True where observed.
    max_iter, tol, seed
        As usual.

    Returns
    -------
    CP
        Sorted positive weights, unit-norm factors.

    Raises
    ------
    ImportError
        TensorLy is not installed.
    """
    tensorly = _tensorly()
    check_choice("init", init, INITS)
    check_count("n_starts", n_starts)
    data = _numbers(Y, mask)
    best, least = None, np.inf
    for start in range(1 if init == "svd" else n_starts):
        random = np.random.default_rng([seed, start])
        first: Any = "svd"
        if init != "svd":
            draw = random.uniform if init == "uniform" else random.normal
            factors = [draw(size=(n, rank)).astype(data.dtype) for n in data.shape]
            first = tensorly.cp_tensor.CPTensor((np.ones(rank, data.dtype), factors))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # TensorLy's own, of all kinds
            found, errors = tensorly.decomposition.parafac(
                data, rank, init=first, n_iter_max=max_iter, tol=tol, mask=_mask(mask),
                return_errors=True, random_state=np.random.RandomState(seed),
            )  # fmt: skip
        if errors and float(errors[-1]) < least:
            best, least = found, float(errors[-1])
    if best is None:
        raise ValueError("ALS returned no finite residual from any start")
    weights, factors, _ = normalized(np.asarray(best[0]), [np.asarray(x) for x in best[1]])
    return CP(weights, factors)


def hals(Y: Any, rank: int, *, max_iter: int = 200, tol: float = 1e-7, seed: int = 0) -> CP:
    """Return TensorLy's non-negative decomposition by hierarchical least squares.

    It takes no mask: missing entries have to be filled in.

    Raises
    ------
    ImportError
        TensorLy is not installed.
    """
    tensorly = _tensorly()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = tensorly.decomposition.non_negative_parafac_hals(
            _numbers(Y, None), rank, n_iter_max=max_iter, tol=tol, init="random",
            random_state=np.random.RandomState(seed),
        )  # fmt: skip
    weights, factors, _ = normalized(np.asarray(found[0]), [np.asarray(x) for x in found[1]])
    return CP(weights, factors)


def spectral(Y: Any, rank: int, *, mask: Any = None) -> CP:
    """Return the leading singular vectors of every unfolding, with least-squares weights.

    Parameters
    ----------
    Y : array_like, shape (N_1, .., N_p)
        NaN is missing.
    rank : int
    mask : array of bool, optional
        True where observed.

    Returns
    -------
    CP
        Sorted positive weights, unit-norm factors.

    Notes
    -----
    No unfolding is copied: the Gram matrix of each is summed over slabs. A rank-1 signal is seen
    when the noise is below N^(1 - p/2) in model units, whatever the shape.

    Examples
    --------
    >>> x = np.linspace(0, 1, 30)
    >>> found = spectral(np.einsum("i,j,k->ijk", x, x, x), 1)
    >>> round(float(found.weights[0] / np.linalg.norm(x) ** 3), 6)
    1.0
    """
    import torch

    from tractable.tensors.observations import observe
    from tractable.tensors.starts import spectral_factors

    data = observe(Y, rank, mask=mask)
    factors = spectral_factors(data, rank, data.square_sum / data.n_observed)
    columns = [torch.as_tensor(x) for x in factors]
    projected = data.engine.finish(data.engine.partial(0, columns), 0, columns)
    cross = (projected * columns[0]).sum(0).numpy()
    gram = np.prod([(x.T @ x).numpy() for x in columns], 0)
    weights = np.linalg.lstsq(gram * data.fraction, cross, rcond=None)[0]
    return CP(*normalized(weights, [x.numpy() for x in columns])[:2])


def _numbers(Y: Any, mask: Any) -> np.ndarray:
    array = np.asarray(Y.detach().cpu() if hasattr(Y, "detach") else Y)
    if array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float64)
    missing = ~np.isfinite(array)
    if missing.any() and (mask is None or (missing & np.asarray(mask, bool)).any()):
        raise ValueError(
            f"Y must be finite where it is observed, got {int(missing.sum())} entries NaN or "
            "infinite; give mask= for missing entries"
        )
    return array if mask is None else np.where(np.asarray(mask, bool), array, 0)


def _mask(mask: Any) -> Any:
    return None if mask is None else np.asarray(mask, dtype=bool)


def _tensorly() -> Any:
    try:
        import tensorly
        import tensorly.decomposition
    except ImportError as error:
        raise ImportError(
            "this baseline calls TensorLy, which is not installed: pip install tensorly"
        ) from error
    return tensorly
