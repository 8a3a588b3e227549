"""Files that survive a crash: atomic writes, content hashes, and a lock with a heartbeat."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["Locked", "canonical", "digest", "hash_file", "lock", "write_json", "write_text"]

HEARTBEAT_SECONDS = 5.0
STALE_SECONDS = 60.0  # a lock on another host without a heartbeat for this long is dead
LARGE_BYTES = 2**30  # larger files are recognized by name, size and time, not by content


class Locked(RuntimeError):
    """Another living process works in this folder."""


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` so that a reader sees the old file or the new one, whole."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


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
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)


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
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
    for _ in range(5):
        try:
            handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        except FileExistsError:
            _break_if_dead(path)
            continue
        with os.fdopen(handle, "w") as file:
            json.dump(me, file)
        break
    else:
        raise Locked(f"another process has just taken {folder}")
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(HEARTBEAT_SECONDS):
            with contextlib.suppress(OSError):
                os.utime(path)

    thread = threading.Thread(target=beat, daemon=True, name="tractable-heartbeat")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        path.unlink(missing_ok=True)


def _break_if_dead(path: Path) -> None:
    try:
        holder = json.loads(path.read_text())
        age = time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return
    except ValueError:  # killed between creating the file and writing it, or being written now
        holder, age = {}, time.time() - path.stat().st_mtime
        if age < 1.0:
            time.sleep(1.0)
            return
        holder = {"host": socket.gethostname(), "process": 0}
    here = holder.get("host") == socket.gethostname()
    alive = _alive(int(holder.get("process", 0))) if here else age < STALE_SECONDS
    if alive:
        raise Locked(
            f"process {holder.get('process')} on {holder.get('host')} is working in {path.parent} "
            f"(last sign of life {age:.0f} s ago); wait for it, or stop it and repeat the command"
        )
    # Renaming decides which of several waiting processes removes the dead lock.
    grave = path.with_name(f"lock.dead.{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        os.rename(path, grave)
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
