"""Starts of deep linear networks: aligned, orthogonal or Gaussian, and what they are worth."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from tractable.core.checks import check_choice, check_range, check_shape
from tractable.linear.arrays import as_float64
from tractable.linear.inputs import check_count, random_numbers

if TYPE_CHECKING:
    from tractable.linear.arrays import Numbers

__all__ = ["balance_error", "draw_weights", "effective_init", "product", "read_weights"]


def effective_init(cov_yx: Numbers, W1: Numbers, W2: Numbers) -> np.ndarray:
    r"""Return the strengths from which a small random two-layer start effectively begins (L16).

    .. math:: x_k = \tfrac12\,(W_1 v_k + W_2^\top u_k), \qquad
        [x_1 \dots x_K] = Q R, \qquad a_{0,k} = R_{kk}^2

    The growing part of mode k is a vector of the hidden layer. Modes that rise earlier use up
    hidden directions, so each mode counts only what is orthogonal to the modes before it.

    Parameters
    ----------
    cov_yx : array, shape (n_out, n_in)
        Correlation of outputs with inputs; its singular vectors are u_k, v_k.
    W1 : array, shape (n_hidden, n_in)
        First layer.
    W2 : array, shape (n_out, n_hidden)
        Second layer.

    Returns
    -------
    a0 : ndarray, shape (K,)
        Strongest mode first; 0 for modes beyond the number of hidden units: never learned.

    Notes
    -----
    For weights much smaller than the square roots of the strengths, and white inputs. With the
    eight things, standard deviation 1e-3 and 64 hidden units, the strengths in time agree with
    gradient descent to 2 % of s.

    References
    ----------
    Own derivation, checked by simulation; setting: Saxe, McClelland, Ganguli 2019,
    arXiv:1810.10531.

    Examples
    --------
    >>> W1 = 0.01 * np.eye(2); W2 = 0.01 * np.eye(2)
    >>> effective_init(np.diag([3.0, 1.0]), W1, W2)
    array([0.0001, 0.0001])
    """
    cov, first, second = (
        as_float64("cov_yx", cov_yx),
        as_float64("W1", W1),
        as_float64("W2", W2),
    )
    check_two_layers(cov, first, second)
    U, _, Vt = np.linalg.svd(cov, full_matrices=False)
    return effective_strengths(U, Vt.T, first, second)


def effective_strengths(U: np.ndarray, V: np.ndarray, W1: np.ndarray, W2: np.ndarray) -> np.ndarray:
    """Return `effective_init` for singular vectors that are at hand."""
    growing = (W1 @ V + W2.T @ U) / 2
    count = min(growing.shape)
    strengths = np.zeros(U.shape[1])
    strengths[:count] = np.diag(np.linalg.qr(growing, mode="r"))[:count] ** 2
    return strengths


def balance_error(weights: Sequence[np.ndarray]) -> float:
    r"""Return how far a start is from balance, relative to its size (L2).

    .. math:: \max_l \|W_{l+1}^\top W_{l+1} - W_l W_l^\top\|_F \,/\, \max_l \|W_l W_l^\top\|_F

    Examples
    --------
    >>> balance_error([np.eye(2), np.eye(2)])
    0.0
    """
    size = max(np.linalg.norm(W @ W.T) for W in weights)
    if len(weights) == 1 or size == 0:
        return 0.0
    pairs = pairwise(weights)
    return float(max(np.linalg.norm(b.T @ b - a @ a.T) for a, b in pairs) / size)


def product(weights: Sequence[np.ndarray]) -> np.ndarray:
    """Return the map W_L ... W_1; leading axes are kept."""
    result = weights[0]
    for W in weights[1:]:
        result = W @ result
    return result


def read_weights(model: Any) -> list[np.ndarray]:
    """Return the matrices of an ``nn.Linear`` or of an ``nn.Sequential`` of them, first to last.

    Raises
    ------
    TypeError
        Another kind of model or layer.
    ValueError
        A layer has a bias.
    """
    from torch import nn

    layers: Any = [model] if isinstance(model, nn.Linear) else model
    if not isinstance(layers, nn.Sequential | list):
        raise TypeError(
            f"model must be an nn.Linear or an nn.Sequential of them, got {type(model).__name__}"
        )
    weights = []
    modules: list[Any] = list(layers)
    for i, layer in enumerate(modules):
        if isinstance(layer, nn.Identity):
            continue
        if not isinstance(layer, nn.Linear):
            raise TypeError(
                f"model[{i}] must be an nn.Linear, got {type(layer).__name__}: the theory holds "
                "for linear networks; for other layers compare with it by simulation"
            )
        if getattr(layer, "bias", None) is not None:
            raise ValueError(
                f"model[{i}] has a bias: use nn.Linear(..., bias=False) and center the data "
                "(center=True), which is what biases learn first"
            )
        # A copy: the model may be trained on.
        weights.append(as_float64(f"model[{i}].weight", layer.weight).copy())
    if not weights:
        raise ValueError("model must have one nn.Linear or more, got none")
    return weights


def draw_weights(
    U: np.ndarray,
    V: np.ndarray,
    init_strength: np.ndarray,
    *,
    depth: int,
    n_hidden: int,
    n_seeds: int,
    init: str = "aligned",
    init_std: float | None = None,
    seed: int = 0,
) -> list[np.ndarray]:
    r"""Draw starts of ``n_seeds`` networks.

    Parameters
    ----------
    U, V : ndarray, shapes (n_out, K), (n_in, K)
        Singular vectors of the task.
    init_strength : ndarray, shape (K,)
        Strength of the product in each mode.
    depth, n_hidden, n_seeds : int
        Weight matrices, width of every hidden layer, networks.
    init : {"aligned", "orthogonal", "gaussian"}
        ``aligned``: balanced in the modes of the task, hidden layers turned at random;
        ``orthogonal``: layers with orthonormal rows or columns, balanced, not aligned;
        ``gaussian``: independent entries.
    init_std : float, optional
        Standard deviation of Gaussian entries; by default such that a mode starts at
        ``init_strength`` on average: n_hidden std^2 / 2 for two layers.
    seed : int
        Decides all draws.

    Returns
    -------
    weights : list of ndarray, shapes (n_seeds, rows, columns)
        First layer first.
    """
    check_choice("init", init, ("aligned", "orthogonal", "gaussian"))
    check_count("n_hidden", n_hidden)
    random = random_numbers("seed", seed)
    n_out, n_in, K = len(U), len(V), len(init_strength)
    sizes = [n_in, *[n_hidden] * (depth - 1), n_out]
    if init == "gaussian":
        if init_std is None:
            init_std = _standard_deviation(float(np.mean(init_strength)), depth, n_hidden)
        check_range("init_std", init_std, 0, open_low=True)
        shapes = list(zip(sizes[1:], sizes[:-1], strict=True))
        return [init_std * random.standard_normal((n_seeds, *shape)) for shape in shapes]
    if init == "orthogonal":
        scale = float(np.mean(init_strength)) ** (1 / depth)
        weights = []
        for rows, columns in zip(sizes[1:], sizes[:-1], strict=True):
            tall = _orthonormal(random, n_seeds, max(rows, columns), min(rows, columns))
            weights.append(scale * (tall if rows >= columns else tall.transpose(0, 2, 1)))
        return weights
    kept = min(K, n_hidden) if depth > 1 else K
    root = np.maximum(init_strength[:kept], 0) ** (1 / depth)
    if depth == 1:
        return [np.repeat(((U * init_strength) @ V.T)[None], n_seeds, 0)]
    turns = [_orthonormal(random, n_seeds, n_hidden, kept) for _ in range(depth - 1)]
    first = turns[0] * root @ V[:, :kept].T
    middle = [b * root @ a.transpose(0, 2, 1) for a, b in pairwise(turns)]
    return [first, *middle, U[:, :kept] * root @ turns[-1].transpose(0, 2, 1)]


def _standard_deviation(strength: float, depth: int, n_hidden: int) -> float:
    """Return the std of entries that gives this mean strength (for two layers exactly)."""
    if depth == 1:
        return strength
    return float(np.sqrt((2 if depth == 2 else 1) * strength ** (2 / depth) / n_hidden))


def _orthonormal(random: np.random.Generator, n: int, rows: int, columns: int) -> np.ndarray:
    """Return n matrices with orthonormal columns, uniformly distributed."""
    q, r = np.linalg.qr(random.standard_normal((n, rows, columns)))
    return q * np.sign(np.diagonal(r, axis1=1, axis2=2))[:, None, :]


def check_two_layers(cov: np.ndarray, W1: np.ndarray, W2: np.ndarray) -> None:
    for name, value in (("cov_yx", cov), ("W1", W1), ("W2", W2)):
        if value.ndim != 2:
            raise ValueError(f"{name} must have two dimensions, got shape {value.shape}")
        if not value.size:
            raise ValueError(f"{name} must not be empty, got shape {value.shape}")
    check_shape("W1", W1.shape, ("n_hidden", cov.shape[1]))
    check_shape("W2", W2.shape, (cov.shape[0], W1.shape[0]))
