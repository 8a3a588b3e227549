"""The permutation bound: against enumeration, against simulation, and kept by real networks.

Witnesses: second formula (all class sequences, one by one), simulation with its standard error, the
four values of ten balanced classes, and a trained network that is blind to order.
"""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
import torch
from torch import nn

from tractable.vision.convrnn.recall import digit_parts, permutation_bound, recall_tasks


@pytest.mark.parametrize(("d", "value"), [(1, 0.55), (2, 0.43), (3, 0.3835), (5, 0.3366)])
def test_ten_balanced_classes(d: int, value: float) -> None:
    assert permutation_bound(d) == pytest.approx(value, abs=2e-5)


@pytest.mark.parametrize("d", [0, 1, 2, 4])
def test_all_sequences_of_three_unequal_classes(d: int) -> None:
    p = np.array([0.6, 0.3, 0.1])
    expected = 0.0
    for sequence in itertools.product(range(3), repeat=d + 1):
        expected += p[list(sequence)].prod() * max(Counter(sequence).values()) / (d + 1)
    assert permutation_bound(d, p) == pytest.approx(expected, rel=1e-12)


def test_bayes_rule_given_the_frames_without_their_order() -> None:
    """The best guess, counted over all sequences that share their frames."""
    d, p = 2, np.array([0.5, 0.25, 0.25])
    first: dict[tuple[int, ...], np.ndarray] = {}
    for sequence in itertools.product(range(3), repeat=d + 1):
        weights = first.setdefault(tuple(sorted(sequence)), np.zeros(3))
        weights[sequence[0]] += p[list(sequence)].prod()
    assert permutation_bound(d, p) == pytest.approx(sum(w.max() for w in first.values()))


def test_simulation() -> None:
    random = np.random.default_rng(0)
    counts = random.multinomial(6, np.full(10, 0.1), size=200_000).max(1) / 6
    error = counts.std() / np.sqrt(len(counts))
    assert abs(counts.mean() - permutation_bound(5)) < 4 * error


def test_limits() -> None:
    assert permutation_bound(0, (0.2, 0.8)) == pytest.approx(1.0)
    assert permutation_bound(7, (1.0, 0.0)) == pytest.approx(1.0)
    values = [permutation_bound(d) for d in range(30)]
    assert all(after < before for before, after in itertools.pairwise(values))
    assert 0.1 < values[-1] < 0.26


def test_an_average_over_time_stays_below_it() -> None:
    """Logistic regression of the mean frame, with clean frames: no memory of the order."""
    images, labels, test_images, test_labels = digit_parts()
    task = recall_tasks()["C"]
    random = torch.Generator().manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(150):
        rows = torch.randint(len(images), (128,), generator=random)
        frames = task.movies(images[rows], images, random)
        logits = net(frames.flatten(0, 1)).unflatten(0, frames.shape[:2]).mean(1)
        loss = nn.functional.cross_entropy(logits, labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        frames = task.movies(test_images, test_images, random)
        logits = net(frames.flatten(0, 1)).unflatten(0, frames.shape[:2]).mean(1)
    reached = float((logits.argmax(1) == test_labels).double().mean())
    assert 0.25 < reached <= permutation_bound(3) + 0.03


@pytest.mark.parametrize("p", [(), (0.5, 0.6), (-0.1, 1.1), ((0.5, 0.5),), (np.nan, 1.0)])
def test_what_is_no_distribution_is_refused(p: object) -> None:
    with pytest.raises(ValueError, match="probabilities"):
        permutation_bound(1, p)  # type: ignore[arg-type]  # wrong on purpose
