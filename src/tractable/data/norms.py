"""Feature norms: which things have which features, as people say, and how typical things are."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tractable.core.checks import check_choice
from tractable.data.find import files

__all__ = ["NORMS", "FeatureNorms", "load_norms"]

NORMS = ("leuven", "leuven-artifacts", "awa")
RESPONDENTS = 4  # each pair of the Leuven norms was judged by four people


@dataclass(frozen=True, eq=False)
class FeatureNorms:
    """Items by features.

    Parameters
    ----------
    items, features : tuple of str
        Names.
    values : ndarray, shape (P, F)
        Share of people who say that the item has the feature, in [0, 1]; or 0 and 1.
    typicality : mapping of str to mapping of str to float
        For each category the mean rating of its members, where there are ratings.
    source : str
        One sentence for the report.
    """

    items: tuple[str, ...]
    features: tuple[str, ...]
    values: np.ndarray
    typicality: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    source: str = ""


def load_norms(name: str) -> FeatureNorms:
    """Read feature norms that are at hand.

    Parameters
    ----------
    name : {"leuven", "leuven-artifacts", "awa"}
        The animals of the Leuven norms, its artifacts, or Animals with Attributes.

    Raises
    ------
    DataNotFound
        The files are not at hand: which one goes where.
    ValueError
        A file is not what it should be; file and row are named.
    """
    check_choice("name", name, NORMS)
    paths = {path.name: path for path in files(name.partition("-")[0])}
    if name == "awa":
        return _read_awa(paths)
    domain = "artifact" if name == "leuven-artifacts" else "animal"
    items, features, counts = _read_matrix(paths[f"{domain}_exemplar_features_sum.csv"])
    ratings = {}
    if domain == "animal":
        for file, path in sorted(paths.items()):
            if file.endswith("_typicality_ratings.csv"):
                ratings[file.removesuffix("_typicality_ratings.csv")] = _read_ratings(path)
    # Counts above four (one misprint among the artifacts) are four.
    values = np.clip(counts / RESPONDENTS, 0.0, 1.0)
    source = f"Leuven norms, {len(items)} {domain}s by {len(features)} features"
    return FeatureNorms(items, features, values, ratings, source)


def _read_matrix(path: Path) -> tuple[tuple[str, ...], tuple[str, ...], np.ndarray]:
    rows = _rows(path)
    width = len(rows[0])
    values = np.zeros((len(rows) - 1, width - 1))
    for number, row in enumerate(rows[1:], 2):
        if len(row) != width:
            raise ValueError(f"{path}, row {number}: {len(row)} columns, the first row has {width}")
        try:
            values[number - 2] = [float(cell) for cell in row[1:]]
        except ValueError as error:
            raise ValueError(f"{path}, row {number}: {error}") from None
    if not np.isfinite(values).all():
        raise ValueError(f"{path} holds entries that are NaN or infinite")
    return tuple(row[0] for row in rows[1:]), tuple(rows[0][1:]), values


def _read_ratings(path: Path) -> dict[str, float]:
    rows = _rows(path)
    if "mean" not in rows[0]:
        raise ValueError(f"{path} has no column 'mean'")
    column = rows[0].index("mean")
    try:
        return {row[0]: float(row[column]) for row in rows[1:]}
    except (ValueError, IndexError) as error:
        raise ValueError(f"{path}: {error}") from None


def _read_awa(paths: Mapping[str, Path]) -> FeatureNorms:
    lists: list[Sequence[str]] = []
    for file in ("classes.txt", "predicates.txt"):
        lines = paths[file].read_text(encoding="utf-8").splitlines()
        words = [line.split() for line in lines if line.strip()]
        lists.append([parts[-1].replace("+", " ") for parts in words])
    items, features = lists
    path = paths["predicate-matrix-binary.txt"]
    rows = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    for number, row in enumerate(rows, 1):
        if len(row) != len(features) or not set(row) <= {"0", "1"}:
            raise ValueError(
                f"{path}, row {number}: must be {len(features)} zeros and ones, got {len(row)}"
            )
    if len(rows) != len(items):
        raise ValueError(f"{path} has {len(rows)} rows, classes.txt names {len(items)}")
    source = f"Animals with Attributes, {len(items)} animals by {len(features)} attributes"
    return FeatureNorms(tuple(items), tuple(features), np.array(rows, dtype=float), {}, source)


def _rows(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = [row for row in csv.reader(file) if row]
    if len(rows) < 2 or len(rows[0]) < 2:
        raise ValueError(f"{path} is no table with names in its first row and column")
    return rows
