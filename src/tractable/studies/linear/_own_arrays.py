"""Matrices from a user's files."""

from __future__ import annotations

import csv
import warnings
from pathlib import Path

import numpy as np

KINDS = (".npy", ".csv", ".tsv", ".txt")


def read_matrix(name: str, path: str) -> np.ndarray:
    """Return the matrix of a ``.npy``, ``.csv``, ``.tsv`` or ``.txt`` file; rows are examples.

    The first line of a text file may hold names of columns; it is left out. Columns of a ``.csv``
    are separated by commas, or by semicolons where its first line has those.

    Raises
    ------
    ValueError
        No such file, another kind of file, or content that is no matrix of finite numbers.
    """
    from tractable.linear.arrays import as_float64

    file = Path(path)
    if not file.is_file():
        raise ValueError(f"{name} must name a file, there is none at {path!r}")
    if file.suffix not in KINDS:
        raise ValueError(f"{name} must be a {', '.join(KINDS[:-1])} or .txt file, got {path!r}")
    values = _array(name, file) if file.suffix == ".npy" else _text(name, file)
    if values.dtype.kind not in "biuf":
        raise ValueError(f"{name}: {path} must hold real numbers, got dtype {values.dtype}")
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2:
        raise ValueError(f"{name}: {path} must hold a matrix, got shape {values.shape}")
    if not values.size:
        raise ValueError(f"{name}: {path} is empty, it holds an array of shape {values.shape}")
    return as_float64(name, values)


def check_rows(X: np.ndarray, Y: np.ndarray, targets: str = "y") -> None:
    """Refuse inputs and targets with different numbers of rows."""
    if len(X) == len(Y):
        return
    message = f"x and {targets} must have the same number of rows, got {len(X)} and {len(Y)}"
    for name, a, b in (("x", X.T, Y), (targets, X, Y.T), (f"x and {targets}", X.T, Y.T)):
        if len(a) == len(b):
            message += f"; rows are examples: transpose {name}?"
            break
    raise ValueError(message)


def _array(name: str, file: Path) -> np.ndarray:
    try:
        return np.asarray(np.load(file, allow_pickle=False))
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(
            f"{name}: {file} is not an array of numbers as numpy.save writes it"
        ) from error


def _text(name: str, file: Path) -> np.ndarray:
    """Return the numbers of a text file, or say which cell is none."""
    try:
        with file.open(encoding="utf-8-sig") as lines:
            first = lines.readline()
    except UnicodeDecodeError as error:
        raise ValueError(f"{name}: {file} must hold text (UTF-8), it does not") from error
    separator = None
    if file.suffix != ".txt":
        separator = "\t" if file.suffix == ".tsv" else ";" if ";" in first else ","
    titles = [cell.strip() for cell in (first.split(separator) if first.strip() else [])]
    named = bool(titles) and not any(map(_is_number, titles))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of an empty file: refused by shape
            return np.loadtxt(
                file, delimiter=separator, ndmin=2, skiprows=int(named), encoding="utf-8-sig"
            )
    except ValueError as error:
        fault = _fault(file, separator, named) or f": {error}"
        raise ValueError(f"{name}: {file}{fault}") from error


def _fault(file: Path, separator: str | None, named: bool) -> str:
    """Return the first cell that is no number, or the first row of another length."""
    width = 0
    with file.open(encoding="utf-8-sig", newline="") as lines:
        rows = csv.reader(lines, delimiter=separator) if separator else map(str.split, lines)
        for i, row in enumerate(rows, 1):
            if not row or (named and i == 1):
                continue
            for j, cell in enumerate(row, 1):
                if not _is_number(cell):
                    found = f"{cell!r} is no number" if cell.strip() else "the cell is empty"
                    return f", row {i}, column {j}: {found}"
            width = width or len(row)
            if len(row) != width:
                return f", row {i}: {len(row)} columns, the rows above have {width}"
    return ""


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
