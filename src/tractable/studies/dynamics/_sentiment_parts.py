"""Parts of the sentiment study's measurement: counting, sampling, pushing the network itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray as xr
    from torch import nn

    from tractable.dynamics import SequenceClassifier
    from tractable.dynamics.text import Documents

N_STATES = 3000  # visited states kept for the pictures
N_LAGS = 40  # steps over which a perturbation is followed
MIN_COUNT = 5  # occurrences of a word whose effect is compared
ONE = {"units": "1"}
STEPS = {"units": "steps"}


def loss(model: Any, batch: Any) -> Any:
    """Return the cross-entropy of a batch (tokens, lengths, labels)."""
    from torch.nn.functional import binary_cross_entropy_with_logits

    tokens, lengths, labels = batch
    return binary_cross_entropy_with_logits(model(tokens, lengths), labels)


def accuracy(model: Any, documents: Documents) -> float:
    """Return the share of documents that the network judges right, ties left out."""
    import torch

    device = next(model.parameters()).device
    training, right = model.training, []
    model.eval()
    with torch.no_grad():
        for start in range(0, len(documents), 512):
            part = documents.subset(slice(start, start + 512))
            longest = int(part.lengths.max())
            tokens = torch.as_tensor(part.tokens[:, :longest], device=device)
            logits = model(tokens, torch.as_tensor(part.lengths, device=device))
            right.append((logits > 0).cpu().numpy() == part.labels.astype(bool))
    model.train(training)
    decided = np.ones(len(documents), bool) if documents.ties is None else ~documents.ties
    return float(np.concatenate(right)[decided].mean())


def simulate(
    model: SequenceClassifier, points: Any, weight: Any, words: np.ndarray, median_length: float
) -> dict[str, Any]:
    """Push the network itself at some points of the line: by every word, and along the line.

    ``word_effect``: change of the logit by one word, half a median text later. ``decay``: what is
    left of a small displacement along the line after each number of steps.
    """
    import torch

    cell, states = points.cell, points.state
    n_points, later = len(states), max(1, round(median_length / 2))
    with torch.no_grad():
        vectors = model.embedding.weight[torch.as_tensor(words)].double()
        start = states.repeat_interleave(len(words), 0)
        pushed = cell(start, vectors.repeat(n_points, 1))
        alone = cell(states, torch.zeros(n_points, cell.n_input, dtype=torch.float64))
        for _ in range(later):
            pushed = cell(pushed, torch.zeros(len(pushed), cell.n_input, dtype=torch.float64))
            alone = cell(alone, torch.zeros(len(alone), cell.n_input, dtype=torch.float64))
        effect = (pushed @ weight).reshape(n_points, -1) - (alone @ weight)[:, None]
        axis = torch.linalg.svd(states - states.mean(0), full_matrices=False)[2][0]
        size = 1e-4 * states.square().mean().sqrt()
        plus, minus, kept = states + size * axis, states - size * axis, []
        still = torch.zeros(n_points, cell.n_input, dtype=torch.float64)
        for _ in range(N_LAGS + 1):
            kept.append((plus - minus) @ axis / (2 * size))
            plus, minus = cell(plus, still), cell(minus, still)
    return {
        "word_effect": (("shown", "word"), effect, {"units": "logit"}),
        "effect_steps": ((), later, STEPS),
        "decay": (("shown", "lag"), torch.stack(kept, 1), ONE),
        "decay_axis": ("unit", axis, ONE),
        "lag": ("lag", np.arange(N_LAGS + 1), STEPS),
    }


def spread(values: Any, n: int) -> np.ndarray:
    """Return the indices of up to n points whose values are spread evenly over their range."""
    values = np.asarray(values)
    if len(values) == 0:
        return np.zeros(0, dtype=int)
    wanted = np.linspace(values.min(), values.max(), n)
    nearest = np.abs(values[None] - wanted[:, None]).argmin(1)
    return np.array(list(dict.fromkeys(nearest.tolist())), dtype=int)


def frequent(train: Documents) -> np.ndarray:
    """Return the tokens of the words that are frequent enough to compare, most frequent first."""
    counts = word_counts(train)
    tokens = np.arange(len(counts))
    kept = tokens[(counts >= MIN_COUNT) & (tokens >= 2)]
    if len(kept) < 2:
        kept = tokens[(counts >= 1) & (tokens >= 2)]
    return kept[np.argsort(-counts[kept], kind="stable")][:2000]


def n_components(cumulated: np.ndarray, share: float = 0.9) -> int:
    """Return the number of components that hold a share of the variance."""
    return int(np.searchsorted(cumulated, share) + 1)


def at_most(texts: Any, n: int, seed: int) -> Any:
    """Return at most n texts, drawn at random; all for n = 0."""
    if n == 0 or n >= len(texts):
        return texts
    from tractable.core.seeds import derive

    random = np.random.default_rng(derive(seed, "subset", len(texts)))
    return texts.subset(np.sort(random.permutation(len(texts))[:n]))


def word_counts(documents: Documents) -> np.ndarray:
    """Return how often each token occurs."""
    return np.bincount(documents.tokens.ravel(), minlength=len(documents.vocabulary))


def principal_variances(states: Any) -> np.ndarray:
    """Return the shares of variance of the principal components, largest first."""
    import torch

    values = torch.linalg.eigvalsh(torch.cov(states.T)).flip(0).clamp(min=0)
    return (values / values.sum()).numpy()


def sampled_states(visited: Any, labels: np.ndarray, seed: int) -> dict[str, Any]:
    """Return a sample of the visited states, and two texts as paths."""
    import torch

    from tractable.core.seeds import derive

    rows = np.repeat(np.arange(len(labels)), visited.lengths.numpy())
    random = np.random.default_rng(derive(seed, "states"))
    kept = np.sort(random.permutation(len(rows))[:N_STATES])
    longest = [np.flatnonzero(labels == label)[:20] for label in (0, 1)]
    examples = [
        int(group[visited.lengths[torch.as_tensor(group)].argmax()])
        for group in longest
        if len(group)
    ]
    steps = visited.mask[examples][..., None]
    paths = torch.where(steps, visited.states[examples], torch.nan)
    start = visited.initial[examples][:, None]
    return {
        "state": (("sample", "unit"), visited.valid[kept].float(), ONE),
        "state_label": ("sample", labels[rows[kept]], ONE),
        "path": (("example", "time", "unit"), torch.cat([start, paths], 1).float(), ONE),
    }


def threshold_scan(points: Any) -> dict[str, Any]:
    """Return the threshold scan of a point set as variables."""
    scan = points.scan
    return {
        "scan_tol": ("scan", np.asarray(scan.tol), ONE),
        "scan_n_points": ("scan", np.asarray(scan.n_points), ONE),
        "scan_pc_fraction": ("scan", np.asarray(scan.pc1_fraction), ONE),
    }


def unstable_dimensions(points: Any) -> np.ndarray:
    """Return the number of growing modes at each point."""
    modes = points.modes()
    return (modes.eigvals.abs() > 1 + 1e-9).sum(1).numpy() if len(points) else np.zeros(0, int)


def stored_weights(model: nn.Module) -> dict[str, Any]:
    """Return the weights of a model as variables of a dataset."""
    variables = {}
    for name, value in model.state_dict().items():
        plain = "parameter_" + name.replace(".", "_")
        dims = tuple(f"{plain}_{i}" for i in range(value.ndim))
        variables[plain] = (dims, value.numpy(), {"units": "1", "parameter": name})
    return variables


def correlation_of(one: xr.DataArray, other: xr.DataArray) -> float:
    """Return the correlation of two arrays; NaN where one is constant."""
    first, second = one.values.ravel(), other.values.ravel()
    if first.std() == 0 or second.std() == 0:
        return float("nan")
    return float(np.corrcoef(first, second)[0, 1])
