"""Search for the parameters that are best: optuna asks, the workers of a sweep answer.

A trial is a run like any other: it has a run folder, is found again when it is asked for again, and
goes on from its checkpoint when its worker is lost. The history is a journal file beside the runs,
or a database; the same command goes on with it.
"""

from __future__ import annotations

import json
import logging
import math
import os
import time
import uuid
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import numpy as np

from tractable.core import folder as store
from tractable.core.checks import check_choice, check_range, nearest_names
from tractable.core.cluster import opened
from tractable.core.engine import Engine, Flow
from tractable.core.fields import Range
from tractable.core.grid import Interval, kind_of, read_axis
from tractable.core.processes import NotImportable
from tractable.core.progress import Tally, logged
from tractable.core.seeds import derive
from tractable.points import RETRIES, Order, Point, Report, compute, last_line, reference
from tractable.study import Study
from tractable.sweep import as_study

if TYPE_CHECKING:
    import optuna
    import xarray as xr
    from distributed import Client

__all__ = ["Pruned", "Reporter", "search"]

log = logging.getLogger("tractable")

BUSY_SECONDS = 1.0
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

        trials = _study_of(self.storage, self.name, pruner=self.pruner)
        trial = optuna.trial.Trial(trials, self.trial)
        frozen = trials._storage.get_trial(self.trial)
        if step not in frozen.intermediate_values:  # a run that goes on may report a step again
            trial.report(value, step)
        if self.pruner != "none" and trial.should_prune():
            raise Pruned(f"stopped at step {step} with {value:.6g}")


def search(
    study: Study | type[Study] | str,
    objective: str,
    *,
    maximize: bool = False,
    over: Mapping[str, Any] | Sequence[str] = (),
    trials: int = 100,
    sampler: Literal["tpe", "random"] = "tpe",
    pruner: Literal["none", "median", "asha"] = "none",
    storage: str | None = None,
    seed: int = 0,
    search_seed: int = 0,
    client: Client | None = None,
    workers: int = 0,
    scheduler: str | None = None,
    device: str = "auto",
    threads: int = 1,
    out: str | Path = "runs",
    progress: bool = True,
) -> xr.Dataset:
    """Look for the parameters of a study that make a measured number smallest, or largest.

    Parameters
    ----------
    study : Study
        The parameters that are not searched; a class or a name stands for its defaults.
    objective : str
        A variable of ``measured`` with one value.
    maximize : bool
        Look for the largest.
    over : mapping or sequence of str
        Fields to search: by name, in the field's Range; or with values as in a sweep,
        ``gain=0.5:3``, ``depth=2,8,32``. By default what the study's classmethod
        ``suggest(trial)`` returns (a dict of fields, conditional ones too), else every field with
        a Range or a Literal.
    trials : int
        Trials that are finished in the end, those of earlier calls included.
    sampler : {"tpe", "random"}
        Tree-structured Parzen estimator (running trials count as bad ones, so that workers do not
        try the same), or random search.
    pruner : {"none", "median", "asha"}
        Stops a run whose `Run.report` is worse than the median of the others at its step, or than
        the best third of them (successive halving).
    storage : str, optional
        URL of a database for the history, as SQLAlchemy writes it; by default a journal file in
        ``<out>/<study>/searches/``.
    seed : int
        Of every run.
    search_seed : int
        Decides what the sampler draws.
    client, workers, scheduler, device, threads, out, progress
        As in `tractable.sweep.sweep`.

    Returns
    -------
    xr.Dataset
        Dimension ``trial``: ``value``, ``best`` (the best so far), ``state`` (``complete``,
        ``pruned``, ``failed``), ``error`` (why it failed), ``run`` (the run folder's name) and the
        parameters that were tried. Attributes: ``best_value``, ``best_parameters``,
        ``best_command``, ``folder``.

    Raises
    ------
    ValueError
        No such field or objective; nothing to search.

    Notes
    -----
    A trial that fails is tried three times in all and then counts as failed. Trials that were
    running when the search was killed are the first to run when it goes on.
    """
    check_range("trials", trials, 1)
    check_range("threads", threads, 1)
    check_range("workers", workers, 0)
    check_choice("sampler", sampler, ("tpe", "random"))
    check_choice("pruner", pruner, ("none", "median", "asha"))
    if sum((scheduler is not None, client is not None, workers > 0)) > 1:
        raise ValueError("workers, scheduler and client exclude one another: give one of them")
    if not objective:
        raise ValueError("objective must name a scalar of the measured dataset")
    base = as_study(study)
    job = _Search(
        base, objective, maximize, _space(type(base), over), sampler, pruner, storage, seed,
        search_seed, device, threads, Path(out),
    )  # fmt: skip
    return job.run(trials, client, workers, scheduler, progress)


# --- the space -------------------------------------------------------------------------------


def _space(cls: type[Study], over: Mapping[str, Any] | Sequence[str]) -> dict[str, Any]:
    """Return field to values: a tuple, or an Interval; empty: the study suggests by itself."""
    hints = cls.field_types()
    if not over:
        if hasattr(cls, "suggest"):
            return {}
        space = {name: _natural(hint) for name, hint in hints.items()}
        space = {name: values for name, values in space.items() if values is not None}
        if not space:
            raise ValueError(f"{cls.name()} has no field with a Range or a Literal to search")
        return space
    pairs = over.items() if isinstance(over, Mapping) else [_pair(text) for text in over]
    space = {}
    for name, values in pairs:
        if name not in hints:
            near = nearest_names(name, hints, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f": {', '.join(hints)}"
            raise ValueError(f"over: there is no field {name!r}{hint}")
        found = _natural(hints[name]) if values is None else read_axis(name, values, hints[name])
        if found is None:
            raise ValueError(f"over: {name} has no Range: give its values, {name}=...")
        space[name] = found
    return space


def _pair(text: str) -> tuple[str, str | None]:
    name, sign, values = text.partition("=")
    return name.strip().replace("-", "_"), values if sign else None


def _natural(hint: Any) -> Any:
    """Return what the annotation permits: a tuple of values, an Interval, or None."""
    kind, bounds = kind_of(hint)
    if get_origin(kind) is Literal:
        return get_args(kind)
    if kind is bool:
        return (False, True)
    if kind in (int, float) and isinstance(bounds, Range):
        log_ = bounds.log and bounds.low > 0
        return Interval(bounds.low, bounds.high, log_, whole=kind is int)
    return None


def _suggest(trial: optuna.Trial, space: Mapping[str, Any]) -> dict[str, Any]:
    point: dict[str, Any] = {}
    for name, values in space.items():
        if isinstance(values, Interval) and values.whole:
            point[name] = trial.suggest_int(
                name, math.ceil(values.low), math.floor(values.high), log=values.log
            )
        elif isinstance(values, Interval):
            point[name] = trial.suggest_float(name, values.low, values.high, log=values.log)
        else:  # optuna keeps plain values: tuples are chosen by their text
            plain = all(isinstance(value, bool | int | float | str) for value in values)
            choices = list(values) if plain else [str(value) for value in values]
            chosen = trial.suggest_categorical(name, choices)
            point[name] = values[choices.index(chosen)]
    return point


# --- the history -----------------------------------------------------------------------------


def _storage(url: str) -> Any:
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend

    if "://" in url:
        return RDBStorage(url)
    return JournalStorage(JournalFileBackend(url))


def _mend(journal: Path) -> None:
    """Cut off the half line that a killed process has left at the end of a journal."""
    if not journal.exists() or time.time() - journal.stat().st_mtime < SETTLED_SECONDS:
        return
    text = journal.read_bytes()
    whole = text.rfind(b"\n") + 1
    if whole < len(text):
        os.truncate(journal, whole)


def _study_of(url: str, name: str, *, pruner: str = "none", sampler: Any = None) -> optuna.Study:
    import optuna

    known = _open_studies.get((url, name, pruner))
    if known is not None and sampler is None:
        return known
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    pruners = {
        "none": optuna.pruners.NopPruner,
        "median": optuna.pruners.MedianPruner,
        "asha": optuna.pruners.SuccessiveHalvingPruner,
    }
    opened_ = optuna.load_study(
        study_name=name, storage=_storage(url), pruner=pruners[pruner](), sampler=sampler
    )
    if sampler is None:
        _open_studies[url, name, pruner] = opened_
    return opened_


_open_studies: dict[tuple[str, str, str], Any] = {}


@dataclass
class _Search:
    study: Study
    objective: str
    maximize: bool
    space: dict[str, Any]
    sampler: str
    pruner: str
    storage: str | None
    seed: int
    search_seed: int
    device: str
    threads: int
    out: Path

    @property
    def name(self) -> str:
        """Identity of the search: all but the number of trials and the workers."""
        identity = self.study.identity(self.seed)
        searched = {
            name: vars(values) if isinstance(values, Interval) else values
            for name, values in self.space.items()
        }
        for name in searched:
            identity["parameters"].pop(name, None)
        options = [self.objective, self.maximize, self.sampler, self.pruner, self.search_seed]
        return store.digest({**identity, "space": searched, "search": options})

    @property
    def folder(self) -> Path:
        return self.out / self.study.name() / "searches" / self.name

    @property
    def url(self) -> str:
        return self.storage or str((self.folder / "journal.log").resolve())

    # --- running -----------------------------------------------------------------------------

    def run(
        self, n: int, client: Any, workers: int, scheduler: str | None, progress: bool
    ) -> xr.Dataset:
        import torch

        self.folder.mkdir(parents=True, exist_ok=True)
        self._session = uuid.uuid4().hex[:12]
        here = self.folder / "sessions" / self._session
        here.mkdir(parents=True)
        threads = torch.get_num_threads()
        try:
            with logged(self.folder / "log.txt"), store.lock(here):
                history = self._history()
                left = n - len(_ended(history))
                log.info("%s: %d trials, %d of them finished", self.study.name(), n, n - left)
                if left > 0:
                    with opened(min(workers, left), scheduler, client) as engine:
                        self._work(engine, history, n, progress)
                dataset = self._dataset(history)
                dataset.to_netcdf(self.folder / "search.nc", engine="h5netcdf")
                return dataset
        finally:
            torch.set_num_threads(threads)
            for path in here.iterdir():
                path.unlink()
            here.rmdir()

    def _history(self) -> optuna.Study:
        """Open the history, with a sampler that does not repeat what it drew before."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        if self.storage is None:
            _mend(Path(self.url))
        storage = _storage(self.url)
        direction: Literal["maximize", "minimize"] = "maximize" if self.maximize else "minimize"
        history = optuna.create_study(
            study_name=self.name, storage=storage, direction=direction, load_if_exists=True
        )
        drawn = len(history.get_trials(deepcopy=False))
        random = derive(self.search_seed, "search", drawn) % 2**32
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            if self.sampler == "random":
                history.sampler = optuna.samplers.RandomSampler(seed=random)
            else:
                history.sampler = optuna.samplers.TPESampler(
                    seed=random,
                    constant_liar=True,
                    multivariate=not self.space,
                    group=not self.space,
                )
        return history

    def _work(self, engine: Engine, history: optuna.Study, n: int, progress: bool) -> None:
        done = len(_ended(history))
        self._reference = reference(type(self.study), engine)
        with Tally("trials", n, done=done, show=progress) as tally:
            orders = self._orders(history, n)
            flow = Flow(engine, compute, orders, tick=lambda k: tally.add(running=k), ahead=False)
            for ended in flow:
                if isinstance(ended.error, NotImportable):
                    raise ended.error
                order: Order = ended.payload
                if ended.error is not None:
                    text = f"{type(ended.error).__name__}: {ended.error}"
                    reports = [Report(order.points[0], "failed", text, 1 + RETRIES)]
                else:
                    reports = ended.value
                for report in reports:
                    self._take(history, order, report, flow, tally)
            log.info("%s", tally.text())

    def _orders(self, history: optuna.Study, n: int) -> Iterator[Order]:
        """Yield trials that an ended search has left, then new ones, until there are enough."""
        import optuna

        for frozen in history.get_trials(deepcopy=False):
            if frozen.state.name == "RUNNING" and self._is_left(frozen):
                log.info("trial %d was left by a search that ended; it goes on", frozen.number)
                yield self._order(optuna.trial.Trial(history, frozen._trial_id))
        while True:
            trials = history.get_trials(deepcopy=False)
            if sum(t.state.is_finished() or t.state.name == "RUNNING" for t in trials) >= n:
                return
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                trial = history.ask()
                yield self._order(trial)

    def _is_left(self, frozen: Any) -> bool:
        session = frozen.user_attrs.get("session", "")
        place = self.folder / "sessions" / session
        if not session:
            return True
        if not place.is_dir():  # its search has ended here, or runs elsewhere
            return self.storage is None
        try:
            with store.lock(place):
                pass
        except store.Locked:
            return session == self._session
        place.rmdir()
        return True

    def _order(self, trial: optuna.Trial) -> Order:
        cls = type(self.study)
        trial.set_user_attr("session", self._session)
        searched = _suggest(trial, self.space) if self.space else cls.suggest(trial)  # type: ignore[attr-defined]  # of the user
        study = cls.from_parameters({**self.study.parameters(), **searched})
        digest = store.digest(study.identity(self.seed))
        trial.set_user_attr("parameters", json.loads(store.canonical(searched)))
        trial.set_user_attr("run", digest)
        point = Point(trial._trial_id, study.parameters(), self.seed, digest)
        return Order(
            self._reference,
            (point,),
            str(self.out),
            self._session,
            self.device,
            self.threads,
            reporter=Reporter(self.url, self.name, trial._trial_id, self.pruner),
            stops=(Pruned,),
        )

    def _take(
        self, history: optuna.Study, order: Order, report: Report, flow: Flow, tally: Tally
    ) -> None:
        from optuna.trial import TrialState

        number = history._storage.get_trial_number_from_id(report.point.number)
        if report.status == "busy":
            flow.again(order, seconds=BUSY_SECONDS)
        elif report.status == "full":
            raise OSError(
                f"no room is left in {self.out}: {len(_ended(history))} trials are finished and "
                "kept; make room and repeat the command"
            )
        elif report.status == "stopped":
            history.tell(number, state=TrialState.PRUNED)
            tally.add(done=1)
        elif report.status == "done":
            value = self._value(report.point)
            if math.isfinite(value):
                history.tell(number, value)
                tally.add(done=1)
            else:
                reason = f"{self.objective} is {value:g}"
                log.warning("trial %d failed: %s", number, reason)
                history._storage.set_trial_user_attr(report.point.number, "error", reason)
                history.tell(number, state=TrialState.FAIL)
                tally.add(failed=1)
        elif report.attempts <= RETRIES:
            log.info("trial %d: %s; trying again", number, last_line(report.text))
            flow.again(order)
        else:
            log.warning("trial %d failed: %s", number, last_line(report.text))
            history._storage.set_trial_user_attr(
                report.point.number, "error", last_line(report.text)
            )
            history.tell(number, state=TrialState.FAIL)
            tally.add(failed=1)

    def _value(self, point: Point) -> float:
        """Read the objective of a finished run."""
        import xarray as xr

        path = self.out / self.study.name() / point.digest / "result.nc"
        measured = xr.load_dataset(path, group="measured", engine="h5netcdf")
        scalars = [str(name) for name, v in measured.variables.items() if v.size == 1]
        if self.objective not in scalars:
            near = nearest_names(self.objective, scalars, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(
                f"objective must be a scalar of the measured dataset ({', '.join(scalars)}), "
                f"got {self.objective!r}{hint}"
            )
        return float(measured[self.objective].values.item())

    # --- the dataset -------------------------------------------------------------------------

    def _dataset(self, history: optuna.Study) -> xr.Dataset:
        import xarray as xr

        ended = _ended(history)
        states = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
        state = [states[trial.state.name] for trial in ended]
        value = np.array(
            [trial.value if trial.state.name == "COMPLETE" else np.nan for trial in ended],
            dtype=float,
        )
        sign = -1.0 if self.maximize else 1.0
        best = sign * np.fmin.accumulate(sign * value) if len(value) else value
        number = [trial.number for trial in ended]
        data: dict[str, Any] = {
            "value": ("trial", value, {"long_name": self.objective}),
            "best": ("trial", best, {"long_name": f"best {self.objective} so far"}),
            "state": ("trial", np.array(state, dtype=str)),
            "run": ("trial", np.array([t.user_attrs.get("run", "") for t in ended], dtype=str)),
            "error": ("trial", np.array([t.user_attrs.get("error", "") for t in ended], dtype=str)),
        }
        tried = [trial.user_attrs.get("parameters", {}) for trial in ended]
        for name in dict.fromkeys(key for point in tried for key in point):
            column = [point.get(name) for point in tried]
            if all(c is None or isinstance(c, int | float) for c in column):
                values = np.array([np.nan if c is None else c for c in column], dtype=float)
            else:
                values = np.array(["" if c is None else str(c) for c in column], dtype=str)
            data[name if name not in data else f"field_{name}"] = ("trial", values)
        dataset = xr.Dataset(data, coords={"trial": number})
        dataset.attrs = {
            "study": self.study.name(),
            "objective": self.objective,
            "direction": "maximize" if self.maximize else "minimize",
            "folder": str(self.folder),
        }
        if np.isfinite(value).any():
            index = int(np.nanargmin(sign * value))
            dataset.attrs |= self._best(ended[index])
        return dataset

    def _best(self, trial: Any) -> dict[str, Any]:
        point = trial.user_attrs["parameters"]
        study = type(self.study).from_parameters({**self.study.parameters(), **point})
        source = study.source_file()
        return {
            "best_value": trial.value,
            "best_parameters": json.dumps(point),
            "best_command": study.command(self.seed, None if source is None else str(source)),
            "best_run": str(self.out / self.study.name() / trial.user_attrs["run"]),
        }


def _ended(history: optuna.Study) -> list[Any]:
    """Return the trials that have ended, in the order in which they ended."""
    ended = [t for t in history.get_trials(deepcopy=False) if t.state.is_finished()]
    return sorted(ended, key=lambda trial: (trial.datetime_complete, trial.number))
