"""All metrics of several generated samples against the same data, in one table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import ArrayLike

from tractable.walkback.coverage import label_shares, memorization_ratio, prdc
from tractable.walkback.distances import frechet, mmd2, rows, same_dimension, sliced_wasserstein

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Comparison", "Scores", "compare", "score"]


class Classifier(Protocol):
    """What scores images: features and class probabilities, as of `ImageClassifier`."""

    def features(self, x: ArrayLike) -> np.ndarray: ...
    def probabilities(self, x: ArrayLike) -> np.ndarray: ...


@dataclass(frozen=True)
class Scores:
    """Metrics of one sample; NaN where one does not apply.

    Parameters
    ----------
    mmd2, mmd2_se : float
        Squared maximum mean discrepancy from the test data, and its standard error.
    sliced_wasserstein : float
        Units of the data.
    precision, recall, density, coverage : float
        See `prdc`.
    memorization : float
        See `memorization_ratio`; needs the training data.
    frechet, sure, least_label, largest_label, chi2 : float
        Of a classifier's features and labels; see `frechet` and `label_shares`.
    """

    mmd2: float
    mmd2_se: float
    sliced_wasserstein: float
    precision: float
    recall: float
    density: float
    coverage: float
    memorization: float = np.nan
    frechet: float = np.nan
    sure: float = np.nan
    least_label: float = np.nan
    largest_label: float = np.nan
    chi2: float = np.nan


UNITS = {"sliced_wasserstein": "units of the data", "frechet": "squared features"}


def score(
    x: ArrayLike,
    test: ArrayLike,
    train: ArrayLike | None = None,
    *,
    bandwidths: Sequence[float],
    classifier: Classifier | None = None,
    to_images: Callable[[np.ndarray], np.ndarray] | None = None,
    expected: ArrayLike | None = None,
    seed: int = 0,
) -> Scores:
    """Return all metrics of one generated sample.

    Parameters
    ----------
    x, test, train : array_like, shapes (m, n), (l, n), (p, n)
        Generated points, test data, training data.
    bandwidths : sequence of float
        Kernel widths of `mmd2`, fixed beforehand.
    classifier : object with ``features`` and ``probabilities``, optional
        Such as `ImageClassifier`.
    to_images : callable, optional
        From points to what the classifier takes.
    expected : array_like, shape (K,), optional
        Class shares of the data, for `label_shares`.
    seed : int
        Decides the projections of `sliced_wasserstein`.

    Examples
    --------
    >>> random = np.random.default_rng(0)
    >>> x, y = random.normal(size=(2, 300, 2))
    >>> found = score(x, y, bandwidths=[1.0])
    >>> abs(found.mmd2) < 4 * found.mmd2_se, found.coverage > 0.9, found.frechet
    (True, True, nan)
    """
    x, test = rows("x", x, least=4), rows("test", test, least=4)
    same_dimension("x", x, "test", test)
    if train is not None:
        train = rows("train", train)
        same_dimension("x", x, "train", train)
    distance = mmd2(x, test, bandwidths)
    near = prdc(x, test, k=min(5, len(x) - 1, len(test) - 1))
    labels = {}
    if classifier is not None:
        images = to_images or (lambda points: points)
        ours, theirs = classifier.features(images(x)), classifier.features(images(test))
        seen = label_shares(classifier.probabilities(images(x)), expected)
        labels = {
            "frechet": frechet(ours, theirs),
            "sure": seen.sure,
            "least_label": float(seen.shares.min()),
            "largest_label": float(seen.shares.max()),
            "chi2": seen.chi2,
        }
    return Scores(
        distance.value,
        distance.se,
        sliced_wasserstein(x, test, seed=seed),
        near.precision,
        near.recall,
        near.density,
        near.coverage,
        memorization=np.nan if train is None else memorization_ratio(x, test, train),
        **labels,
    )


@dataclass(frozen=True, eq=False)
class Comparison:
    """`Scores` of several samples; see `compare`.

    Parameters
    ----------
    names : tuple of str
        Of the samples.
    scores : tuple of Scores
        One for each.
    """

    names: tuple[str, ...]
    scores: tuple[Scores, ...]

    def __getitem__(self, name: str) -> Scores:
        return self.scores[self.names.index(name)]

    def to_dataset(self) -> xr.Dataset:
        """Return one variable for each metric along the dimension ``sample``."""
        import xarray as xr

        variables = {}
        for field in fields(Scores):
            values = np.array([getattr(row, field.name) for row in self.scores])
            variables[field.name] = ("sample", values, {"units": UNITS.get(field.name, "1")})
        return xr.Dataset(variables, coords={"sample": list(self.names)})

    @classmethod
    def from_dataset(cls, dataset: xr.Dataset) -> Comparison:
        """Return what `to_dataset` wrote."""
        names = tuple(str(name) for name in dataset["sample"].values)
        scores = tuple(
            Scores(**{f.name: float(dataset[f.name].values[i]) for f in fields(Scores)})
            for i in range(len(names))
        )
        return cls(names, scores)


def compare(
    samples: Mapping[str, ArrayLike],
    test: ArrayLike,
    train: ArrayLike | None = None,
    *,
    bandwidths: Sequence[float],
    classifier: Classifier | None = None,
    to_images: Callable[[np.ndarray], np.ndarray] | None = None,
    expected: ArrayLike | None = None,
    seed: int = 0,
) -> Comparison:
    """Return the `Scores` of several samples against the same test data.

    Parameters
    ----------
    samples : mapping of str to array_like
        Name to generated points. Give the training data or another part of the data as a sample:
        it is the floor that no model passes.
    test, train, bandwidths, classifier, to_images, expected, seed
        As for `score`.

    Examples
    --------
    >>> random = np.random.default_rng(0)
    >>> x, y = random.normal(size=(2, 300, 2))
    >>> table = compare({"same": x, "wide": 2 * x}, y, bandwidths=[1.0])
    >>> table["wide"].mmd2 > 5 * table["same"].mmd2_se
    True
    >>> Comparison.from_dataset(table.to_dataset())["wide"].mmd2 == table["wide"].mmd2
    True
    """
    data = rows("test", test, least=4)
    points = {name: rows(f"samples[{name!r}]", x, least=4) for name, x in samples.items()}
    for name, x in points.items():
        same_dimension(f"samples[{name!r}]", x, "test", data)
    scores = tuple(
        score(x, data, train, bandwidths=bandwidths, classifier=classifier, to_images=to_images,
              expected=expected, seed=seed)
        for x in points.values()
    )  # fmt: skip
    return Comparison(tuple(points), scores)
