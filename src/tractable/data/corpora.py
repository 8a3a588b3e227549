"""The published corpora. Each reader takes the files of one of the forms that the catalog lists."""

from __future__ import annotations

import json
import re
import tarfile
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from tractable.data.tables import (
    TextData,
    decode,
    from_values,
    parse_table,
    read_bytes,
    read_table,
    short,
)

__all__ = ["read_imdb", "read_sll", "read_sst", "read_sst2", "read_yelp"]

SENTIMENT = ("negative", "positive")
GRADES = ("very negative", "negative", "neutral", "positive", "very positive")
YELP_REVIEWS = 500_000  # of the open data set's millions, as many as MWGGS took


def read_sll(files: Sequence[Path], counts: Mapping[str, int]) -> TextData:
    """Sentiment Labelled Sentences: three files, or the archive that holds them."""
    names = {part: f"{part}_labelled.txt" for part in ("amazon_cells", "imdb", "yelp")}
    if files[0].suffix == ".zip":
        members = _zip_members(files[0], names.values())
    else:
        members = {path.name: read_bytes(path) for path in files}
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
            text = decode(raw, f"{where}: {name}").strip()
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
        rows = decode(read_bytes(path), str(path)).split("\n")
        rows = [row for row in rows if row.strip()]
        bad = next((i for i, row in enumerate(rows, 1) if not re.match(r"[0-4] \S", row)), None)
        if bad is not None:
            raise ValueError(f"{path}, row {bad}: must be a digit, a space and a sentence")
        texts = [row[2:].strip() for row in rows]
        parts[path.name.split(".")[2]] = from_values(texts, [row[0] for row in rows], str(path))
    return _join(parts, counts)


def read_yelp(files: Sequence[Path], counts: Mapping[str, int]) -> TextData:
    r"""Yelp reviews: Zhang's polarity tables (Yelp 2015), or the reviews of the open data set.

    The tables write a line feed as ``\n`` and have classes 1 and 2. Of the open data set the
    first 500,000 reviews with a class are taken: 1 and 2 stars are negative, 4 and 5 positive, 3
    left out; it has no parts.
    """
    first = files[0]
    if first.suffix == ".json":
        return _yelp_lines(first)
    if first.name.endswith((".tgz", ".tar.gz")):
        members = {PurePosixPath(name).name: raw for name, raw in _archive(first)}
        where = str(first)
    else:
        members, where = {path.name: path.read_bytes() for path in files}, str(first.parent)
    parts = {}
    for part in ("train", "test"):
        if f"{part}.csv" not in members:
            raise ValueError(f"{where} must hold train.csv and test.csv; {part}.csv is missing")
        data = parse_table(members[f"{part}.csv"], ".csv", f"{where}: {part}.csv")
        if data.classes != ("1", "2"):
            raise ValueError(
                f"{where}: {part}.csv must have the classes 1 (negative) and 2 (positive), "
                f"got {', '.join(data.classes)}"
            )
        texts = tuple(text.replace("\\n", "\n") for text in data.texts)
        parts[part] = TextData(texts, data.labels, SENTIMENT)
    return _join(parts, counts, balanced=True)


def _yelp_lines(path: Path) -> TextData:
    """Read reviews, one JSON object per line, until there are enough; the file is gigabytes."""
    texts: list[str] = []
    labels: list[int] = []
    n_dropped = 0
    with path.open("rb") as lines:
        for number, raw in enumerate(lines, 1):
            if not raw.strip():
                continue
            where = f"{path}, row {number}"
            try:
                entry = json.loads(raw)
                text, stars = str(entry["text"]).strip(), float(entry["stars"])
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(
                    f"{where}: must be a JSON object with the keys stars and text, "
                    f"got {short(raw.decode(errors='replace').strip())}"
                ) from error
            if not 1 <= stars <= 5:
                raise ValueError(f"{where}: stars must be 1 to 5, got {stars:g}")
            if not text or 2 < stars < 4:
                n_dropped += 1
                continue
            texts.append(text)
            labels.append(int(stars >= 4))
            if len(texts) == YELP_REVIEWS:
                break
    if len(set(labels)) < 2:
        raise ValueError(f"{path}: must hold negative and positive reviews, got {len(texts)} alike")
    return TextData(tuple(texts), np.array(labels, dtype=np.int64), SENTIMENT, {}, n_dropped)


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
