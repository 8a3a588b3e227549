"""Every mistake ends in one sentence that names the argument and what came."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tractable.core.checks import TractableWarning
from tractable.spiking import (
    Heterosynaptic,
    LIFLayer,
    LIFParams,
    Random,
    RMaxProp,
    SpikeEvents,
    SpikingNet,
    SuperSpike,
    VanRossum,
    WindowedClassification,
    WindowTarget,
    XorTask,
    fi_curve,
    kernel_autocorrelation,
    latency,
    learn,
    membrane_std,
    poisson_frozen,
    psp,
    surrogate_derivative,
    van_rossum,
    zeta_moment,
)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tau_mem", 0.0), ("tau_syn", -1.0), ("dt", 0.0), ("dt", 3.0), ("v_th", -60.0),
        ("delay", -0.1), ("t_ref", -1.0), ("beta", 0.0), ("tau_mem", float("nan")),
    ],
)  # fmt: skip
def test_constants(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        LIFParams(**{field: value})


def test_a_coarse_step_warns_and_an_odd_delay_is_rounded() -> None:
    with pytest.warns(TractableWarning, match="tenth"):
        LIFParams(dt=1.0)
    with pytest.warns(TractableWarning, match="delay = 0.84 ms is no multiple"):
        assert LIFParams(delay=0.84).delay_steps == 8
    assert LIFParams(t_ref=0.05).step().refractory == 0


@pytest.mark.parametrize(
    ("spikes", "message"),
    [
        (torch.zeros(5, 1, 4), "n_in=3"),
        (torch.zeros(5, 3), "n_in=3"),
        (torch.full((5, 1, 3), 2.0), "0 or 1"),
        (torch.full((5, 1, 3), float("nan")), "spikes must be finite"),
        (torch.zeros(0, 1, 3), "a step and a sample"),
    ],
)
def test_spikes_of_a_layer(spikes: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LIFLayer(3, 2)(spikes)


def test_states_and_weights_of_a_layer() -> None:
    layer = LIFLayer(3, 2)
    with pytest.raises(ValueError, match="batch of 2"):
        layer(torch.zeros(5, 1, 3), layer.initial_state(2))
    with pytest.raises(ValueError, match="record"):
        layer(torch.zeros(5, 1, 3), record=["volts"])
    layer.weight.data[0, 0] = float("nan")
    with pytest.raises(RuntimeError, match="not finite"):
        layer(torch.zeros(5, 1, 3))
    for arguments in ({"reset": "hard"}, {"integrator": "rk4"}, {"backend": "jax"},
                      {"surrogate": "relu"}, {"w0": -1.0}):  # fmt: skip
        with pytest.raises(ValueError, match=next(iter(arguments))):
            LIFLayer(3, 2, **arguments)
    with pytest.raises(ValueError, match="n_in"):
        LIFLayer(0, 2)


def test_layers_must_fit() -> None:
    with pytest.raises(ValueError, match="layer 0 has 2 neurons but layer 1 takes 3"):
        SpikingNet([LIFLayer(3, 2), LIFLayer(3, 2)])
    with pytest.raises(ValueError, match="one dt"):
        SpikingNet([LIFLayer(3, 2), LIFLayer(2, 2, LIFParams(dt=0.2))])
    with pytest.raises(ValueError, match="layers"):
        SpikingNet([])
    with pytest.raises(ValueError, match="sizes"):
        SpikingNet.of_sizes(3)
    with pytest.raises(ValueError, match="w0"):
        SpikingNet.of_sizes(3, 2, w0=[1.0, 2.0])


def test_choices_of_the_rule() -> None:
    net = SpikingNet.of_sizes(3, 2)
    for arguments in (
        {"engine": "fast"}, {"surrogate_at": "now"}, {"t_update": 0.0}, {"chunk_steps": 0},
        {"feedback_delay": -1.0}, {"feedback_delay": "soon"},
    ):  # fmt: skip
        with pytest.raises(ValueError, match=next(iter(arguments))):
            SuperSpike(net, **arguments)
    with pytest.raises(TypeError, match="feedback"):
        SuperSpike(net, feedback=torch.ones(2, 2))  # type: ignore[arg-type]  # on purpose
    with pytest.raises(TypeError, match="net"):
        SuperSpike(torch.nn.Linear(2, 2))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="strength"):
        Heterosynaptic(strength=-1)
    with pytest.raises(ValueError, match="std"):
        Random(std=0)


def test_targets() -> None:
    net, inputs = SpikingNet.of_sizes(3, 2), torch.zeros(50, 1, 3)
    with pytest.raises(ValueError, match="target must have shape"):
        SuperSpike(net).window(inputs, torch.zeros(60, 1, 2))
    with pytest.raises(ValueError, match="target must be finite"):
        SuperSpike(net).window(inputs, torch.full((50, 1, 2), float("nan")))
    rule = SuperSpike(net, loss=WindowedClassification())
    with pytest.raises(TypeError, match="WindowTarget"):
        rule.window(inputs, torch.zeros(50, 1, 2))
    none = torch.full((50, 1), -1)
    with pytest.raises(ValueError, match="allowed must have shape"):
        rule.window(inputs, WindowTarget(none[:10], none))
    with pytest.raises(ValueError, match="closes must hold units below 2"):
        rule.window(inputs, WindowTarget(none, none + 3))
    with pytest.raises(ValueError, match="tau_rise"):
        VanRossum(tau_rise=0)


def test_weights_that_explode_are_named_with_their_window() -> None:
    net = SpikingNet.of_sizes(3, 2)
    target = torch.ones(50, 1, 2)

    class Explodes(torch.optim.SGD):
        def step(self, closure: object = None) -> None:  # type: ignore[override]
            net.layers[0].weight.data.fill_(float("nan"))

    with pytest.raises(RuntimeError, match="window 0"):
        learn(SuperSpike(net), lambda k: (torch.zeros(50, 1, 3), target), 2,
              Explodes(net.parameters(), lr=1.0))  # fmt: skip


def test_silence_warns_once() -> None:
    net = SpikingNet.of_sizes(3, 4, 1, w0=1.0)
    with pytest.warns(TractableWarning, match="no hidden spikes for 20 windows") as caught:
        learn(SuperSpike(net), lambda k: (torch.zeros(20, 1, 3), torch.zeros(20, 1, 1)), 30,
              RMaxProp(net.parameters(), t_update=2.0))  # fmt: skip
    assert len(caught) == 1


@pytest.mark.parametrize(
    ("times", "units", "message"),
    [
        ([2.0, 1.0], [0, 0], "sorted"), ([-1.0], [0], "times_ms"), ([10.0], [0], "below duration"),
        ([1.0], [2], "units"), ([1.0, 2.0], [0], "one length"), ([np.nan], [0], "finite"),
    ],
)  # fmt: skip
def test_events(times: list, units: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SpikeEvents(times, units, 2, 10.0)  # type: ignore[arg-type]  # lists are taken


def test_collisions() -> None:
    events = SpikeEvents([1.0, 1.01], [0, 0], 1, 5.0)  # type: ignore[arg-type]  # lists are taken
    assert int(events.raster().sum()) == 1
    with pytest.raises(ValueError, match="occupied"):
        events.raster(on_collision="error")


def test_numbers() -> None:
    for call, name in (
        (lambda: psp(np.nan), "t must be finite"), (lambda: psp(1.0, 0.0), "tau_mem"),
        (lambda: fi_curve(np.inf), "current_mv"), (lambda: membrane_std(-1, 3, 1), "weight_std"),
        (lambda: kernel_autocorrelation(0, -1), "tau_rise"), (lambda: zeta_moment(-1), "x must"),
        (lambda: zeta_moment(1, 9), "exponent"), (lambda: van_rossum([np.nan], []), "times_a"),
        (lambda: van_rossum([1], [], normalize="rms"), "duration_ms"),
        (lambda: van_rossum([1], [], normalize="max"), "normalize"),
        (lambda: poisson_frozen(3, -1.0, 10.0), "rate_hz"),
        (lambda: latency([[0.5]], 10.0), "values"), (lambda: XorTask(n_inputs=2), "n_inputs"),
        (lambda: XorTask(interval_ms=(5.0, 10.0)), "interval_ms"),
        (lambda: surrogate_derivative(torch.zeros(1), 1.0, 1.0, "relu"), "surrogate"),
        (lambda: RMaxProp([torch.nn.Parameter(torch.zeros(1))], lr=-1), "lr"),
        (lambda: RMaxProp([torch.nn.Parameter(torch.zeros(1))], bounds=(1, 0)), "bounds"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=name):
            call()
