"""Matrices from a user's files."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def read_matrix(name: str, path: str) -> np.ndarray:
    """Return the matrix of a ``.npy``, ``.csv`` or ``.txt`` file; rows are examples.

    Raises
    ------
    ValueError
        No such file, another kind of file, or content that is no matrix of finite numbers.
    """
    from tractable.core.checks import check_finite

    file = Path(path)
    if not file.is_file():
        raise ValueError(f"{name} must name a file, there is none at {path!r}")
    if file.suffix == ".npy":
        try:
            values = np.load(file, allow_pickle=False)
        except ValueError as error:
            raise ValueError(f"{name}: {path} is not a plain .npy array ({error})") from error
    elif file.suffix in (".csv", ".txt"):
        separator = "," if file.suffix == ".csv" else None
        try:
            values = np.loadtxt(file, delimiter=separator, ndmin=2)
        except ValueError as error:
            raise ValueError(
                f"{name}: {path} must hold numbers only, in rows of equal length ({error})"
            ) from error
    else:
        raise ValueError(f"{name} must be a .npy, .csv or .txt file, got {path!r}")
    if values.dtype.kind not in "biuf":
        raise ValueError(f"{name}: {path} must hold real numbers, got dtype {values.dtype}")
    values = values.astype(np.float64)
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2:
        raise ValueError(f"{name}: {path} must hold a matrix, got shape {values.shape}")
    check_finite(name, values)
    return values
