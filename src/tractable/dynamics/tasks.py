"""Tasks on which recurrent networks are trained, and a memory network that can be solved."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from tractable.core.checks import check_count, check_range
from tractable.core.seeds import generator
from tractable.dynamics.cells import Cell, as_cell

__all__ = [
    "BlockMemory",
    "block_memory",
    "cube_counts",
    "cued_sine",
    "flip_flop",
    "sine_cues",
]


def flip_flop(
    n: int,
    length: int,
    n_bits: int = 3,
    *,
    p: float = 0.2,
    first_pulse: bool = True,
    seed: int = 0,
) -> tuple[Tensor, Tensor]:
    """Draw inputs and targets of the flip-flop: every output holds its input's last pulse.

    Parameters
    ----------
    n, length, n_bits : int
        Sequences B, steps T, bits b; each >= 1.
    p : float in [0, 1]
        Probability of a pulse (+1 or -1 alike) per bit and step.
    first_pulse : bool
        A pulse on every bit at the first step. Without it the memory is open until the first
        pulse: the states of such runs pass near the saddles.
    seed : int
        Decides everything.

    Returns
    -------
    inputs, targets : Tensor (B, T, b)
        Float32; a target is 0 before the first pulse.

    References
    ----------
    Sussillo and Barak 2013, doi:10.1162/NECO_a_00409, section 3.

    Examples
    --------
    >>> x, y = flip_flop(1, 6, 1, p=0.3, seed=1)
    >>> x[0, :, 0].tolist(), y[0, :, 0].tolist()
    ([1.0, 0.0, 0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    """
    for name, value in (("n", n), ("length", length), ("n_bits", n_bits)):
        check_range(name, value, 1)
    check_range("p", p, 0.0, 1.0)
    random = generator(seed)
    shape = (n, length, n_bits)
    sign = torch.randint(0, 2, shape, generator=random) * 2.0 - 1.0
    pulse = torch.rand(shape, generator=random) < p
    if first_pulse:
        pulse[:, 0] = True
    inputs = torch.where(pulse, sign, 0.0)
    steps = torch.arange(length)[None, :, None].expand(shape)
    last = torch.where(pulse, steps, -1).cummax(dim=1).values
    held = inputs.gather(1, last.clamp(min=0))
    return inputs, torch.where(last >= 0, held, 0.0)


def cued_sine(
    n: int,
    length: int,
    frequencies: tuple[float, ...] = (0.04, 0.06, 0.08, 0.10, 0.12),
    *,
    seed: int = 0,
) -> tuple[Tensor, Tensor]:
    r"""Draw the sine whose frequency a constant input names: :math:`y_t = \sin(2 \pi f_k (t + 1))`.

    The input is the cue of the frequency, from 0.25 for the first to 1 for the last, at all steps.
    At each cue a network that solves it has a fixed point with an unstable or slow pair of modes
    that turn by about the frequency.

    Parameters
    ----------
    n, length : int
        Sequences B, steps T; each >= 1.
    frequencies : tuple of float, (0, 0.5)
        :math:`f_k` in cycles per step.
    seed : int
        Decides which sequence has which frequency.

    Returns
    -------
    inputs, targets : Tensor (B, T, 1)
        Float32.

    References
    ----------
    Sussillo and Barak 2013, doi:10.1162/NECO_a_00409, section 4; Maheswaranathan, Williams, Golub,
    Ganguli, Sussillo 2019, arXiv:1907.08549.

    Examples
    --------
    >>> x, y = cued_sine(1, 4, (0.25,))
    >>> x[0, :, 0].tolist(), y[0, :, 0].round().abs().tolist()
    ([1.0, 1.0, 1.0, 1.0], [1.0, 0.0, 1.0, 0.0])
    """
    check_count("n", n)
    check_count("length", length)
    if not frequencies:
        raise ValueError("frequencies must name at least one, got ()")
    for frequency in frequencies:
        check_range("frequencies", frequency, 0.0, 0.5, open_low=True, open_high=True)
    chosen = torch.randint(0, len(frequencies), (n,), generator=generator(seed))
    cue, turns = sine_cues(len(frequencies))[chosen], torch.tensor(frequencies)[chosen]
    t = torch.arange(1, length + 1)
    target = torch.sin(2 * math.pi * turns[:, None] * t)
    return cue[:, None, None].expand(-1, length, 1), target[:, :, None]


def sine_cues(n_frequencies: int) -> Tensor:
    """Return the inputs that name the frequencies of `cued_sine`, evenly from 0.25 to 1.

    Examples
    --------
    >>> sine_cues(4).tolist(), sine_cues(1).tolist()
    ([0.25, 0.5, 0.75, 1.0], [1.0])
    """
    check_count("n_frequencies", n_frequencies)
    return torch.linspace(0.25 if n_frequencies > 1 else 1.0, 1.0, n_frequencies)


class BlockMemory(NamedTuple):
    """A network whose fixed points are known: see `block_memory`."""

    cell: Cell
    """The map."""
    decoder: Tensor
    """(b, N): overlap of a state with the pattern of each bit, +-kappa at the memories."""
    kappa: Tensor
    """(b,): overlap of the stored patterns."""
    starts: Tensor
    """(n, N): states over the whole cube of overlaps."""


def block_memory(
    sizes: tuple[int, ...] = (7, 12, 21),
    gains: tuple[float, ...] = (2.0, 1.5, 2.5),
    *,
    n_starts: int = 1024,
    rotate: bool = True,
    seed: int = 0,
) -> BlockMemory:
    r"""Return a network of independent bits with :math:`3^b` fixed points, in rotated coordinates.

    .. math:: F(h) = Q \tanh\Big( \sum_k \frac{g_k}{N_k} s_k s_k^T\, Q^T h \Big)

    Bit k is a block of :math:`N_k` units with a pattern :math:`s_k`, the network of (D26). The
    three fixed points of each bit combine freely: :math:`\binom{b}{k} 2^{b-k}` points have k
    unstable dimensions, equation (D33).

    Parameters
    ----------
    sizes, gains : tuples of b numbers
        :math:`N_k >= 1` and :math:`g_k > 1`.
    n_starts : int, >= 1
        Starts spread evenly over overlaps in [-1.2, 1.2].
    rotate : bool
        Q is a random rotation; False: the identity.
    seed : int
        Decides patterns, rotation and starts.

    Returns
    -------
    BlockMemory
        The cell, with its Jacobian in closed form and its invariant box.

    References
    ----------
    Sussillo and Barak 2013, doi:10.1162/NECO_a_00409.

    Examples
    --------
    >>> from tractable.dynamics import find_points
    >>> memory = block_memory((4, 6), (2.0, 2.0), n_starts=256)
    >>> points = find_points(memory.cell, memory.starts)
    >>> len(points), points.index_sum
    (9, 1)
    """
    if len(sizes) != len(gains) or not sizes:
        raise ValueError(
            f"sizes and gains must have one number for each bit, got {len(sizes)} and {len(gains)}"
        )
    for size, gain in zip(sizes, gains, strict=True):
        check_range("sizes", size, 1)
        check_range("gains", gain, 1.0, open_low=True)
    check_count("n_starts", n_starts)
    random = generator(seed)
    n, bits = sum(sizes), len(sizes)
    pattern, W = torch.zeros(bits, n, dtype=torch.float64), torch.zeros(n, n, dtype=torch.float64)
    first = 0
    for k, (size, gain) in enumerate(zip(sizes, gains, strict=True)):
        part = slice(first, first + size)
        pattern[k, part] = torch.randint(0, 2, (size,), generator=random).double() * 2 - 1
        W[part, part] = gain / size * torch.outer(pattern[k, part], pattern[k, part])
        first += size
    Q = torch.eye(n, dtype=torch.float64)
    if rotate:
        Q = torch.linalg.qr(torch.randn(n, n, generator=random, dtype=torch.float64))[0]
    half = Q.abs().sum(1)  # F maps all states into Q [-1, 1]^N, which this box contains
    V, Qt = W @ Q.T, Q.T.contiguous()

    def step(h: Tensor, x: Tensor) -> Tensor:
        return torch.tanh(h @ V.T.to(h)) @ Qt.to(h)

    def jacobians(h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        slope = 1 - torch.tanh(h @ V.T.to(h)).square()
        return Qt.T.to(h) @ (slope[:, :, None] * V.to(h)), h.new_zeros(len(h), n, 1)

    cell = as_cell(step, n_state=n, n_input=1, bounds=(-half, half), jacobians=jacobians)
    overlap = torch.rand(n_starts, bits, generator=random, dtype=torch.float64) * 2.4 - 1.2
    noise = 0.1 * torch.randn(n_starts, n, generator=random, dtype=torch.float64)
    decoder = (pattern / torch.tensor(sizes, dtype=torch.float64)[:, None]) @ Q.T
    kappa = torch.tensor([_overlap(gain) for gain in gains], dtype=torch.float64)
    return BlockMemory(cell, decoder, kappa, overlap @ pattern @ Q.T + noise)


def cube_counts(n_bits: int) -> list[int]:
    """Return how many fixed points of an ideal memory of b bits have k = 0 .. b unstable modes.

    The faces of a cube, equation (D33): corners are memories, edges saddles between two of them.

    Examples
    --------
    >>> cube_counts(3)
    [8, 12, 6, 1]
    """
    check_count("n_bits", n_bits)
    return [math.comb(n_bits, k) * 2 ** (n_bits - k) for k in range(n_bits + 1)]


def _overlap(gain: float) -> float:
    """Return the positive solution of kappa = tanh(g kappa) for g > 1."""
    kappa = 1.0
    for _ in range(200):
        slope = gain * (1 - math.tanh(gain * kappa) ** 2) - 1
        kappa -= (math.tanh(gain * kappa) - kappa) / slope
    return kappa
