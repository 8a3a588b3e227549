"""What a process has taken of the memory."""

from __future__ import annotations

import sys
from pathlib import Path

__all__ = ["peak_memory"]

STATUS, REFERENCES = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak_memory(*, reset: bool = False) -> int:
    """Return the peak resident memory of this process, in bytes.

    Parameters
    ----------
    reset : bool
        Begin anew: from here on it is the peak since this call. Linux only, elsewhere nothing.

    Notes
    -----
    Not ``ru_maxrss`` on Linux: a new program inherits that of the process that started it, so that
    the growth of a small one under a large one is always 0.

    Examples
    --------
    >>> before = peak_memory(reset=True)
    >>> filled = b"1" * 2**27
    >>> peak_memory() - before > 2**26
    True
    """
    if reset and REFERENCES.exists():
        REFERENCES.write_text("5", encoding="ascii")
    if STATUS.exists():
        line = next(x for x in STATUS.read_text("ascii").splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
