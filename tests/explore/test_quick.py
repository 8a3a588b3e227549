"""The theory follows a slider: one step of any is redrawn in 0.3 s."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from itertools import islice

import pytest

from tractable.explore import Control, controls, read_study
from tractable.studies import find, index
from tractable.study import Study

BAR = 0.3  # seconds of CPU time, on a desktop core of 2024
TRIES = 3


def taken(study: type[Study]) -> str:
    """Return the preset that the page takes."""
    return "explore" if "explore" in study.presets else "default"


def steps(control: Control) -> Iterator[object]:
    """Return where a slider, a choice or a switch may move: what is near comes first."""
    if control.kind == "switch":
        yield not control.value
    elif control.kind in ("slider", "choice"):
        options = list(control.options)
        here = options.index(control.value)
        yield from sorted(
            options[:here] + options[here + 1 :], key=lambda o: abs(options.index(o) - here)
        )


def seconds(study: Study) -> float:
    gc.disable()  # as timeit does: what a collection takes is that of all tests before
    try:
        started = time.process_time()
        study.theory()
        return time.process_time() - started
    finally:
        gc.enable()


def moves(study: Study, control: Control, preset: str) -> Iterator[float]:
    """Yield the seconds of the theory after steps of one control; values that are refused fall."""
    for value in steps(control):
        try:
            moved = read_study(type(study), {control.name: value}, preset)
        except ValueError:  # a rule between two fields
            continue
        try:
            yield seconds(moved)
        except (TypeError, ValueError, ImportError, FileNotFoundError):
            continue  # the page says that it needs a measurement, or a file


@pytest.mark.slow
def test_the_theory_of_every_study_follows_every_slider(
    slowness_now: Callable[[], float], monkeypatch: pytest.MonkeyPatch
) -> None:
    # A theory of a data set's own numbers reads the files anew where their share is changed.
    monkeypatch.delenv("TRACTABLE_DATA", raising=False)
    late = {}
    for name in sorted(index()):
        cls = find(name)
        preset = taken(cls)
        study = cls.preset(preset)
        try:
            study.theory()  # pays for imports, tables and all that no slider changes
        except (TypeError, ValueError):
            continue  # of a measurement
        for control in controls(study):
            found = []
            # A second call may be remembered: every try is another position.
            for seconds_here in islice(moves(study, control, preset), TRIES):
                if seconds_here <= BAR:
                    found.clear()
                    break
                found.append(seconds_here / slowness_now())
                if found[-1] <= BAR:
                    break
            if found and min(found) > BAR:
                late[f"{name} {control.name}"] = round(min(found), 2)
    assert not late, f"seconds on a desktop core, at a bar of {BAR}: {late}"
