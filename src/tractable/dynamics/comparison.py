"""Line attractor reports of several networks, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tractable.dynamics.line_attractor import LineAttractor
from tractable.dynamics.results import from_dataset, to_dataset

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Comparison", "compare"]


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """Signatures of a line attractor (columns) in several networks (rows).

    Attributes
    ----------
    names : tuple of str, length R
        The networks.
    signatures : tuple of str, length C
        What was measured; see `LineAttractor.signatures`.
    measured : array, shape (R, C)
        The numbers; NaN where a report lacks one.
    at_least : array, shape (R, C)
        The bound of each.
    oscillating, growing : array, shape (R,)
        Share of the points at which the slowest mode oscillates, and at which it grows.
    """

    names: tuple[str, ...]
    signatures: tuple[str, ...]
    measured: np.ndarray
    at_least: np.ndarray
    oscillating: np.ndarray
    growing: np.ndarray

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        wide = max(map(len, self.names), default=0)
        held, known = self.holds.sum(1), np.isfinite(self.measured).sum(1)
        lines = [
            f"  {name:{wide}}  {h} of {k} signatures hold"
            for name, h, k in zip(self.names, held, known, strict=True)
        ]
        return f"Comparison({len(self)} networks)\n" + "\n".join(lines)

    @property
    def holds(self) -> np.ndarray:
        """Which signatures reach their bound, (R, C)."""
        reached: np.ndarray = self.measured >= self.at_least  # False for NaN
        return reached

    @property
    def shared(self) -> list[str]:
        """Signatures that hold in every network."""
        return [name for c, name in enumerate(self.signatures) if self.holds[:, c].all()]

    def rows(self) -> list[tuple[str | float, ...]]:
        """Return the table: for each network its name and its numbers."""
        return [
            (name, *map(float, row)) for name, row in zip(self.names, self.measured, strict=True)
        ]

    def to_dataset(self) -> xr.Dataset:
        """Return an `xarray.Dataset` with dims ``network`` and ``signature``."""
        return to_dataset(self, _DIMS)

    @classmethod
    def from_dataset(cls, dataset: xr.Dataset) -> Comparison:
        """Return the comparison that `to_dataset` wrote."""
        return from_dataset(cls, dataset)


_DIMS = {
    "measured": ("network", "signature"),
    "at_least": ("network", "signature"),
    "oscillating": ("network",),
    "growing": ("network",),
}


def compare(reports: Mapping[str, LineAttractor] | Sequence[LineAttractor]) -> Comparison:
    """Put reports of several architectures, seeds or data sets into one table.

    Parameters
    ----------
    reports : mapping of str to LineAttractor, or sequence
        From `line_attractor_report`; names of a sequence are its numbers.

    Returns
    -------
    Comparison
        Draw its numbers with `plots.plot_comparison`.

    Raises
    ------
    ValueError
        No report.
    TypeError
        Something else than a report.

    References
    ----------
    MWGGS: Maheswaranathan, Williams, Golub, Ganguli, Sussillo 2019, arXiv:1906.10720, figure 6.

    Examples
    --------
    >>> compare({})
    Traceback (most recent call last):
    ValueError: reports must hold at least one report, got none
    """
    named = (
        dict(reports)
        if isinstance(reports, Mapping)
        else {str(i): report for i, report in enumerate(reports)}
    )
    if not named:
        raise ValueError("reports must hold at least one report, got none")
    for name, report in named.items():
        if not isinstance(report, LineAttractor):
            raise TypeError(
                f"reports must be of line_attractor_report, got {type(report).__name__} as {name!r}"
            )
    found = [{s.name: s for s in report.signatures} for report in named.values()]
    columns = list(dict.fromkeys(name for signatures in found for name in signatures))

    def table(part: str) -> np.ndarray:
        return np.array(
            [[getattr(row[c], part) if c in row else np.nan for c in columns] for row in found],
            dtype=float,
        ).reshape(len(found), len(columns))

    def share(part: str) -> np.ndarray:
        flags = [getattr(report, part) for report in named.values()]
        return np.array([flag.mean() if len(flag) else np.nan for flag in flags])

    return Comparison(
        names=tuple(named),
        signatures=tuple(columns),
        measured=table("measured"),
        at_least=table("at_least"),
        oscillating=share("oscillating"),
        growing=share("growing"),
    )
