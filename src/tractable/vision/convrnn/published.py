"""The published architectures as graphs, and the published accuracies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from tractable.core.checks import check_choice, check_count
from tractable.vision.convrnn.cells import cell_names
from tractable.vision.convrnn.spec import ConvRNNSpec, Node

__all__ = ["MEDIAN_CELL", "ZOO", "published"]

FEEDBACK = (("conv8", "conv5"), ("conv9", "conv6"), ("conv10", "conv7"), ("conv7", "conv6"),
            ("conv10", "conv9"))  # fmt: skip
MEDIAN_CELL: Mapping[str, Any] = {
    "separable": True,
    "tau_kernel": 7,
    "gate_kernel": 7,
    "tau_nonlinearity": "sigmoid",
    "tau_offset": 0.9219,
    "tau_bias": 4.147,
    "gate_nonlinearity": "tanh",
    "gate_offset": 0.7007,
    "gate_bias": 2.777,
    "kernel": 3,
    "input_to_cell": True,
    "input_to_out": True,
    "out_residual": True,
}
"""Options of the searched cell of median accuracy; it needs its residual and norm, for at the start
it keeps 1 % and lets 0.5 % in."""

ZOO: tuple[tuple[str, str, float, float], ...] = (
    ("shallow", "timedecay", 50.06, 72.97),
    ("shallow", "vanilla", 61.11, 83.15),
    ("shallow", "gru", 62.16, 84.02),
    ("shallow", "lstm", 63.43, 84.89),
    ("shallow", "intersection", 65.42, 86.02),
    ("shallow", "ugrnn", 60.82, 83.23),
    ("shallow", "rgc", 66.97, 87.02),
    ("intermediate", "timedecay", 67.52, 87.80),
    ("intermediate", "vanilla", 70.47, 89.48),
    ("intermediate", "gru", 69.81, 89.25),
    ("intermediate", "lstm", 69.57, 89.18),
    ("intermediate", "intersection", 68.98, 88.67),
    ("intermediate", "ugrnn", 69.78, 89.21),
    ("intermediate", "rgc", 73.0, 91.16),
)
"""Architecture, cell, top-1 and top-5 accuracy on ImageNet, per cent, of the released models."""


def published(
    architecture: Literal["intermediate", "shallow", "first"] = "intermediate",
    cell: str | None = "rgc",
    *,
    feedback: bool | None = None,
    median: bool = False,
    n_classes: int = 1000,
) -> ConvRNNSpec:
    """Return a published architecture, for images of 224 pixels (the first: of 128).

    Parameters
    ----------
    architecture : str
        ``intermediate`` (10 convolutions, cells from the fourth on), ``shallow`` (5, cells from
        the third on, then 2 x 2 filters whose means are the logits), or ``first`` (the first five
        layers that were published: batch norm and pools of 3 x 3, cells from the third on; its
        channels are not known here and are those of ``shallow``).
    cell : str, optional
        Of its recurrent layers; None: feedforward.
    feedback : bool, optional
        The five long-range edges of the released model; default: with the reciprocal-gated cell of
        the intermediate one.
    median : bool
        The searched options of that cell.
    n_classes : int
        Logits.

    References
    ----------
    Nayebi et al. 2018, arXiv:1807.00053.

    Examples
    --------
    >>> spec = published("shallow", "gru")
    >>> [node.cell for node in spec.nodes]
    [None, None, 'gru', 'gru', 'gru', None]
    """
    check_choice("architecture", architecture, ("intermediate", "shallow", "first"))
    check_choice("cell", cell, (None, *cell_names()))
    check_count("n_classes", n_classes)
    wide = architecture == "intermediate"
    gated = cell == "rgc" and wide
    feedback = gated if feedback is None else feedback
    if feedback and not wide:
        raise ValueError("feedback is of the intermediate architecture")
    if median and cell != "rgc":
        raise ValueError("median is for the reciprocal-gated cell, 'rgc'")
    options: dict[str, Any] = dict(MEDIAN_CELL) if median else {}
    in_blocks = wide and cell not in (None, "rgc")
    channels: tuple[int, ...] = (64, 128, 256, 256, 512)
    if wide:
        channels = (64, 128, 128, 128, 128, 256, 256, 256, 512, 512)
    if in_blocks:
        channels = (64, 64, 64, 128, 128, 256, 256, 512, 512, 512)
    pooled = (1, 4, 6, 7, 10) if wide else (1, 2, 3, 4, 5)
    first_cell = 4 if wide else 3
    nodes = []
    for i, width in enumerate(channels, 1):
        here = cell if i >= first_cell else None
        nodes.append(
            Node(
                f"conv{i}",
                width,
                7 if i == 1 else 3,
                stride=2 if i == 1 else 1,
                pool=2 if i in pooled else 1,
                pool_kernel=3 if architecture == "first" else 0,
                norm="batch" if architecture == "first" else "group",
                cell=here,
                cell_args=options if here else {},
                # The other cells of the deeper net stand in blocks: cell, convolution, residual.
                post_kernel=3 if in_blocks and here else 0,
                res=bool(in_blocks and here),
            )
        )
    if wide or architecture == "first":
        spec = ConvRNNSpec.chain(nodes, n_classes=n_classes, readout="pool")
    else:
        last = Node("conv6", n_classes, 2, padding="valid", activation="identity")
        spec = ConvRNNSpec.chain([*nodes, last], n_classes=n_classes, readout="mean")
    for src, dst in FEEDBACK if feedback else ():
        into = spec.node(dst).cell == "rgc"
        spec.feedback(src, dst, entry="out" if into else "input")
    return spec
