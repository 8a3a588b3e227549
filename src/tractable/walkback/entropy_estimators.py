"""Entropy production without a density: counted moves, and the uncertainty of a current."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from tractable.core.checks import check_shape
from tractable.walkback.chain_records import Records, jackknife

Current = Callable[[Tensor, Tensor], Tensor]


def counted_rate(
    records: Records, projection: Tensor | None, bins: int, pseudo: float
) -> tuple[float, float, float]:
    r"""Return the corrected and the raw rate from counted moves between cells, and its error.

    Under detailed balance each of the n moves between two cells goes either way with probability
    1/2: the mean of what such a pair adds is known exactly, and is taken off.
    """
    before, after = torch.stack(records.before), torch.stack(records.after)  # (steps, chains, n)
    n = before.shape[-1]
    if projection is None:
        turn = torch.eye(n, min(n, 2), dtype=before.dtype)
    else:
        turn = torch.as_tensor(projection).to(before)
        if turn.ndim != 2 or turn.shape[0] != n or turn.shape[1] not in (1, 2):
            raise ValueError(
                f"projection must have shape ({n}, 1) or ({n}, 2), got {tuple(turn.shape)}"
            )
    cells = []
    edges = [np.quantile(x, np.linspace(0, 1, bins + 1)[1:-1])
             for x in (before @ turn).reshape(-1, turn.shape[1]).T.numpy()]  # fmt: skip
    for states in (before, after):
        flat = (states @ turn).numpy()
        index = np.zeros(flat.shape[:2], dtype=np.int64)
        for k, cut in enumerate(edges):
            index = index * bins + np.searchsorted(cut, flat[..., k])
        cells.append(index)
    n_cells = bins ** turn.shape[1]

    def rates(chains: np.ndarray) -> tuple[float, float]:
        codes = (cells[0] * n_cells + cells[1])[:, chains].ravel()
        counts = np.bincount(codes, minlength=n_cells**2).reshape(n_cells, n_cells).astype(float)
        total = counts.sum()
        forth, back = counts, counts.T
        seen = (forth + back > 0) & ~np.eye(n_cells, dtype=bool)
        seen &= (forth > 0) & (back > 0) if pseudo == 0 else True
        ratio = np.log((forth[seen] + pseudo) / (back[seen] + pseudo))
        raw = float((forth[seen] / total * ratio).sum())
        moves = (forth + back)[seen].astype(np.int64)
        return raw - float(chance[moves].sum()) / 2 / total, raw  # each pair is there twice

    chance = _chance(cells[0].size, pseudo)
    every = np.ones(before.shape[1], dtype=bool)
    corrected, raw = rates(every)
    return corrected, raw, jackknife(lambda chains: rates(chains)[0], before.shape[1])


def _chance(most: int, pseudo: float) -> np.ndarray:
    """Return E[(2 k - n) log(k / (n - k))] for k heads of n fair coins, n = 0 ... most."""
    from scipy.stats import binom

    exact = min(most, 300)
    out = np.full(most + 1, 2.0)
    for n in range(exact + 1):
        k = np.arange(n + 1) if pseudo else np.arange(1, n)
        ratio = np.log((k + pseudo) / (n - k + pseudo))
        out[n] = float((binom.pmf(k, n, 0.5) * (2 * k - n) * ratio).sum())
    return out


def current_bound(records: Records, current: Current | None) -> tuple[float, float]:
    r"""Return the lower bound log(1 + 2 <J>^2 / Var J) and its error."""
    before, after = torch.stack(records.before), torch.stack(records.after)
    steps, chains, n = before.shape
    if current is not None:
        j = current(before.flatten(0, 1), after.flatten(0, 1))
        check_shape("current(s, s')", j.shape, (steps * chains,))
        back = current(after.flatten(0, 1)[:100], before.flatten(0, 1)[:100])
        if not torch.allclose(back, -j[:100], atol=1e-6 * float(j.abs().max() + 1e-12)):
            raise ValueError("current must be antisymmetric: J(s, s') = -J(s', s)")
        values = j.reshape(steps, chains).double().numpy()
    else:
        if n < 2:
            raise ValueError("method='tur' needs a current for states of one dimension")
        first, second = torch.triu_indices(min(n, 8), min(n, 8), 1)
        areas = (before[..., first] * after[..., second]
                 - before[..., second] * after[..., first]).numpy()  # fmt: skip
        half = chains // 2
        learn = areas[:, :half].reshape(-1, areas.shape[-1])
        cov = np.atleast_2d(np.cov(learn.T))
        weights = np.linalg.solve(cov + 1e-9 * np.trace(cov) * np.eye(len(cov)), learn.mean(0))
        values = areas[:, half:] @ weights

    def bound(kept: np.ndarray) -> float:
        part = values[:, kept]
        return math.log1p(2 * part.mean() ** 2 / max(part.var(), 1e-300))

    n_chains = values.shape[1]
    return bound(np.ones(n_chains, dtype=bool)), jackknife(bound, n_chains)
