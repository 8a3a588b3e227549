"""Three ways through time give the same spikes and the same gradients; who runs which, and where.

The Triton kernels run on a CUDA device where there is one, else in Triton's interpreter, which
executes the same source on the CPU; without the package they are skipped. IDENTITY throughout.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from tractable.spiking import (
    BPTT,
    Heterosynaptic,
    LIFLayer,
    LIFParams,
    Random,
    SpikingNet,
    SuperSpike,
    Symmetric,
    fused,
    kernels,
    stepwise,
)
from tractable.spiking.backend import resolve
from tractable.spiking.filters import AlphaFilter, exponential_trace, floors_of, psp_trace

CUDA = torch.cuda.is_available()
needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="the package triton is not installed"
)
BACKENDS = ["torch", pytest.param("triton", marks=needs_triton)]
LANES = 2 * 70  # more than one block of the kernels
SHORT = LIFParams(tau_mem=3.0, tau_syn=2.0, delay=0.3, t_ref=1.0)  # fast, for short windows


@pytest.fixture(autouse=True)
def _interpreted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Interpret the kernels where no device is; they are decorated anew for it."""
    if CUDA or importlib.util.find_spec("triton") is None:
        yield
        return
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    importlib.reload(kernels)
    yield
    monkeypatch.undo()
    importlib.reload(kernels)


def device_of(backend: str) -> torch.device:
    return torch.device("cuda" if CUDA and backend == "triton" else "cpu")


def spikes_of(n_steps: int, n_batch: int, n: int, share: float) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(3).random((n_steps, n_batch, n)) < share)


# --- the loops, one by one --------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(
    ("integrator", "reset", "delay", "recurrent"),
    [
        ("exact", "clamp", 0.8, False),
        ("euler", "zero", 0.3, True),
        ("peer_euler", "subtract", 0.0, True),
    ],
)
def test_layers_spike_alike(
    backend: Any, dtype: torch.dtype, integrator: Any, reset: Any, delay: float, recurrent: bool
) -> None:
    params, device = LIFParams(delay=delay, t_ref=1.0), device_of(backend)
    layers = [
        LIFLayer(
            30, 70, params, w0=180.0, integrator=integrator, reset=reset, recurrent=recurrent,
            backend=name, dtype=dtype, seed=2,
        ).to(device_of(name))
        for name in ("numba", backend)
    ]  # fmt: skip
    inputs = spikes_of(130, 2, 30, 0.02)
    with torch.no_grad():
        wanted = layers[0](inputs, record=["current"], injected=2.0)
        first = layers[1](inputs[:53].to(device), record=["current"], injected=2.0)
        second = layers[1](inputs[53:].to(device), first.state, record=["current"], injected=2.0)
    assert int(wanted.spikes.sum()) > 50
    assert torch.equal(torch.cat([first.spikes, second.spikes]).cpu(), wanted.spikes)
    error = 1e-10 if dtype == torch.float64 else 2e-5  # of the largest; sums differ in order
    for name in ("v", "current"):
        both = torch.cat([getattr(first, name), getattr(second, name)]).cpu()
        expected = getattr(wanted, name)
        assert float((both - expected).abs().max() / expected.abs().max()) <= error
    assert torch.equal(second.state.left.cpu(), wanted.state.left)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("floor", [0.0, 1e-2])
@pytest.mark.parametrize("integrator", ["exact", "peer_euler"])
def test_filters_agree(backend: Any, floor: float, integrator: Any) -> None:
    device, params = device_of(backend), LIFParams(tau_mem=4.0, tau_syn=2.0)
    inputs = spikes_of(260, 2, 70, 0.002)
    x = torch.randn(90, 2, 70, dtype=torch.float64)
    zeros = torch.zeros(2, 70, dtype=torch.float64)
    state = (zeros.to(device), zeros.to(device))
    floors = floors_of(params, floor)
    step = params.step(integrator)
    wanted, (_, end) = psp_trace(inputs, step, (zeros, zeros), floors=floors)
    ours, (_, our_end) = psp_trace(
        inputs.to(device), step, state, floors=floors, backend=backend
    )  # fmt: skip
    torch.testing.assert_close(ours.cpu(), wanted, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(our_end.cpu(), end, rtol=1e-12, atol=1e-14)
    if floor:
        plain, _ = psp_trace(inputs, step, (zeros, zeros))
        assert not torch.equal(plain, wanted)
    averages = [AlphaFilter(0.5, 1.0, 0.1, floor, name) for name in ("numba", backend)]
    x[30:] = 0  # the floor is reached
    for given in (x, x.flip(0)):
        expected, _ = averages[0](given, (zeros, zeros))
        found, _ = averages[1](given.to(device), state)
        torch.testing.assert_close(found.cpu(), expected, rtol=1e-12, atol=1e-14)
        for a, b in zip(averages[0].adjoint(given), averages[1].adjoint(given.to(device)),
                        strict=True):  # fmt: skip
            torch.testing.assert_close(b.cpu(), a, rtol=1e-12, atol=1e-14)
    counted, last = exponential_trace(inputs[:90].to(device), 0.99, state[0], backend=backend)
    torch.testing.assert_close(counted.cpu(), exponential_trace(inputs[:90], 0.99, zeros)[0])
    assert torch.equal(last, counted[-1])


@needs_triton
@pytest.mark.parametrize("integrator", ["exact", "peer_euler"])
def test_the_transpose_of_the_potential_agrees(integrator: Any) -> None:
    delta, step = torch.randn(60, 2, 70, dtype=torch.float64), LIFParams().step(integrator)
    found = fused.psp_adjoint(delta.to(device_of("triton")), step).cpu()
    torch.testing.assert_close(found, stepwise.psp_adjoint(delta, step), rtol=1e-12, atol=1e-14)


# --- the rule ---------------------------------------------------------------------------------


def gradients(
    backend: Any, dtype: torch.dtype, lengths: tuple[int, ...] = (40, 61), **choices: Any
) -> tuple[list[float], torch.Tensor, torch.Tensor]:
    """Return costs, output spikes and gradients of consecutive windows."""
    device = device_of(backend)
    net = SpikingNet.of_sizes(
        12, 8, 6, 3, params=SHORT, w0=[140.0, 130.0, 130.0], backend=backend, dtype=dtype, seed=1,
        recurrent=choices.pop("recurrent", True),
    ).to(device)  # fmt: skip
    rule = SuperSpike(net, regularizer=Heterosynaptic(), chunk_steps=37, **choices)
    inputs, target = spikes_of(sum(lengths), 2, 12, 0.03), spikes_of(sum(lengths), 2, 3, 0.02)
    state, start, costs, spikes, found = None, 0, [], [], []
    for n in lengths:
        part = slice(start, start + n)
        result = rule.window(inputs[part].to(device), target[part].to(device), state)
        state, start = result.state, start + n
        costs.append(result.cost)
        spikes.append(result.output.spikes.cpu())
        found += [p.grad.flatten().cpu().clone() for p in net.parameters() if p.grad is not None]
    return costs, torch.cat(spikes), torch.cat(found)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("dtype", "error", "choices"),
    [
        (torch.float64, 1e-10, {"feedback": Symmetric()}),
        (torch.float32, 2e-5, {"feedback": Random(seed=1), "trace_floor": 1e-4}),
        (torch.float64, 1e-10, {"engine": "online"}),
        (torch.float64, 1e-10, {"feedback": BPTT(), "recurrent": False}),
    ],
)
def test_gradients_agree(backend: Any, dtype: torch.dtype, error: float, choices: dict) -> None:
    costs, spikes, wanted = gradients("numba", dtype, **choices)
    ours = gradients(backend, dtype, **choices)
    assert int(spikes.sum()) > 0
    assert torch.equal(ours[1], spikes)
    np.testing.assert_allclose(ours[0], costs, rtol=1e-5)
    assert float((ours[2] - wanted).norm() / wanted.norm()) <= error


# --- who runs where ---------------------------------------------------------------------------


def test_the_choice_of_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, cuda, other = (torch.device(name) for name in ("cpu", "cuda", "mps"))
    assert resolve("auto", cpu) == "numba"
    assert resolve("auto", other) == "torch"
    for there, loops in ((True, "triton"), (False, "torch")):
        monkeypatch.setattr("tractable.spiking.backend.has_triton", lambda there=there: there)
        assert resolve("auto", cuda) == loops
        assert resolve("torch", cuda) == "torch"
    with pytest.raises(ImportError, match="pip install triton"):
        resolve("triton", cuda)
    with pytest.raises(ValueError, match="backend='numba' runs on the CPU"):
        resolve("numba", cuda)
    monkeypatch.setattr("tractable.spiking.backend.has_triton", lambda: True)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(ValueError, match="backend='triton' runs on a CUDA device"):
        resolve("triton", cpu)


def test_the_base_needs_no_triton() -> None:
    code = (
        "import sys; sys.modules['triton'] = None\n"
        "import torch, tractable.spiking as s\n"
        "net = s.SpikingNet.of_sizes(3, 2)\n"
        "s.SuperSpike(net).window(torch.zeros(9, 1, 3), torch.zeros(9, 1, 2))\n"
        "assert 'tractable.spiking.fused' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_spikes_and_weights_must_be_on_one_device() -> None:
    with pytest.raises(ValueError, match="spikes are on meta, the weights on cpu"):
        LIFLayer(3, 2)(torch.zeros(5, 1, 3, device="meta"))


COMPILE = """
from tractable.spiking import fused, kernels
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
def build(name, real, signature, choices):
    kernel = getattr(kernels, name)
    kinds = {}
    for argument in kernel.arg_names:
        kinds[argument] = signature.get(argument, "*" + real)
    constants = {**choices, "BLOCK": fused.BLOCK}
    kinds |= {argument: "constexpr" for argument in constants}
    source = ASTSource(kernel, kinds, constants)
    for sm in (80, 90):
        done = compile(source, target=GPUTarget("cuda", sm, 32),
                       options={"num_warps": 4, "enable_fp_fusion": False})
        assert len(done.asm["cubin"]) > 1000
        assert "fma.rn" not in done.asm["ptx"]
        print(name, real, sm, len(done.asm["cubin"]))
numbers = {n: "i32" for n in ("n_steps", "lanes", "refractory", "n_batch", "n_out", "n_in")}
numbers["last"] = "i64"
for real in ("fp32", "fp64"):
    for way in (True, False):
        build("lif", real, {**numbers, "spikes": "*u8", "left_state": "*i32"},
              {"CURRENT_FIRST": way, "INJECT": way, "SUBTRACT": way, "RECORD": way})
        build("psp_trace", real, {**numbers, "spikes": "*u8"},
              {"CURRENT_FIRST": way, "FLOOR": way})
        build("psp_adjoint", real, numbers, {"CURRENT_FIRST": way})
        build("alpha_filter", real, numbers, {"FLOOR": way})
    build("adjoint_filter", real, numbers, {})
    build("exponential_trace", real, {**numbers, "spikes": "*u8"}, {})
    build("online", real, numbers, {})
    build("online", real, {n: t for n, t in numbers.items() if n not in ("n_batch", "n_out")},
          {"n_batch": 1, "n_out": 1})
"""


@needs_triton
def test_the_kernels_compile_for_gpus() -> None:
    # without a device: source to machine code of two architectures, both precisions, no fusion
    real = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    line = [sys.executable, "-c", COMPILE]
    done = subprocess.run(line, capture_output=True, text=True, env=real)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("\n") == 2 * 2 * 12
