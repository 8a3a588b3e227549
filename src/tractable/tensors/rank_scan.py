"""Which rank? Evidence, held-out entries, and whether restarts agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tractable.core.checks import check_count, check_range, quiet
from tractable.core.progress import track
from tractable.tensors.amp import amp
from tractable.tensors.metrics import factor_match_score
from tractable.tensors.observations import check_noise_by, unmasked
from tractable.tensors.priors import Prior

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["RankScan", "rank_scan", "speckled_mask"]


@dataclass(frozen=True, eq=False)
class RankScan:
    """One row for each rank."""

    rank: np.ndarray
    """Ranks, (R,)."""
    log_evidence: np.ndarray
    """Largest log evidence of the starts, nats, (R,)."""
    held_out: np.ndarray
    """Mean log-likelihood of a held-out entry, nats, (R,)."""
    held_out_error: np.ndarray
    """Mean squared error of held-out entries over their mean square, (R,)."""
    similarity: np.ndarray
    """Factor match score of every start with the best one, (R, starts); NaN for that one."""
    noise: np.ndarray
    """Learned noise variance of an entry, (R,)."""

    @property
    def best(self) -> int:
        """The rank that predicts held-out entries best."""
        return int(self.rank[int(np.argmax(self.held_out))])

    def to_dataset(self) -> xr.Dataset:
        """Return the table as a dataset."""
        import xarray as xr

        nat, one = {"units": "nat"}, {"units": "1"}
        return xr.Dataset(
            {
                "log_evidence": ("rank", self.log_evidence, nat),
                "held_out": ("rank", self.held_out, nat),
                "held_out_error": ("rank", self.held_out_error, one),
                "similarity": (("rank", "start"), self.similarity, one),
                "noise": ("rank", self.noise, {"units": "squared units of the array"}),
            },
            coords={"rank": self.rank},
            attrs={"result": "RankScan"},
        )

    @classmethod
    def from_dataset(cls, dataset: xr.Dataset) -> RankScan:
        """Return the table that `to_dataset` wrote."""
        name = dataset.attrs.get("result")
        if name != "RankScan":
            raise ValueError(f"dataset must hold a RankScan, got {name or 'no result name'}")
        names = ("rank", "log_evidence", "held_out", "held_out_error", "similarity", "noise")
        return cls(*(dataset[key].values for key in names))


def speckled_mask(shape: Sequence[int], share: float, seed: int = 0) -> np.ndarray:
    """Return a mask that is False at a random share of single entries, which are held out.

    Examples
    --------
    >>> round(float(1 - speckled_mask((20, 20, 20), 0.05).mean()), 2)
    0.05
    """
    check_range("share", share, 0, 1, open_low=True, open_high=True)
    return np.random.default_rng(seed).random(tuple(shape)) >= share


def rank_scan(
    Y: Any,
    ranks: Sequence[int],
    *,
    n_starts: int = 4,
    holdout: float = 0.05,
    priors: Prior | str | Sequence[Prior | str] = "gaussian",
    mask: Any = None,
    seed: int = 0,
    progress: bool = True,
    **settings: Any,
) -> RankScan:
    """Decompose an array at several ranks, each from several starts, with entries held out.

    Parameters
    ----------
    Y : array_like, shape (N_1, .., N_p)
        In memory; NaN is missing.
    ranks : sequence of int
        Ranks to try.
    n_starts : int
        Starts of each, computed side by side.
    holdout : float
        Share of single entries that are held out.
    priors, mask, seed, progress
        As of `amp`.
    **settings
        Handed to `amp`.

    Examples
    --------
    >>> from tractable.tensors import SpikedTensor
    >>> Y = SpikedTensor((40, 40, 40), 2, "gaussian(0.5)", noise=0.01).sample(0).Y
    >>> rank_scan(Y, (1, 2), n_starts=1, progress=False).best
    2
    """
    ranks = [int(ranks)] if isinstance(ranks, int | np.integer) else list(ranks)
    if not ranks:
        raise ValueError("ranks must hold at least one rank, got none")
    for rank in ranks:
        check_count("ranks", rank)
    check_count("n_starts", n_starts)
    array = unmasked(Y.detach().cpu() if hasattr(Y, "detach") else Y)
    by = check_noise_by(settings.get("noise_by"), array.ndim)
    if array.dtype.kind == "f" and np.isinf(array).any():
        raise ValueError(f"Y must not hold infinity, got {int(np.isinf(array).sum())} entries")
    present = np.isfinite(array) if array.dtype.kind == "f" else np.ones(array.shape, bool)
    if mask is not None:
        present &= np.asarray(mask, bool)
    train = present & speckled_mask(array.shape, holdout, seed)
    test = np.nonzero(present & ~train)
    rows = []
    for rank in track(list(ranks), "ranks", show=progress):
        last: dict[str, Any] = {}
        with quiet():
            fit = amp(
                array, int(rank), priors=priors, mask=train, n_starts=n_starts, seed=seed,
                callback=last.update, progress=False, **settings,
            )  # fmt: skip
        starts = [[x[s].numpy() for x in last["factors"]] for s in range(len(fit.all_evidence))]
        alike = [
            np.nan if s == fit.start else factor_match_score(start, starts[fit.start])
            for s, start in enumerate(starts)
        ]
        residual = array[test].astype(float) - fit.predict(test)
        v: Any = fit.noise_variance
        if fit.noise_slices is not None and by is not None:
            v = fit.noise_slices[test[by]]
        score = float(np.mean(-0.5 * np.log(2 * np.pi * v) - residual**2 / (2 * v)))
        error = float(np.mean(residual**2) / np.mean(array[test].astype(float) ** 2))
        rows.append((fit.log_evidence, score, error, alike, fit.noise_variance))
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    return RankScan(np.array(list(ranks)), *columns)
