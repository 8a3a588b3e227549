"""Cells of graphs. Kinds: second formula (loops in NumPy), torch's own cells, identities.

Each cell is written again with loops over positions and taps, from the equations of the theory
page; GRU and LSTM on maps of one position are those of torch; the reciprocal-gated cell without
weights halves its distance to the input at each step.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tractable.vision.convrnn.cells import Cell, make_cell

Array = np.ndarray
C, SIDE, BATCH = 3, 4, 2


# --- the second formula ----------------------------------------------------------------------


def convolve(x: Array, weight: Array, bias: Array, groups: int = 1) -> Array:
    """Correlate maps with filters, zeros around them, at every position by loops."""
    n_out, per_group, k, _ = weight.shape
    before = (k - 1) // 2
    padded = np.zeros((*x.shape[:2], x.shape[2] + k - 1, x.shape[3] + k - 1))
    padded[:, :, before : before + x.shape[2], before : before + x.shape[3]] = x
    out = np.zeros((len(x), n_out, *x.shape[2:]))
    for b in range(len(x)):
        for o in range(n_out):
            first = o // (n_out // groups) * per_group
            for i in range(x.shape[2]):
                for j in range(x.shape[3]):
                    patch = padded[b, first : first + per_group, i : i + k, j : j + k]
                    out[b, o, i, j] = bias[o] + (patch * weight[o]).sum()
    return out


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def elu(x: Array) -> Array:
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def normalized(x: Array, gain: Array, bias: Array) -> Array:
    mean = x.mean((1, 2, 3), keepdims=True)
    scale = np.sqrt(x.var((1, 2, 3), keepdims=True) + 1e-5)
    return (x - mean) / scale * gain[:, None, None] + bias[:, None, None]


class Weights:
    """The weights of a torch cell by name, as arrays."""

    def __init__(self, cell: nn.Module) -> None:
        self.all = {name: p.detach().double().numpy() for name, p in cell.named_parameters()}

    def has(self, name: str) -> bool:
        return any(key == name or key.startswith(name + ".") for key in self.all)

    def conv(self, name: str, x: Array, groups: int = 1) -> Array:
        return convolve(x, self.all[name + ".weight"], self.all[name + ".bias"], groups)

    def norm(self, name: str, x: Array, part: slice = slice(None)) -> Array:
        if not self.has(name):
            return x
        return normalized(x, self.all[name + ".weight"][part], self.all[name + ".bias"][part])

    def gates(self, x: Array, h: Array, n: int) -> list[Array]:
        drive = self.conv("gates", np.concatenate([x, h], 1))
        parts = [slice(i * C, (i + 1) * C) for i in range(n)]
        return [self.norm("norm", drive[:, part], part) for part in parts]


def reference(
    name: str, w: Weights, x: Array, state: list[Array], res: Array, options: dict[str, Any]
) -> tuple[Array, list[Array]]:
    """Return output and states after one step."""
    forget = options.get("forget_bias", 1.0)
    if name == "feedforward":
        return x, []
    if name == "timedecay":
        h = w.all["decay"] * state[0] + x
        return h, [h]
    if name == "vanilla":
        h = elu(w.norm("norm", w.conv("input", x) + w.conv("recurrent", state[0])))
        return h, [h]
    if name == "gru":
        (r, u), h = w.gates(x, state[0], 2), state[0]
        r, u = sigmoid(r + forget), sigmoid(u)
        c = np.tanh(w.norm("candidate_norm", w.conv("candidate", np.concatenate([x, r * h], 1))))
        h = u * h + (1 - u) * c
        return h, [h]
    if name == "lstm":
        h, c = state
        i, j, f, o = w.gates(x, h, 4)
        if "peephole" in w.all:
            wi, wf, wo = w.all["peephole"]
            i, f, o = i + wi * c, f + wf * c, o + wo * c  # the old c
        c = w.norm("cell_norm", c * sigmoid(f + forget) + sigmoid(i) * np.tanh(j))
        h = np.tanh(c) * sigmoid(o)
        return h, [h, c]
    if name == "ugrnn":
        g, c = w.gates(x, state[0], 2)
        h = sigmoid(g + forget) * state[0] + (1 - sigmoid(g + forget)) * np.tanh(c)
        return h, [h]
    if name == "intersection":
        gh, hh, gy, yy = w.gates(x, state[0], 4)
        u, v = sigmoid(gh + forget), sigmoid(gy + forget)
        h = u * state[0] + (1 - u) * np.tanh(hh)
        return v * x + (1 - v) * np.maximum(yy, 0), [h]
    return reciprocal(w, x, state, res, options)


def reciprocal(
    w: Weights, x: Array, state: list[Array], res: Array, options: dict[str, Any]
) -> tuple[Array, list[Array]]:
    h = state[0]
    c = state[1] if len(state) > 1 else None
    wide = h.shape[1]
    functions = {"sigmoid": sigmoid, "tanh": np.tanh}

    def factor(kind: str, drive: Array) -> Array:
        offset = options.get(f"{kind}_offset", 1.0)
        multiplier = options.get(f"{kind}_multiplier")
        multiplier = -offset if multiplier is None else multiplier
        fn = functions[options.get(f"{kind}_nonlinearity", "sigmoid")]
        return offset + multiplier * fn(drive + options.get(f"{kind}_bias", 0.0))

    def branch(name: str, z: Array) -> Array:
        """Filters of a memory or gate; layers of a sequence have their place as name."""
        at = 0
        if options.get("separable"):
            y = elu(w.conv(f"{name}.0", z, groups=z.shape[1]))
            y, at = w.conv(f"{name}.2", y), 2
        else:
            y = w.conv(f"{name}.0", z)
        return w.norm(f"{name}.{at + 1}", y)

    if w.has("from_h"):  # two convolutions with stacked outputs
        both_h = w.conv("from_h", h)
        drive = {"out_tau": both_h[:, :wide], "cell_gate": both_h[:, wide:]}
        if c is not None:
            both_c = w.conv("from_c", c)
            drive |= {
                "cell_tau": both_c[:, : c.shape[1]], "out_gate": both_c[:, c.shape[1] :],
            }  # fmt: skip
    else:
        drive = {"out_tau": branch("hh", h)}
        if c is not None:
            drive |= {"cell_tau": branch("cc", c), "cell_gate": branch("hc", h)}
            if w.has("ch"):
                drive["out_gate"] = branch("ch", c)
    for part in list(drive):
        for source, z in (("seen_input", x), ("seen_residual", res)):
            if w.has(f"{source}.{part}"):
                drive[part] = drive[part] + w.conv(f"{source}.{part}", z)
    xh = w.conv("input_out", x) if w.has("input_out") else x
    if options.get("out_residual"):
        xh = xh + (w.conv("residual_out", res) if w.has("residual_out") else res)
    if c is None:
        h = elu(factor("tau", drive["out_tau"]) * h + xh)
        return h, [h]
    xc = w.conv("input_cell", x) if w.has("input_cell") else x
    if options.get("cell_residual"):
        xc = xc + (w.conv("residual_cell", res) if w.has("residual_cell") else res)
    new_c = elu(factor("tau", drive["cell_tau"]) * c + factor("gate", drive["cell_gate"]) * xc)
    if options.get("cell_to_out"):
        entering = xh + (w.conv("c_to_h", c) if w.has("c_to_h") else c)
    else:
        entering = factor("gate", drive["out_gate"]) * xh
    new_h = elu(factor("tau", drive["out_tau"]) * h + entering)
    if options.get("state_norm"):
        new_h, new_c = w.norm("norms.0", new_h), w.norm("norms.1", new_c)
    return new_h, [new_h, new_c]


RESIDUALS = ("cell_tau", "cell_gate", "out_tau", "out_gate")
CASES: list[tuple[str, dict[str, Any]]] = [
    ("feedforward", {}),
    ("timedecay", {"decay": 0.4}),
    ("vanilla", {"norm": False}),
    ("vanilla", {"norm": True}),
    ("vanilla", {"norm": False, "kernel": 2}),
    ("gru", {}),
    ("gru", {"norm": True, "gate_bias": 1.0, "forget_bias": 0.5}),
    ("lstm", {}),
    ("lstm", {"norm": True}),
    ("lstm", {"peephole": (SIDE, SIDE)}),
    ("ugrnn", {}),
    ("ugrnn", {"norm": True}),
    ("intersection", {}),
    ("intersection", {"norm": True}),
    ("rgc", {}),
    ("rgc", {"tau_bias": -2.0, "gate_bias": -1.0, "tau_kernel": 1}),
    ("rgc", {"cell_channels": 5}),
    ("rgc", {"gate_kernel": 0}),
    ("rgc", {"separable": True, "gate_kernel": 5}),
    ("rgc", {"branch_norm": True, "state_norm": True}),
    ("rgc", {"input_to_cell": False, "input_to_out": True}),
    ("rgc", {"input_to_tau": True, "input_to_gate": True}),
    ("rgc", {"cell_to_out": True, "cell_channels": 2}),
    ("rgc", {"cell_to_out": True, "tau_kernel": 1}),
    ("rgc", {"cell_residual": True, "out_residual": True, "residual_channels": 2}),
    ("rgc", {f"residual_to_{part}": True for part in RESIDUALS}),
    (
        "rgc",
        {
            "tau_nonlinearity": "sigmoid", "tau_offset": 0.9219, "tau_bias": 4.147,
            "gate_nonlinearity": "tanh", "gate_offset": 0.7007, "gate_bias": 2.777,
            "separable": True, "tau_kernel": 3, "input_to_out": True, "out_residual": True,
        },
    ),
    ("rgc", {"tau_offset": 0.8, "tau_multiplier": -0.3, "gate_multiplier": 0.2}),
]  # fmt: skip
NAMES = [f"{name}-{'-'.join(options) or 'plain'}" for name, options in CASES]


def scattered(cell: Cell, seed: int, dtype: torch.dtype) -> Cell:
    """Give all weights random values: gains and biases too, which start at 1 and 0."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in cell.parameters():
            p.add_(0.3 * torch.randn(p.shape, generator=random))
    return cell.to(dtype)


def inputs(cell: Cell, options: dict[str, Any], dtype: torch.dtype) -> tuple[Any, ...]:
    random = torch.Generator().manual_seed(5)
    x = torch.randn(BATCH, C, SIDE, SIDE, generator=random, dtype=torch.float64)
    res = torch.randn(
        BATCH, options.get("residual_channels", C), SIDE, SIDE, generator=random,
        dtype=torch.float64,
    )  # fmt: skip
    state = tuple(
        torch.randn(s.shape, generator=random, dtype=torch.float64) for s in cell.init_state(x)
    )
    return x.to(dtype), tuple(s.to(dtype) for s in state), res.to(dtype)


@pytest.mark.parametrize(("name", "options"), CASES, ids=NAMES)
@pytest.mark.parametrize(("dtype", "allowed"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_three_steps_equal_the_loops(
    name: str, options: dict[str, Any], dtype: torch.dtype, allowed: float
) -> None:
    cell = scattered(make_cell(name, C, C, **options), 3, dtype)
    x, state, res = inputs(cell, options, dtype)
    weights, expected = Weights(cell), [s.double().numpy() for s in state]
    for _ in range(3):
        out, state = cell(x, state, None, res)
        wanted, expected = reference(
            name, weights, x.double().numpy(), expected, res.double().numpy(), options
        )
        np.testing.assert_allclose(
            out.detach().double().numpy(), wanted, atol=allowed, rtol=allowed
        )
        for got, want in zip(state, expected, strict=True):
            np.testing.assert_allclose(
                got.detach().double().numpy(), want, atol=allowed, rtol=allowed
            )


@pytest.mark.parametrize(("name", "options"), CASES, ids=NAMES)
def test_gradients(name: str, options: dict[str, Any]) -> None:
    cell = scattered(make_cell(name, C, C, **{k: v for k, v in options.items() if k != "peephole"}),
                     4, torch.float64)  # fmt: skip
    x, state, res = inputs(cell, options, torch.float64)
    x, res, state = x[:1, :, :2, :2], res[:1, :, :2, :2], tuple(s[:1, :, :2, :2] for s in state)
    leaves = [z.clone().requires_grad_() for z in (x, *state)]
    parameters = list(cell.parameters())

    def step(*values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        out, after = cell(values[0], tuple(values[1 : 1 + len(state)]), None, res)
        return (out, *after)

    assert torch.autograd.gradcheck(step, (*leaves, *parameters), fast_mode=True)


@pytest.mark.parametrize("entry", ["input", "cell", "out"])
def test_feedback_enters_where_it_says(entry: str) -> None:
    """At the input it is added to x; at cell or out, to what that state's gate multiplies."""
    cell = scattered(make_cell("rgc", C, C), 6, torch.float64)
    x, state, _ = inputs(cell, {}, torch.float64)
    fb = torch.randn(x.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(8))
    _, (h, c) = cell(x, state, {entry: fb})
    w = Weights(cell)
    at = [s.numpy() for s in state]
    both_h, both_c = w.conv("from_h", at[0]), w.conv("from_c", at[1])
    xs = x.numpy() + (fb.numpy() if entry == "input" else 0)
    xc = w.conv("input_cell", xs) + (fb.numpy() if entry == "cell" else 0)
    xh = xs + (fb.numpy() if entry == "out" else 0)
    want_c = elu((1 - sigmoid(both_c[:, :C])) * at[1] + (1 - sigmoid(both_h[:, C:])) * xc)
    want_h = elu((1 - sigmoid(both_h[:, :C])) * at[0] + (1 - sigmoid(both_c[:, C:])) * xh)
    np.testing.assert_allclose(c.detach().numpy(), want_c, atol=1e-12)
    np.testing.assert_allclose(h.detach().numpy(), want_h, atol=1e-12)


# --- torch's own cells -----------------------------------------------------------------------


def test_gru_of_one_position_is_that_of_torch() -> None:
    """Torch has u the other way round and a bias of its own inside the reset: both are mapped."""
    n = 5
    cell = scattered(make_cell("gru", n, n, kernel=1), 1, torch.float64)
    other = nn.GRUCell(n, n).double()
    gates, candidate = cell.gates, cell.candidate
    with torch.no_grad():
        w, b = gates.weight[:, :, 0, 0], gates.bias
        wc, bc = candidate.weight[:, :, 0, 0], candidate.bias
        # torch: h' = (1 - z) n + z h with z = our u; r and z first.
        other.weight_ih.copy_(torch.cat([w[:n, :n], w[n:, :n], wc[:, :n]]))
        other.weight_hh.copy_(torch.cat([w[:n, n:], w[n:, n:], wc[:, n:]]))
        other.bias_ih.copy_(torch.cat([b[:n] + 1.0, b[n:], bc]))
        other.bias_hh.zero_()
        x = torch.randn(7, n, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
        h = torch.randn(7, n, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
        # W_c * (r h) and r (W_c * h) agree where W_c is diagonal in h.
        candidate.weight[:, n:, 0, 0] = torch.diag(torch.diag(wc[:, n:]))
        other.weight_hh[2 * n :] = candidate.weight[:, n:, 0, 0]
        got = cell(x[..., None, None], (h[..., None, None],))[0][..., 0, 0]
        torch.testing.assert_close(got, other(x, h), atol=1e-12, rtol=0)


def test_lstm_of_one_position_is_that_of_torch() -> None:
    n = 5
    cell = scattered(make_cell("lstm", n, n, kernel=1), 1, torch.float64)
    other = nn.LSTMCell(n, n).double()
    order = [0, 2, 1, 3]  # torch: i, f, g, o; ours: i, j, f, o
    with torch.no_grad():
        rows = torch.cat([torch.arange(k * n, (k + 1) * n) for k in order])
        w, b = cell.gates.weight[rows, :, 0, 0], cell.gates.bias[rows].clone()
        b[n : 2 * n] += 1.0  # the forget bias
        other.weight_ih.copy_(w[:, :n])
        other.weight_hh.copy_(w[:, n:])
        other.bias_ih.copy_(b)
        other.bias_hh.zero_()
        random = torch.Generator().manual_seed(2)
        x, h, c = (torch.randn(7, n, dtype=torch.float64, generator=random) for _ in range(3))
        _, (h2, c2) = cell(x[..., None, None], (h[..., None, None], c[..., None, None]))
        want_h, want_c = other(x, (h, c))
        torch.testing.assert_close(h2[..., 0, 0], want_h, atol=1e-12, rtol=0)
        torch.testing.assert_close(c2[..., 0, 0], want_c, atol=1e-12, rtol=0)


# --- identities ------------------------------------------------------------------------------


def empty(cell: nn.Module) -> nn.Module:
    with torch.no_grad():
        for p in cell.parameters():
            p.zero_()
    return cell.double()


def test_reciprocal_cell_without_weights_halves_the_distance() -> None:
    r"""With x >= 0 constant: h' = (h + x) / 2, so h(t) = x (1 - 2^-t)."""
    cell = empty(make_cell("rgc", C, C))
    x = torch.rand(1, C, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    state = cell.init_state(x)
    for t in range(1, 41):
        _, state = cell(x, state)
        torch.testing.assert_close(state[0], x * (1 - 0.5**t), atol=1e-12, rtol=0)


@pytest.mark.parametrize("gate_bias", [-3.0, 0.0, 1.5])
def test_bypass(gate_bias: float) -> None:
    """From zero states the input reaches the output in the same step, through no weight."""
    cell = make_cell("rgc", C, C, gate_bias=gate_bias).double()
    for layer in (cell.from_h, cell.from_c):
        nn.init.zeros_(layer.bias)
    x = torch.randn(2, C, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    out, _ = cell(x, cell.init_state(x))
    kept = 1 - torch.sigmoid(torch.tensor(gate_bias, dtype=torch.float64))
    torch.testing.assert_close(out, nn.functional.elu(kept * x), atol=1e-14, rtol=0)


@pytest.mark.parametrize("c", [7, 16])
@pytest.mark.parametrize("side", [1, 3])
def test_numbers_of_parameters(c: int, side: int) -> None:
    k = side**2
    formulas = {
        "feedforward": 0,
        "timedecay": 1,
        "vanilla": 2 * (k * c**2 + c),
        "ugrnn": 4 * k * c**2 + 2 * c,
        "gru": 6 * k * c**2 + 3 * c,
        "lstm": 8 * k * c**2 + 4 * c,
        "intersection": 8 * k * c**2 + 4 * c,
        "rgc": 5 * (k * c**2 + c),
    }
    for name, expected in formulas.items():
        options: dict[str, Any] = {} if name in ("feedforward", "timedecay") else {"kernel": side}
        if name == "vanilla":
            options["norm"] = False
        if name == "rgc":
            options |= {"tau_kernel": side, "gate_kernel": side}
        cell = make_cell(name, c, c, **options)
        assert sum(p.numel() for p in cell.parameters()) == expected, name
    without = make_cell("rgc", c, c, tau_kernel=side, gate_kernel=side, input_to_cell=False)
    assert sum(p.numel() for p in without.parameters()) == 4 * (k * c**2 + c)
    normed = make_cell("vanilla", c, c, kernel=side, norm=True)
    assert sum(p.numel() for p in normed.parameters()) == formulas["vanilla"] + 2 * c
