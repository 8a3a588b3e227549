"""Tables of items and their features: the two that the field teaches with, and your own."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tractable.core.checks import check_choice, check_finite
from tractable.linear.arrays import as_float64, as_real
from tractable.linear.mode_dynamics import ModeDynamics

if TYPE_CHECKING:
    from tractable.linear.arrays import Numbers

__all__ = ["ItemTable", "eight_things", "read_items", "toy_items"]

# Rogers, McClelland 2004: ISA | IS | CAN | HAS. Other versions of this table differ by a few cells.
EIGHT_THINGS = """
pine: living thing, plant, tree, pine | big, living, green | grow | roots, bark, branch
oak: living thing, plant, tree, oak | big, living | grow | roots, leaves, bark, branch
rose: living thing, plant, flower, rose | pretty, living, red | grow | roots, leaves, petals
daisy: living thing, plant, flower, daisy | pretty, living, yellow | grow | roots, leaves, petals
robin: living thing, animal, bird, robin | living, red | grow, move, fly | skin, wings, feathers
canary: living thing, animal, bird, canary | living, yellow | grow, move, fly, sing | skin, wings, feathers
sunfish: living thing, animal, fish, sunfish | living, yellow | grow, move, swim | skin, gills, scales
salmon: living thing, animal, fish, salmon | living, red | grow, move, swim | skin, gills, scales
"""  # noqa: E501
RELATIONS = ("isa", "is", "can", "has")


@dataclass(frozen=True, eq=False)
class ItemTable:
    """Items, and what is true of them.

    Parameters
    ----------
    X : ndarray, shape (P, P)
        Inputs: one unit for each item.
    Y : ndarray, shape (P, F)
        Features of each item; rows are items.
    items, features : tuple of str
        Their names.
    """

    X: np.ndarray
    Y: np.ndarray
    items: tuple[str, ...]
    features: tuple[str, ...]

    def __post_init__(self) -> None:
        check_finite("Y", np.asarray(as_real("Y", self.Y), dtype=float))

    @classmethod
    def of(cls, Y: Numbers, items: Any = None, features: Any = None) -> ItemTable:
        """Return the table of a matrix with rows = items; names are numbers where none are given.

        Examples
        --------
        >>> ItemTable.of([[1, 0], [1, 1]], items=["oak", "rose"]).features
        ('feature 0', 'feature 1')
        """
        values = np.array(as_real("Y", Y), dtype=float)
        if values.ndim != 2 or not values.size:
            raise ValueError(f"Y must have shape (items, features), got {values.shape}")
        names = []
        for argument, given, n, word in (
            ("items", items, values.shape[0], "item"),
            ("features", features, values.shape[1], "feature"),
        ):
            own = tuple(map(str, given)) if given is not None else ()
            if given is not None and len(own) != n:
                raise ValueError(f"{argument} must have {n} names, got {len(own)}")
            if len(set(own)) != len(own):
                twice = next(name for name in own if own.count(name) > 1)
                raise ValueError(f"{argument} must be different names, got {twice!r} twice")
            names.append(own or tuple(f"{word} {i}" for i in range(n)))
        return cls(np.eye(len(values)), values, names[0], names[1])

    def dynamics(
        self,
        *,
        init_strength: Numbers = 1e-3,
        depth: int = 2,
        tau: float = 1.0,
        convention: str = "paper",
        rank: int | None = None,
    ) -> ModeDynamics:
        """Return what a deep linear network learns of this table, and when.

        Parameters
        ----------
        convention : {"paper", "one_hot"}
            ``paper``: Sigma_x = I and Sigma_yx = Y^T / P; ``one_hot``: one-hot inputs and the mean
            over items, Sigma_x = I / P. Times and strengths differ; beliefs end at Y in both.
        init_strength, depth, tau, rank
            As in `ModeDynamics.from_data`.

        Examples
        --------
        >>> eight_things().dynamics().half_rise().round(2)
        array([ 3.96,  5.66,  7.8 ,  7.89, 10.84, 14.91, 17.36, 19.28])
        >>> eight_things().dynamics(convention="one_hot").half_rise().round(2)
        array([ 5.19,  7.52, 10.54, 10.66, 14.92, 20.95, 24.67, 27.63])
        """
        check_choice("convention", convention, ("paper", "one_hot"))
        if convention == "paper":
            n = len(self.Y)
            return ModeDynamics.from_correlations(
                self.Y.T / n,
                depth=depth,
                init_strength=init_strength,
                tau=tau,
                rank=rank,
                sum_y2=float(np.sum((self.Y / n) ** 2)),
                items=self.items,
                features=self.features,
            )
        return ModeDynamics.from_data(
            self.X,
            self.Y,
            depth=depth,
            init_strength=init_strength,
            tau=tau,
            rank=rank,
            items=self.items,
            features=self.features,
        )

    def select(self, items: Any) -> ItemTable:
        """Return the table of some items, without the features that none of them has.

        Examples
        --------
        >>> eight_things().select(["robin", "canary"]).Y.shape
        (2, 15)
        """
        from tractable.linear.names import pick

        rows = pick("items", items, self.items, len(self.items))
        if not len(rows):
            raise ValueError("items must name one item or more, got none")
        part = self.Y[rows]
        kept = np.flatnonzero(part.any(0))
        return ItemTable(
            np.eye(len(rows)),
            part[:, kept],
            tuple(self.items[i] for i in rows),
            tuple(self.features[f] for f in kept),
        )


def eight_things() -> ItemTable:
    """Return the table of Rogers and McClelland: 8 plants and animals, 36 features, 93 ones.

    Features are named by relation and value: ``has leaves``, ``can fly``, ``isa bird``, ``is red``.

    References
    ----------
    Rogers, McClelland 2004; McClelland, Rogers 2003, doi:10.1038/nrn1076. Versions in circulation
    differ by a few cells; this is the one of this library's numbers.

    Examples
    --------
    >>> table = eight_things()
    >>> table.Y.shape, int(table.Y.sum())
    ((8, 36), 93)
    """
    items, had = [], []
    for line in EIGHT_THINGS.strip().splitlines():
        item, _, rest = line.partition(": ")
        items.append(item)
        parts = zip(RELATIONS, rest.split(" | "), strict=True)
        had.append([f"{name} {value}" for name, values in parts for value in values.split(", ")])
    features = [
        feature
        for relation in RELATIONS
        for feature in dict.fromkeys(f for row in had for f in row)
        if feature.split(" ")[0] == relation
    ]
    Y = np.array([[float(feature in row) for feature in features] for row in had])
    return ItemTable.of(Y, items, features)


def toy_items() -> ItemTable:
    """Return four items and seven features with squared singular values 7, 3, 1, 1.

    References
    ----------
    Saxe, McClelland, Ganguli 2019, arXiv:1810.10531.

    Examples
    --------
    >>> (np.linalg.svd(toy_items().Y, compute_uv=False) ** 2).round(12)
    array([7., 3., 1., 1.])
    """
    had = {
        "canary": "grow move fly",
        "salmon": "grow move swim",
        "oak": "grow roots bark",
        "rose": "grow roots petals",
    }
    features = ["grow", "move", "roots", "fly", "swim", "bark", "petals"]
    Y = [[float(feature in row.split()) for feature in features] for row in had.values()]
    return ItemTable.of(Y, list(had), features)


def read_items(path: str | Path) -> ItemTable:
    """Read an item x feature table: text, with names in the first row and first column, or .npy.

    Columns are separated by commas, or by the tabs or semicolons of the first line. An ``.npy``
    matrix has items in rows; its names are numbers.

    Raises
    ------
    ValueError
        Where the file is no such table: file, row and column are named.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file")
    if path.suffix == ".npy":
        return _numbered(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} must hold text (UTF-8), or be an .npy file") from error
    first = text.partition("\n")[0]
    separator = "\t" if path.suffix == ".tsv" else max(",\t;", key=first.count)
    rows = [row for row in csv.reader(text.splitlines(), delimiter=separator) if row]
    if len(rows) < 3 or len(rows[0]) < 3:
        raise ValueError(
            f"{path} must be a table with two items and two features or more, names of features "
            f"in the first row and names of items in the first column; it has {len(rows)} rows"
        )
    if all(map(_is_number, rows[0][1:])):
        raise ValueError(
            f"{path} must have names of features in the first row and names of items in the first "
            f"column, got the numbers {', '.join(rows[0][1:4])}, ..."
        )
    width = len(rows[0])
    values = np.zeros((len(rows) - 1, width - 1))
    for i, row in enumerate(rows[1:], 2):
        if len(row) != width:
            raise ValueError(f"{path}, row {i}: {len(row)} columns, the first row has {width}")
        for j, cell in enumerate(row[1:], 1):
            try:
                values[i - 2, j - 1] = float(cell)
            except ValueError:
                raise ValueError(
                    f"{path}, row {i}, column {rows[0][j]!r}: {cell!r} is no number"
                ) from None
    check_finite(f"the table {path}", values)
    return ItemTable.of(values, [row[0] for row in rows[1:]], rows[0][1:])


def _numbered(path: Path) -> ItemTable:
    """Return the table of an .npy file."""
    try:
        values = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(f"{path} is not an array of numbers as numpy.save writes it") from error
    values = as_float64(f"the table {path}", values)
    if values.ndim != 2 or min(values.shape) < 2:
        raise ValueError(f"{path} must hold a matrix (items, features), got shape {values.shape}")
    return ItemTable.of(values)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
