"""A finished run, read from its folder when asked."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tractable.core import netcdf
from tractable.core.claims import Check, Table, read_answer

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from tractable.study import Study

__all__ = ["Result", "read_json"]


@dataclass(frozen=True)
class Result:
    """A finished run: its folder, read when asked."""

    study: Study
    folder: Path
    checks: tuple[Check, ...]
    answers: tuple[str | Table, ...]

    @classmethod
    def open(cls, folder: str | Path, study: Study) -> Result:
        """Read the result of ``study`` from its run folder.

        Raises
        ------
        ValueError
            When the folder does not hold a finished run.
        """
        path = Path(folder)
        checks, answers = (read_json(path / f"{name}.json") for name in ("checks", "answers"))
        try:
            return cls(
                study,
                path,
                tuple(Check(**check) for check in checks),
                tuple(read_answer(answer) for answer in answers),
            )
        except (TypeError, KeyError) as error:
            raise ValueError(
                f"{path} does not hold a finished run: checks.json or answers.json is damaged; "
                "compute it again with --force"
            ) from error

    def _dataset(self, group: str) -> xr.Dataset:
        path = self.folder / "result.nc"
        try:
            return netcdf.load(path, group)
        except (OSError, KeyError) as error:
            raise ValueError(
                f"{path} is missing or damaged: compute the run again with --force"
            ) from error

    @functools.cached_property
    def theory(self) -> xr.Dataset:
        """The theory's dataset."""
        return self._dataset("theory")

    @functools.cached_property
    def measured(self) -> xr.Dataset:
        """The measured dataset."""
        return self._dataset("measured")

    @functools.cached_property
    def figures(self) -> dict[str, Figure]:
        """The pictures, drawn from the two datasets."""
        from tractable.plot import style

        with style():
            return self.study.figures(self.theory, self.measured)

    @functools.cached_property
    def record(self) -> dict[str, Any]:
        """Parameters, seed, files, device, versions and seconds of the run."""
        return read_json(self.folder / "params.json")

    @property
    def notes(self) -> list[str]:
        """What the measurement wants the reader to know first."""
        return json.loads(self.measured.attrs.get("notes", "[]"))

    @property
    def citation(self) -> str:
        """BibTeX of the paper that the run reproduces."""
        return self.study.paper.bibtex() if self.study.paper else ""

    @property
    def holds(self) -> bool:
        """Whether every check holds."""
        return all(check.holds for check in self.checks)

    def summary(self) -> str:
        """Return ``m of n checks hold``, and that a smoke run is too small where some do not."""
        small = self.study.is_smoke and not self.holds
        held = f"{sum(c.holds for c in self.checks)} of {len(self.checks)} checks hold"
        return held + (" (preset smoke: too small for the claims)" if small else "")

    def __repr__(self) -> str:
        return f"<Result of {self.study.name()}: {self.summary()}; {self.folder}>"


def read_json(path: Path) -> Any:
    """Read a file of a run folder.

    Raises
    ------
    ValueError
        It is missing or damaged: the folder holds no finished run.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        what = "is missing" if isinstance(error, FileNotFoundError) else "is damaged"
        raise ValueError(
            f"{path.parent} does not hold a finished run: {path.name} {what}; "
            "compute it again with --force"
        ) from error
