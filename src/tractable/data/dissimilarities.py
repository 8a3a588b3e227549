"""Dissimilarities of brain responses to 92 objects in monkey and human cortex, and the objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tractable.core.checks import check_choice
from tractable.data.find import files

__all__ = ["BrainDissimilarities", "load_dissimilarities"]

N = 92
HUMANS = ("BE", "KO", "SN", "TI")


@dataclass(frozen=True, eq=False)
class BrainDissimilarities:
    """Dissimilarities (one minus correlation) of inferior temporal responses to objects.

    Parameters
    ----------
    monkey : ndarray, shape (n, n)
        Of 674 neurons of two macaques; symmetric, 0 on the diagonal.
    human : ndarray, shape (subjects, sessions, n, n)
        Of voxels of four people, in two sessions each.
    human_mean : ndarray, shape (n, n)
        As published; proportional to the mean over people and sessions.
    images : ndarray, shape (n, 175, 175, 3)
        The objects on gray, 0 .. 255.
    categories : mapping of str to ndarray
        Which objects are ``animate``, ``human``, ``face`` and so on, bool (n,).
    names : tuple of str
        Kind of each object.
    """

    monkey: np.ndarray
    human: np.ndarray
    human_mean: np.ndarray
    images: np.ndarray
    categories: Mapping[str, np.ndarray]
    names: tuple[str, ...]


def load_dissimilarities(name: str = "it92") -> BrainDissimilarities:
    """Read the 92-object set of Kriegeskorte et al. 2008, where its files are at hand.

    Parameters
    ----------
    name : {"it92"}
        A name in `DATA_SETS`.

    Raises
    ------
    DataNotFound
        The files are not at hand: which one goes where.
    ValueError
        A file is not what it should be; it is named.

    References
    ----------
    Kriegeskorte, Mur, Ruff, Kiani, Bodurka, Esteky, Tanaka, Bandettini 2008,
    doi:10.1016/j.neuron.2008.10.043.
    """
    check_choice("name", name, ("it92",))
    paths = {path.name: path for path in files(name)}
    subjects = _read(paths["92_brainRDMs.mat"], "RDMs")
    if subjects.shape != (1, len(HUMANS), 2):
        raise ValueError(
            f"{paths['92_brainRDMs.mat']}: RDMs must be 4 people in 2 sessions, got "
            f"shape {subjects.shape}"
        )
    human = np.array([[_square(session["RDM"]) for session in person] for person in subjects[0]])
    path = paths["Kriegeskorte_Neuron2008_supplementalData.mat"]
    pair = _read(path, "RDMs_mIT_hIT_fig1").ravel()
    if len(pair) != 2:
        raise ValueError(f"{path}: RDMs_mIT_hIT_fig1 must hold two matrices, got {len(pair)}")
    vectors, labels = _read(path, "categoryVectors"), _read(path, "categoryLabels").ravel()
    if vectors.shape != (N, len(labels)):
        raise ValueError(f"{path}: categoryVectors must be {N} x {len(labels)}")
    stimuli = _read(path, "stimuli_92objs").ravel()
    return BrainDissimilarities(
        _square(pair[0]["RDM"]),
        human,
        _square(pair[1]["RDM"]),
        np.stack([stimulus["image"] for stimulus in stimuli]),
        {str(label[0]): vectors[:, k].astype(bool) for k, label in enumerate(labels)},
        tuple(str(stimulus["category"][0]) for stimulus in stimuli),
    )


def _read(path: Path, key: str) -> Any:
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        content = loadmat(path)
    except (ValueError, OSError, TypeError, NotImplementedError, MatReadError) as error:
        raise ValueError(f"{path} is not a whole MATLAB file ({error})") from error
    if key not in content:
        raise ValueError(f"{path} holds no {key}")
    return content[key]


def _square(values: np.ndarray) -> np.ndarray:
    """Return a symmetric matrix of a matrix, or of its upper triangle row by row."""
    found = np.asarray(values, dtype=float).squeeze()
    if found.ndim == 1:
        if len(found) != N * (N - 1) // 2:
            raise ValueError(f"dissimilarities of {N} objects are 4186 numbers, got {len(found)}")
        full = np.zeros((N, N))
        full[np.triu_indices(N, 1)] = found
        found = full + full.T
    if found.shape != (N, N) or not np.isfinite(found).all() or np.abs(found - found.T).max() > 0:
        raise ValueError(f"dissimilarities must be a symmetric {N} x {N} matrix of finite numbers")
    return found
