"""When is each image solved: the time at which its object is read out as well as it is named."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from tractable.core.checks import as_floats, check_finite, check_range
from tractable.core.progress import track
from tractable.vision.convrnn.image_splits import image_splits
from tractable.vision.convrnn.neural_fit import as_features
from tractable.vision.convrnn.recordings import Recordings

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "OST",
    "OSTComparison",
    "crossing_times",
    "d_prime",
    "object_solution_times",
]

Split = tuple[np.ndarray, np.ndarray]


def d_prime(
    hits: ArrayLike, n_hits: ArrayLike, false_alarms: ArrayLike, n_false_alarms: ArrayLike
) -> np.ndarray:
    r"""Return the sensitivity of detection from counts.

    .. math:: d' = Z(\mathrm{hit\ rate}) - Z(\mathrm{false\ alarm\ rate})

    (C20), Z the normal quantile; a rate of n trials is kept in
    :math:`[\frac1{2n}, 1 - \frac1{2n}]`, so that d' is finite.

    Parameters
    ----------
    hits, false_alarms : array_like
        Counts, >= 0; any shapes that broadcast.
    n_hits, n_false_alarms : array_like
        Trials; NaN comes back where one of them is 0.

    Examples
    --------
    >>> float(d_prime(84, 100, 16, 100))
    1.99
    >>> float(d_prime(100, 100, 0, 100))
    5.15
    """
    from scipy.special import ndtri

    z = []
    for name, counts, trials in (
        ("hits", hits, n_hits), ("false_alarms", false_alarms, n_false_alarms)
    ):  # fmt: skip
        k, n = as_floats(name, counts), as_floats(f"n_{name}", trials)
        check_finite(name, k)
        check_finite(f"n_{name}", n)
        if (k < 0).any() or (k > n).any():
            raise ValueError(f"{name} must be between 0 and n_{name}")
        safe = np.where(n > 0, n, np.nan)
        z.append(ndtri(np.clip(k / safe, 0.5 / safe, 1.0 - 0.5 / safe)))
    return z[0] - z[1]


def crossing_times(d: ArrayLike, target: ArrayLike, time_ms: ArrayLike) -> np.ndarray:
    """Return when each image's d' first reaches its target, by linear interpolation.

    Parameters
    ----------
    d : array_like, shape (I, B)
        Sensitivity in each bin; NaN counts as not reached.
    target : float or array_like, shape (I,)
        What must be reached; NaN gives NaN.
    time_ms : array_like, shape (B,)
        Times of the bins, increasing.

    Returns
    -------
    ndarray, shape (I,)
        The first bin's time where it is reached there already; NaN where it never is.

    Examples
    --------
    >>> crossing_times([[0.0, 1.0, 3.0], [0.0, 0.5, 0.9]], 2.0, [70, 80, 90]).tolist()
    [85.0, nan]
    """
    D, t = as_floats("d", d), as_floats("time_ms", time_ms)
    check_finite("time_ms", t)
    if D.ndim != 2 or t.shape != D.shape[1:]:
        raise ValueError(f"d must be (images, bins) with a time_ms each, got {D.shape}, {t.shape}")
    if len(t) > 1 and (np.diff(t) <= 0).any():
        raise ValueError("time_ms must increase")
    wanted = np.broadcast_to(as_floats("target", target), (len(D),))
    reached = np.nan_to_num(D, nan=-np.inf) >= wanted[:, None]
    at = reached.argmax(1)
    rows = np.arange(len(D))
    before = np.maximum(at - 1, 0)
    low, high = D[rows, before], D[rows, at]
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where((at == 0) | ~np.isfinite(low), 1.0, (wanted - low) / (high - low))
    times = t[before] + share * (t[at] - t[before])
    return np.where(reached.any(1), times, np.nan)


@dataclass(frozen=True)
class OSTComparison:
    """How two sets of solution times agree.

    Parameters
    ----------
    spearman : float
        Rank correlation over the images that both solve; NaN below three of them.
    share_solved : float
        Share of the images that the reference solves which the other solves, too.
    n_both : int
        Images that both solve.
    """

    spearman: float
    share_solved: float
    n_both: int


@dataclass(frozen=True, eq=False)
class OST:
    """Object solution times.

    Parameters
    ----------
    times_ms : ndarray, shape (images,)
        NaN where an image is never solved.
    d_prime : ndarray, shape (images, bins)
        Pooled over the splits.
    target : ndarray, shape (images,)
        What had to be reached.
    time_ms : ndarray, shape (bins,)
        Times of the bins.
    accuracy : ndarray, shape (bins,)
        Share of test images whose largest margin is that of their class.
    split_times_ms : ndarray, shape (images, splits)
        By each split alone; NaN also where the image was not in its test.
    """

    times_ms: np.ndarray
    d_prime: np.ndarray
    target: np.ndarray
    time_ms: np.ndarray
    accuracy: np.ndarray
    split_times_ms: np.ndarray

    @property
    def solved(self) -> np.ndarray:
        """Whether each image is solved at all."""
        return ~np.isnan(self.times_ms)

    def compare(self, reference: OST) -> OSTComparison:
        """Return the agreement with the times of a reference, such as IT."""
        if len(reference.times_ms) != len(self.times_ms):
            raise ValueError(
                f"reference must hold the same {len(self.times_ms)} images, got "
                f"{len(reference.times_ms)}"
            )
        from scipy.stats import spearmanr

        both = self.solved & reference.solved
        rho = np.nan
        if both.sum() >= 3 and min(np.ptp(x.times_ms[both]) for x in (self, reference)) > 0:
            rho = spearmanr(self.times_ms[both], reference.times_ms[both]).statistic
        n = int(reference.solved.sum())
        return OSTComparison(float(rho), both.sum() / n if n else np.nan, int(both.sum()))

    def to_dataset(self) -> xr.Dataset:
        """Return all fields as an `xarray.Dataset`."""
        import xarray as xr

        one, ms = {"units": "1"}, {"units": "ms"}
        return xr.Dataset(
            {
                "times_ms": ("image", self.times_ms, ms),
                "d_prime": (("image", "bin"), self.d_prime, one),
                "target": ("image", self.target, one),
                "accuracy": ("bin", self.accuracy, one),
                "split_times_ms": (("image", "split"), self.split_times_ms, ms),
            },
            coords={"bin": ("bin", self.time_ms, ms)},
        )

    @classmethod
    def from_dataset(cls, dataset: xr.Dataset) -> OST:
        """Return what `to_dataset` stored."""
        names = ("times_ms", "d_prime", "target", "bin", "accuracy", "split_times_ms")
        return cls(*(dataset[name].values for name in names))


def object_solution_times(
    features: Any,
    labels: ArrayLike,
    target_accuracy: float | ArrayLike,
    time_ms: ArrayLike,
    *,
    splits: int = 10,
    train: float = 0.5,
    C: float = 1.0,
    seed: int = 0,
    progress: bool = True,
) -> OST:
    """Return when each image's object can be read out as well as a subject names it.

    In each bin a linear support vector machine (one class against the rest) is trained on some
    images. A test image is hit as often as its own class has a larger margin than another class;
    false alarms are images of the other classes for which that class has a larger margin than
    their own. Their d' (C20), pooled over the splits, is followed in time.

    Parameters
    ----------
    features : array_like, shape (I, p, B) or (I, p); TimeSeries; B arrays (I, p_b); or Recordings
        Of recordings, machines are trained on the mean over repetitions, and every repetition of
        a test image is a trial of its own.
    labels : array_like, shape (I,)
        Class of each image, two or more.
    target_accuracy : float or array_like, shape (I,)
        The subjects' d', of all images or of each.
    time_ms : array_like, shape (B,)
        Times of the bins; published: 70, 80, ... 260.
    splits, train : int, float
        Random splits, balanced over the classes, and the share of training images.
    C : float
        Inverse regularization of the machines, > 0, on features scaled to unit mean variance.
    seed : int
        Decides the splits.
    progress : bool
        Show it on a terminal.

    Returns
    -------
    OST

    Raises
    ------
    ValueError
        Another number of images or bins than labels and times, one class only, a class with too few
        images for a split, NaN.
    TypeError
        Labels of several kinds.

    References
    ----------
    Kar, Kubilius, Schmidt, Issa, DiCarlo 2019, doi:10.1038/s41593-019-0392-5; Nayebi et al. 2022,
    doi:10.1162/neco_a_01506, figure 3.
    """
    check_range("C", C, 0.0, open_low=True)
    check_finite("C", float(C))
    t = as_floats("time_ms", time_ms)
    if t.ndim != 1:
        raise ValueError(f"time_ms must have one axis, got shape {t.shape}")
    check_finite("time_ms", t)
    y = np.asarray(labels)
    if y.dtype.kind == "f":
        check_finite("labels", y)
    if y.ndim != 1:
        raise ValueError(f"labels must be one for each image, got shape {y.shape}")
    try:
        kinds, which = np.unique(y, return_inverse=True)
    except TypeError:  # names and numbers, or None among them
        found = sorted({type(one).__name__ for one in y})
        raise TypeError(
            f"labels must be numbers or names, all of one kind, got {', '.join(found)}"
        ) from None
    if len(kinds) < 2:
        raise ValueError(
            f"labels must name two classes or more, got {len(kinds)} in {len(y)} images"
        )
    train_parts, trials = _trials(features, len(y), len(t))
    target = as_floats("target_accuracy", target_accuracy)
    if target.shape not in ((), (len(y),)):
        raise ValueError(
            f"target_accuracy must be one number or one for each of {len(y)} images, got "
            f"{target.shape}"
        )
    if np.isinf(target).any() or (target.ndim == 0 and np.isnan(target)):
        raise ValueError("target_accuracy must be finite (NaN leaves single images out)")
    pairs = image_splits(len(y), splits, train=train, categories=which, seed=seed)
    counts = np.zeros((len(t), splits, 4, len(y)))
    right, n_right = np.zeros(len(t)), np.zeros(len(t))
    same = _repeated(train_parts)
    work = [(b, s) for b in range(len(t)) for s in range(splits)]
    for b, s in track(work, "solution times", show=progress):
        if same[b] != b:
            counts[b, s] = counts[same[b], s]
            if not s:
                right[b], n_right[b] = right[same[b]], n_right[same[b]]
            continue
        inside, outside = pairs[s]
        margins = _margins(train_parts[b], trials[b], which, inside, outside, C)
        counts[b, s] = _counts(margins, which, outside, len(y))
        best = margins.argmax(-1) == which[outside][:, None]
        seen = ~np.isnan(margins[..., 0])
        right[b] += (best & seen).sum()
        n_right[b] += seen.sum()
    pooled = d_prime(*counts.sum(1).transpose(1, 0, 2))
    each = d_prime(*counts.transpose(2, 0, 1, 3))  # (bins, splits, images)
    wanted = np.broadcast_to(target, (len(y),)).copy()
    split_times = [crossing_times(each[:, s].T, wanted, t) for s in range(splits)]
    return OST(
        crossing_times(pooled.T, wanted, t),
        pooled.T,
        wanted,
        t,
        right / n_right,
        np.stack(split_times, 1),
    )


# --- one bin and split ---------------------------------------------------------------------------


def _trials(features: Any, n_images: int, n_bins: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return what machines are trained on, (I, p), and the trials of tests, (I, R, p)."""
    if not isinstance(features, Recordings):
        parts, _ = as_features(features, n_images, n_bins, ("labels", "time_ms has"))
        return parts, [part[:, None] for part in parts]
    shape = features.shape
    if shape[0] != n_images or shape[3] != n_bins:
        raise ValueError(
            f"features hold {shape[0]} images and {shape[3]} bins, but there are {n_images} "
            f"labels and {n_bins} bins"
        )
    mean = features.mean()
    single = [np.ascontiguousarray(features.values[..., b], dtype=float) for b in range(n_bins)]
    return [np.ascontiguousarray(mean[..., b]) for b in range(n_bins)], single


def _repeated(parts: Sequence[np.ndarray]) -> list[int]:
    """Return, for each bin, the first bin with the very same features."""
    first: dict[int, int] = {}
    return [first.setdefault(id(part), b) for b, part in enumerate(parts)]


def _margins(
    train_on: np.ndarray,
    trials: np.ndarray,
    which: np.ndarray,
    inside: np.ndarray,
    outside: np.ndarray,
    C: float,
) -> np.ndarray:
    """Return the margin of every class for each trial of the test images, (images, R, K)."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.svm import LinearSVC

    X = train_on[inside]
    center = X.mean(0)
    X = X - center
    size = np.sqrt((X**2).mean()) or 1.0  # of the features as they came: C must not see their span
    if X.shape[1] > len(X):  # the weights lie in the span of the training images
        U, S, Vt = np.linalg.svd(X, full_matrices=False)
        X, axes = U * S, Vt.T
    else:
        axes = np.eye(X.shape[1])
    machine = LinearSVC(C=C, dual=True, random_state=0, max_iter=2000, tol=1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        machine.fit(X / size, which[inside])
    seen = trials[outside]
    n, R, _ = seen.shape
    flat = ((seen.reshape(n * R, -1) - center) @ axes) / size
    gone = np.isnan(flat).any(1)
    margins = machine.decision_function(np.where(gone[:, None], 0.0, flat))
    if margins.ndim == 1:
        margins = np.stack([-margins, margins], 1)
    margins[gone] = np.nan
    return margins.reshape(n, R, -1)


def _counts(margins: np.ndarray, which: np.ndarray, outside: np.ndarray, n: int) -> np.ndarray:
    """Return hits, trials, false alarms and their trials of each image, (4, images)."""
    own = which[outside]
    K = margins.shape[2]
    mine = np.take_along_axis(margins, own[:, None, None], 2)
    with np.errstate(invalid="ignore"):
        wins, loses = mine > margins, margins > mine
    seen = ~np.isnan(margins[..., 0])
    out = np.zeros((4, n))
    out[0, outside] = wins.sum((1, 2))
    out[1, outside] = seen.sum(1) * (K - 1)
    other = own[:, None] != np.arange(K)  # (test images, classes)
    alarms = (loses & seen[..., None]).sum(1) * other
    chances = seen.sum(1)[:, None] * other
    out[2, outside] = alarms.sum(0)[own]
    out[3, outside] = chances.sum(0)[own]
    return out
