"""Numbers of parameters by formula, and widths at which two networks have equally many."""

from __future__ import annotations

from tractable.core.checks import check_choice

STEM = 16
WITHIN = 0.01
N_BLOCKS = 5  # residual convolutions of the feedforward control


def cell_parameters(net: str, c: int, k: int = 9) -> int:
    """Return the parameters of a cell with c channels and filters of k taps, biases included.

    That of the feedforward net is a stack of residual convolutions, each with a norm.

    Examples
    --------
    >>> [cell_parameters(net, 12) for net in ("vanilla", "vanilla+norm", "gru", "lstm", "rgc")]
    [2616, 2640, 7812, 10416, 6540]
    """
    convolution = k * c * c
    counts = {
        "feedforward": N_BLOCKS * (convolution + 3 * c),
        "timedecay": N_BLOCKS * (convolution + 3 * c) + 1,
        "vanilla": 2 * (convolution + c),
        "vanilla+norm": 2 * (convolution + c) + 2 * c,
        "ugrnn": 4 * convolution + 2 * c,
        "gru": 6 * convolution + 3 * c,
        "lstm": 8 * convolution + 4 * c,
        "intersection": 8 * convolution + 4 * c,
        "rgc": 5 * (convolution + c),
    }
    check_choice("net", net, counts)
    return counts[net]


def recall_parameters(net: str, c: int, stem: int = STEM, n_classes: int = 10) -> int:
    """Return the parameters of the network of `recall_spec`: two convolutions, cell, readout.

    Examples
    --------
    >>> recall_parameters("rgc", 12)
    10370
    """
    convolutions = (9 + 1) * stem + 9 * stem * c + c
    return convolutions + cell_parameters(net, c) + 16 * c * n_classes + n_classes


def match_channels(net: str, width: int) -> tuple[int, int]:
    """Return the channels of cell and stem at which a network is as large as the gated one.

    Of all pairs within 1 % the one whose stem is nearest to 16 channels; where there is none, the
    nearest in size.

    Examples
    --------
    >>> [match_channels(net, 12) for net in ("rgc", "vanilla", "gru")]
    [(12, 16), (17, 15), (11, 18)]
    """
    wanted = recall_parameters("rgc", width)

    def off(pair: tuple[int, int]) -> float:
        return abs(recall_parameters(net, *pair) / wanted - 1)

    pairs = [(c, stem) for c in range(1, 2 * width + 2) for stem in range(6, 41)]
    good = [pair for pair in pairs if off(pair) <= WITHIN]
    if not good:
        return min(pairs, key=off)
    return min(good, key=lambda pair: (abs(pair[1] - STEM), off(pair)))


def image_parameters(
    net: str, low: int, high: int, stem: int, colors: int = 3, n_classes: int = 10
) -> int:
    """Return the parameters of the small network of images: stem, two layers, pooled readout.

    Every convolution outside the cells has a norm.
    """
    convolutions = (9 * colors + 3) * stem + (9 * stem + 3) * low + (9 * low + 3) * high
    cells = cell_parameters(net, low) + cell_parameters(net, high)
    return convolutions + cells + (high + 1) * n_classes


def match_image_channels(net: str, width: int, colors: int = 3) -> tuple[int, int, int]:
    """Return channels of the lower cell, the upper cell and the stem at equal parameters.

    The upper cell is twice as wide as the lower one, up to one channel.

    Examples
    --------
    >>> match_image_channels("rgc", 12)
    (12, 24, 16)
    """
    wanted = image_parameters("rgc", width, 2 * width, STEM, colors)

    def off(sizes: tuple[int, int, int]) -> float:
        return abs(image_parameters(net, *sizes, colors) / wanted - 1)

    pairs = [(c, 2 * c + d, s) for c in range(1, 2 * width + 2) for d in (-1, 0, 1)
             for s in range(10, 25)]  # fmt: skip
    good = [sizes for sizes in pairs if off(sizes) <= WITHIN]
    if not good:
        return min(pairs, key=off)
    return min(good, key=lambda s: (abs(s[2] - STEM) + abs(s[1] - 2 * s[0]), off(s)))
