"""The networks of `dynamics-classes`: their language, their training, and what is read off them."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray as xr

    from tractable.dynamics.reviews import SyntheticReviews

ONE = {"units": "1"}
N_SHOWN = 32  # points at which modes are computed
N_CLOUD = 300  # points kept for the pictures
FINAL_RATE = 0.05


def label(n_classes: int, ordered: bool) -> str:
    """Return the name of a case."""
    return f"{n_classes} stars" if ordered else f"{n_classes} classes"


def language(n_classes: int, ordered: bool, length: int) -> SyntheticReviews:
    """Return the language: 5 words for each class, or 5 words of one score."""
    from tractable.dynamics.reviews import SyntheticReviews

    if ordered or n_classes == 2:
        return SyntheticReviews(
            n_words=5,
            n_valenced=(1, 1, 1, 1),
            length=length,
            n_classes=n_classes,
            ordered=ordered,
        )
    return SyntheticReviews(n_words=5 * n_classes, length=length, n_classes=n_classes)


def loss(model: Any, batch: Any) -> Any:
    """Return the cross-entropy of a batch (tokens, lengths, labels)."""
    from torch.nn.functional import cross_entropy

    tokens, lengths, labels = batch
    return cross_entropy(model(tokens, lengths), labels)


def score_variances(counts: np.ndarray) -> np.ndarray:
    """Return the shares of variance of the words' scores over the classes, largest first.

    A word's score for a class is the logarithm of its frequency in texts of the class, less its
    mean over the classes; words count by their frequency.
    """
    known = counts.sum(1) > 0
    counts = counts[known] + 1.0
    score = np.log(counts / counts.sum(0))
    score -= score.mean(1, keepdims=True)
    weight = counts.sum(1) / counts.sum()
    score -= weight @ score
    values = np.linalg.eigvalsh(score.T @ (weight[:, None] * score))[::-1].clip(0)
    return np.asarray(values / values.sum()) if values.sum() > 0 else values


def classify(
    units: int,
    embedding: int,
    length: int,
    n_train: int,
    batch_size: int,
    learning_rate: float,
    weight_decay: float,
    n_starts: int,
    n_classes: int,
    ordered: bool,
    largest: int,
    seed: int,
    device: str,
) -> xr.Dataset:
    """Train one classifier and measure the dimension of its slow points."""
    import torch
    import xarray as xr

    from tractable.core.checks import quiet
    from tractable.core.seeds import derive, generator, seeded
    from tractable.dynamics import (
        SequenceClassifier,
        collect_states,
        find_points,
        participation_ratio,
        sample_starts,
    )
    from tractable.dynamics.dimension import local_dimension
    from tractable.train import cosine_decay, fit, minibatches

    texts = language(n_classes, ordered, length)
    train = texts.sample(n_train, seed=derive(seed, "train", n_classes, ordered) % 2**31)
    test = texts.sample(1000, seed=derive(seed, "test", n_classes, ordered) % 2**31)
    with seeded(derive(seed, "weights", n_classes, ordered) % 2**31):
        model = SequenceClassifier(len(texts.vocabulary), "gru", n_embedding=embedding,
                                   n_hidden=units, n_classes=n_classes)  # fmt: skip
        if n_classes == 2:  # two logits, as for all others
            model.readout = torch.nn.Linear(units, 2)
    batches = minibatches(
        train.tokens, train.lengths, train.labels, batch_size=batch_size, seed=seed
    )
    fit(
        model,
        loss,
        batches,
        epochs=1,
        optimizer=functools.partial(torch.optim.AdamW, weight_decay=weight_decay),
        learning_rate=learning_rate,
        schedule=cosine_decay(len(batches), FINAL_RATE),
        clip=1.0,
        seed=seed,
        device=device,
        progress=False,
    )
    model = model.cpu().eval()
    tokens, lengths = torch.as_tensor(test.tokens), torch.as_tensor(test.lengths)
    assert test.ties is not None  # generated texts have them
    with torch.no_grad():
        right = (model(tokens, lengths).argmax(1).numpy() == test.labels)[~test.ties]
        cell = model.cell().to(dtype=torch.float64)
        visited = collect_states(cell, tokens[:300], lengths[:300], embedding=model.embedding,
                                 progress=False)  # fmt: skip
    starts = sample_starts(visited, n_starts, generator=generator(derive(seed, "starts")))
    with quiet():
        points = find_points(cell, starts, kind="slow", tau_c=length / 2, progress=False)
    weight, bias = (part.double() for part in model.state_readout())
    states = points.state
    _, s, axes = torch.linalg.svd(states - states.mean(0), full_matrices=False)
    variance = (s.square() / s.square().sum()).numpy()
    shown = points[np.linspace(0, len(points) - 1, min(N_SHOWN, len(points))).astype(int)]
    modes = shown.modes()
    local = float(np.median(local_dimension(states.numpy(), 12))) if len(states) > 2 else np.nan
    cloud = np.full((N_CLOUD, 2), np.nan)
    flat = ((states - states.mean(0)) @ axes[:2].T).numpy()[:N_CLOUD]
    cloud[: len(flat)] = flat
    group = np.full(N_CLOUD, -1.0)
    group[: len(flat)] = (states @ weight.T + bias).argmax(1).numpy()[:N_CLOUD]
    counts = np.zeros((5 * largest + 2, largest))
    for k in range(n_classes):
        words = train.tokens[train.labels == k].ravel()
        found = np.bincount(words, minlength=len(counts))[: len(counts)]
        found[:2] = 0  # padding and unknown words
        counts[:, k] = found
    tau = np.full((N_SHOWN, largest), np.nan)
    kept = min(largest, modes.tau.shape[1])
    tau[: len(shown), :kept] = modes.tau[:, :kept].clamp(max=1e6)
    n_slow = np.full(N_SHOWN, np.nan)
    n_slow[: len(shown)] = modes.n_slow(length / 2)
    return xr.Dataset(
        {
            "test_accuracy": ((), float(right.mean()), ONE),
            "point_variance": ("component", np.pad(variance, (0, 12))[:12], ONE),
            "participation": ((), participation_ratio(s.square()), ONE),
            "local_dimension": ((), local, ONE),
            "n_slow": ("shown", np.where(np.isnan(n_slow), np.nanmedian(n_slow), n_slow), ONE),
            "tau": (("shown", "mode"), tau, {"units": "words"}),
            "angle_error": ((), angle_error(weight.numpy()), {"units": "degrees"}),
            "word_count": (("word", "class"), counts, ONE),
            "cloud": (("cloud_point", "axis"), cloud, ONE),
            "cloud_class": ("cloud_point", group, ONE),
        }
    )


def angle_error(weight: np.ndarray) -> float:
    """Return the largest deviation of the angles between centered readouts from a simplex's."""
    centered = weight - weight.mean(0)
    unit = centered / np.linalg.norm(centered, axis=1, keepdims=True)
    k = len(unit)
    cosine = (unit @ unit.T)[np.triu_indices(k, 1)].clip(-1, 1)
    ideal = np.degrees(np.arccos(-1 / (k - 1)))
    return float(np.abs(np.degrees(np.arccos(cosine)) - ideal).max())
