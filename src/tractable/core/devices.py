"""GPUs of a machine, one for each worker."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import IO

__all__ = ["claim", "n_gpus"]

_claims: dict[int, IO[str]] = {}  # kept open: the lock lasts as long as the process


def n_gpus() -> int:
    """Return how many GPUs torch finds here."""
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def claim(device: str, *, n_devices: int | None = None, folder: Path | None = None) -> str:
    """Return the device of this worker: ``auto`` becomes a GPU that no other worker has.

    The claim is a file lock, which ends with the process, however it ends; when every GPU is
    taken, workers share them.

    Parameters
    ----------
    device : str
        What the user asked for; anything but ``auto`` and ``cuda`` is returned as it is.
    n_devices : int, optional
        GPUs of this machine, when it is known.
    folder : path, optional
        Where the locks are.
    """
    if device not in ("auto", "cuda"):
        return device
    n = n_gpus() if n_devices is None else n_devices
    if n == 0:
        return device
    if _claims:
        return f"cuda:{next(iter(_claims))}"
    try:
        import fcntl
    except ImportError:  # no such locks on this system
        return f"cuda:{os.getpid() % n}"
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    names = visible.split(",") if visible else [str(i) for i in range(n)]
    user = os.getuid()
    for i in range(n):
        name = "".join(letter for letter in names[i] if letter.isalnum() or letter == "-")
        place = folder or Path(tempfile.gettempdir())
        file = (place / f"tractable-{user}-gpu-{name}.lock").open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            continue
        _claims[i] = file
        return f"cuda:{i}"
    return f"cuda:{os.getpid() % n}"
