"""Files that survive a crash: atomic writes, content hashes, and a lock with a heartbeat."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

__all__ = [
    "Locked",
    "canonical",
    "digest",
    "first_difference",
    "hash_content",
    "hash_file",
    "is_full",
    "lock",
    "make",
    "write_json",
    "write_text",
]

HEARTBEAT_SECONDS = 5.0
STALE_SECONDS = 60.0  # a lock on another host without a heartbeat for this long is dead
LARGE_BYTES = 2**30  # larger files are recognized by name, size and time, not by content
SETTLED_SECONDS = 2.0  # a file that was not touched for this long has its hash remembered
FULL = (errno.ENOSPC, errno.EDQUOT)

_hashes: dict[tuple[str, int, int, int], str] = {}
_held: set[str] = set()  # locks of this process: its own number does not make them dead
_heart: threading.Thread | None = None
_heart_lock = threading.Lock()


class Locked(RuntimeError):
    """Another living process works in this folder."""


def temporary_beside(path: Path) -> Path:
    """Return a name beside ``path`` that no other process and no other thread writes to."""
    return path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` so that a reader sees the old file or the new one, whole."""
    temporary = temporary_beside(path)
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as JSON, atomically. NaN and infinity are written as Python's json does."""
    write_text(path, json.dumps(value, indent=1) + "\n")


def canonical(value: Any) -> str:
    """Return the one JSON text of ``value``: sorted keys, no spaces; paths as text.

    Examples
    --------
    >>> canonical({"b": (1, 2), "a": 0.1})
    '{"a":0.1,"b":[1,2]}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=_text)


def _text(value: Any) -> str:
    """Return what JSON does not know as text; of an array all of it, which ``str`` shortens."""
    if not getattr(value, "shape", None):
        return str(value)
    import numpy as np

    array = np.asarray(value)
    content = array.tobytes() if array.dtype.kind != "O" else canonical(array.tolist()).encode()
    return f"array {array.shape} {array.dtype} {hashlib.sha256(content).hexdigest()}"


def first_difference(there: Any, here: Any) -> tuple[str, Any, Any] | None:
    """Return where two settings first differ, and both values; None where they are the same.

    Examples
    --------
    >>> first_difference({"rule": {"tau": 10.0}, "n": 3}, {"rule": {"tau": 5.0}, "n": 3})
    ('rule tau', 10.0, 5.0)
    """
    old, new = _leaves(there), _leaves(here)
    for name in [*new, *old]:
        if old.get(name) != new.get(name):
            return name, old.get(name, "absent"), new.get(name, "absent")
    return None


def _leaves(value: Any, name: str = "") -> dict[str, Any]:
    if isinstance(value, Mapping) and value:
        items = [(f"{name} {key}".strip(), entry) for key, entry in value.items()]
    elif isinstance(value, list) and any(isinstance(entry, Mapping) for entry in value):
        items = [(f"{name} {i}", entry) for i, entry in enumerate(value)]
    else:
        return {name: value}
    return {key: leaf for path, entry in items for key, leaf in _leaves(entry, path).items()}


def digest(value: Any) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of the canonical JSON of ``value``.

    Examples
    --------
    >>> digest({"depth": 3})
    '1f5095ec7a7c8833'
    """
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:16]


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file's content.

    A folder, and a file over 1 GiB, is recognized by names, sizes and modification times.
    """
    if path.is_dir() or path.stat().st_size > LARGE_BYTES:
        files = sorted(file for file in path.rglob("*") if file.is_file()) or [path]
        stats = [(file.relative_to(path.parent), file.stat()) for file in files]
        return digest([(str(name), stat.st_size, stat.st_mtime_ns) for name, stat in stats])
    stat = path.stat()
    key = (str(path.absolute()), stat.st_ino, stat.st_size, stat.st_mtime_ns)
    if key in _hashes:
        return _hashes[key]
    value = hash_content(path)
    # A file that is being written now may change again within the same tick of its clock.
    if time.time() - stat.st_mtime > SETTLED_SECONDS:
        _hashes[key] = value
    return value


def hash_content(path: Path) -> str:
    """Return the SHA-256 of a file's content, read now."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_full(error: BaseException | None) -> bool:
    """Tell whether an error, or what caused it, says that a disk or a quota is full.

    Examples
    --------
    >>> is_full(OSError(errno.ENOSPC, "No space left on device")), is_full(OSError("gone"))
    (True, False)
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL:
            return True
        found = re.search(r"errno = (\d+)", str(error))  # how HDF5 says it
        if found and int(found[1]) in FULL:
            return True
        error = error.__cause__ or error.__context__
    return False


def make(folder: Path, argument: str = "out") -> None:
    """Make a folder, and those above it.

    Raises
    ------
    OSError
        It cannot be made; the message begins with the argument that named it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if is_full(error):
            raise
        why = error.strerror or error
        raise type(error)(f"{argument}: the folder {folder} cannot be made: {why}") from error


@contextlib.contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold ``folder/lock.json`` while the block runs; take over the lock of a dead process.

    A lock is dead when its process is gone (same host), or when its heartbeat is older than
    60 s (another host).

    Raises
    ------
    Locked
        A living process holds the lock; the message says which.
    """
    path = folder / "lock.json"
    me = {"host": socket.gethostname(), "process": os.getpid(), "started": time.time()}
    for _ in range(8):
        try:
            handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        except FileNotFoundError:  # another process has just finished here and renamed the folder
            folder.mkdir(parents=True, exist_ok=True)
            continue
        except FileExistsError:
            _break_if_dead(path)
            continue
        try:
            with os.fdopen(handle, "w") as file:
                json.dump(me, file)
        except OSError:
            path.unlink(missing_ok=True)
            raise
        break
    else:
        raise Locked(f"another process has just taken {folder}")
    mine = os.stat(path).st_ino
    _held.add(str(path.absolute()))
    _start_heartbeat()
    try:
        yield
    finally:
        _held.discard(str(path.absolute()))
        with contextlib.suppress(FileNotFoundError):
            if os.stat(path).st_ino == mine:  # else the folder was renamed and made anew
                path.unlink()


def _start_heartbeat() -> None:
    """Start the thread that shows that this process lives, one for all its locks."""
    global _heart
    with _heart_lock:
        if _heart is None or not _heart.is_alive():  # none yet, or left behind by a fork
            _heart = threading.Thread(target=_beat, daemon=True, name="tractable-heartbeat")
            _heart.start()


def _beat() -> None:
    while True:
        time.sleep(HEARTBEAT_SECONDS)
        for path in tuple(_held):
            with contextlib.suppress(OSError):
                os.utime(path)


def _break_if_dead(path: Path) -> None:
    try:
        text, stat = path.read_text(), path.stat()
    except FileNotFoundError:
        return
    age = time.time() - stat.st_mtime
    try:
        holder = json.loads(text)
    except ValueError:  # killed between creating the file and writing it, or being written now
        if age < 1.0:
            time.sleep(1.0)
            return
        holder = {"host": socket.gethostname(), "process": 0}
    here = holder.get("host") == socket.gethostname()
    held = str(path.absolute()) in _held  # by another thread of this process
    alive = held or (_alive(int(holder.get("process", 0))) if here else age < STALE_SECONDS)
    if alive:
        raise Locked(
            f"process {holder.get('process')} on {holder.get('host')} is working in {path.parent} "
            f"(last sign of life {age:.0f} s ago); wait for it, or stop it and repeat the command"
        )
    # Renaming decides which of several waiting processes removes the dead lock.
    grave = path.with_name(f"lock.dead.{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        os.rename(path, grave)
        if grave.stat().st_ino != stat.st_ino:  # another process was faster: give it back
            with contextlib.suppress(FileExistsError):
                os.link(grave, path)
        grave.unlink()


def _alive(process: int) -> bool:
    if process <= 0:
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    # After a crash and a restart of a container the old number may be ours.
    return process != os.getpid()
