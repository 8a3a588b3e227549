"""Rows of a benchmark, and timing that survives a noisy machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Row:
    """One comparison: what, our figure, the peer's, their ratio, and the bar for the ratio."""

    what: str
    ours: float
    peer: float
    bar: str
    """``<= 0.2`` or ``>= 5``: of ours / peer, or, for a speed-up, of peer / ours; empty: none."""
    unit: str = "s"
    note: str = ""

    @property
    def ratio(self) -> float:
        """Ours over peer for a bar ``<=``, peer over ours for ``>=``."""
        return self.peer / self.ours if self.bar.startswith(">=") else self.ours / self.peer

    @property
    def holds(self) -> bool:
        """Whether the bar is met, where there is one."""
        if not self.bar:
            return True
        sign, bound = self.bar.split()
        return self.ratio <= float(bound) if sign == "<=" else self.ratio >= float(bound)

    def cells(self) -> list[str]:
        """Return the row as text."""
        verdict = "reported" if not self.bar else "holds" if self.holds else "MISSED"
        ours, peer = f"{self.ours:.3g} {self.unit}", f"{self.peer:.3g} {self.unit}"
        return [self.what, ours, peer, f"{self.ratio:.2f}", self.bar, verdict, self.note]


def alternate(
    ours: Callable[[], Any], peer: Callable[[], Any], *, repeats: int = 5, device: str = "cpu"
) -> tuple[float, float]:
    """Return the least seconds of each of two functions, run in turn after one warm-up.

    On the CPU it is process time, which other work on the machine disturbs least.
    """
    clock = time.perf_counter if device.startswith("cuda") else time.process_time
    best = [float("inf"), float("inf")]
    for turn in range(repeats + 1):
        for i, function in enumerate((ours, peer)):
            started = clock()
            function()
            if device.startswith("cuda"):
                torch.cuda.synchronize()
            elapsed = clock() - started
            if turn:
                best[i] = min(best[i], elapsed)
    return best[0], best[1]
