"""Responses of neurons to images, with repetitions and time bins, from arrays of any layout."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from tractable.core.checks import as_floats, check_count, check_finite
from tractable.vision.convrnn.recording_layouts import (
    AXES,
    as_plain,
    chosen,
    few,
    gathered,
    in_order,
    milliseconds,
)
from tractable.vision.convrnn.reliability import correlation, extended

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["AXES", "Recordings", "as_recordings"]


@dataclass(frozen=True, eq=False)
class Recordings:
    """Responses (images, repetitions, neurons, bins); a missing repetition is NaN in all bins.

    Parameters
    ----------
    values : ndarray, shape (I, R, N, B)
        Spike counts, rates, or any other numbers. Images may have unequally many repetitions: the
        missing ones are NaN, in all bins of one image, repetition and neuron.
    time_ms : ndarray, shape (B,)
        Start of each bin after the onset of the image.
    neurons : tuple of str
        Names.
    areas : tuple of str
        Area of each neuron, empty where not known.
    images : tuple of str
        Names.

    Raises
    ------
    ValueError
        Infinite entries; NaN in some bins only; a neuron without any repetition of an image.

    Examples
    --------
    >>> recordings = Recordings.from_array(np.ones((6, 3, 5)), axes="image repetition neuron")
    >>> recordings.shape
    (6, 3, 5, 1)
    """

    values: np.ndarray
    time_ms: np.ndarray
    neurons: tuple[str, ...]
    areas: tuple[str, ...]
    images: tuple[str, ...]

    def __post_init__(self) -> None:
        Y = self.values
        if Y.ndim != 4:
            raise ValueError(
                f"responses (values) must have the axes {', '.join(AXES)}, got {Y.shape}"
            )
        if min(Y.shape) < 1 or len(Y) < 4:
            raise ValueError(
                f"responses (values) need 4 images and 1 neuron at least, got {Y.shape}"
            )
        if np.isinf(Y).any():
            raise ValueError("responses (values) must not be infinite")
        gone = np.isnan(Y)
        if (gone.any(3) != gone.all(3)).any():
            i, r, n = np.argwhere(gone.any(3) != gone.all(3))[0]
            raise ValueError(
                f"responses of image {i}, repetition {r}, neuron {n} are NaN in some bins: a "
                "repetition is missing as a whole or not at all"
            )
        count = (~gone[..., 0]).sum(1)
        if not count.all():
            dead = np.flatnonzero((count == 0).all(0))
            if len(dead):
                raise ValueError(f"neurons {few(dead)} are NaN throughout: leave them out")
            i, n = np.argwhere(count == 0)[0]
            raise ValueError(
                f"responses of neuron {n} to image {i} are NaN in all repetitions: leave the "
                "neuron or the image out (keep)"
            )
        for name, wanted in (("images", Y.shape[0]), ("neurons", Y.shape[2]),
                             ("areas", Y.shape[2]), ("time_ms", Y.shape[3])):  # fmt: skip
            if len(getattr(self, name)) != wanted:
                raise ValueError(
                    f"{name} must have {wanted} entries, got {len(getattr(self, name))}"
                )
        check_finite("time_ms", self.time_ms)
        if (np.diff(self.time_ms) <= 0).any():
            raise ValueError(f"time_ms must increase from bin to bin, got {self.time_ms}")

    # --- from what there is ------------------------------------------------------------------

    @classmethod
    def from_array(
        cls,
        values: ArrayLike,
        *,
        axes: str | Sequence[str] = AXES,
        missing: bool = False,
        time_ms: ArrayLike | None = None,
        neurons: Sequence[Any] | None = None,
        areas: Sequence[Any] | None = None,
        images: Sequence[Any] | None = None,
    ) -> Recordings:
        """Take an array whose axes are named.

        Parameters
        ----------
        values : array_like
            Real numbers.
        axes : str or sequence of str
            What its axes are, in their order: ``"image repetition neuron bin"``, or any other
            order; repetition and bin may be absent (then there is one).
        missing : bool
            NaN marks missing repetitions; False refuses it.
        time_ms : array_like, optional
            Start of each bin; default 0, 10, 20, ...
        neurons, areas, images : sequence, optional
            Names; areas default to ``""``.

        Examples
        --------
        >>> Recordings.from_array(np.zeros((7, 20, 4)), axes="neuron image repetition").shape
        (20, 4, 7, 1)
        """
        found = in_order(values, axes)
        if not missing and np.isnan(found).any():
            bad = np.unique(np.argwhere(np.isnan(found))[:, 2])
            raise ValueError(
                f"responses (values) hold NaN, in neurons {few(bad)}; with missing=True of "
                "Recordings.from_array it marks missing repetitions"
            )
        n_images, _, n_neurons, n_bins = found.shape
        return cls(
            found,
            np.arange(n_bins) * 10.0
            if time_ms is None
            else np.atleast_1d(as_floats("time_ms", time_ms)),
            _names("neurons", neurons, n_neurons),
            _names("areas", [""] * n_neurons if areas is None else areas, n_neurons),
            _names("images", images, n_images),
        )

    @classmethod
    def from_trials(
        cls, values: ArrayLike, image_of_trial: Sequence[Any] | np.ndarray, **names: Any
    ) -> Recordings:
        """Take a list of trials, each of one image, in any order and number.

        Parameters
        ----------
        values : array_like, shape (trials, N) or (trials, N, B)
            NaN where a neuron was not recorded.
        image_of_trial : sequence
            Name or number of each trial's image; images are sorted by it.
        **names
            ``time_ms``, ``neurons``, ``areas`` of `from_array`.

        Examples
        --------
        >>> trials = Recordings.from_trials(np.ones((9, 2)), [0, 0, 1, 1, 1, 2, 2, 3, 3])
        >>> trials.shape, trials.n_repetitions[:, 0].tolist()
        ((4, 3, 2, 1), [2, 3, 2, 2])
        """
        filled, kinds = gathered(values, image_of_trial)
        return cls.from_array(filled, missing=True, images=kinds, **names)

    @classmethod
    def from_xarray(
        cls,
        data: xr.DataArray,
        *,
        image: str = "image",
        repetition: str = "repetition",
        neuron: str = "neuron",
        bin: str = "bin",
        missing: bool = False,
    ) -> Recordings:
        """Take a labeled array; its coordinates become names.

        Parameters
        ----------
        data : DataArray
            With the dimensions named below, in any order; repetition and bin may be absent.
        image, repetition, neuron, bin : str
            Its names of the dimensions. Times of the bins are in ms, or in what their attribute
            ``units`` says (s, ms, us).
        missing : bool
            NaN marks missing repetitions.
        """
        wanted = dict(zip((image, repetition, neuron, bin), AXES, strict=True))
        unknown = [str(dim) for dim in data.dims if dim not in wanted]
        if unknown or image not in data.dims or neuron not in data.dims:
            raise ValueError(
                f"data must have the dimensions {', '.join(wanted)} (as named by image=, "
                f"repetition=, neuron=, bin=), got {', '.join(map(str, data.dims))}"
            )

        def labels(dim: str) -> Any:
            return data[dim].values.tolist() if dim in data.coords else None

        return cls.from_array(
            data.values,
            axes=[wanted[str(dim)] for dim in data.dims],
            missing=missing,
            time_ms=milliseconds(data[bin]) if bin in data.dims and bin in data.coords else None,
            neurons=labels(neuron),
            images=labels(image),
            areas=data["area"].values.tolist() if "area" in data.coords else None,
        )

    # --- what it says ------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """Images, repetitions, neurons, bins."""
        return self.values.shape

    @property
    def n_repetitions(self) -> np.ndarray:
        """Repetitions that are there, (images, neurons)."""
        return (~np.isnan(self.values[..., 0])).sum(1)

    @property
    def whole(self) -> bool:
        """Whether no repetition is missing."""
        return not np.isnan(self.values[..., 0]).any()

    @property
    def length(self) -> float:
        """Noise variance of a half's mean over that of the whole mean, averaged over the images.

        That is the factor of (C11); with R repetitions of all images it is R / floor(R / 2). It is
        that of all neurons together, `lengths` that of each.
        """
        n = self.n_repetitions
        return float((1.0 / (n // 2)).mean() / (1.0 / n).mean())

    @property
    def lengths(self) -> np.ndarray:
        """The same of each neuron, (neurons,): they may have unequally many repetitions."""
        n = self.n_repetitions
        return np.asarray((1.0 / (n // 2)).mean(0) / (1.0 / n).mean(0))

    def mean(self) -> np.ndarray:
        """Return the mean over the repetitions that are there, (images, neurons, bins)."""
        average = np.mean if self.whole else np.nanmean
        return average(self.values, 1, dtype=float)

    def over_time(self) -> Recordings:
        """Return the means over the bins, as recordings with one bin."""
        return replace(self, values=self.values.mean(3, keepdims=True), time_ms=self.time_ms[:1])

    def keep(self, *, images: ArrayLike | None = None, neurons: ArrayLike | None = None) -> Any:
        """Return some of the images or neurons, by indices (from the end if negative) or a mask.

        Raises
        ------
        ValueError
            Indices that are not there, a mask of another length, or fewer than 4 images.

        Examples
        --------
        >>> recordings = Recordings.from_array(np.ones((6, 3, 5)), axes="image repetition neuron")
        >>> recordings.keep(neurons=[0, 2]).shape, recordings.keep(images=[0, 1, 2, -1]).images
        ((6, 3, 2, 1), ('0', '1', '2', '5'))
        """
        rows = chosen("images", images, self.shape[0])
        columns = chosen("neurons", neurons, self.shape[2])
        return replace(
            self,
            values=self.values[rows][:, :, columns],
            images=tuple(self.images[i] for i in rows),
            neurons=tuple(self.neurons[i] for i in columns),
            areas=tuple(self.areas[i] for i in columns),
        )

    def halves(
        self, n_halvings: int = 20, seed: int = 0
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield means of two random halves of each image's repetitions, an odd one left out.

        Parameters
        ----------
        n_halvings : int
            Random halvings.
        seed : int
            Decides them. Without missing repetitions all images are halved alike.

        Yields
        ------
        ndarray, ndarray
            (images, neurons, bins) each.

        Raises
        ------
        ValueError
            An image with fewer than two repetitions.
        """
        check_count("n_halvings", n_halvings)
        check_count("seed", seed, 0)
        n, whole = self.n_repetitions, self.whole
        if n.min() < 2:
            i, j = np.argwhere(n < 2)[0]
            raise ValueError(
                "responses must have at least 2 repetitions for a noise ceiling, got "
                f"{n[i, j]} of image {i} (neuron {j}); correct=None scores without one"
            )
        n_images, R = self.shape[:2]
        random = np.random.default_rng(seed)
        if whole:
            for _ in range(n_halvings):
                order, h = random.permutation(R), R // 2
                yield (
                    self.values[:, order[:h]].mean(1, dtype=float),
                    self.values[:, order[h : 2 * h]].mean(1, dtype=float),
                )
            return
        seen, filled = ~np.isnan(self.values[..., 0]), np.nan_to_num(self.values)
        half = (n // 2)[:, None]
        for _ in range(n_halvings):
            keys = np.where(seen, random.random((n_images, R, 1)), 2.0)  # missing ones last
            place = np.argsort(np.argsort(keys, 1), 1)
            one, two = place < half, (place >= half) & (place < 2 * half)
            yield (
                np.einsum("irn,irnb->inb", one / half, filled),
                np.einsum("irn,irnb->inb", two / half, filled),
            )

    def reliability(
        self, *, n_halvings: int = 20, seed: int = 0, images: np.ndarray | None = None
    ) -> np.ndarray:
        """Return the reliability of the mean over repetitions, (neurons, bins): (C11) of halves.

        Parameters
        ----------
        n_halvings : int
            Correlations are averaged over so many random halvings.
        seed : int
            Decides them.
        images : ndarray, optional
            Indices of the images to use.
        """
        rows = chosen("images", images, self.shape[0])
        r = [correlation(a[rows], b[rows]) for a, b in self.halves(n_halvings, seed)]
        return extended(np.mean(r, 0), self.lengths[:, None])

    # --- to and from a file ------------------------------------------------------------------

    def to_dataset(self) -> xr.Dataset:
        """Return values and names as an `xarray.Dataset`."""
        import xarray as xr

        return xr.Dataset(
            {"responses": (AXES, self.values, {"units": "1"})},
            coords={
                "bin": ("bin", self.time_ms, {"units": "ms"}),
                "neuron": list(self.neurons),
                "image": list(self.images),
                "area": ("neuron", list(self.areas)),
            },
        )

    @classmethod
    def from_dataset(cls, dataset: xr.Dataset) -> Recordings:
        """Return what `to_dataset` stored."""
        return cls.from_xarray(dataset["responses"], missing=True)


def as_recordings(responses: Any) -> Recordings:
    """Return the recordings, made of an array (images, repetitions, neurons, bins) if need be."""
    if isinstance(responses, Recordings):
        return responses
    if hasattr(responses, "dims") and hasattr(responses, "coords"):
        return Recordings.from_xarray(responses)
    if isinstance(responses, Mapping):
        raise TypeError("responses must be an array or Recordings, got a mapping")
    found = np.asarray(as_plain(responses))
    if found.ndim != 4:
        raise ValueError(
            "responses must be (images, repetitions, neurons, bins), got shape "
            f"{found.shape}; name other layouts by Recordings.from_array(..., axes=...)"
        )
    return Recordings.from_array(found)


def _names(name: str, given: Sequence[Any] | None, n: int) -> tuple[str, ...]:
    if given is not None and (isinstance(given, str) or not isinstance(given, Iterable)):
        raise TypeError(f"{name} must be {n} names, got {given!r}")
    return tuple(map(str, range(n) if given is None else given))
