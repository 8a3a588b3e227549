"""Public recordings of Brain-Score, as `Recordings`; needs the extra ``brainscore``."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from tractable.vision.convrnn.recordings import Recordings

__all__ = ["load_brainscore", "recordings_of_assembly"]

NAMES = {
    "image": ("stimulus_id", "image_id"),
    "neuron": ("neuroid_id", "neuroid"),
    "area": ("region",),
    "time": ("time_bin_start",),
}


def load_brainscore(
    identifier: str = "MajajHong2015.public", *, area: str | None = None
) -> tuple[Recordings, Any]:
    """Return recordings and the stimulus set of a data set that Brain-Score distributes.

    Parameters
    ----------
    identifier : str
        What ``brainscore_vision.load_dataset`` takes; ``MajajHong2015.temporal.public`` has time
        bins. It is downloaded by that package, under its terms.
    area : str, optional
        Keep neurons of one area, such as ``IT``.

    Returns
    -------
    recordings : Recordings
        Images in the order of their names.
    stimuli : object
        The stimulus set: ``stimuli.get_stimulus(name)`` is the path of an image.

    Raises
    ------
    ImportError
        The extra is not installed.
    ValueError
        Unknown area, or data without the coordinates that are needed.
    """
    try:
        package = importlib.import_module("brainscore_vision")
    except ImportError as error:
        raise ImportError(
            "recordings of Brain-Score need the package brainscore-vision: "
            "pip install tractable[brainscore], in an environment of its own"
        ) from error
    assembly = package.load_dataset(identifier)
    recordings = recordings_of_assembly(assembly)
    if area is not None:
        inside = np.array(recordings.areas) == area
        if not inside.any():
            raise ValueError(
                f"area must be one of {', '.join(sorted(set(recordings.areas)))}, got {area!r}"
            )
        recordings = recordings.keep(neurons=inside)
    return recordings, getattr(assembly, "attrs", {}).get("stimulus_set")


def recordings_of_assembly(assembly: Any) -> Recordings:
    """Return the recordings of a neuron assembly: presentations, neuroids and time bins.

    Parameters
    ----------
    assembly : DataArray
        With the dimensions ``presentation``, ``neuroid`` and, or not, ``time_bin``; presentations
        have the coordinate ``stimulus_id``. Several presentations of an image are repetitions.
    """
    dims = [str(dim) for dim in assembly.dims]
    if not {"presentation", "neuroid"} <= set(dims) <= {"presentation", "neuroid", "time_bin"}:
        raise ValueError(
            "an assembly has the dimensions presentation, neuroid and time_bin, got "
            + ", ".join(dims)
        )
    order = [dim for dim in ("presentation", "neuroid", "time_bin") if dim in dims]
    values = assembly.transpose(*order)
    images = _coordinate(values, NAMES["image"])
    if images is None:
        raise ValueError("presentations need the coordinate stimulus_id")
    names: dict[str, Any] = {}
    for key, choices in (("neurons", "neuron"), ("areas", "area"), ("time_ms", "time")):
        found = _coordinate(values, NAMES[choices])
        if found is not None and (key != "time_ms" or "time_bin" in dims):
            names[key] = np.atleast_1d(found).tolist()
    return Recordings.from_trials(np.asarray(values.values, dtype=float), images, **names)


def _coordinate(assembly: Any, names: Sequence[str]) -> np.ndarray | None:
    for name in names:
        if name in assembly.coords:
            return np.asarray(assembly[name].values)
    return None
