"""Search for the parameters that are best: optuna asks, the workers of a sweep answer.

A trial is a run like any other: it has a run folder, is found again when it is asked for again, and
goes on from its checkpoint when its worker is lost. The history is a journal file beside the runs,
or a database; the same command goes on with it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import shutil
import traceback
import uuid
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tractable.core import folder as store
from tractable.core import netcdf
from tractable.core.checks import check_choice, check_range, nearest_names
from tractable.core.cluster import check_engine, opened
from tractable.core.engine import Engine, Flow
from tractable.core.grid import Interval
from tractable.core.processes import NotImportable
from tractable.core.progress import Tally, logged
from tractable.points import RETRIES, Order, Point, Report, compute, last_line, reference
from tractable.search_history import (
    Pruned,
    Reporter,
    absolute,
    ended,
    failures,
    open_history,
    storage_at,
    table,
)
from tractable.search_space import space_of, suggest
from tractable.stored_points import Damaged, read_folder
from tractable.study import Study
from tractable.sweep import as_study

if TYPE_CHECKING:
    import optuna
    import xarray as xr
    from distributed import Client

__all__ = ["Pruned", "Reporter", "search"]

log = logging.getLogger("tractable")

BUSY_SECONDS = 1.0
LONGEST_TEXT = 2000  # characters of a traceback that every database takes


class NoSuchObjective(ValueError):
    """The first run shows that the objective is no scalar that is measured."""


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
        Trials that have ended in the end, those of earlier calls, pruned and failed ones included.
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
    A trial that fails is tried three times in all and then counts as failed: ``failures.json`` in
    the search's folder holds the end of its traceback. Trials that were running when the search was
    killed are the first to run when it goes on.
    """
    check_range("trials", trials, 1)
    check_range("threads", threads, 1)
    check_choice("sampler", sampler, ("tpe", "random"))
    check_choice("pruner", pruner, ("none", "median", "asha"))
    check_engine(workers, scheduler, client)
    if not objective:
        raise ValueError("objective must name a scalar of the measured dataset")
    base = as_study(study)
    job = _Search(
        base, objective, maximize, space_of(type(base), over), sampler, pruner, storage, seed,
        search_seed, device, threads, Path(out),
    )  # fmt: skip
    return job.run(trials, client, workers, scheduler, progress)


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
        name = self.name
        if self.storage is not None:  # the same search may be in several databases
            name += f"-{store.digest(self.url)[:6]}"
        return self.out / self.study.name() / "searches" / name

    @property
    def url(self) -> str:
        return absolute(str(self.folder / "journal.log") if self.storage is None else self.storage)

    # --- running -----------------------------------------------------------------------------

    def run(
        self, n: int, client: Any, workers: int, scheduler: str | None, progress: bool
    ) -> xr.Dataset:
        import torch

        store.make(self.folder)
        self._session = uuid.uuid4().hex[:12]
        here = self.folder / "sessions" / self._session
        here.mkdir(parents=True)
        threads = torch.get_num_threads()
        misspelt, history = False, None
        try:
            with logged(self.folder / "log.txt"), store.lock(here):
                history = open_history(
                    self.url,
                    self.name,
                    maximize=self.maximize,
                    sampler=self.sampler,
                    search_seed=self.search_seed,
                )
                left = n - len(ended(history))
                log.info("%s: %d trials, %d of them finished", self.study.name(), n, n - left)
                if left > 0:
                    try:
                        with opened(min(workers, left), scheduler, client) as engine:
                            self._work(engine, history, n, progress)
                    except NoSuchObjective:
                        misspelt = not ended(history)
                        raise
                dataset = self._dataset(history)
                netcdf.save(self.folder / "search.nc", dataset)
                store.write_json(self.folder / "failures.json", failures(ended(history)))
                return dataset
        finally:
            torch.set_num_threads(threads)
            if history is not None:
                self._leave(history)
            for path in here.iterdir():
                path.unlink()
            here.rmdir()
            if misspelt:  # nothing was learned; the run stays, and the right name finds it
                self._forget()

    def _leave(self, history: optuna.Study) -> None:
        """Say of the trials of this call that still run that the next call may go on with them."""
        for trial in history.get_trials(deepcopy=False):
            mine = trial.user_attrs.get("session") == self._session
            if trial.state.name == "RUNNING" and mine:
                history._storage.set_trial_user_attr(trial._trial_id, "session", "")

    def _forget(self) -> None:
        import optuna

        if self.storage is not None:
            optuna.delete_study(study_name=self.name, storage=storage_at(self.url))
        shutil.rmtree(self.folder)
        with contextlib.suppress(OSError):  # other searches are there
            self.folder.parent.rmdir()

    def _work(self, engine: Engine, history: optuna.Study, n: int, progress: bool) -> None:
        done = len(ended(history))
        self._reference = reference(type(self.study), engine)
        with Tally("trials", n, done=done, show=progress) as tally:
            orders = self._orders(history, n)
            flow = Flow(engine, compute, orders, tick=lambda k: tally.add(running=k), ahead=False)
            for task in flow:
                if isinstance(task.error, NotImportable):
                    raise task.error
                order: Order = task.payload
                if task.error is not None:
                    text = f"{type(task.error).__name__}: {task.error}"
                    reports = [Report(order.points[0], "failed", text, 1 + RETRIES)]
                else:
                    reports = task.value
                for report in reports:
                    self._take(history, order, report, flow, tally)
            log.info("%s", tally.text())

    def _orders(self, history: optuna.Study, n: int) -> Iterator[Order]:
        """Yield trials that an ended search has left, then new ones, until there are enough."""
        import optuna

        for frozen in history.get_trials(deepcopy=False):
            if frozen.state.name == "RUNNING" and self._is_left(frozen):
                log.info("trial %d was left by a search that ended; it goes on", frozen.number)
                if order := self._tried(history, optuna.trial.Trial(history, frozen._trial_id)):
                    yield order
        while True:
            trials = history.get_trials(deepcopy=False)
            if sum(t.state.is_finished() or t.state.name == "RUNNING" for t in trials) >= n:
                return
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                trial = history.ask()
                order = self._tried(history, trial)
            if order:
                yield order

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

    def _tried(self, history: optuna.Study, trial: optuna.Trial) -> Order | None:
        """Return the order of a trial; None where its parameters make no study: it has failed."""
        from optuna.trial import TrialState

        try:
            return self._order(trial)
        except Exception as error:
            text = "".join(traceback.format_exception(error))
            permitted = isinstance(error, ValueError | TypeError)  # of fields; else a defect
            log.warning("trial %d failed: %s", trial.number, last_line(text))
            trial.set_user_attr("error", last_line(text))
            trial.set_user_attr("traceback", text[-LONGEST_TEXT:])
            history.tell(trial.number, state=TrialState.FAIL)
            if not permitted:
                raise
            return None

    def _order(self, trial: optuna.Trial) -> Order:
        cls = type(self.study)
        trial.set_user_attr("session", self._session)
        searched = suggest(trial, self.space) if self.space else cls.suggest(trial)  # type: ignore[attr-defined]  # of the user
        study = cls.from_parameters({**self.study.parameters(), **searched})
        digest = store.digest(study.identity(self.seed))
        trial.set_user_attr("parameters", json.loads(store.canonical(searched)))
        trial.set_user_attr("run", digest)
        point = Point(trial._trial_id, study.parameters(), self.seed, digest)
        return Order(
            self._reference,
            (point,),
            str(self.out.absolute()),  # workers may have another working directory
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
                f"no room is left in {self.out} or for temporary files: "
                f"{len(ended(history))} trials are finished and "
                "kept; make room and repeat the command"
            )
        elif report.status == "stopped":
            history.tell(number, state=TrialState.PRUNED)
            tally.add(done=1)
        elif report.status == "done":
            try:
                value = self._value(report.point)
            except Damaged as error:
                if order.force:
                    self._fail(history, report.point, str(error), tally)
                else:
                    log.warning("%s; trial %d is computed again", error, number)
                    flow.again(replace(order, force=True))
                return
            except NoSuchObjective as error:
                if not ended(history):
                    raise
                self._fail(history, report.point, str(error), tally)
                return
            if math.isfinite(value):
                history.tell(number, value)
                tally.add(done=1)
            else:
                self._fail(history, report.point, f"{self.objective} is {value:g}", tally)
        elif report.attempts <= RETRIES:
            log.info("trial %d: %s; trying again", number, last_line(report.text))
            flow.again(order)
        else:
            self._fail(history, report.point, report.text, tally)

    def _fail(self, history: optuna.Study, point: Point, text: str, tally: Tally) -> None:
        from optuna.trial import TrialState

        number = history._storage.get_trial_number_from_id(point.number)
        log.warning("trial %d failed: %s", number, last_line(text))
        history._storage.set_trial_user_attr(point.number, "error", last_line(text))
        history._storage.set_trial_user_attr(point.number, "traceback", text[-LONGEST_TEXT:])
        history.tell(number, state=TrialState.FAIL)
        tally.add(failed=1)

    def _value(self, point: Point) -> float:
        """Read the objective of a finished run."""
        path = self.out / self.study.name() / point.digest / "result.nc"
        if not path.exists():
            raise ValueError(f"there is no {path}: every worker must see the folder of --out")
        measured = read_folder(path.parent, 0).measured.dataset
        scalars = [str(name) for name, v in measured.variables.items() if v.size == 1]
        if self.objective not in scalars:
            near = nearest_names(self.objective, scalars, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise NoSuchObjective(
                f"objective must be a scalar of the measured dataset ({', '.join(scalars)}), "
                f"got {self.objective!r}{hint}"
            )
        return float(measured[self.objective].values.item())

    def _dataset(self, history: optuna.Study) -> xr.Dataset:
        dataset, best = table(ended(history), self.objective, self.maximize)
        dataset.attrs = {
            "study": self.study.name(),
            "objective": self.objective,
            "direction": "maximize" if self.maximize else "minimize",
            "folder": str(self.folder),
        }
        if best is not None:
            point = best.user_attrs["parameters"]
            study = type(self.study).from_parameters({**self.study.parameters(), **point})
            source = study.source_file()
            dataset.attrs |= {
                "best_value": best.value,
                "best_parameters": json.dumps(point),
                "best_command": study.command(self.seed, None if source is None else str(source)),
                "best_run": str(self.out / self.study.name() / best.user_attrs["run"]),
            }
        return dataset
