"""How well a straight cut tells classes apart in the code of a layer."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from tractable.core.checks import check_choice, check_count, check_range
from tractable.core.progress import track
from tractable.vision.retina.errors import check_images
from tractable.vision.retina.gradients import channel_numbers
from tractable.vision.retina.layers import Activations, activations
from tractable.vision.retina.margin import fit_margin

__all__ = ["SeparabilityResult", "separability"]

LEAST = 10  # images of a class
BLOCK = 1024  # features taken to double precision at a time
Pairs = str | Sequence[tuple[int, int]]


@dataclass(frozen=True, eq=False)
class SeparabilityResult:
    """How separable classes are, on images that were not fitted.

    Parameters
    ----------
    score : float
        Mean of ``scores``; 0 is chance, 1 a perfect cut between any two classes.
    scores : ndarray of float64, shape (n_pairs,)
        2 (accuracy - 1/2) of each pair.
    pairs : ndarray of int64, shape (n_pairs, 2)
        The two classes of each pair.
    fitted : ndarray of float64, shape (n_pairs,)
        The score of the fitted images: far above ``scores`` where the cut is overfitted.
    n_fit, n_test : ndarray of int64, shape (n_pairs,)
        Images of each pair.
    converged : ndarray of bool, shape (n_pairs,)
        Whether the cut is the exact minimum.
    standardized : bool
        Whether features had mean 0 and standard deviation 1.
    n_silent : int
        Features that are the same for all images.
    """

    score: float
    scores: np.ndarray
    pairs: np.ndarray
    fitted: np.ndarray
    n_fit: np.ndarray
    n_test: np.ndarray
    converged: np.ndarray
    standardized: bool
    n_silent: int

    @property
    def error(self) -> float:
        """Standard error of ``score`` from the number of tested images, pairs as independent.

        Pairs share images, so it is a lower bound.
        """
        accuracy = 0.5 + self.scores / 2
        variance = 4 * accuracy * (1 - accuracy) / self.n_test
        return float(np.sqrt(variance.sum()) / len(self.scores))

    def to_dataset(self) -> Any:
        """Return an `xarray.Dataset`."""
        import xarray as xr

        one = {"units": "1"}
        per = ("scores", "fitted", "n_fit", "n_test", "converged")
        return xr.Dataset(
            {name: ("pair", getattr(self, name), one) for name in per}
            | {"pairs": (("pair", "side"), self.pairs, one)},
            attrs={
                "score": self.score,
                "standardized": int(self.standardized),
                "n_silent": self.n_silent,
            },
        )

    @classmethod
    def from_dataset(cls, dataset: Any) -> SeparabilityResult:
        """Read what `to_dataset` wrote."""
        per = ("scores", "pairs", "fitted", "n_fit", "n_test")
        return cls(
            score=float(dataset.attrs["score"]),
            converged=dataset["converged"].values.astype(bool),
            standardized=bool(dataset.attrs["standardized"]),
            n_silent=int(dataset.attrs["n_silent"]),
            **{name: dataset[name].values for name in per},
        )


def separability(
    model: Activations,
    layer: str | None,
    images: Tensor,
    labels: Any,
    *,
    pairs: Pairs = "all",
    n_fit: int = 1000,
    C: float = 1.0,
    standardize: bool = False,
    channels: Sequence[int] | None = None,
    through: str = "post",
    batch_size: int = 256,
    progress: bool = False,
) -> SeparabilityResult:
    r"""Return how well linear classifiers tell pairs of classes apart by a layer's activations.

    For each pair a classifier with squared hinge loss is fitted to the first images of both
    classes and scored on the rest: the score is 2 (accuracy - 1/2), (R17).

    Parameters
    ----------
    model : nn.Module, callable or array
        Any network, a function of images, or the activations themselves (n, ...).
    layer : str or None
        Name of a layer; None for a callable or an array, and for the model's own output.
    images : tensor, shape (n, C, H, W)
        Finite. `torch.nn.Identity` as the model gives the separability of the pixels.
    labels : sequence of int, shape (n,)
        Classes, two or more, ten images of each or more.
    pairs : "all" or sequence of (int, int)
        Pairs of classes.
    n_fit : int
        Images of a pair that are fitted at most, half of them of each class; never more than half
        of a class.
    C : float
        How much a violated margin costs, > 0.
    standardize : bool
        Take mean and standard deviation of the fitted images off first. False, as published: then
        the scale of the activations decides how strongly the classifier is shrunk.
    channels : sequence of int, optional
        Channels of the layer that are used; all by default.
    through : str
        As for `capture`.
    batch_size : int
        Images of one pass.
    progress : bool
        Show a bar.

    Returns
    -------
    SeparabilityResult

    Raises
    ------
    ValueError
        Unknown layer, class or channel, a class with too few images, NaN.

    Notes
    -----
    The classifier is that of liblinear (offset shrunk like a weight), found exactly by Newton's
    method from the Gram matrix of a pair: no warning of missing convergence, whatever the scale.

    References
    ----------
    Lindsey, Ocko, Ganguli, Deny 2019, arXiv:1901.00945, figure 3.

    Examples
    --------
    >>> import torch
    >>> _ = torch.manual_seed(0)
    >>> labels = torch.arange(2).repeat(100)
    >>> images = torch.rand(200, 1, 4, 4) / 2 + labels[:, None, None, None] / 2
    >>> separability(torch.nn.Identity(), None, images, labels).score
    1.0
    """
    check_images("images", images, finite=True)
    check_count("n_fit", n_fit, 2)
    check_range("C", C, 0.0, open_low=True)
    y = np.asarray(labels)
    if y.shape != (len(images),) or y.dtype.kind not in "iu":
        raise ValueError(
            f"labels must be one integer per image, got {y.dtype} of shape {y.shape} for "
            f"{len(images)} images"
        )
    classes = np.unique(y).tolist()
    wanted = _pairs(pairs, classes)
    parts = {}
    for one in sorted({c for pair in wanted for c in pair}):
        rows = np.flatnonzero(y == one)
        if len(rows) < LEAST:
            raise ValueError(
                f"labels must give {LEAST} images of each class or more, got {len(rows)} of "
                f"class {one}"
            )
        parts[one] = rows, min(n_fit // 2, len(rows) // 2)
    code = activations(
        model, layer, images, through=through, batch_size=batch_size,
        select=lambda u: _chosen(u, channels).flatten(1),
    ).numpy()  # fmt: skip
    fitted = np.concatenate([rows[:cut] for rows, cut in parts.values()])
    used = np.concatenate([rows for rows, _ in parts.values()])
    mean, scale = _scale(code, fitted, standardize)

    @functools.cache
    def own(one: int) -> np.ndarray:
        return _gram(code, *parts[one], *parts[one], mean, scale)

    outcomes: list[tuple[Any, ...]] = []
    for a, b in track(wanted, "separability", show=progress):
        gram = np.block(
            [
                [own(a), _gram(code, *parts[a], *parts[b], mean, scale)],
                [_gram(code, *parts[b], *parts[a], mean, scale), own(b)],
            ]
        )
        (n_a, cut_a), (n_b, cut_b) = ((len(found), cut) for found, cut in (parts[a], parts[b]))
        sign = np.repeat([-1.0, 1.0], [n_a, n_b])
        fit = np.concatenate([np.arange(n_a) < cut_a, np.arange(n_b) < cut_b])
        found = fit_margin(gram[fit], sign[fit], C)
        right = (gram @ found.weights > 0) == (sign > 0)
        # classes of unequal size count equally, so that always the larger one scores 0
        each = [
            np.mean([right[part & (sign == s)].mean() for s in (-1, 1)]) for part in (~fit, fit)
        ]
        outcomes.append(
            (2 * each[0] - 1, 2 * each[1] - 1, fit.sum(), (~fit).sum(), found.converged)
        )
    score, fit_score, n_fits, n_tests, converged = (
        np.array(column) for column in zip(*outcomes, strict=True)
    )
    silent = int((code[used] == code[used[:1]]).all(0).sum())
    return SeparabilityResult(
        float(score.mean()), score, np.array(wanted), fit_score, n_fits, n_tests, converged,
        standardize, silent,
    )  # fmt: skip


def _pairs(pairs: Pairs, classes: list[int]) -> list[tuple[int, int]]:
    if len(classes) < 2:
        raise ValueError(f"labels must hold two classes or more, got {classes}")
    if isinstance(pairs, str):
        check_choice("pairs", pairs, ("all",))
        return list(itertools.combinations(classes, 2))
    if not isinstance(pairs, Iterable):
        raise TypeError(f"pairs must be 'all' or a list of pairs of classes, got {pairs!r}")
    found = []
    for pair in pairs:
        two = list(pair) if isinstance(pair, Iterable) else []
        if len(two) != 2 or two[0] == two[1] or any(one not in classes for one in two):
            raise ValueError(f"pairs must be two different classes of {classes}, got {pair!r}")
        found.append((int(two[0]), int(two[1])))
    if not found:
        raise ValueError("pairs must name one pair or more, got none")
    return found


def _chosen(u: Tensor, channels: Sequence[int] | None) -> Tensor:
    if channels is None:
        return u
    return u[:, channel_numbers("channels", channels, u.shape[1])]


def _scale(code: np.ndarray, rows: np.ndarray, standardize: bool) -> tuple[Any, Any]:
    if not standardize:
        return 0.0, 1.0
    fitted = code[rows].astype(np.float64)
    deviation = fitted.std(0)
    deviation[deviation == 0] = 1.0
    return fitted.mean(0), deviation


def _gram(
    code: np.ndarray, left: np.ndarray, _: int, right: np.ndarray, cut: int, mean: Any, scale: Any
) -> np.ndarray:
    """Return 1 + inner products of all rows of a class with the fitted ones of another."""
    gram = np.ones((len(left), cut))
    for start in range(0, code.shape[1], BLOCK):
        block = slice(start, start + BLOCK)
        low, unit = (v[block] if np.ndim(v) else v for v in (mean, scale))
        # in single precision features of large scale would not make a Gram matrix
        a, b = ((code[rows, block].astype(float) - low) / unit for rows in (left, right[:cut]))
        gram += a @ b.T
    return gram
