"""The same study many times: a grid of parameters, on one machine or on a cluster.

``sweep(study, grid={"depth": "2,8,32", "seed": "0:10"})`` runs every point that is not finished and
returns one labeled dataset with the swept fields as dimensions. The points are ordinary runs; a
sweep that was stopped goes on where it was, on any number of machines that share the folder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tractable.core.checks import check_range
from tractable.core.grid import read_grid
from tractable.study import Study
from tractable.sweep_dataset import assemble
from tractable.sweep_plan import Plan, fields_of

if TYPE_CHECKING:
    import xarray as xr
    from distributed import Client

__all__ = ["Plan", "as_study", "assemble", "plan", "sweep"]


def sweep(
    study: Study | type[Study] | str,
    grid: Mapping[str, Any] | Sequence[str],
    *,
    client: Client | None = None,
    workers: int = 0,
    scheduler: str | None = None,
    random: int | None = None,
    random_seed: int = 0,
    seed: int = 0,
    device: str = "auto",
    threads: int = 1,
    out: str | Path = "runs",
    points_per_file: int = 1,
    progress: bool = True,
) -> xr.Dataset:
    """Run a study at every point of a grid, and return one dataset.

    Finished points are read, the others are run; a point that fails, or loses its worker, is tried
    three times in all, then it is NaN and its error is in ``error`` while the rest goes on.

    Parameters
    ----------
    study : Study
        The parameters that are not swept; a class or a name stands for its defaults.
    grid : mapping or sequence of str
        Field to values: a sequence, or text as on the command line: ``"2,8,32"``, ``"0:10"``,
        ``"1e-3:1:log7"``, ``"0:1:lin5"``, ``"(2,8),(2,8,32)"``. ``seed`` may be swept like a field.
    client : distributed.Client, optional
        Of the Dask cluster that computes.
    workers : int
        Without a client: processes of this machine, one thread each; 0 computes in this process.
    scheduler : str, optional
        Address of a running Dask scheduler, ``tcp://host:8786``, instead of ``workers``.
    random : int, optional
        Draw as many points at random instead of taking all; their dimension is ``point``.
    random_seed : int
        Decides which.
    seed : int
        Of every point, where the grid does not sweep it.
    device : str
        ``auto`` gives every worker a GPU of its own when there are any.
    threads : int
        Threads of torch in every worker.
    out : path
        Where the run folders are; every worker must see it.
    points_per_file : int
        Above 1, so many small points share a file and have no run folders.
    progress : bool
        Show progress on a terminal.

    Returns
    -------
    xr.Dataset
        Dimensions: the swept fields, then those of the study. Measured variables have their names,
        the theory's begin with ``theory_``; ``error`` (text, empty where a point is finished),
        ``checks`` and ``checks_hold`` (how many there are, and how many hold).

    Raises
    ------
    ValueError
        An unknown field, an empty grid, values or points that are not permitted (all are named),
        a study that the workers cannot import.
    tractable.core.engine.Unreachable
        No scheduler answers.
    OSError
        The disk is full; what is finished is kept.

    Notes
    -----
    The dataset, the failures with their tracebacks and the log are in ``<out>/<study>/sweeps/``.
    With ``workers``, guard a script with ``if __name__ == "__main__"``: workers import it.

    Examples
    --------
    >>> import tempfile
    >>> from tractable.studies import find
    >>> RankOne = find("dynamics-rank-one")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     data = sweep(RankOne.preset("smoke"), {"n_units": (4, 8), "seed": "0:2"}, out=folder)
    >>> data.overlap.dims
    ('n_units', 'seed', 'gain', 'root')
    """
    todo = plan(
        study,
        grid,
        random=random,
        random_seed=random_seed,
        seed=seed,
        device=device,
        threads=threads,
        out=out,
        points_per_file=points_per_file,
    )
    return todo.run(client=client, workers=workers, scheduler=scheduler, progress=progress)


def plan(
    study: Study | type[Study] | str,
    grid: Mapping[str, Any] | Sequence[str],
    *,
    random: int | None = None,
    random_seed: int = 0,
    seed: int = 0,
    device: str = "auto",
    threads: int = 1,
    out: str | Path = "runs",
    points_per_file: int = 1,
) -> Plan:
    """Return a sweep that is checked and ready to run; the parameters are those of `sweep`."""
    check_range("threads", threads, 1)
    check_range("points_per_file", points_per_file, 1)
    base = as_study(study)
    base.identity(seed)  # refuses a seed out of range
    cls, parameters = type(base), base.parameters()

    def build(point: dict[str, Any]) -> Study:
        return cls.from_parameters({**parameters, **fields_of(point)})

    axes = read_grid(grid, cls.field_types(), build, n_random=random, random_seed=random_seed)
    return Plan(base, axes, seed, Path(out), device, threads, points_per_file)


def as_study(study: Study | type[Study] | str) -> Study:
    """Return the study that is meant: a class or a name stands for its defaults."""
    if isinstance(study, str):
        from tractable.studies import find

        study = find(study)
    if isinstance(study, type) and issubclass(study, Study):
        return study()
    if not isinstance(study, Study):
        raise TypeError(f"study must be a Study, its class or its name, got {study!r}")
    return study
