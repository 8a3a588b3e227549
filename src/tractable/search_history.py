"""The history of a search: its journal or database, its sampler, its pruning, its table."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tractable.core.seeds import derive

if TYPE_CHECKING:
    import optuna
    import xarray as xr

__all__ = [
    "Pruned",
    "Reporter",
    "absolute",
    "ended",
    "failures",
    "open_history",
    "sampler_of",
    "storage_at",
    "table",
]

SETTLED_SECONDS = 1.0  # a journal that is written now ends in a half line for an instant only


class Pruned(Exception):
    """The trial is worse than the others at the same step."""


@dataclass(frozen=True)
class Reporter:
    """Hands what a run reports to the search, and stops the run when it is pruned.

    It opens the history itself, so it works in any worker that reaches the file or the database.
    """

    storage: str
    name: str
    trial: int
    pruner: str

    def __call__(self, step: int, value: float) -> None:
        """Record a value; raise `Pruned` when the pruner says so."""
        import optuna

        trials = _study_of(self.storage, self.name, self.pruner)
        trial = optuna.trial.Trial(trials, self.trial)
        frozen = trials._storage.get_trial(self.trial)
        if step not in frozen.intermediate_values:  # a run that goes on may report a step again
            trial.report(value, step)
        if self.pruner != "none" and trial.should_prune():
            raise Pruned(f"stopped at step {step} with {value:.6g}")


def absolute(storage: str) -> str:
    """Return a storage that workers with another working directory find, too.

    Examples
    --------
    >>> absolute("postgresql://host/trials")
    'postgresql://host/trials'
    >>> absolute("sqlite:///a.db") == f"sqlite:///{Path('a.db').absolute()}"
    True
    """
    kind, sign, path = storage.partition(":///")
    if not sign:
        return storage if "://" in storage else str(Path(storage).absolute())
    if not kind.startswith("sqlite") or path in ("", ":memory:") or Path(path).is_absolute():
        return storage
    return f"{kind}:///{Path(path).absolute()}"


def storage_at(url: str) -> Any:
    """Open a database, or a journal file: what has no ``://``."""
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend

    if "://" in url:
        try:
            return RDBStorage(url)
        except Exception as error:  # whatever the driver of the database raises
            why = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ValueError(f"storage: {url} cannot be opened: {why}") from error
    return JournalStorage(JournalFileBackend(url))


def _mend(journal: Path) -> None:
    """Cut off the half line that a killed process has left at the end of a journal."""
    if not journal.exists() or time.time() - journal.stat().st_mtime < SETTLED_SECONDS:
        return
    text = journal.read_bytes()
    whole = text.rfind(b"\n") + 1
    if whole < len(text):
        os.truncate(journal, whole)


def _study_of(url: str, name: str, pruner: str) -> optuna.Study:
    """Return the history as a worker sees it, opened once."""
    import optuna

    known = _open_studies.get((url, name, pruner))
    if known is not None:
        return known
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    pruners = {
        "none": optuna.pruners.NopPruner,
        "median": optuna.pruners.MedianPruner,
        "asha": optuna.pruners.SuccessiveHalvingPruner,
    }
    found = optuna.load_study(study_name=name, storage=storage_at(url), pruner=pruners[pruner]())
    _open_studies[url, name, pruner] = found
    return found


_open_studies: dict[tuple[str, str, str], Any] = {}


def open_history(
    url: str, name: str, *, maximize: bool, sampler: str, search_seed: int
) -> optuna.Study:
    """Open a history, or begin it, with a sampler that does not repeat what it drew before.

    Parameters
    ----------
    url : str
        Of a database; what has no ``://`` is the path of a journal file.
    name : str
        Of the search: a database holds many.
    maximize : bool
        Look for the largest value.
    sampler : {"tpe", "random"}
        See `sampler_of`.
    search_seed : int
        Decides, with the number of trials that there are, what the sampler draws.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if "://" not in url:
        _mend(Path(url))
    direction: Literal["maximize", "minimize"] = "maximize" if maximize else "minimize"
    history = optuna.create_study(
        study_name=name, storage=storage_at(url), direction=direction, load_if_exists=True
    )
    drawn = len(history.get_trials(deepcopy=False))
    history.sampler = sampler_of(sampler, derive(search_seed, "search", drawn) % 2**32)
    return history


def sampler_of(kind: str, seed: int) -> optuna.samplers.BaseSampler:
    """Return what draws the parameters of the trials.

    The tree-structured Parzen estimator models the fields together (``multivariate``), those of
    each branch of a conditional space by themselves (``group``): field by field, as optuna's
    default does it, it loses to random search more often. Running trials count as bad ones
    (``constant_liar``), so that workers do not try the same.
    """
    import optuna

    if kind == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(
            seed=seed, constant_liar=True, multivariate=True, group=True
        )


def ended(history: optuna.Study) -> list[Any]:
    """Return the trials that have ended, in the order in which they ended."""
    found = [t for t in history.get_trials(deepcopy=False) if t.state.is_finished()]
    return sorted(found, key=lambda trial: (trial.datetime_complete, trial.number))


def failures(trials: Sequence[Any]) -> list[dict[str, Any]]:
    """Return the trials that failed: number, parameters, run folder, error and traceback."""
    return [
        {
            "trial": trial.number,
            **{n: trial.user_attrs.get(n, "") for n in ("parameters", "run", "error", "traceback")},
        }
        for trial in trials
        if trial.state.name == "FAIL"
    ]


def table(trials: Sequence[Any], objective: str, maximize: bool) -> tuple[xr.Dataset, Any]:
    """Return the ended trials as a dataset, and the best of them, None where none is complete."""
    import xarray as xr

    states = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
    value = np.array(
        [trial.value if trial.state.name == "COMPLETE" else np.nan for trial in trials],
        dtype=float,
    )
    sign = -1.0 if maximize else 1.0
    best = sign * np.fmin.accumulate(sign * value) if len(value) else value
    data: dict[str, Any] = {
        "value": ("trial", value, {"long_name": objective}),
        "best": ("trial", best, {"long_name": f"best {objective} so far"}),
        "state": ("trial", np.array([states[trial.state.name] for trial in trials], dtype=str)),
    }
    for name in ("run", "error"):
        text = [trial.user_attrs.get(name, "") for trial in trials]
        data[name] = ("trial", np.array(text, dtype=str))
    tried = [trial.user_attrs.get("parameters", {}) for trial in trials]
    for name in dict.fromkeys(key for point in tried for key in point):
        column = [point.get(name) for point in tried]
        if all(c is None or isinstance(c, int | float) for c in column):
            values = np.array([np.nan if c is None else c for c in column], dtype=float)
        else:
            values = np.array(["" if c is None else str(c) for c in column], dtype=str)
        data[name if name not in data else f"field_{name}"] = ("trial", values)
    dataset = xr.Dataset(data, coords={"trial": [trial.number for trial in trials]})
    if not np.isfinite(value).any():
        return dataset, None
    return dataset, trials[int(np.nanargmin(sign * value))]
