"""Predict neurons from a model's features, bin by bin, up to what their noise allows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from tractable.core.checks import as_floats, check_choice, check_count, check_finite, check_range
from tractable.core.progress import track
from tractable.vision.convrnn.fit_result import FitResult
from tractable.vision.convrnn.image_splits import image_splits
from tractable.vision.convrnn.neural_maps import (
    Fitter,
    Method,
    principal_axes,
    shifted,
    stacked,
)
from tractable.vision.convrnn.recording_layouts import as_plain
from tractable.vision.convrnn.recordings import Recordings, as_recordings
from tractable.vision.convrnn.regressions import LinearMap, candidates
from tractable.vision.convrnn.reliability import correlation, extended

__all__ = ["as_features", "neural_fit"]

COLUMNS = 1000  # responses that are fitted at once
LEAST_SIDE = 3  # images of training and of test

Mapping = Literal["per_bin", "shared", "latency"]
Correct = Literal["data", "both"]


def neural_fit(
    features: Any,
    responses: Any,
    *,
    method: Method = "ridge",
    n_components: int = 25,
    mapping: Mapping = "per_bin",
    splits: int = 10,
    train: float = 0.5,
    groups: ArrayLike | None = None,
    categories: ArrayLike | None = None,
    correct: Correct | None = "data",
    n_halvings: int = 20,
    least_reliability: float = 0.1,
    pca: int | None = None,
    shifts: Iterable[int] | None = None,
    penalties: ArrayLike | None = None,
    seed: int = 0,
    progress: bool = True,
) -> FitResult:
    r"""Fit a linear map from features to responses on some images; score it on the others.

    The score of a neuron in a bin is the correlation r of predicted and measured mean responses
    over the test images. With :math:`\rho` the reliability of the mean over repetitions (C11),

    .. math:: r_\mathrm{data} = \frac{r}{\sqrt{\rho(s_1, s_2)}}, \qquad
        r_\mathrm{both} = \frac{r}{\sqrt{\rho(M_1, M_2)\, \rho(s_1, s_2)}}

    (C19), s the two halves of the repetitions and M the predictions of maps that were fitted to the
    training responses of each half (a ridge with the penalties of the whole). ``both`` also takes
    away what the map lost to the noise of its training responses.

    Parameters
    ----------
    features : array_like, shape (I, p, B) or (I, p); TimeSeries; or B arrays (I, p_b)
        Of the same images in the same order; without bins they do not change in time. A sequence
        of arrays has features of its own in each bin (`layers_to_bins`).
    responses : array_like, shape (I, R, N, B), or Recordings
        Other layouts, lists of trials, and missing repetitions: `Recordings`.
    method : str
        ``ridge``: each neuron's penalty by leaving out images; ``pls``: partial least squares of
        all neurons jointly; ``pls1``: of each neuron.
    n_components : int
        Of partial least squares.
    mapping : str
        ``per_bin``: a map for each bin; ``shared``: one for all bins, so that the dynamics must
        come from the features; ``latency``: one for all bins, of features that are delayed by a
        number of bins, chosen for each neuron on the training images.
    splits, train, groups, categories
        Random splits and the share of training images; see `image_splits`.
    correct : str, optional
        ``data`` or ``both`` as above; None corrects nothing and needs no repetitions.
    n_halvings : int
        Random halvings of the repetitions.
    least_reliability : float
        Neurons whose reliability in a bin is below it are excluded there, and counted.
    pca : int, optional
        Project on so many principal axes of the training images' features first.
    shifts : iterable of int, optional
        Candidates of ``latency``, in bins; default 0 to 6 where there are as many
        bins. The first (or last) features are repeated.
    penalties : array_like, optional
        Of the ridge, > 0; default seventeen over eight decades around the features' scale.
    seed : int
        Decides splits and halvings.
    progress : bool
        Show it on a terminal.

    Returns
    -------
    FitResult
        Scores of each neuron, bin and split, also of the average over time.

    Raises
    ------
    ValueError
        Shapes that do not fit, NaN, fewer than two repetitions with a correction, fewer training
        images than components allow.

    References
    ----------
    Nayebi et al. 2018, arXiv:1807.00053; the form ``both`` is that of its authors' released code.

    Examples
    --------
    >>> from tractable.vision.convrnn import SyntheticNeurons, ar2_latents
    >>> features = ar2_latents(100, 6, 5, seed=0)
    >>> neurons = SyntheticNeurons(n_neurons=8).record(features, n_repeats=40, seed=1)
    >>> fit = neural_fit(features, neurons.recordings, splits=2)
    >>> bool(fit.median()[-1] > 0.8)
    True
    """
    check_choice("method", method, ("ridge", "pls", "pls1"))
    check_choice("mapping", mapping, ("per_bin", "shared", "latency"))
    check_choice("correct", correct, ("data", "both", None))
    check_range("least_reliability", least_reliability, 0.0, 1.0)
    recordings = as_recordings(responses)
    I, _, _, B = recordings.shape
    parts, static = as_features(features, I, B)
    if mapping != "per_bin" and len({part.shape[1] for part in parts}) > 1:
        raise ValueError(
            f"mapping {mapping!r} needs equally many features in all bins, got "
            f"{[part.shape[1] for part in parts]}; use 'per_bin'"
        )
    if pca is not None:
        check_count("pca", pca)
    check_count("n_components", n_components)
    check_count("n_halvings", n_halvings)
    settings = Settings(
        method, n_components, mapping, pca,
        None if penalties is None else candidates(penalties),
        _shifts(shifts, B) if mapping == "latency" else (0,), n_halvings, seed,
    )  # fmt: skip
    pairs = image_splits(I, splits, train=train, groups=groups, categories=categories, seed=seed)
    fewest = min(len(inside) for inside, _ in pairs)
    tested = min(len(outside) for _, outside in pairs)
    if min(fewest, tested) < LEAST_SIDE:
        raise ValueError(
            f"train must leave {LEAST_SIDE} images or more on both sides (a correlation over two "
            f"is 1 or -1), but {train:g} of {I} images gives {fewest} to train on and {tested} to "
            "test"
        )
    if all(np.ptp(recordings.mean()[..., b], axis=0).max() == 0 for b in range(B)):
        raise ValueError(
            "responses must differ between images in one neuron and bin at least, but their means "
            f"over repetitions are all the same ({recordings.mean().flat[0]:g} in the first neuron)"
        )
    if method != "ridge" and n_components >= fewest:
        raise ValueError(
            f"n_components must be below the number of training images, {fewest}, got "
            f"{n_components}"
        )
    both = correct == "both"
    averaged = recordings.over_time()
    whole = [np.mean(parts, 0)] if len({p.shape for p in parts}) == 1 else [np.hstack(parts)]
    found = [
        (_split(parts, static, recordings, pair, settings, both),
         _split(whole, True, averaged, pair, settings, both))
        for pair in track(pairs, "fits to neurons", show=progress)
    ]  # fmt: skip
    score, maps, halves, shift = (np.stack(v, -1) for v in zip(*(a for a, _ in found), strict=True))
    s_avg, m_avg, h_avg, _ = (np.stack(v, -1) for v in zip(*(b for _, b in found), strict=True))
    reliable = average_reliable = None
    if correct is not None:
        reliable = recordings.reliability(n_halvings=n_halvings, seed=seed)
        average_reliable = averaged.reliability(n_halvings=n_halvings, seed=seed)
    result = corrected(score, reliable, maps, halves, least_reliability, both)
    average = corrected(s_avg, average_reliable, m_avg, h_avg, least_reliability, both)
    return FitResult(
        *result,
        average_score=s_avg[:, 0],
        average_ceiling=average[1][:, 0],
        average_corrected=average[2][:, 0],
        shift=shift,
        time_ms=recordings.time_ms,
        neurons=recordings.neurons,
        areas=recordings.areas,
        method=method,
        mapping=mapping,
        correct=correct or "none",
    )


@dataclass(frozen=True)
class Settings:
    """What all splits share."""

    method: Method
    n_components: int
    mapping: Mapping
    pca: int | None
    penalties: np.ndarray | None
    shifts: tuple[int, ...]
    n_halvings: int
    seed: int


def _split(
    parts: Sequence[np.ndarray],
    static: bool,
    recordings: Recordings,
    pair: tuple[np.ndarray, np.ndarray],
    settings: Settings,
    both: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return scores, agreement of the halves' maps and of the halves, and the shifts chosen."""
    inside, outside = pair
    mean = recordings.mean()
    predict = _Maps(parts, static, inside, outside, mean[inside], settings)
    (predicted,) = predict([mean[inside]])
    score = correlation(predicted, mean[outside])
    maps = halves = np.full(score.shape, np.nan)
    if both:
        agree: list[list[np.ndarray]] = []
        pairs = list(recordings.halves(settings.n_halvings, settings.seed))
        at_once = max(1, COLUMNS // (2 * mean.shape[1]))
        for start in range(0, len(pairs), at_once):
            several = pairs[start : start + at_once]
            found = predict([half[inside] for pair_ in several for half in pair_])
            for k, (a, b) in enumerate(several):
                one, two = found[2 * k : 2 * k + 2]
                agree.append([correlation(one, two), correlation(a[outside], b[outside])])
        r = extended(np.mean(agree, 0), recordings.lengths[:, None])
        maps, halves = r[0], r[1]
    return score, maps, halves, predict.chosen


class _Maps:
    """From training responses (images, N, B) to predictions of the test images, (images, N, B)."""

    def __init__(
        self,
        parts: Sequence[np.ndarray],
        static: bool,
        inside: np.ndarray,
        outside: np.ndarray,
        mean: np.ndarray,
        settings: Settings,
    ) -> None:
        self.penalty: dict[int, Any] = {}
        self.fits: list[tuple[Fitter, list[np.ndarray]]] = []
        s = settings
        shared = s.mapping != "per_bin"
        self.shared, self.static = shared, static and not shared
        groups = [shifted(parts, shift) for shift in s.shifts] if shared else (
            [[parts[0]]] if static else [[part] for part in parts]
        )  # fmt: skip
        for group in groups:
            rows = stacked(group, inside)
            tests = [part[outside] for part in group]
            if s.pca is not None:
                center, axes = principal_axes(rows, s.pca)
                rows, tests = (rows - center) @ axes, [(test - center) @ axes for test in tests]
            fitter = Fitter(
                rows, s.method, s.n_components, len(group) if shared else 1, s.penalties
            )
            self.fits.append((fitter, tests))
        self.chosen = np.zeros(mean.shape[1], dtype=int)
        self.which = np.zeros(mean.shape[1], dtype=int)
        if len(s.shifts) > 1:
            Y = self._rows(mean)
            self.which = np.argmin([fitter.error(Y) for fitter, _ in self.fits], 0)
            self.chosen = np.array(s.shifts)[self.which]

    def _rows(self, responses: np.ndarray) -> np.ndarray:
        return responses.transpose(0, 2, 1).reshape(-1, responses.shape[1])

    def __call__(self, several: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return predictions for each of several training responses (images, N, B)."""
        if len(several) == 1 or self.fits[0][0].method == "pls":
            return [self._predict(one, self.which) for one in several]
        # Responses do not see one another: all of them at once.
        together = self._predict(np.concatenate(several, 1), np.tile(self.which, len(several)))
        return np.split(together, len(several), 1)

    def _fitted(self, key: int, fitter: Fitter, responses: np.ndarray) -> LinearMap:
        """Return a map; after the first one, of the mean, with the penalties of that.

        With its penalty fixed a map is linear in the responses: that of the mean is the mean of
        those of two halves, as (C11) takes it to be.
        """
        if self.penalty.get(key) is None:
            fitted = fitter.fit(responses)
            self.penalty[key] = fitted.penalty
            return fitted
        known = self.penalty[key]
        return fitter.fit(responses, np.tile(known, responses.shape[1] // len(known)))

    def _predict(self, responses: np.ndarray, which: np.ndarray) -> np.ndarray:
        N, B = responses.shape[1:]
        if not self.shared:
            if self.static:  # one decomposition for all bins
                fitter, (test,) = self.fits[0]
                if fitter.method != "pls":
                    flat = self._fitted(0, fitter, responses.reshape(len(responses), N * B))(test)
                    return flat.reshape(len(test), N, B)
                return np.stack([fitter.fit(responses[..., b])(test) for b in range(B)], 2)
            return np.stack(
                [
                    self._fitted(b, fitter, responses[..., b])(test)
                    for b, (fitter, (test,)) in enumerate(self.fits)
                ],
                2,
            )
        Y = self._rows(responses)
        out = np.empty((len(self.fits[0][1][0]), N, B))
        for k in np.unique(which):
            own = np.flatnonzero(which == k)
            fitter, tests = self.fits[k]
            fitted = self._fitted(int(k), fitter, Y[:, own])
            for b, test in enumerate(tests):
                out[:, own, b] = fitted(test)
        return out


def corrected(
    score: np.ndarray,
    reliable: np.ndarray | None,
    maps: np.ndarray,
    halves: np.ndarray,
    least: float,
    both: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the score, the ceiling, the corrected score (NaN where excluded), and what is."""
    if reliable is None:
        nothing = np.zeros(score.shape[:2], dtype=bool)
        return score, np.full(score.shape[:2], np.nan), score, nothing
    excluded = reliable < least
    ceiling = np.sqrt(np.where(excluded, np.nan, reliable))
    if not both:
        return score, ceiling, score / ceiling[..., None], excluded
    product = np.where((maps < least) | (halves < least), np.nan, maps * halves)
    done = score / np.sqrt(np.where(excluded[..., None], np.nan, product))
    return score, ceiling, done, excluded | np.isnan(done).all(-1)


# --- what came in --------------------------------------------------------------------------------


def as_features(
    features: Any,
    n_images: int,
    n_bins: int,
    of: tuple[str, str] = ("responses", "the responses have"),
) -> tuple[list[np.ndarray], bool]:
    """Return the features of each bin, (images, p) each, and whether they are all the same.

    ``of`` says in messages what holds so many images, and so many bins.

    Raises
    ------
    ValueError
        Another number of images or bins, NaN.
    """
    values = features if hasattr(features, "detach") else getattr(features, "values", features)
    if hasattr(features, "valid"):  # a TimeSeries (B, T, C, H, W): time goes last
        values = values.detach().cpu().flatten(2).transpose(1, 2).numpy()
    elif hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    if isinstance(values, list | tuple) and values and np.ndim(as_plain(values[0])) == 2:
        parts = [as_floats("features", as_plain(part)) for part in values]
        static = False
    else:
        F = as_floats("features", values)
        if F.ndim not in (2, 3):
            raise ValueError(f"features must be (images, p, bins) or (images, p), got {F.shape}")
        static = F.ndim == 2 or F.shape[2] == 1
        F = F[:, :, None] if F.ndim == 2 else F
        # contiguous: a bin's features are multiplied many times
        parts = [np.ascontiguousarray(F[:, :, b]) for b in range(F.shape[2])]
        if static:
            parts = parts * n_bins
    if len(parts) != n_bins:
        raise ValueError(
            f"features have {len(parts)} bins, but {of[1]} {n_bins}; a model's steps and the bins "
            "must be aligned (features of one bin do not change in time)"
        )
    for b, part in enumerate(parts):
        if len(part) != n_images or not part.shape[1]:
            raise ValueError(
                f"features must hold the {n_images} images of the {of[0]}, in bin {b} they have "
                f"shape {part.shape}"
            )
        check_finite("features", part)
    return parts, static


def _shifts(shifts: Iterable[int] | None, n_bins: int) -> tuple[int, ...]:
    given = np.asarray([*range(min(7, n_bins))] if shifts is None else as_list(shifts))
    if given.ndim != 1 or (given.size and given.dtype.kind not in "iu"):
        raise ValueError(f"shifts must be whole numbers of bins, got {shifts!r}")
    found = tuple(int(s) for s in given)
    if not found or len(set(found)) < len(found) or max(map(abs, found)) >= n_bins:
        raise ValueError(
            f"shifts must be different numbers of bins, fewer than {n_bins}, got {found}"
        )
    return found


def as_list(values: Any) -> Any:
    """Return a list of what can be listed, anything else as it is."""
    return list(values) if isinstance(values, Iterable) else values
