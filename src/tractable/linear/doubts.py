"""What speaks against a prediction of when to stop, in sentences for the user.

Source: the laws of large matrices of Lampinen, Ganguli 2019, arXiv:1809.10374; bounds derived here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tractable.linear.noise import bulk_misfit

if TYPE_CHECKING:
    from tractable.linear.examples import Coordinates
    from tractable.linear.spikes import SpikeResult

__all__ = ["doubts"]

NEAR_EDGE = 1.25  # an SNR below this many thresholds is weakly determined
SMALL = 50  # below it the laws of large matrices are rough


def doubts(
    c: Coordinates,
    size: float,
    rank: int,
    spikes: SpikeResult,
    stability: float,
    init_strength: float,
    n_below: int,
) -> tuple[str, ...]:
    """Return what speaks against a prediction, in sentences; none where nothing does.

    Parameters
    ----------
    c : Coordinates
        The examples.
    size : float
        Standard deviation of the noise in a target.
    rank, spikes
        The signals found.
    stability : float
        Learning rate times the steepest curvature: training is stable below 2.
    init_strength : float
        Initial strength of each mode.
    n_below : int
        Signals whose strength in the map is not above it.
    """
    k, n_out = c.n_directions, c.n_out
    found = []
    if rank == 0:
        found.append("no signal stands out of the noise: do not train, or find more examples")
    if min(k, n_out) < SMALL:
        found.append(
            f"{k} input directions and {n_out} outputs: with fewer than {SMALL} the laws of large "
            f"matrices are rough"
        )
    if k < c.n_in:
        found.append(
            f"the examples span {k} of {c.n_in} input directions: errors are those within their "
            f"span"
        )
    threshold = (n_out / k) ** 0.25
    weak = spikes.s_signal / (size * np.sqrt(k) or 1.0)
    near = int(np.sum(weak < NEAR_EDGE * threshold))
    if size > 0 and near:
        found.append(f"{near} of {rank} signals lie within 25 % of the edge of detection")
    left = min(k, n_out) - rank
    if size > 0 and left >= 10:
        rows, columns = n_out - rank, k - rank
        misfit = bulk_misfit(c.s[rank:], columns, rows, size * np.sqrt(columns))
        if misfit > 0.1:
            found.append(
                f"the rest does not look like noise of equal size: distance {misfit:.2f} from the "
                f"Marchenko-Pastur law"
            )
    if stability > 2:
        found.append(f"learning_rate is {stability / 2:.2g} times the largest stable one")
    elif stability > 0.2:
        found.append(
            f"learning_rate is {stability / 2:.2g} of the largest stable one: steps differ from "
            f"the flow by a few percent"
        )
    if n_below:
        found.append(
            f"init_strength = {init_strength:g} is not below the strength of {n_below} of {rank} "
            f"signals in the map: start smaller, or give targets in a smaller unit"
        )
    return tuple(found)
