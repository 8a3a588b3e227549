"""The whole rule told once more, plainly. INDEPENDENT: neurons, traces, delays, masks, errors and
eligibility of every synapse step by step in NumPy, for options that the other tests leave alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from tractable.spiking import (
    Heterosynaptic,
    LIFLayer,
    LIFParams,
    Random,
    SpikingNet,
    SuperSpike,
    Symmetric,
    VanRossum,
)

STEPS, CUT, SAMPLES = 500, 211, 2


def late(x: np.ndarray, steps: int) -> np.ndarray:
    return np.concatenate([np.zeros((steps, *x.shape[1:])), x])[: len(x)]


def unit_filter(x: np.ndarray, dt: float, rise: float, decay: float) -> np.ndarray:
    first, second, out = np.zeros_like(x[0]), np.zeros_like(x[0]), np.empty_like(x)
    for t, now in enumerate(x):
        first = first + -math.expm1(-dt / rise) * (now - first)
        second = second + -math.expm1(-dt / decay) * (first - second)
        out[t] = second
    return out


def neurons(layer: LIFLayer, x: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return spikes, voltages, who is held, and the potentials of inputs and own spikes."""
    p, weight = layer.params, layer.weight.detach().numpy()
    own = np.zeros((len(weight), len(weight)))
    if layer.recurrent_weight is not None:
        own = layer.recurrent_weight.detach().numpy()
    m, s = p.dt / p.tau_mem, p.dt / p.tau_syn
    a, b, c = 1 - m, math.exp(-s), m
    if layer.integrator == "peer_euler":
        b = 1 - s
    elif layer.integrator == "exact":
        a = math.exp(-m)
        c = p.tau_syn / (p.tau_mem - p.tau_syn) * (a - b)
    held_for = round(p.t_ref / p.dt) if layer.reset == "clamp" else 0
    both = np.concatenate([weight, own], 1)
    arrived = np.zeros((len(x), SAMPLES, both.shape[1]))
    delay, n_in = round(p.delay / p.dt), weight.shape[1]
    arrived[:, :, :n_in] = late(x, delay)
    spikes, v = (np.zeros((len(x), SAMPLES, len(weight))) for _ in range(2))
    held, z = np.zeros(v.shape, bool), np.zeros(arrived.shape)
    last = np.full(v.shape[1:], -(10**6))
    u, i, trace, current = np.zeros_like(v[0]), np.zeros_like(v[0]), z[0].copy(), z[0].copy()
    for t in range(len(x)):
        if t >= delay:
            arrived[t, :, n_in:] = spikes[t - delay]
        if layer.integrator == "peer_euler":
            i, current = b * i + arrived[t] @ both.T, b * current + arrived[t]
            u, trace = a * u + c * i, a * trace + c * current
        else:
            u, trace = a * u + c * i, a * trace + c * current
            i, current = b * i + arrived[t] @ both.T, b * current + arrived[t]
        held[t] = t - last <= held_for
        u = np.where(held[t], 0, u)
        v[t], z[t], spikes[t] = u, trace, u > p.threshold
        last = np.where(spikes[t] > 0, t, last)
        u = np.where(spikes[t] > 0, u - p.threshold if layer.reset == "subtract" else 0, u)
    return spikes, v, held, z[:, :, :n_in], z[:, :, n_in:]


CASES: list[tuple[dict[str, Any], dict[str, Any], float]] = [
    ({}, {"surrogate_at": "post_reset", "feedback_delay": 0.0, "v_floor": -72.0}, 0.0),
    ({"recurrent": True}, {"mask_refractory": True, "engine": "online"}, 0.8),
    (
        {"integrator": "euler", "recurrent": True},
        {"feedback": Random(seed=5), "feedback_delay": 2.0, "surrogate_at": "post_reset"},
        2.0,
    ),
    (
        {"integrator": "peer_euler", "reset": "subtract"},
        {"feedback": Random(seed=5), "surrogate_at": "post_reset", "v_floor": -70.0},
        0.8,
    ),
]


@pytest.mark.parametrize(("of_layers", "of_rule", "waits_ms"), CASES)
def test_every_option_is_what_it_says(
    of_layers: dict[str, Any], of_rule: dict[str, Any], waits_ms: float
) -> None:
    params = [
        LIFParams(8.0, 3.0, 2.0, -70.0, -58.0, delay, beta, 0.2)
        for delay, beta in ((0.4, 0.5), (0.8, 2.0))
    ]
    first = LIFLayer(11, 7, params[0], w0=260.0, dtype=torch.float64, seed=1, **of_layers)
    plain = {name: value for name, value in of_layers.items() if name != "recurrent"}
    second = LIFLayer(7, 3, params[1], w0=220.0, dtype=torch.float64, seed=2, **plain)
    second.weight.data.abs_()  # so that the output fires
    net, random = SpikingNet([first, second]), np.random.default_rng(4)
    x, target = (random.random((STEPS, SAMPLES, n)) < 0.01 for n in (11, 3))
    regularizer = Heterosynaptic(2e3, exponent=2, tau_het=50.0)
    rule = SuperSpike(net, loss=VanRossum(4.0, 9.0), tau_rise=3.0, tau_decay=11.0, chunk_steps=101,
                      regularizer=regularizer, **of_rule)  # fmt: skip
    found, state, parts = [], None, (slice(0, CUT), slice(CUT, STEPS))
    for part in parts:
        step = rule.window(torch.from_numpy(x[part]), torch.from_numpy(target[part]), state)
        state = step.state
        found.append({n: -w.grad.numpy() for n, w in net.named_parameters() if w.grad is not None})
    hidden = neurons(first, x.astype(float))
    output = neurons(second, hidden[0])
    assert hidden[0].sum() > 50
    assert output[0].sum() > 10
    error = unit_filter((target - output[0]) / 0.2, 0.2, 4.0, 9.0)
    back = second.weight.detach().numpy()
    if "feedback" in of_rule:
        back = of_rule["feedback"].matrix(net, 0).numpy().T
    else:
        assert isinstance(rule.feedback, Symmetric)
    z = np.zeros(hidden[0].shape)
    for t in range(STEPS):
        z[t] = math.exp(-0.2 / 50) * z[t - 1] * (t > 0) + hidden[0][t]

    def eligibility(layer: LIFLayer, run: tuple[np.ndarray, ...], trace: np.ndarray, wait: int):
        spikes, v, held = run[:3]
        if rule.surrogate_at == "post_reset":
            after = v - 12 if layer.reset == "subtract" else 0 * v
            v = np.where(spikes > 0, after, v)
        slope = (1 + np.abs(layer.params.beta * (v - 12))) ** -2.0
        if rule.v_floor is not None:
            slope = np.where(v < rule.v_floor + 70, 0, slope)
        if rule.mask_refractory:
            slope = np.where(held, 0, slope)
        both = late(slope, wait)[..., None] * late(trace, wait)[:, :, None]
        return unit_filter(both, 0.2, 3.0, 11.0)

    wait = round(waits_ms / 0.2)
    wanted = {
        "layers.0.weight": (error @ back, eligibility(first, hidden, hidden[3], wait)),
        "layers.0.recurrent_weight": (error @ back, eligibility(first, hidden, hidden[4], wait)),
        "layers.1.weight": (error, eligibility(second, output, output[3], 0)),
    }
    for part, gradients in zip(parts, found, strict=True):
        for name, ours in gradients.items():
            e, trace = wanted[name][0][part], wanted[name][1][part]
            g = np.einsum("tbi,tbij->ij", e, trace) / (len(e) * SAMPLES * 0.2)
            if "layers.0" in name:
                decay = 2e3 * (z[part] ** 2).mean((0, 1)) / (3.0 * 1000 * 0.5 * 1000 * 0.2)
                g -= decay[:, None] * net.get_parameter(name).detach().numpy()
            assert np.linalg.norm(ours - g) <= 1e-10 * np.linalg.norm(g)
