"""Noise in a user's matrix: its size, the edge of detection, the fit of the law.

Two conventions, named in every signature: ``"per_entry"``, sigma is the standard deviation of an
entry; ``"sqrt_n_in"``, sigma is that times sqrt(n_in), N1 the number of columns (inputs), the unit
of `tractable.linear.spike_forward`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from tractable.core.checks import check_choice, check_count, check_range
from tractable.linear.arrays import LARGEST, as_float64
from tractable.linear.bulk import bulk_edges, bulk_mass, bulk_quantile

if TYPE_CHECKING:
    from tractable.linear.arrays import Numbers

__all__ = ["Convention", "Edge", "bulk_misfit", "detection_edge", "estimate_noise"]

Floats = NDArray[np.float64]
Convention = Literal["per_entry", "sqrt_n_in"]
Edge = Literal["tw99", "asymptotic"]

TRACY_WIDOM_99 = 2.0234  # 99 % quantile of the Tracy-Widom law for real matrices


def detection_edge(n_in: int, n_out: int, sigma: float = 1.0, *, edge: Edge = "tw99") -> float:
    r"""Return the singular value above which a direction of the data is a signal.

    The largest singular value of pure noise of finite size exceeds it in 1 % of matrices:

    .. math:: y = \sigma \sqrt{\frac{\mu + 2.0234 \, \varsigma}{N_1}}, \qquad
              \mu = (\sqrt{N_1 - 1} + \sqrt{N_3})^2, \qquad
              \varsigma = (\sqrt{N_1 - 1} + \sqrt{N_3}) \Big(
              \frac{1}{\sqrt{N_1 - 1}} + \frac{1}{\sqrt{N_3}} \Big)^{1/3}

    Parameters
    ----------
    n_in, n_out : int, >= 1
        N1 and N3: columns and rows of the data matrix.
    sigma : float, >= 0
        Noise: the entries have the standard deviation sigma / sqrt(n_in).
    edge : str
        ``"tw99"``, or ``"asymptotic"``: the bare edge 1 + sqrt(A) of the limit of large N.

    Returns
    -------
    float
        In the units of sigma.

    References
    ----------
    Johnstone 2001, doi:10.1214/aos/1009210544 (center and scale of the largest singular value).

    Examples
    --------
    >>> round(detection_edge(400, 200), 4), round(detection_edge(400, 200, edge="asymptotic"), 4)
    (1.7307, 1.7071)
    """
    check_count("n_in", n_in)
    check_count("n_out", n_out)
    check_range("sigma", sigma, 0.0, LARGEST)
    check_choice("edge", edge, ("tw99", "asymptotic"))
    if edge == "asymptotic":
        return bulk_edges(n_out / n_in, sigma)[1]
    a, b = np.sqrt(max(n_in - 1, 1)), np.sqrt(n_out)
    mean, scale = (a + b) ** 2, (a + b) * (1 / a + 1 / b) ** (1 / 3)
    return float(sigma * np.sqrt((mean + TRACY_WIDOM_99 * scale) / n_in))


def estimate_noise(
    Y: Numbers,
    *,
    shape: tuple[int, int] | None = None,
    noise: Convention = "per_entry",
    edge: Edge = "tw99",
) -> float:
    r"""Return the size of the noise in a matrix of low rank plus noise.

    The median singular value of what is not a signal, over the median of the Marchenko-Pastur
    law. The detected signals are left out of the median, so they do not bias it.

    Parameters
    ----------
    Y : array, shape (M, N), or its singular values, shape (K,)
        Data matrix; in `tractable.linear`, rows are outputs and columns inputs.
    shape : (int, int), optional
        M and N, needed when Y are singular values.
    noise : str
        ``"per_entry"`` returns the standard deviation of an entry, ``"sqrt_n_in"`` that times
        sqrt(N).
    edge : str
        Which edge separates signals from noise; see `detection_edge`.

    Returns
    -------
    float
        0 for a matrix whose rank is below half of what its shape permits.

    Raises
    ------
    ValueError
        NaN, no shape for singular values, or a matrix with fewer than 2 rows or columns.

    References
    ----------
    Gavish, Donoho 2014, arXiv:1305.5870, section III.E; the signals are left out here.

    Examples
    --------
    >>> random = np.random.default_rng(0)
    >>> round(estimate_noise(0.37 * random.normal(size=(400, 200))), 2)
    0.37
    """
    check_choice("noise", noise, ("per_entry", "sqrt_n_in"))
    s, (n_out, n_in) = singular_values(Y, shape)
    sigma, _ = noise_and_rank(s, n_out, n_in, edge=edge)
    return float(sigma if noise == "per_entry" else sigma * np.sqrt(n_in))


def bulk_misfit(s_noise: Numbers, n_in: int, n_out: int, sigma: float) -> float:
    """Return how far the singular values of noise are from the Marchenko-Pastur law.

    Parameters
    ----------
    s_noise : array, shape (n,)
        Singular values without those of signals.
    n_in, n_out : int
        Columns and rows of the noise matrix.
    sigma : float, > 0
        Noise: the entries have the standard deviation sigma / sqrt(n_in).

    Returns
    -------
    float
        Largest difference of the two cumulative distributions (Kolmogorov, Smirnov), in [0, 1].

    Examples
    --------
    >>> random = np.random.default_rng(0)
    >>> noise = random.normal(size=(100, 200)) / np.sqrt(200)
    >>> bulk_misfit(np.linalg.svd(noise, compute_uv=False), 200, 100, 1.0) < 0.05
    True
    """
    check_count("n_in", n_in)
    check_count("n_out", n_out)
    check_range("sigma", sigma, 0.0, LARGEST, open_low=True)
    s = np.sort(as_float64("s_noise", s_noise, low=0.0))
    if s.size == 0:
        return 0.0
    law = bulk_mass(s / sigma, n_out / n_in)
    steps = np.arange(s.size + 1) / s.size
    return float(max(np.abs(law - steps[1:]).max(), np.abs(law - steps[:-1]).max()))


# --- shared with shrinkage and stopping ----------------------------------------------------------


def singular_values(Y: Numbers, shape: tuple[int, int] | None) -> tuple[Floats, tuple[int, int]]:
    """Return the singular values of a matrix, or those given, descending, and the shape (M, N)."""
    values = as_float64("Y", Y)
    if values.ndim == 2:
        if shape is not None and tuple(shape) != values.shape:
            raise ValueError(f"shape must be that of Y, {values.shape}, or left out, got {shape}")
        check_matrix("Y", values)
        return np.linalg.svd(values, compute_uv=False), (values.shape[0], values.shape[1])
    if values.ndim != 1:
        raise ValueError(f"Y must be a matrix or singular values, got shape {values.shape}")
    if shape is None:
        raise ValueError("shape must be given with singular values: (rows, columns) of the matrix")
    if values.size != min(shape) or np.any(values < 0):
        raise ValueError(
            f"Y must hold all min(shape) = {min(shape)} singular values, >= 0, got "
            f"{values.size} from {values.min():g}"
        )
    return np.sort(values)[::-1], (int(shape[0]), int(shape[1]))


def check_matrix(name: str, value: Floats) -> None:
    """Refuse what is not a matrix of at least 2 rows and columns."""
    if value.ndim != 2 or min(value.shape) < 2:
        raise ValueError(
            f"{name} must be a matrix with at least 2 rows and columns, got shape {value.shape}"
        )


def noise_and_rank(
    s: Floats, n_out: int, n_in: int, *, sigma: float | None = None, edge: Edge = "tw99"
) -> tuple[float, int]:
    """Return the standard deviation of an entry and the number of signals above the edge.

    Without a sigma the two are found in turn: what lies below the edge is the noise of a matrix
    that is smaller by the signals' rank in both directions.
    """
    unit = detection_edge(n_in, n_out, edge=edge) * np.sqrt(n_in)
    floor = s.max(initial=0.0) * 1e-12 * max(n_out, n_in)  # rounding is not a signal
    if sigma is not None:
        return sigma, int(np.sum(s > max(sigma * unit, floor)))
    rank, size = 0, 0.0
    for _ in range(20):
        rows, columns = n_out - rank, n_in - rank
        if min(rows, columns) < 1:
            break
        middle = float(bulk_quantile(0.5, rows / columns)) * np.sqrt(columns)
        size = float(np.median(s[rank:])) / middle
        size = 0.0 if size * unit <= floor else size
        found = min(int(np.sum(s > max(size * unit, floor))), len(s) // 2)
        if found <= rank:
            break
        rank = found
    return size, int(np.sum(s > max(size * unit, floor)))
