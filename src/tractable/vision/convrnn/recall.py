"""Recall of the first digit: movies that no readout of a time average can classify.

A movie shows a digit, then others that distract; the class of the first is asked for at the end.
A network without memory, applied to each frame and read out from an average over time, sees the
same average whichever digit came first: its accuracy has a bound that needs no network.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tractable.core.checks import check_finite, check_range
from tractable.core.seeds import derive, generator

__all__ = [
    "GlimpseTask",
    "RecallTask",
    "digit_parts",
    "movie_batches",
    "permutation_bound",
    "recall_tasks",
]

N_DIGITS_TEST = 500
SPLIT_SEED = 0


@dataclass(frozen=True)
class RecallTask:
    """A movie: the target, then ``n_distractors`` times a gap and a distractor, then a tail.

    Parameters
    ----------
    n_target : int
        Frames that show the target, >= 1.
    n_distractors : int
        Other images, drawn at random with replacement, >= 0.
    n_gap : int
        Blank frames before each distractor, >= 0.
    n_distractor : int
        Frames that show each distractor, >= 1.
    n_tail : int
        Blank frames at the end, >= 0.
    noise : float
        Standard deviation of the Gaussian noise on every pixel of every frame, >= 0.
    blank : float
        Pixels of a blank frame; -1 is the background of the digits, 0 the middle of the range.

    Examples
    --------
    >>> task = RecallTask(n_target=1, n_distractors=3, n_gap=2, n_distractor=1, n_tail=4)
    >>> task.n_frames
    14
    >>> images = torch.zeros(5, 1, 8, 8)
    >>> task.movies(images, images, generator(0)).shape
    torch.Size([5, 14, 1, 8, 8])
    """

    n_target: int = 1
    n_distractors: int = 3
    n_gap: int = 2
    n_distractor: int = 1
    n_tail: int = 4
    noise: float = 0.3
    blank: float = -1.0

    def __post_init__(self) -> None:
        for name, low in (("n_target", 1), ("n_distractors", 0), ("n_gap", 0)):
            check_range(name, getattr(self, name), low)
        for name, low in (("n_distractor", 1), ("n_tail", 0), ("noise", 0)):
            check_range(name, getattr(self, name), low)

    @property
    def n_frames(self) -> int:
        """Frames T of a movie."""
        return self.n_target + self.n_distractors * (self.n_gap + self.n_distractor) + self.n_tail

    @property
    def shown(self) -> tuple[int, ...]:
        """Which image each frame shows: 0 the target, 1, 2, ... the distractors, -1 none."""
        frames = [0] * self.n_target
        for i in range(self.n_distractors):
            frames += [-1] * self.n_gap + [i + 1] * self.n_distractor
        return tuple(frames + [-1] * self.n_tail)

    def movies(self, targets: Tensor, pool: Tensor, random: torch.Generator) -> Tensor:
        """Return movies of shape (n, T, C, H, W).

        Parameters
        ----------
        targets : Tensor, shape (n, C, H, W)
            The first images.
        pool : Tensor, shape (m, C, H, W)
            Where distractors come from.
        random : torch.Generator
            Of the CPU.
        """
        _check_images(targets, pool)
        shape = (len(targets), self.n_frames, *targets.shape[1:])
        movies = torch.full(shape, self.blank, dtype=targets.dtype)
        rows = torch.randint(len(pool), (self.n_distractors, len(targets)), generator=random)
        for t, which in enumerate(self.shown):
            if which >= 0:
                movies[:, t] = targets if which == 0 else pool[rows[which - 1]]
        return movies.add_(torch.randn(movies.shape, generator=random), alpha=self.noise)

    def bound(self, probabilities: Sequence[float] | np.ndarray = (0.1,) * 10) -> float:
        """Return the best accuracy of a readout that does not know the order of the frames.

        Raises
        ------
        ValueError
            Target and distractors are shown for different times: then their frames tell them apart.
        """
        if self.n_distractors and self.n_target != self.n_distractor:
            raise ValueError(
                "the bound needs n_target = n_distractor, got "
                f"{self.n_target} and {self.n_distractor}: the longer image gives itself away"
            )
        return permutation_bound(self.n_distractors, probabilities)


@dataclass(frozen=True)
class GlimpseTask:
    """Glimpses of one image through a small window at random places, then blank frames.

    Parameters
    ----------
    n_glimpses : int
        Frames with a glimpse, >= 1.
    size : int
        Side of the square window, >= 1 pixel.
    n_tail : int
        Blank frames after the last glimpse, >= 0.
    noise : float
        Standard deviation of the Gaussian noise on every pixel of every frame, >= 0.
    blank : float
        Pixels outside the window, and of blank frames.

    Examples
    --------
    >>> task = GlimpseTask(n_glimpses=5, size=3, n_tail=8, noise=0.0, blank=0.0)
    >>> movie = task.movies(torch.ones(1, 1, 8, 8), torch.ones(1, 1, 8, 8), generator(0))
    >>> movie.sum((2, 3, 4)).tolist()
    [[9.0, 9.0, 9.0, 9.0, 9.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]]
    """

    n_glimpses: int = 5
    size: int = 3
    n_tail: int = 8
    noise: float = 0.2
    blank: float = -1.0

    def __post_init__(self) -> None:
        for name, low in (("n_glimpses", 1), ("size", 1), ("n_tail", 0), ("noise", 0)):
            check_range(name, getattr(self, name), low)

    @property
    def n_frames(self) -> int:
        """Frames T of a movie."""
        return self.n_glimpses + self.n_tail

    @property
    def shown(self) -> tuple[int, ...]:
        """Which image each frame shows: 0 the target, -1 none."""
        return (0,) * self.n_glimpses + (-1,) * self.n_tail

    def movies(self, targets: Tensor, pool: Tensor, random: torch.Generator) -> Tensor:
        """Return movies of shape (n, T, C, H, W); ``pool`` is not used."""
        _check_images(targets, pool)
        n, _, height, width = targets.shape
        if self.size > min(height, width):
            raise ValueError(f"size must be at most {min(height, width)}, got {self.size}")
        shape = (n, self.n_glimpses, 1)
        top = torch.randint(height - self.size + 1, shape, generator=random)
        left = torch.randint(width - self.size + 1, shape, generator=random)
        rows, columns = torch.arange(height), torch.arange(width)
        seen_rows = (rows >= top) & (rows < top + self.size)
        seen_columns = (columns >= left) & (columns < left + self.size)
        window = seen_rows[..., :, None] & seen_columns[..., None, :]
        blank = torch.full((), self.blank, dtype=targets.dtype)
        movies = blank.repeat(n, self.n_frames, *targets.shape[1:])
        seen = torch.where(window[:, :, None], targets[:, None], blank)
        movies[:, : self.n_glimpses] = seen
        return movies.add_(torch.randn(movies.shape, generator=random), alpha=self.noise)


def recall_tasks() -> dict[str, RecallTask | GlimpseTask]:
    """Return the variants A (one distractor), B (glimpses, no distractor) and C (three of them).

    Examples
    --------
    >>> {name: task.n_frames for name, task in recall_tasks().items()}
    {'A': 7, 'B': 13, 'C': 14}
    """
    return {
        "A": RecallTask(n_target=2, n_distractors=1, n_gap=1, n_distractor=2, n_tail=2),
        "B": GlimpseTask(n_glimpses=5, size=3, n_tail=8),
        "C": RecallTask(n_target=1, n_distractors=3, n_gap=2, n_distractor=1, n_tail=4),
    }


def permutation_bound(
    n_distractors: int, probabilities: Sequence[float] | np.ndarray = (0.1,) * 10
) -> float:
    r"""Return the best accuracy at naming the first image from the frames without their order.

    Of :math:`d + 1` images, drawn independently from classes of probability :math:`p_c`, each is
    equally likely to have been the first; the best guess is the most frequent class,

    .. math:: E\Big[\max_c \frac{n_c}{d + 1}\Big],
        \quad (n_1, \dots, n_K) \sim \mathrm{Multinomial}(d + 1, p).

    Parameters
    ----------
    n_distractors : int
        d >= 0.
    probabilities : sequence of float, shape (K,)
        Of the classes; they sum to 1.

    Returns
    -------
    float
        Between the largest probability and 1.

    Notes
    -----
    Exact, through :math:`P(\max_c n_c \le m) = (d+1)!\,[z^{d+1}] \prod_c \sum_{j \le m}
    (p_c z)^j / j!`.

    Examples
    --------
    >>> [round(permutation_bound(d), 4) for d in (1, 2, 3, 5)]
    [0.55, 0.43, 0.3835, 0.3366]
    """
    check_range("n_distractors", n_distractors, 0)
    p = np.asarray(probabilities, dtype=float)
    check_finite("probabilities", p)
    if p.ndim != 1 or (p < 0).any() or not math.isclose(p.sum(), 1.0, abs_tol=1e-9):
        raise ValueError(f"probabilities must be >= 0 and sum to 1, got {p.tolist()}")
    n = n_distractors + 1
    at_most = [_largest_count_at_most(p, n, m) for m in range(n)]
    return float(n - sum(at_most)) / n


def _largest_count_at_most(p: np.ndarray, n: int, m: int) -> float:
    """Return P(no class is drawn more than m times in n draws)."""
    series = np.zeros(n + 1)
    series[0] = 1.0
    for probability in p:
        term = np.array([probability**j / math.factorial(j) for j in range(m + 1)])
        series = np.convolve(series, term)[: n + 1]
    return float(math.factorial(n) * series[n])


def digit_parts(*, n_test: int = N_DIGITS_TEST) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return scikit-learn's digits, split at random but always in the same way.

    Parameters
    ----------
    n_test : int
        Test images, 1 .. 1796; the other ones of 1,797 are for training.

    Returns
    -------
    train_images, train_labels, test_images, test_labels : Tensor
        Images (n, 1, 8, 8) in [-1, 1].

    Examples
    --------
    >>> [tuple(part.shape) for part in digit_parts()]
    [(1297, 1, 8, 8), (1297,), (500, 1, 8, 8), (500,)]
    """
    from tractable.data import load_images

    data = load_images("digits")
    check_range("n_test", n_test, 1, len(data) - 1)
    order = np.random.default_rng(SPLIT_SEED).permutation(len(data))
    pixels = data.images.transpose(0, 3, 1, 2).astype(np.float32)
    images = torch.from_numpy(2 * pixels[order] / 255 - 1)
    labels = torch.from_numpy(data.labels[order])
    cut = len(data) - n_test
    return images[:cut], labels[:cut], images[cut:], labels[cut:]


def movie_batches(
    task: RecallTask | GlimpseTask, images: Tensor, labels: Tensor, *, batch_size: int, seed: int
) -> Callable[[int], Iterator[tuple[Tensor, Tensor]]]:
    """Return what `tractable.train.fit` takes as data: new movies of all images in every epoch.

    Parameters
    ----------
    task : RecallTask or GlimpseTask
        What a movie is.
    images, labels : Tensor, shapes (n, C, H, W) and (n,)
        Targets; distractors are drawn from them, too.
    batch_size : int
        1 .. n; images that do not fill a batch are left out.
    seed : int
        Decides everything, together with the epoch.
    """
    check_range("batch_size", batch_size, 1, len(images))

    def epoch(number: int) -> Iterator[tuple[Tensor, Tensor]]:
        random = generator(derive(seed, "movies", number))
        order = torch.randperm(len(images), generator=random)
        for rows in itertools.islice(order.split(batch_size), len(images) // batch_size):
            yield task.movies(images[rows], images, random), labels[rows]

    return epoch


def _check_images(targets: Tensor, pool: Tensor) -> None:
    if targets.ndim != 4 or targets.shape[1:] != pool.shape[1:] or not len(pool):
        raise ValueError(
            "targets and pool must be images of one shape (n, C, H, W), got "
            f"{tuple(targets.shape)} and {tuple(pool.shape)}"
        )
    check_finite("targets", targets)
