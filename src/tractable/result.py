"""A finished run, read from its folder when asked."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tractable.core.claims import Check, Table, read_answer

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from tractable.study import Study

__all__ = ["Result"]


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
        try:
            checks = json.loads((path / "checks.json").read_text())
            answers = json.loads((path / "answers.json").read_text())
        except (OSError, ValueError) as error:
            raise ValueError(f"{path} does not hold a finished run: {error}") from error
        return cls(
            study, path, tuple(Check(**c) for c in checks), tuple(read_answer(a) for a in answers)
        )

    def _dataset(self, group: str) -> xr.Dataset:
        import xarray as xr

        return xr.load_dataset(self.folder / "result.nc", group=group, engine="h5netcdf")

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
        return json.loads((self.folder / "params.json").read_text())

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
        """Return ``m of n checks hold``."""
        return f"{sum(c.holds for c in self.checks)} of {len(self.checks)} checks hold"

    def __repr__(self) -> str:
        return f"<Result of {self.study.name()}: {self.summary()}; {self.folder}>"
