"""Windows of opportunity: who may fire when, and the exclusive-or stream made of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tractable.spiking import WindowedClassification, WindowTarget, XorTask


def answer_step_by_step(spikes: np.ndarray, allowed: np.ndarray, closes: np.ndarray) -> np.ndarray:
    """Return the error impulses of one sample by the rule as it is told, one step at a time."""
    n_steps, n_out = spikes.shape
    out = np.zeros((n_steps, n_out), dtype=int)
    answered = False
    for t in range(n_steps):
        for unit in range(n_out):
            if spikes[t, unit] and allowed[t] != unit:
                out[t, unit] -= 1  # forbidden: punished at once
            elif spikes[t, unit]:
                answered = True
        if closes[t] >= 0:
            if not answered:
                out[t, closes[t]] += 1  # the window ends in silence
            answered = False
    return out


def stream(seed: int, n_steps: int = 120, n_batch: int = 4, n_out: int = 3):
    """Return random spikes and windows of 10 steps, 20 apart, of a random unit each."""
    random = np.random.default_rng(seed)
    spikes = random.random((n_steps, n_batch, n_out)) < 0.04
    allowed = np.full((n_steps, n_batch), -1)
    closes = allowed.copy()
    for batch in range(n_batch):
        for start in range(batch, n_steps - 10, 20):
            allowed[start : start + 10, batch] = closes[start + 9, batch] = random.integers(n_out)
    return spikes, allowed, closes


def impulses(spikes, allowed, closes, memory=None):
    target = WindowTarget(torch.as_tensor(allowed), torch.as_tensor(closes))
    return WindowedClassification().impulses(torch.as_tensor(spikes), target, memory)


@pytest.mark.parametrize(
    ("fires_at", "expected"),
    [
        ([], {(7, 1): 1}),  # silence is answered where the window ends, for its unit
        ([(3, 1)], {}),  # one spike of the right unit within the window
        ([(2, 1), (7, 1)], {}),  # its first and its last step; two spikes are no error
        ([(1, 1)], {(1, 1): -1, (7, 1): 1}),  # a step too early: an error, and no answer
        ([(8, 1)], {(8, 1): -1, (7, 1): 1}),  # a step too late
        ([(4, 0)], {(4, 0): -1, (7, 1): 1}),  # the wrong unit
        ([(4, 0), (4, 1)], {(4, 0): -1}),  # both at once: only the wrong one is answered
    ],
)
def test_every_kind_of_answer(fires_at, expected) -> None:
    spikes = np.zeros((12, 1, 2), dtype=bool)
    for step, unit in fires_at:
        spikes[step, 0, unit] = True
    allowed = np.full((12, 1), -1)
    allowed[2:8] = 1
    closes = np.full((12, 1), -1)
    closes[7] = 1
    x, memory = impulses(spikes, allowed, closes)
    assert {(int(t), int(unit)): int(x[t, 0, unit]) for t, _, unit in torch.nonzero(x)} == expected
    assert not memory.any()


@pytest.mark.parametrize("seed", range(4))
def test_many_windows_answer_like_the_rule_told_step_by_step(seed: int) -> None:
    spikes, allowed, closes = stream(seed)
    x, _ = impulses(spikes, allowed, closes)
    expected = np.stack(
        [answer_step_by_step(spikes[:, b], allowed[:, b], closes[:, b]) for b in range(4)], axis=1
    )
    assert (expected > 0).any()
    assert (expected < 0).any()
    np.testing.assert_array_equal(x.numpy(), expected)


@pytest.mark.parametrize("length", [1, 7, 33])
def test_pieces_of_any_length_give_the_same_answers(length: int) -> None:
    spikes, allowed, closes = stream(9)
    whole, last = impulses(spikes, allowed, closes)
    parts, memory = [], None
    for start in range(0, len(spikes), length):
        part = slice(start, start + length)
        x, memory = impulses(spikes[part], allowed[part], closes[part], memory)
        parts.append(x)
    assert torch.equal(torch.cat(parts), whole)
    assert memory is not None
    assert torch.equal(memory, last)


def test_patterns_differ_by_the_sets_that_fire() -> None:
    patterns = XorTask(n_inputs=99, seed=3).patterns()
    _, first, second = np.array_split(np.arange(99), 3)
    fires = patterns >= 0
    assert fires[:, :33].all()  # the reference of time fires in all four
    for p in (0, 1):
        for q in (0, 1):
            assert fires[2 * p + q, first].all() == p == fires[2 * p + q, first].any()
            assert fires[2 * p + q, second].all() == q == fires[2 * p + q, second].any()
    # A set that fires has the same times in each pattern, within the stimulus of 100 steps.
    for column in patterns.T:
        assert len(set(column[column >= 0])) == 1
        assert column.max() < 100


def test_the_stream_is_labelled_by_the_exclusive_or_of_what_it_holds() -> None:
    # Without background each pattern can be read back from the spikes.
    xor = XorTask(n_inputs=99, background_hz=0.0, seed=1)
    patterns = xor.patterns()
    _, first, second = np.array_split(np.arange(99), 3)
    labels, onsets = [], []
    for index in range(4):
        spikes, target = xor.window(index, 20_000)
        ends = (target.closes[:, 0] >= 0).nonzero()[:, 0].tolist()
        for end in ends:
            start = end + 1 - 250  # 10 ms of stimulus and 15 ms to answer, at .1 ms
            seen = spikes[start : end + 1, 0]
            fires_first, fires_second = bool(seen[:, first].any()), bool(seen[:, second].any())
            which = 2 * fires_first + fires_second
            expected = torch.zeros_like(seen)
            fire = np.flatnonzero(patterns[which] >= 0)
            expected[patterns[which, fire], fire] = True
            assert torch.equal(seen, expected)
            label = int(fires_first != fires_second)
            assert int(target.closes[end, 0]) == label
            assert target.allowed[start : end + 1, 0].eq(label).all()
            labels.append(label)
            onsets.append(start)
        assert int((target.allowed >= 0).sum()) == 250 * len(ends)
        gaps = np.diff(ends)
        assert gaps.min() >= 700
        assert gaps.max() <= 1300
    assert 0.3 < np.mean(labels) < 0.7


def test_the_background_has_its_rate() -> None:
    xor = XorTask(n_inputs=100, background_hz=20.0, seed=2)
    spikes, target = xor.window(0, 100_000)
    between = target.allowed[:, 0] < 0
    rate = spikes[between, 0].float().mean() * 1e4  # per step of .1 ms, in Hz
    assert float(rate) == pytest.approx(20.0, rel=0.03)
    patterns = torch.from_numpy(xor.patterns())
    for end in (target.closes[:, 0] >= 0).nonzero()[:, 0].tolist():  # it is silent under a stimulus
        start = end + 1 - 250
        counts = spikes[start : start + 100, 0].sum(0)
        assert any(torch.equal(counts, (pattern >= 0).long()) for pattern in patterns)
        answer = spikes[start + 100 : end + 1, 0].float().mean() * 1e4
        assert float(answer) < 60
