"""Labelled texts: what a reader returns, and the user's own tables.

Every reader refuses what it cannot read and names the file, the row (counted from 1, the header
included) and what is allowed.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from tractable.core.checks import check_choice, check_range
from tractable.core.seeds import derive

__all__ = ["TextData", "decode", "from_values", "parse_table", "read_bytes", "read_table", "short"]

TEXT_COLUMNS = ("text", "sentence", "review")
LABEL_COLUMNS = ("label", "sentiment", "stars")
TABLE_SUFFIXES = (".csv", ".tsv", ".txt", ".json", ".jsonl")
MAX_CLASSES = 20
_WORD_ORDER = {"neg": -1, "negative": -1, "neutral": 0, "pos": 1, "positive": 1}

Row = tuple[int, list[str]]  # number in the file, columns


@dataclass(frozen=True, eq=False)
class TextData:
    """Texts with labels, in the order of their files.

    Parameters
    ----------
    texts : tuple of str
        The n texts, as they stand in the file; none is empty.
    labels : ndarray of int64, shape (n,)
        Class of each text, 0 .. K-1.
    classes : tuple of str
        Names of the K classes, in the order of the labels.
    parts : mapping of str to slice
        Named runs of texts, such as train and test; may be empty.
    n_dropped : int
        Texts of the file that are left out because they have no class (three stars).
    """

    texts: tuple[str, ...]
    labels: np.ndarray
    classes: tuple[str, ...]
    parts: Mapping[str, slice] = field(default_factory=dict)
    n_dropped: int = 0

    def __len__(self) -> int:
        return len(self.texts)

    def subset(self, index: Iterable[int]) -> TextData:
        """Return the texts of these indices, in this order, without parts."""
        rows = np.fromiter(index, dtype=np.int64)
        texts = tuple(self.texts[i] for i in rows)
        return replace(self, texts=texts, labels=self.labels[rows], parts={}, n_dropped=0)

    def part(self, name: str) -> TextData:
        """Return one named part, such as ``"train"``."""
        check_choice("part", name, self.parts)
        return self.subset(range(len(self))[self.parts[name]])

    def random_split(self, n_test: int, *, seed: int) -> tuple[TextData, TextData]:
        """Split at random into (train, test).

        Parameters
        ----------
        n_test : int
            Number of test texts, 1 .. n - 1.
        seed : int
            Decides the split.

        Examples
        --------
        >>> data = TextData(("a", "b", "c"), np.array([0, 1, 0]), ("no", "yes"))
        >>> train, test = data.random_split(1, seed=0)
        >>> len(train), len(test), sorted(train.texts + test.texts)
        (2, 1, ['a', 'b', 'c'])
        """
        check_range("n_test", n_test, 1, len(self) - 1)
        order = np.random.default_rng(derive(seed, "split")).permutation(len(self))
        return self.subset(order[n_test:]), self.subset(order[:n_test])


def read_table(path: str | Path) -> TextData:
    r"""Read a user's own labelled texts from ``.csv``, ``.tsv``, ``.txt`` or ``.json`` (lines).

    Columns are found by name: ``text``, ``sentence`` or ``review``, and ``label``, ``sentiment``
    or ``stars`` (1-2 negative, 4-5 positive, 3 left out); case does not matter. Without such a
    header there must be two columns, in any order, one of them numeric: the label. ``.tsv`` and
    ``.txt`` are separated by one TAB; rows end in ``\n`` alone or in ``\r\n``. A name may end in
    ``.gz``.

    Parameters
    ----------
    path : str or Path
        The file, in UTF-8.

    Returns
    -------
    TextData
        Labels count up from 0 in numeric order of the values; of words, negative comes first.

    Raises
    ------
    ValueError
        File, row number and what is allowed, for: an unreadable row, bytes that are not UTF-8,
        an empty text, a missing label (``nan`` or a JSON null, too), one class only, more than 20
        classes, sentences instead of labels, no such file.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "mine.tsv")
    ...     _ = path.write_text("fine food\t1\nnever again\t0\n")
    ...     data = read_table(path)
    >>> data.texts, data.labels.tolist(), data.classes
    (('fine food', 'never again'), [1, 0], ('0', '1'))
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder; name a file in it")
    suffix = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    check_choice(f"the file type of {path.name}", suffix.lower(), TABLE_SUFFIXES)
    return parse_table(read_bytes(path), suffix.lower(), str(path))


def parse_table(raw: bytes, suffix: str, where: str) -> TextData:
    """Read a table from its bytes; see `read_table`."""
    rows = _rows(decode(raw, where), suffix, where)
    if not rows:
        raise ValueError(f"{where} is empty; it must hold one text and one label per row")
    text_column, label_column, n_header = _columns(rows, where)
    stars = n_header and rows[0][1][label_column].strip().lower() == "stars"
    width = len(rows[0][1])
    texts, values = [], []
    for number, row in rows[n_header:]:
        if len(row) != width:
            mend = "quote texts that hold commas" if suffix == ".csv" else "one TAB per row"
            raise ValueError(f"{where}, row {number}: {len(row)} columns, not {width}; {mend}")
        text, value = row[text_column].strip(), row[label_column].strip()
        if not text:
            raise ValueError(f"{where}, row {number}: the text is empty; delete the row")
        if value.lower() in ("", "nan"):
            raise ValueError(
                f"{where}, row {number}: the label is missing; write it or delete the row"
            )
        if (stars or not n_header) and _number(value) is None:
            raise ValueError(
                f"{where}, row {number}: the label must be a number, got {short(value)}"
            )
        texts.append(text)
        values.append(value)
    if stars:
        first = rows[n_header][0] if len(rows) > n_header else 0
        return _from_stars(texts, [float(value) for value in values], where, first)
    return from_values(texts, values, where)


def from_values(texts: list[str], values: list[str], where: str) -> TextData:
    """Order the classes by value where all are numbers, else negative before positive."""
    shown = ", ".join(map(short, list(dict.fromkeys(values))[:3]))
    numbers = [_number(value) for value in values]
    if all(number is not None for number in numbers):
        values = [_plain(number) for number in numbers if number is not None]
        classes = sorted(set(values), key=float)
    else:
        values = [value.lower() for value in values]
        classes = sorted(set(values), key=lambda word: (_WORD_ORDER.get(word, 2), word))
    if len(classes) < 2:
        found = f"all {len(texts)} labels are {classes[0]!r}" if classes else "it holds no text"
        raise ValueError(f"{where}: two classes or more are needed, but {found}")
    words = float(np.median([len(name.split()) for name in classes]))
    if len(classes) > MAX_CLASSES or (len(classes) > 3 and words > 3):
        limit = (
            f"at most {MAX_CLASSES} classes are allowed"
            if len(classes) > MAX_CLASSES
            else "these look like sentences"
        )
        raise ValueError(
            f"{where}: {len(classes)} different labels, such as {shown}; {limit}: "
            "are the columns of texts and labels swapped?"
        )
    index = {name: i for i, name in enumerate(classes)}
    labels = np.array([index[value] for value in values], dtype=np.int64)
    return TextData(tuple(texts), labels, tuple(classes))


def _from_stars(texts: list[str], stars: list[float], where: str, first_row: int) -> TextData:
    """One and two stars are negative, four and five positive, three has no class."""
    for i, value in enumerate(stars):
        if not 1 <= value <= 5:
            raise ValueError(f"{where}, row {first_row + i}: stars must be 1 to 5, got {value:g}")
    kept = [i for i, value in enumerate(stars) if not 2 < value < 4]
    values = ["positive" if stars[i] >= 4 else "negative" for i in kept]
    data = from_values([texts[i] for i in kept], values, where)
    return replace(data, n_dropped=len(texts) - len(kept))


def _columns(rows: Sequence[Row], where: str) -> tuple[int, int, int]:
    """Return (text column, label column, number of header rows)."""
    names = [name.strip().lower() for name in rows[0][1]]
    text = next((names.index(name) for name in TEXT_COLUMNS if name in names), None)
    label = next((names.index(name) for name in LABEL_COLUMNS if name in names), None)
    allowed = (
        f"name the columns by a header ({', '.join(TEXT_COLUMNS)} and {', '.join(LABEL_COLUMNS)}) "
        "or give two columns, one of them numeric"
    )
    if text is not None and label is not None:
        return text, label, 1
    if len(names) != 2 or text is not None or label is not None:
        raise ValueError(f"{where}, row 1: columns {', '.join(map(repr, names))}; {allowed}")
    pairs = [row for _, row in rows if len(row) == 2]
    numeric = [sum(_number(pair[i]) is not None for pair in pairs) for i in (0, 1)]
    if numeric[0] == numeric[1] or (
        max(numeric) < len(pairs) and _number(pairs[0][0]) is None and _number(pairs[0][1]) is None
    ):
        raise ValueError(f"{where}, row 1: columns {', '.join(map(repr, names))}; {allowed}")
    return (1, 0, 0) if numeric[0] > numeric[1] else (0, 1, 0)


def _rows(text: str, suffix: str, where: str) -> list[Row]:
    """Cut a table into numbered rows of columns; blank rows are skipped."""
    if suffix in (".json", ".jsonl"):
        return _json_rows(text, where)
    if suffix != ".csv":
        lines = (line.removesuffix("\r") for line in text.split("\n"))
        return [(i, line.split("\t")) for i, line in enumerate(lines, 1) if line.strip()]
    first = text.partition("\n")[0]
    delimiter = next((mark for mark in ",;\t" if mark in first), ",")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: list[Row] = []
    number = 0
    try:
        for number, row in enumerate(reader, 1):
            if any(column.strip() for column in row):
                rows.append((number, row))
    except csv.Error as error:
        raise ValueError(f"{where}, row {number + 1} cannot be read: {error}") from error
    return rows


def _json_rows(text: str, where: str) -> list[Row]:
    """Read one JSON object per line into rows under a header; its row number is 0.

    The case of keys does not matter; null is as good as absent.
    """
    rows: list[Row] = []
    columns: list[str] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{where}, row {number} cannot be read as JSON: {error}") from error
        if not isinstance(entry, dict):
            raise ValueError(f"{where}, row {number}: one JSON object per line, got {line[:40]!r}")
        # of keys that differ by case only, the first counts, as for the columns of a table
        values = {name.strip().lower(): value for name, value in reversed(entry.items())}
        if not rows:
            columns = [name for name in TEXT_COLUMNS + LABEL_COLUMNS if name in values]
            if not {*TEXT_COLUMNS} & {*columns} or not {*LABEL_COLUMNS} & {*columns}:
                keys = ", ".join(map(short, entry)) or "none"
                raise ValueError(
                    f"{where}, row {number}: each object needs one of the keys "
                    f"{', '.join(TEXT_COLUMNS)} and one of {', '.join(LABEL_COLUMNS)}; "
                    f"the keys are: {keys}"
                )
            rows.append((0, columns))
        found = [values.get(name) for name in columns]
        rows.append((number, ["" if value is None else str(value) for value in found]))
    return rows


def short(text: str, width: int = 30) -> str:
    """Quote a value for a message, cut where it is long."""
    return repr(text if len(text) <= width else text[: width - 3] + "...")


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if np.isfinite(value) else None


def _plain(number: float) -> str:
    """Return a number as text with all its digits: two labels may differ in the last one."""
    return str(int(number)) if number == int(number) else repr(number)


def decode(raw: bytes, where: str) -> str:
    """Return the text of a file in UTF-8; ValueError with the row of the first bad byte."""
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = raw[: error.start].count(b"\n") + 1
        raise ValueError(
            f"{where}, row {row}: byte 0x{raw[error.start]:02x} is not UTF-8; save the file as "
            "UTF-8 (from Latin-1: iconv -f latin1 -t utf-8)"
        ) from error


def read_bytes(path: Path) -> bytes:
    """Return the content of a file, unpacked where its name ends in ``.gz``."""
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file")
    raw = path.read_bytes()
    if path.suffix != ".gz":
        return raw
    try:
        return gzip.decompress(raw)
    except (OSError, EOFError) as error:
        raise ValueError(f"{path} is not a whole gzip file: {error}") from error
