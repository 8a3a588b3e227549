"""How far away a network that traces snakes can know its seed."""

from __future__ import annotations

import pytest

from tractable.studies.vision._convrnn_trace_parts import (
    measured_reach,
    reach_of,
    trace_spec,
    tracer,
)


@pytest.mark.parametrize(
    ("net", "steps"),
    [("feedforward", 1), ("rgc", 1), ("rgc", 2), ("rgc", 3), ("rgc", 5), ("vanilla", 1),
     ("vanilla", 3), ("gru", 1), ("gru", 2), ("gru", 3)],
)  # fmt: skip
def test_untrained_networks_reach_as_far_as_their_filters(net: str, steps: int) -> None:
    twin = tracer(trace_spec(net, 8).to_json(), 16, steps, 0)
    assert measured_reach(twin, 16) == reach_of(net, steps)
