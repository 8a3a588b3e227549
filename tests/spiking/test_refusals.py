"""What passed unseen once: each is refused, and the argument is named."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from tractable.spiking import (
    BPTT,
    Heterosynaptic,
    LIFLayer,
    Random,
    RMaxProp,
    SpikeEvents,
    SpikingNet,
    SuperSpike,
    Symmetric,
    VanRossum,
    XorTask,
    from_image,
    learn,
    poisson_frozen,
    rate,
)

NET = SpikingNet.of_sizes(3, 2)
LOOP = SpikingNet.of_sizes(3, 4, 2, recurrent=True)
BY_ERROR = Heterosynaptic(error_dependent=True)
X, Y = torch.zeros(50, 1, 3), torch.zeros(50, 1, 2)
EVENTS = np.array([(1000, 3)], dtype=[("t", int), ("x", int)])


def taught(**settings: object) -> object:
    rule = SuperSpike(NET)
    optimizer = RMaxProp(NET.parameters())
    return learn(rule, lambda k: (X, Y), 2, optimizer, progress=False, **settings)


CALLS: list[tuple[str, Callable[[], object]]] = [
    ("target", lambda: SuperSpike(NET).window(X, Y + 0.5)),
    ("target", lambda: SuperSpike(NET).window(X, Y + 2)),
    ("loss", lambda: SuperSpike(NET, loss="mse")),
    ("loss", lambda: SuperSpike(NET, loss=VanRossum)),
    ("feedback", lambda: SuperSpike(NET, feedback=Symmetric)),
    ("params", lambda: LIFLayer(3, 2, 5.0)),
    ("w0", lambda: LIFLayer(3, 2, w0=math.inf)),
    ("t_update", lambda: SuperSpike(NET, t_update=math.inf)),
    ("tau_rise", lambda: SuperSpike(NET, tau_rise=math.inf)),
    ("lr", lambda: RMaxProp(NET.parameters(), lr=math.inf)),
    ("bounds", lambda: taught(bounds=(1.0, 0.0))),
    ("schedule", lambda: taught(schedule=lambda k: math.nan)),
    ("units", lambda: SpikeEvents([1.0], [0.5], 2, 10.0)),
    ("units", lambda: SpikeEvents([1.0], [math.nan], 2, 10.0)),
    ("duration_ms", lambda: SpikeEvents([1.0], [0], 2, math.inf)),
    ("spikes", lambda: SpikeEvents.from_raster(torch.full((5, 2), 0.5), 0.1)),
    ("image", lambda: from_image([[math.nan, 1.0]])),
    ("seed", lambda: poisson_frozen(2, 10.0, 10.0, seed=-1)),
    ("seed", lambda: SpikingNet.of_sizes(3, 2, seed=1.5)),
    ("seed", lambda: XorTask(seed=-1)),
    ("image", lambda: from_image([[0.0, 0.1]])),
    ("seed", lambda: Random(seed=-1)),
    ("rate_hz", lambda: poisson_frozen(2, 20_000.0, 10.0)),
    ("max_rate_hz", lambda: rate([0.1, 1.0], 300.0, 10.0, dt=5.0)),
    ("background_hz", lambda: XorTask(background_hz=20_000.0)),
    ("dtype", lambda: LIFLayer(3, 2, dtype=torch.float16)),
    ("feedback", lambda: SuperSpike(LOOP, feedback=BPTT())),
    ("Heterosynaptic", lambda: SuperSpike(NET, feedback=BPTT(), regularizer=BY_ERROR)),
    ("optimizer", lambda: learn(SuperSpike(LOOP), lambda k: (X, Y), 2, RMaxProp(NET.parameters()))),
    ("bounds", lambda: taught(bounds=(-200.0, 200.0))),
]


@pytest.mark.parametrize(("name", "call"), CALLS, ids=lambda value: str(value)[:20])
def test_it_is_refused_by_name(name: str, call: Callable[[], object]) -> None:
    with pytest.raises((ValueError, TypeError), match=rf"(?<!\w){name}(?!\w)"):
        call()
