"""Where a named data set is, and how to get it.

A data set is looked for in ``$TRACTABLE_DATA/<folder>/``, then in the cache (``$TRACTABLE_CACHE``
or the system's cache folder), then downloaded into the cache. Nothing of it ships with the
library. `resolve` says which files a choice stands for without reading them; `load` reads.
"""

from __future__ import annotations

import importlib
import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tractable.data.catalog import ALIASES, CHOICES, DATA_SETS, DataSet

if TYPE_CHECKING:
    from tractable.data.dissimilarities import BrainDissimilarities
    from tractable.data.images import ImageData
    from tractable.data.norms import FeatureNorms
    from tractable.data.tables import TextData

__all__ = [
    "DataNotFound",
    "Listing",
    "Resolved",
    "cache_folder",
    "download",
    "files",
    "listing",
    "load",
    "load_dissimilarities",
    "load_images",
    "load_norms",
    "locate",
    "read_table",
    "resolve",
]

log = logging.getLogger("tractable")

MIN_TEXTS = 20
IMAGES = ("digits", "mnist", "cifar10")


class DataNotFound(ValueError):
    """A data set is not at hand; the message says which file goes where."""


@dataclass(frozen=True)
class Listing:
    """One row of `listing`: where a data set was found, or else what to do."""

    name: str
    description: str
    license: str
    folder: Path | None
    size: int
    advice: str


@dataclass(frozen=True)
class Resolved:
    """What a choice of texts stands for.

    Parameters
    ----------
    choice : str
        A key of `tractable.data.catalog.CHOICES`, ``"path"`` or ``"synthetic"``; never ``"auto"``.
    files : tuple of Path
        The files that `load` will read: what a run's hash must cover. Empty for ``"synthetic"``.
    note : str
        One sentence for the log and the report.
    """

    choice: str
    files: tuple[Path, ...]
    note: str

    def load(self) -> TextData:
        """Read the texts; ``"synthetic"`` has none to read.

        Raises
        ------
        ValueError
            The files cannot be read, or a user's table holds fewer than 20 texts.
        """
        if self.choice == "path":
            data = read_table(self.files[0])
            if len(data) < MIN_TEXTS:
                raise ValueError(
                    f"{self.files[0]} holds {len(data)} texts; "
                    f"at least {MIN_TEXTS} are needed to train and test"
                )
            return data
        if self.choice == "synthetic":
            raise ValueError(
                "the generated review language has no files; "
                "draw from tractable.dynamics.reviews.SyntheticReviews"
            )
        return load(CHOICES[self.choice], download_missing=False)


def cache_folder() -> Path:
    """Return the folder of downloads: ``$TRACTABLE_CACHE``, else the system's cache folder."""
    if chosen := os.environ.get("TRACTABLE_CACHE"):
        return Path(chosen)
    import pooch

    return Path(pooch.os_cache("tractable"))


def locate(name: str) -> Path | None:
    """Return the folder that holds a data set in one of its forms, or None.

    Parameters
    ----------
    name : str
        A name in `DATA_SETS`.
    """
    found = _find(_data_set(name))
    return found[0] if found else None


def files(name: str) -> tuple[Path, ...]:
    """Return the files that `load` reads, sorted within each pattern; nothing is downloaded.

    Raises
    ------
    DataNotFound
        Which file goes where.
    """
    data_set = _data_set(name)
    found = _find(data_set)
    if not found:
        raise DataNotFound(_advice(data_set))
    return found[1]


def load(name: str, *, download_missing: bool = True) -> TextData:
    """Read a named corpus; download it first where it is not at hand.

    Parameters
    ----------
    name : str
        A name in `DATA_SETS` that has a reader.
    download_missing : bool
        False raises instead of downloading.

    Returns
    -------
    TextData
        Texts, labels, class names and parts.

    Raises
    ------
    DataNotFound
        Not at hand, and not to be downloaded.
    ValueError
        The files are cut, or of another data set.
    """
    data_set = _data_set(name)
    reader = _reader(data_set)
    if download_missing and _find(data_set) is None and data_set.remotes:
        download(name)
    return reader(files(name), data_set.counts)


def load_images(name: str, *, download_missing: bool = True) -> ImageData:
    """Read labelled images: ``"digits"`` (of scikit-learn), ``"mnist"`` or ``"cifar10"``.

    Parameters
    ----------
    name : str
        Digits need no file; the others are looked for like every named data set.
    download_missing : bool
        False raises instead of downloading.

    Returns
    -------
    ImageData
        Images, labels, class names, and the parts ``"train"`` and ``"test"``.

    Raises
    ------
    DataNotFound
        Not at hand, and not to be downloaded.
    ValueError
        Unknown name, or files that are cut or of another data set.

    Examples
    --------
    >>> load_images("digits").images.shape
    (1797, 8, 8, 1)
    """
    from tractable.core.checks import check_choice
    from tractable.data import images

    check_choice("name", name, IMAGES)
    if name == "digits":
        return images.read_digits()
    data_set = DATA_SETS[name]
    if download_missing and _find(data_set) is None:
        download(name)
    reader = images.read_mnist if name == "mnist" else images.read_cifar10
    return reader(files(name), data_set.counts, data_set.contents)


def read_table(path: str | Path) -> TextData:
    """Read a user's own labelled texts; see `tractable.data.tables.read_table`."""
    from tractable.data import tables

    return tables.read_table(path)


def load_norms(name: str) -> FeatureNorms:
    """Read feature norms that are at hand; see `tractable.data.norms.load_norms`."""
    from tractable.data import norms

    return norms.load_norms(name)


def load_dissimilarities(name: str = "it92") -> BrainDissimilarities:
    """Read brain dissimilarities; see `tractable.data.dissimilarities.load_dissimilarities`."""
    from tractable.data import dissimilarities

    return dissimilarities.load_dissimilarities(name)


def listing() -> tuple[Listing, ...]:
    """Return where each data set is, its size in bytes, its license, and what to do about it."""
    rows = []
    for data_set in DATA_SETS.values():
        folder, paths = _find(data_set) or (None, ())
        size = sum(path.stat().st_size for path in paths)
        advice = "" if folder else _advice(data_set)
        rows.append(
            Listing(data_set.name, data_set.description, data_set.license, folder, size, advice)
        )
    return tuple(rows)


def resolve(
    data: str,
    *,
    path: str | Path | None = None,
    download_missing: bool = True,
    timeout: float = 10.0,
) -> Resolved:
    """Decide which texts a choice stands for, without reading them.

    ``"auto"`` is the UCI sentences where they are at hand or can be downloaded within ``timeout``
    seconds, else the generated review language.

    Parameters
    ----------
    data : str
        ``"auto"``, ``"uci"``, ``"imdb"``, ``"yelp"``, ``"sst2"``, ``"sst"``, ``"sst_fine"``,
        ``"synthetic"``, ``"path"``, or the path of a table itself (see `read_table`). The names in
        `DATA_SETS` of the same texts are taken, too: ``"sll"`` for ``"uci"``, ``"sst_sentences"``
        for ``"sst"``.
    path : str or Path, optional
        The user's table, for ``"path"`` and ``"auto"``.
    download_missing : bool
        False: only what is at hand.
    timeout : float
        Seconds that ``"auto"`` may spend on a download. Other choices wait as long as data arrive.

    Returns
    -------
    Resolved
        Choice, files and a sentence.

    Raises
    ------
    DataNotFound
        The chosen data are not at hand and cannot be downloaded.
    ValueError
        Unknown choice, or a folder instead of a file.

    Examples
    --------
    >>> resolve("synthetic")
    Resolved(choice='synthetic', files=(), note='Texts: the generated review language.')
    """
    data = ALIASES.get(data, data)
    if (
        path is None
        and data not in (*CHOICES, "auto", "synthetic", "path")
        and (os.path.exists(data) or Path(data).suffix)
    ):
        data, path = "path", data
    if path is not None and data in ("auto", "path"):
        if Path(path).is_dir():
            raise ValueError(
                f"data must be a file of texts, got the folder {str(path)!r}; "
                "name a .csv, .tsv, .txt, .json or .jsonl file in it"
            )
        if not Path(path).is_file():
            raise DataNotFound(f"{path}: there is no such file of texts")
        return Resolved("path", (Path(path),), f"Texts: {path}.")
    if data == "synthetic":
        return Resolved("synthetic", (), "Texts: the generated review language.")
    if data == "auto":
        return _resolve_auto(timeout if download_missing else 0.0)
    if data == "path":
        raise ValueError("data is 'path', but no path is given; name a .csv, .tsv or .txt file")
    from tractable.core.checks import check_choice

    names = dict.fromkeys(["auto", *CHOICES, *ALIASES, "synthetic"])
    check_choice("data, unless it is the path of a file,", data, names)
    data_set = DATA_SETS[CHOICES[data]]
    if download_missing and _find(data_set) is None and data_set.remotes:
        download(data_set.name)
    found = files(data_set.name)
    return Resolved(data, found, f"Texts: {data_set.description}.")


def _resolve_auto(timeout: float) -> Resolved:
    data_set = DATA_SETS["sll"]
    reason = "they are not at hand"
    if _find(data_set) is None and timeout > 0:
        try:
            download("sll", timeout=timeout)
        except DataNotFound as error:
            reason = _reason(error.__cause__)
    if found := _find(data_set):
        return Resolved("uci", found[1], f"Texts: the UCI sentences ({data_set.description}).")
    note = f"Texts: the generated review language, instead of the UCI sentences ({reason})."
    return Resolved("synthetic", (), note)


def download(name: str, *, timeout: float | None = None) -> tuple[Path, ...]:
    """Download a data set into the cache, and return its files.

    Parameters
    ----------
    name : str
        A name in `DATA_SETS`.
    timeout : float, optional
        Seconds for the whole download; without it, only silence of 30 s ends it.

    Raises
    ------
    DataNotFound
        No address is known, or the download failed: why, and which file goes where.
    """
    data_set = _data_set(name)
    if not data_set.remotes:
        raise DataNotFound(_advice(data_set))
    folder = cache_folder() / (data_set.folder or name)
    try:
        _within(timeout, lambda: _retrieve(data_set, folder, min(timeout or 30.0, 30.0)))
    except (OSError, ValueError) as error:
        message = f"{_advice(data_set)} The download failed: {_reason(error)}."
        raise DataNotFound(message) from error
    return files(name)


def _reason(error: BaseException | None) -> str:
    """Return one line; a failed connection is named by its class, not by its nested text."""
    if error is None:
        return "no address is known"
    line = str(error).partition("\n")[0]
    if isinstance(error, OSError) and len(line) > 100:
        return f"no answer from the server, {type(error).__name__}"
    return line


def _retrieve(data_set: DataSet, folder: Path, silence: float) -> None:
    import pooch

    pooch.get_logger().setLevel("WARNING")  # pooch writes to stderr; this library logs
    for remote in data_set.remotes:
        log.info("downloading %s from %s to %s", data_set.name, remote.url, folder)
        pooch.retrieve(
            remote.url,
            known_hash=remote.checksum,
            fname=remote.file,
            path=folder,
            downloader=pooch.HTTPDownloader(timeout=silence),
        )
        if remote.checksum is None:  # then the content itself is the check
            path = folder / remote.file
            try:
                _reader(data_set)([path], data_set.counts)
            except ValueError:
                path.unlink()  # a log-in page, say: it must not be found next time
                raise


def _reader(data_set: DataSet) -> Callable[[Sequence[Path], Mapping[str, int]], TextData]:
    if not data_set.reader:
        name = data_set.name
        if name in IMAGES:
            raise ValueError(f"{name} is no corpus of texts: tractable.data.load_images reads it")
        raise ValueError(f"{name} is no corpus of texts: tractable.data.files({name!r}) locates it")
    reader: Callable[[Sequence[Path], Mapping[str, int]], TextData] = getattr(
        importlib.import_module("tractable.data.corpora"), data_set.reader
    )
    return reader


def _within(seconds: float | None, work: Callable[[], None]) -> None:
    """Do the work in a thread, because a look-up of a host name cannot be timed out."""
    errors: list[Exception] = []

    def run() -> None:
        try:
            work()
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise TimeoutError(f"not complete after {seconds:g} s")
    if errors:
        raise errors[0]


def _data_set(name: str) -> DataSet:
    if name not in DATA_SETS:
        from tractable.core.checks import check_choice

        check_choice("name", name, DATA_SETS)
    return DATA_SETS[name]


def _find(data_set: DataSet) -> tuple[Path, tuple[Path, ...]] | None:
    """Return the first folder that holds all files of one form, and these files."""
    for root in _roots():
        folder = root / (data_set.folder or data_set.name)
        for form in data_set.forms if folder.is_dir() else ():
            matches = [sorted(folder.glob(pattern)) for pattern in form]
            if all(matches):
                return folder, tuple(path for match in matches for path in match)
    return None


def _roots() -> list[Path]:
    own = os.environ.get("TRACTABLE_DATA")
    return [Path(own), cache_folder()] if own else [cache_folder()]


def _advice(data_set: DataSet) -> str:
    """Say which file goes where."""
    folder = data_set.folder or data_set.name
    wanted = ", ".join(data_set.forms[0])
    archives = ", ".join(remote.file for remote in data_set.remotes)
    if archives and archives != wanted:
        wanted += f" (or the archive {archives})"
    own = os.environ.get("TRACTABLE_DATA")
    if own is None:
        where = f"$TRACTABLE_DATA/{folder}/ (TRACTABLE_DATA is not set)"
    else:
        missing = "" if Path(own).is_dir() else " (TRACTABLE_DATA is not a folder)"
        where = f"{Path(own) / folder}/{missing}"
    addresses = ", ".join(remote.url for remote in data_set.remotes)
    return (
        f"{data_set.name} is not at hand: put {wanted} into {where} or {cache_folder() / folder}/. "
        f"Source: {addresses or data_set.source}."
    )
