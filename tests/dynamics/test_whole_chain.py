"""Acceptance of whole analyses: trained nets, own cells, memory."""

from __future__ import annotations

import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from tractable.core.checks import TractableWarning
from tractable.core.seeds import generator
from tractable.dynamics import (
    SequenceClassifier,
    ablate,
    as_cell,
    collect_states,
    connectivity,
    context_effects,
    find_points,
    input_effects,
    line_attractor_report,
    linear_check,
    manifold,
    sample_starts,
)
from tractable.dynamics.reviews import SyntheticReviews
from tractable.dynamics.text import bag_of_words_baseline
from tractable.studies.dynamics._sentiment_parts import loss
from tractable.train import cosine_decay, fit, minibatches

F64 = torch.float64


@pytest.fixture(scope="module")
def trained() -> tuple:
    """A GRU of 64 units on the generated reviews, its states on 300 texts, and starts."""
    language = SyntheticReviews()
    train, test = language.sample(12_000, seed=0), language.sample(300, seed=1)
    torch.manual_seed(0)
    model = SequenceClassifier(len(language.vocabulary), "gru", n_embedding=32, n_hidden=64)
    batches = minibatches(
        train.tokens, train.lengths, train.labels.astype("float32"), batch_size=32, seed=0
    )
    fit(model, loss, batches, epochs=1, learning_rate=3e-3, clip=1.0, device="cpu",
        schedule=cosine_decay(len(batches), 0.05), progress=False)  # fmt: skip
    cell = model.eval().cell().to(dtype=F64)
    tokens = torch.as_tensor(test.tokens)
    visited = collect_states(cell, tokens, test.lengths, embedding=model.embedding)
    weight = model.readout.weight[0].detach().double()
    starts = sample_starts(visited, 256, stratify=lambda h: h @ weight, generator=generator(0))
    return language, train, test, model, cell, visited, starts, weight


def test_slow_points_keep_the_line_and_roots_slide_off_it(trained: tuple) -> None:
    *_, cell, _, starts, weight = trained
    slow = find_points(cell, starts, kind="slow", tau_c=20.0, readout=weight)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TractableWarning)  # too few starts for all roots
        roots = find_points(cell, starts, kind="root", readout=weight)

    def extent(states: torch.Tensor) -> float:
        value = states @ weight
        return float(value.max() - value.min())

    # a visited state also carries the fast effect of its last words: compare where it settles
    settled = starts
    for _ in range(5):
        settled = cell(settled, settled.new_zeros(len(settled), cell.n_input))
    assert extent(slow.state) >= 0.8 * extent(settled)
    assert len(roots) < 10
    slid = (starts - roots.state[roots.representative])[roots.representative >= 0].norm(dim=1)
    stayed = (starts - slow.state[slow.representative])[slow.representative >= 0].norm(dim=1)
    assert slid.mean() > 1.3 * stayed.mean()
    assert slow.scan is not None
    assert slow.scan.readout_range is not None
    assert (slow.scan.n_points[0] >= slow.scan.n_points[-1]).item()


def test_one_mode_is_a_bag_of_words(trained: tuple) -> None:
    language, train, test, model, cell, visited, starts, weight = trained
    slow = find_points(cell, starts, kind="slow", tau_c=20.0, readout=weight)
    readout = model.state_readout()
    middle = int((slow.state @ weight + readout.bias[0]).abs().argmin())
    baseline = bag_of_words_baseline(train, test)
    words = model.embedding.weight.detach()[2:].double()
    one = slow[middle]
    effects = input_effects(one, one.modes(), words, readout=readout)
    assert effects.logit_weight is not None
    seen = baseline.coefficients[2:]
    correlation = np.corrcoef(effects.logit_weight[0], seen)[0, 1]
    assert correlation >= 0.95
    runs = {
        mode: linear_check(cell, visited, slow, readout, mode=mode,
                           point=None if mode == "switching" else middle)
        for mode in ("bag_of_words", "rollout", "switching")
    }  # fmt: skip
    decided = ~test.ties
    agree = np.sign(runs["bag_of_words"].logit_linear) == np.sign(runs["bag_of_words"].logit)
    assert agree[decided].mean() >= 0.92
    assert runs["rollout"].r2 <= runs["switching"].r2 - 0.2
    assert language.valence[2:].shape == seen.shape


class ThreeTensors(nn.Module):
    """A module whose state is a tuple of three tensors: two leaky layers and their trace."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(2 + 5, 5)
        self.second = nn.Linear(5 + 4, 4)

    def forward(self, state: tuple, x: torch.Tensor) -> tuple:
        a, b, trace = state
        a = 0.5 * a + 0.5 * torch.tanh(self.first(torch.cat([x, a], -1)))
        b = 0.8 * b + 0.2 * torch.tanh(self.second(torch.cat([a, b], -1)))
        return a, b, 0.97 * trace + 0.03 * b.mean(-1, keepdim=True)


def chain(cell: object, n_input: int, readout: list[float]) -> dict[str, np.ndarray]:
    """Return one number or array from every step of an analysis."""
    inputs = torch.randn(20, 30, n_input, generator=torch.Generator().manual_seed(0), dtype=F64)
    visited = collect_states(cell, inputs)
    starts = sample_starts(visited, 60, generator=generator(1))
    slow = find_points(cell, starts, kind="slow", tau_c=10.0)
    roots = find_points(cell, starts, kind="root")
    modes = slow.modes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TractableWarning)  # a cloud of points is no line
        curve = manifold(slow, readout=readout)
        report = line_attractor_report(cell, visited, slow, readout=readout, curve=curve)
    words = torch.eye(n_input, dtype=F64)
    return {
        "roots": roots.state.numpy(),
        "slow": slow.state.numpy(),
        "tau": modes.tau.numpy(),
        "theta": curve.theta.numpy(),
        "effects": input_effects(slow, modes, words, readout=readout).projection.abs().numpy(),
        "relaxation": report.relaxation,
        "one_step": linear_check(cell, visited, slow, readout).error,
        "ablated": ablate(cell, visited, slow, 1, 10, readout, n_controls=2).ablated,
        "edges": np.array(connectivity(cell, roots).edges(), float),
        "context": context_effects(cell, roots.state[0], words, words, readout).factor,
    }


def test_a_nested_state_goes_through_the_whole_chain() -> None:
    torch.manual_seed(0)
    cell = as_cell(ThreeTensors().double(), n_state=(5, 4, 1), n_input=2)
    found = chain(cell, 2, [0.0] * 9 + [1.0])
    assert found["roots"].shape == (1, 10)
    for name, value in found.items():
        assert np.isfinite(value[~np.isinf(value)]).all(), name
    # the trace forgets by 0.97 a step, whatever the layers do
    expected = -1 / np.log(0.97)
    assert np.abs(found["tau"] / expected - 1).min(axis=1).max() < 1e-9


def test_a_plain_function_gives_the_results_of_the_built_in_cell() -> None:
    torch.manual_seed(0)
    gru = nn.GRU(2, 6).double()
    own = nn.GRUCell(2, 6).double()
    own.load_state_dict({k.removesuffix("_l0"): v for k, v in gru.state_dict().items()})
    built = chain(as_cell(gru), 2, [1.0] * 6)
    box = (-torch.ones(6, dtype=F64), torch.ones(6, dtype=F64))
    function = as_cell(lambda h, x: own(x, h), n_state=6, n_input=2, bounds=box)
    for name, value in chain(function, 2, [1.0] * 6).items():
        np.testing.assert_allclose(value, built[name], rtol=1e-8, atol=1e-8, err_msg=name)


MEMORY = """
import torch
from torch import nn
from tractable.core.memory import peak_memory
from tractable.dynamics import as_cell, find_points
torch.set_num_threads(1)
torch.manual_seed(0)
cell = as_cell(nn.LSTM(8, 256).double())
starts = 0.5 * torch.randn(1000, 512, dtype=torch.float64)
find_points(as_cell(nn.LSTM(8, 4).double()), torch.zeros(4, 8), progress=False)  # imports
before = peak_memory(reset=True)
points = find_points(cell, starts, max_memory="512MiB", max_iter=4, tol=1e-8, progress=False)
print(peak_memory() - before)
"""


@pytest.mark.slow
def test_memory_of_a_wide_lstm_is_bounded() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", MEMORY], capture_output=True, text=True, check=True
    )
    grown = float(done.stdout)
    assert grown <= 2**30, f"{grown / 2**30:.2f} GiB"
