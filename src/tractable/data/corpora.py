"""Labelled texts: what a reader returns, the user's own tables, and the published corpora.

Every reader refuses what it cannot read and names the file, the row (counted from 1, the header
included) and what is allowed.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import tarfile
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import numpy as np

from tractable.core.checks import check_choice, check_range
from tractable.core.seeds import derive

__all__ = ["TextData", "read_table"]

TEXT_COLUMNS = ("text", "sentence", "review")
LABEL_COLUMNS = ("label", "sentiment", "stars")
TABLE_SUFFIXES = (".csv", ".tsv", ".txt", ".json", ".jsonl")
MAX_CLASSES = 20
SENTIMENT = ("negative", "positive")
GRADES = ("very negative", "negative", "neutral", "positive", "very positive")
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
    return parse_table(_read_bytes(path), suffix.lower(), str(path))


def parse_table(raw: bytes, suffix: str, where: str) -> TextData:
    """Read a table from its bytes; see `read_table`."""
    rows = _rows(_decode(raw, where), suffix, where)
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
                f"{where}, row {number}: the label must be a number, got {_short(value)}"
            )
        texts.append(text)
        values.append(value)
    if stars:
        first = rows[n_header][0] if len(rows) > n_header else 0
        return _from_stars(texts, [float(value) for value in values], where, first)
    return _from_values(texts, values, where)


def _from_values(texts: list[str], values: list[str], where: str) -> TextData:
    """Order the classes by value where all are numbers, else negative before positive."""
    shown = ", ".join(map(_short, list(dict.fromkeys(values))[:3]))
    numbers = [_number(value) for value in values]
    if all(number is not None for number in numbers):
        values = [f"{number:g}" for number in numbers]
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
    data = _from_values([texts[i] for i in kept], values, where)
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
                keys = ", ".join(map(_short, entry)) or "none"
                raise ValueError(
                    f"{where}, row {number}: each object needs one of the keys "
                    f"{', '.join(TEXT_COLUMNS)} and one of {', '.join(LABEL_COLUMNS)}; "
                    f"the keys are: {keys}"
                )
            rows.append((0, columns))
        found = [values.get(name) for name in columns]
        rows.append((number, ["" if value is None else str(value) for value in found]))
    return rows


def _short(text: str, width: int = 30) -> str:
    """Quote a value for a message, cut where it is long."""
    return repr(text if len(text) <= width else text[: width - 3] + "...")


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if np.isfinite(value) else None


def _decode(raw: bytes, where: str) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = raw[: error.start].count(b"\n") + 1
        raise ValueError(
            f"{where}, row {row}: byte 0x{raw[error.start]:02x} is not UTF-8; save the file as "
            "UTF-8 (from Latin-1: iconv -f latin1 -t utf-8)"
        ) from error


def _read_bytes(path: Path) -> bytes:
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file")
    raw = path.read_bytes()
    if path.suffix != ".gz":
        return raw
    try:
        return gzip.decompress(raw)
    except (OSError, EOFError) as error:
        raise ValueError(f"{path} is not a whole gzip file: {error}") from error


# The published corpora. Each reader takes the files of one of the forms listed in `tractable.data`.


def read_sll(files: Sequence[Path], counts: Mapping[str, int]) -> TextData:
    """Sentiment Labelled Sentences: three files, or the archive that holds them."""
    names = {part: f"{part}_labelled.txt" for part in ("amazon_cells", "imdb", "yelp")}
    if files[0].suffix == ".zip":
        members = _zip_members(files[0], names.values())
    else:
        members = {path.name: _read_bytes(path) for path in files}
    parts = {
        part: parse_table(members[file], ".txt", f"{files[0].parent / file}")
        for part, file in names.items()
    }
    return _join(parts, counts, balanced=True)


def read_imdb(files: Sequence[Path], counts: Mapping[str, int]) -> TextData:
    """Large Movie Review: two tables, the official archive, or its unpacked folders."""
    if files[0].name.endswith(".csv.gz"):
        tables = {path.name.partition(".")[0]: read_table(path) for path in files}
        return _join({part: tables[part] for part in ("train", "test")}, counts, balanced=True)
    where = str(files[0]) if len(files) == 1 else str(files[0].parents[2])
    pattern = re.compile(r"(?:^|/)(train|test)/(pos|neg)/(\d+)_\d+\.txt$")
    reviews: dict[str, list[tuple[int, int, str]]] = {"train": [], "test": []}
    for name, raw in _archive(files[0]) if len(files) == 1 else _folder(files):
        if match := pattern.search(name):
            part, label, number = match.groups()
            text = _decode(raw, f"{where}: {name}").strip()
            reviews[part].append((int(label == "pos"), int(number), text))
    parts = {}
    for part, entries in reviews.items():
        entries.sort()
        parts[part] = TextData(
            tuple(text for _, _, text in entries),
            np.array([label for label, _, _ in entries], dtype=np.int64),
            SENTIMENT,
        )
    return _join(parts, counts, balanced=True)


def read_sst2(files: Sequence[Path], counts: Mapping[str, int]) -> TextData:
    """SST-2 phrases: three tables, or the GLUE archive (its dev set is labeled, its test not)."""
    if files[0].suffix == ".zip":
        members = _zip_members(files[0], ["train.tsv", "dev.tsv"])
        where = str(files[0])
        parts = {
            "train": parse_table(members["train.tsv"], ".tsv", f"{where}: train.tsv"),
            "test": parse_table(members["dev.tsv"], ".tsv", f"{where}: dev.tsv"),
        }
    else:
        parts = {path.name.partition(".")[0]: read_table(path) for path in files}
    return _join(parts, counts)


def read_sst(files: Sequence[Path], counts: Mapping[str, int]) -> TextData:
    """SST whole sentences: each row is a digit, a space and the sentence."""
    parts = {}
    for path in files:
        rows = _decode(_read_bytes(path), str(path)).split("\n")
        rows = [row for row in rows if row.strip()]
        bad = next((i for i, row in enumerate(rows, 1) if not re.match(r"[0-4] \S", row)), None)
        if bad is not None:
            raise ValueError(f"{path}, row {bad}: must be a digit, a space and a sentence")
        texts = [row[2:].strip() for row in rows]
        parts[path.name.split(".")[2]] = _from_values(texts, [row[0] for row in rows], str(path))
    return _join(parts, counts)


def _join(
    parts: Mapping[str, TextData], counts: Mapping[str, int], *, balanced: bool = False
) -> TextData:
    """Concatenate the parts after counting them."""
    slices, start = {}, 0
    for name, data in parts.items():
        wanted = counts.get(name, len(data))
        positive = int((data.labels == 1).sum())
        if len(data) != wanted or (balanced and positive != wanted // 2):
            half = f" with {wanted // 2:,} positive" if balanced else ""
            raise ValueError(
                f"the part {name!r} must hold {wanted:,} texts{half}, got {len(data):,} with "
                f"{positive:,} positive; the files are cut or of another data set: get them again"
            )
        slices[name] = slice(start, start + len(data))
        start += len(data)
    texts = tuple(text for data in parts.values() for text in data.texts)
    labels = np.concatenate([data.labels for data in parts.values()])
    classes = GRADES if labels.max() > 1 else SENTIMENT
    return TextData(texts, labels, classes, slices)


def _zip_members(path: Path, names: Iterable[str]) -> dict[str, bytes]:
    """Read files from an archive by their bare names; Apple's ``._`` files have other names."""
    wanted = set(names)
    try:
        with zipfile.ZipFile(path) as archive:
            found = {
                PurePosixPath(member).name: archive.read(member)
                for member in archive.namelist()
                if PurePosixPath(member).name in wanted
            }
    except (zipfile.BadZipFile, OSError) as error:
        raise ValueError(f"{path} is not a whole zip archive: {error}") from error
    if missing := sorted(wanted - found.keys()):
        raise ValueError(f"{path} must hold {', '.join(sorted(wanted))}; missing: {missing}")
    return found


def _archive(path: Path) -> Iterable[tuple[str, bytes]]:
    """Yield (name, content) of a tar archive without unpacking it."""
    try:
        with tarfile.open(path, "r|gz") as archive:
            for member in archive:
                content = archive.extractfile(member) if member.isfile() else None
                if content is not None:
                    yield member.name, content.read()
    except (tarfile.TarError, OSError, EOFError) as error:
        raise ValueError(f"{path} is not a whole tar.gz archive: {error}") from error


def _folder(files: Sequence[Path]) -> Iterable[tuple[str, bytes]]:
    for path in files:
        yield path.as_posix(), path.read_bytes()
