"""Expectations over the effective channel of one row: u = A x + A^(1/2) z.

In the limit of large tensors every row of a factor is seen through Gaussian noise, and message
passing denoises it. Under the true prior the density of the whitened field v = A^(-1/2) u is
N(v) Z(A, A^(1/2) v), so that Z and its derivatives are all that is needed: no sampling of x.
"""

from __future__ import annotations

import functools

import numpy as np
import torch

from tractable.core.checks import as_floats, check_finite
from tractable.core.seeds import generator
from tractable.tensors.priors import Custom, Discrete, Gaussian, Prior

__all__ = ["expected_log_z", "matched_overlap", "mismatched_overlap", "scalar_channel"]

STEP = 0.1  # of the whitened field; its features have width 1 or, between atoms, 1 / sqrt(A)
COARSE = 0.5  # to find the bulk, and where A is large
DEEP = 42.0  # log units below the maximum that are kept
FAR = 45.0  # standard deviations of x that are looked at
LARGE = 100.0
BLOCK = 200_000
NODES = 600  # of a density of one's own
SEED = 20181010  # of the common random numbers, the same in every call

Array = np.ndarray


def matched_overlap(prior: Prior, A: Array, *, n_samples: int = 20_000) -> tuple[Array, Array]:
    """Return M(A) = E[f f^T] = rho - E[cov] under the true prior, (T18), and its standard error.

    Exact for a `Gaussian` of any rank; by quadrature at rank 1 (standard error 0); by common random
    numbers beyond.

    Parameters
    ----------
    prior : Prior
        True and assumed.
    A : (r, r) array
        Symmetric, positive semi-definite.
    n_samples : int
        Common random numbers, where they are used.

    Returns
    -------
    M, standard_error : (r, r) arrays

    Examples
    --------
    >>> M, _ = matched_overlap(Gaussian(0.5), np.array([[1.0]]))
    >>> M.item()
    0.75
    """
    A = _square("A", A)
    r = len(A)
    if isinstance(prior, Gaussian) and r == 1:
        mean, var = prior.scalars()
        return mean**2 + var - var / (1 + var * A), np.zeros((1, 1))
    if isinstance(prior, Gaussian):
        m, S = (value.numpy() for value in prior.parameters(r))
        return np.outer(m, m) + S - _posterior_cov(S, A), np.zeros((r, r))
    if r == 1:
        return scalar_channel(prior, A[0])[0].reshape(1, 1), np.zeros((1, 1))
    x, noise = _common_numbers(prior, r, n_samples)
    u = x @ A + noise @ _root(A)
    _, cov = prior.mean_cov(torch.as_tensor(A), torch.as_tensor(u))
    second = prior.moments(r)[1].numpy()
    values = cov.numpy()
    return second - values.mean(0), values.std(0) / np.sqrt(len(u))


def mismatched_overlap(
    prior: Prior,
    true_prior: Prior,
    signal: Array,
    noise_cov: Array,
    A: Array,
    *,
    n_samples: int = 20_000,
) -> tuple[Array, Array, Array]:
    """Return M = E[f x^T], Q = E[f f^T] and V = E[cov] for u = signal x + noise_cov^(1/2) z, (T17).

    ``prior`` and ``A`` are what the denoiser f(A, u) assumes; x is drawn from ``true_prior``.

    Parameters
    ----------
    prior, true_prior : Prior
    signal, noise_cov, A : (r, r) arrays
        ``noise_cov`` and ``A`` symmetric, positive semi-definite.
    n_samples : int
        Common random numbers, where they are used: at rank > 1, unless both priors are Gaussian.

    Returns
    -------
    M, Q, V : (r, r) arrays

    Examples
    --------
    >>> A = np.array([[1.0]])
    >>> M, Q, _ = mismatched_overlap(Gaussian(0.5), Gaussian(0.5), A, A, A)
    >>> M.item(), Q.item()
    (0.75, 0.75)
    """
    signal, noise_cov, A = (
        _square("signal", signal),
        _square("noise_cov", noise_cov),
        _square("A", A),
    )
    r = len(A)
    if isinstance(prior, Gaussian) and isinstance(true_prior, Gaussian):
        m, S = (value.numpy() for value in prior.parameters(r))
        m0, S0 = (value.numpy() for value in true_prior.parameters(r))
        C = _posterior_cov(S, A)
        mean = m + C @ (signal @ m0 - A @ m)
        spread = C @ (signal @ S0 @ signal.T + noise_cov) @ C
        return np.outer(mean, m0) + C @ signal @ S0, np.outer(mean, mean) + spread, C
    if r == 1 and noise_cov[0, 0] > 0:
        return _scalar_mismatched(prior, true_prior, signal[0, 0], noise_cov[0, 0], A[0, 0])
    x, z = _common_numbers(true_prior, r, n_samples)
    u = x @ signal.T + z @ _root(noise_cov)
    f, cov = (v.numpy() for v in prior.mean_cov(torch.as_tensor(A), torch.as_tensor(u)))
    return f.T @ x / len(x), f.T @ f / len(x), cov.mean(0)


def expected_log_z(prior: Prior, A: Array, *, n_samples: int = 20_000) -> float:
    """Return E log Z(A, u) under the true prior: the mutual information of the row, (T20).

    Its derivative by A is M / 2.

    Examples
    --------
    >>> round(expected_log_z(Gaussian(0.0), np.array([[1.0]])), 6)
    0.153426
    """
    A = _square("A", A)
    r = len(A)
    if isinstance(prior, Gaussian):
        m, S = (value.numpy() for value in prior.parameters(r))
        second = np.outer(m, m) + S
        _, log_det = np.linalg.slogdet(np.eye(r) + S @ A)
        return float(np.trace(A @ second) - log_det) / 2
    if r == 1:
        return float(scalar_channel(prior, A[0])[2][0])
    x, noise = _common_numbers(prior, r, n_samples)
    u = x @ A + noise @ _root(A)
    return float(prior.log_z(torch.as_tensor(A), torch.as_tensor(u)).mean())


def scalar_channel(prior: Prior, A: Array) -> tuple[Array, Array, Array]:
    """Return M(A) = E[f^2], its derivative E[cov^2], and E log Z at rank 1, for many A.

    Parameters
    ----------
    prior : Prior
    A : (K,) array
        >= 0.

    Returns
    -------
    M, dM_dA, log_z : (K,) arrays

    Examples
    --------
    >>> M, slope, log_z = scalar_channel(Gaussian(0.5), np.array([1.0]))
    >>> M.item(), slope.item(), round(log_z.item(), 6)
    (0.75, 0.25, 0.278426)
    """
    A = np.asarray(A, float)
    if isinstance(prior, Gaussian):
        mean, cov = (float(value) for value in prior.parameters(1))
        C = cov / (1 + cov * A)
        return mean**2 + cov - C, C**2, (A * (mean**2 + cov) - np.log1p(cov * A)) / 2
    if isinstance(prior, Custom):  # as atoms, dense enough for every A that is of interest
        x, p = prior.nodes(NODES)
        keep = p > 0
        prior = Discrete(x[keep].numpy(), p[keep].numpy())
    out = np.empty((3, len(A)))
    for rows in _similar(A):
        _, weight, log_z, f, spread = _whitened(prior, A[rows])
        out[0, rows] = (weight * f**2).sum(1)
        out[1, rows] = (weight * spread**2).sum(1)
        out[2, rows] = (weight * log_z).sum(1)
    return out[0], out[1], out[2]


# --- rank 1 by quadrature --------------------------------------------------------------------


def _similar(A: Array) -> list[Array]:
    """Return indices in groups that share a grid size: A within a factor of 2, blocks of memory."""
    group = np.floor(np.log2(np.maximum(A, 0.25))).astype(int)
    groups = []
    for value in np.unique(group):
        rows = np.flatnonzero(group == value)
        size = 20 + 2 * FAR * np.sqrt(A[rows].max())
        blocks = int(np.ceil(len(rows) * size / COARSE / BLOCK))
        groups += np.array_split(rows, min(blocks, len(rows)))
    return groups


def _whitened(prior: Prior, A: Array) -> tuple[Array, Array, Array, Array, Array]:
    """Return v, its weights, and log Z, f and cov there, each (K, n), for A (K,)."""
    root = np.sqrt(A)[:, None]
    first, second = (float(value) for value in prior.moments(1))
    std = np.sqrt(max(second - first**2, 0.0))

    def log_density(v: Array) -> tuple[Array, Array, torch.Tensor, torch.Tensor]:
        a, u = torch.as_tensor(A)[:, None, None], torch.as_tensor(root * v).unsqueeze(-1)
        log_z = prior.log_z(a, u).numpy()
        return log_z - v**2 / 2 - np.log(2 * np.pi) / 2, log_z, a, u

    reach = 9 + root * FAR * std
    step = max(COARSE, float(root.max()) * std / 20)
    coarse = _grid(root * first - reach, root * first + reach, step)
    density = log_density(coarse)[0]
    inside = density > density.max(1, keepdims=True) - DEEP
    low = np.take_along_axis(coarse, inside.argmax(1)[:, None], 1) - step
    last = inside.shape[1] - 1 - inside[:, ::-1].argmax(1)
    high = np.take_along_axis(coarse, last[:, None], 1) + step
    v = _grid(low, high, STEP if A.max() < LARGE else COARSE / 2)
    density, log_z, a, u = log_density(v)
    f, cov = prior.mean_cov(a, u)
    weight = np.exp(density) * (v[:, 1:2] - v[:, :1])
    return v, weight, log_z, f[..., 0].numpy(), cov[..., 0, 0].numpy()


def _grid(low: Array, high: Array, step: float) -> Array:
    n = int(np.ceil((high - low).max() / step)) + 1
    return low + (high - low) * np.linspace(0, 1, n)


def _scalar_mismatched(
    prior: Prior, true_prior: Prior, signal: float, noise: float, A: float
) -> tuple[Array, Array, Array]:
    """Return M, Q, V at rank 1: u has the true channel of precision signal^2 / noise."""
    precision = np.array([signal**2 / noise])
    v, weight, _, x, _ = _whitened(true_prior, precision)
    # v is the whitened field of the channel precision x + sqrt(precision) z; u = sqrt(noise) v.
    u = torch.as_tensor(np.sqrt(noise) * np.sign(signal or 1.0) * v).unsqueeze(-1)
    f, cov = prior.mean_cov(torch.full((1, 1, 1), A, dtype=torch.float64), u)
    values = f[..., 0].numpy()
    parts = (
        (weight * y).sum().reshape(1, 1) for y in (values * x, values**2, cov[..., 0, 0].numpy())
    )
    M, Q, V = parts
    return M, Q, V


# --- matrices --------------------------------------------------------------------------------


def _posterior_cov(S: Array, A: Array) -> Array:
    """Return (A + S^-1)^-1, also of a singular S."""
    root = _root(S)
    return root @ np.linalg.solve(np.eye(len(S)) + root @ A @ root, root)


def _root(A: Array) -> Array:
    values, vectors = np.linalg.eigh((A + A.T) / 2)
    return (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T


def _square(name: str, A: Array) -> Array:
    A = as_floats(name, A)
    if A.ndim != 2 or A.shape[0] != A.shape[1]:
        raise ValueError(f"{name} must have shape (r, r), got {A.shape}")
    check_finite(name, A)
    return A


def _common_numbers(prior: Prior, rank: int, n_samples: int) -> tuple[Array, Array]:
    if n_samples < 100:
        raise ValueError(f"n_samples must be >= 100, got {n_samples}")
    return _drawn(prior, rank, n_samples)  # type: ignore[arg-type]  # frozen priors hash


@functools.lru_cache(maxsize=16)
def _drawn(prior: Prior, rank: int, n_samples: int) -> tuple[Array, Array]:
    """Return x and z; z comes with its negative, so that odd errors cancel."""
    random = generator(SEED)
    half = prior.sample(n_samples // 2, rank, generator=random, matched=True).numpy()
    z = torch.randn(n_samples // 2, rank, generator=random, dtype=torch.float64).numpy()
    return np.concatenate([half, half]), np.concatenate([z, -z])
