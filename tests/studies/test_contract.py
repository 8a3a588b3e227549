"""What every study owes, ours and those to come."""

from __future__ import annotations

import inspect
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Literal, get_args, get_origin

import numpy as np
import pytest
import xarray as xr

from tractable.core.fields import Range, field_docs
from tractable.report import write
from tractable.studies import find, index
from tractable.study import RESERVED, Check, Run, Study

NAMES = sorted(index())


@pytest.fixture(params=NAMES)
def study(request: pytest.FixtureRequest) -> type[Study]:
    return find(request.param)


def test_the_name_is_that_of_the_file(study: type[Study]) -> None:
    assert study.name() in NAMES
    assert index()[study.name()].title == study.title()
    assert index()[study.name()].paper == study.paper


def test_every_field_is_documented_and_bounded(study: type[Study]) -> None:
    docs = field_docs(study)
    for name, hint in study.field_types().items():
        assert docs.get(name), f"{name} has no docstring"
        assert name not in RESERVED
        kind, extras = hint, ()
        if get_origin(hint) is Annotated:
            kind, *extras = get_args(hint)
        options = [kind, *get_args(kind)]
        if not any(option in (int, float) for option in options):
            continue
        bounded = any(isinstance(extra, Range) for extra in extras)
        assert bounded or get_origin(kind) is Literal, f"{name} has no Range"


def test_presets_are_valid_and_there_is_a_smoke_preset(study: type[Study]) -> None:
    assert "smoke" in study.presets
    assert "default" not in study.presets  # the fields' defaults are the default
    for preset in study.presets:
        assert study.preset(preset) is not None
    assert study.paper is not None


def test_smoke_and_theory_are_quick_and_repeat_and_fill_the_page(
    study: type[Study], tmp_path: Path, within: Callable[[Callable[[], object], float], bool]
) -> None:
    smoke = study.preset("smoke")
    first = smoke.run(out=tmp_path, progress=False).measured  # pays for the imports
    assert within(lambda: smoke.run(out=tmp_path, force=True, progress=False), 5.0)
    result = smoke.run(out=tmp_path, progress=False)
    xr.testing.assert_identical(first, result.measured)  # the same seed, the same numbers
    started = time.process_time()
    theory = smoke.theory(first)
    assert time.process_time() - started <= 10.0
    xr.testing.assert_allclose(theory, result.theory, rtol=1e-9)  # no randomness
    assert all(check.source for check in result.checks)
    assert result.checks, "a study makes a claim that can fail"
    assert result.answers, "a study answers a question"
    assert result.figures
    for name, figure in result.figures.items():
        assert len(figure.get_label()) > 20, f"{name} has no caption"
        for ax in figure.axes:
            labelled = ax.get_xlabel() or ax.get_ylabel() or not ax.axison or ax.get_label()
            assert labelled, f"{name} has an axis without a name"
    for dataset in (result.theory, result.measured):
        for name, variable in dataset.data_vars.items():
            if variable.dtype.kind in "if":
                assert "units" in variable.attrs, f"{name} has no units"
    page = write(result).read_text(encoding="utf-8")
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert len(page) < 3_000_000


def test_the_cost_is_known_for_every_preset(
    study: type[Study], tmp_path: Path, within: Callable[[Callable[[], object], float], bool]
) -> None:
    for preset in ("default", *study.presets):
        chosen, costs = study.preset(preset), []
        run = Run(0, tmp_path, show_progress=False)
        assert within(lambda s=chosen, c=costs, r=run: c.append(s.cost(r)), 20.0), preset
        cost = costs[-1]
        assert cost.operations > 0
        assert cost.memory_bytes > 0
        assert cost.seconds > 0


def test_importing_the_studies_imports_no_torch() -> None:
    modules = "; ".join(f"import {entry.module}" for entry in index().values())
    code = f"import sys; {modules}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def zeroed(dataset: xr.Dataset) -> xr.Dataset:
    numbers = {k: v * 0 for k, v in dataset.data_vars.items() if v.dtype.kind in "if"}
    return dataset.assign(numbers)


def permuted(dataset: xr.Dataset) -> xr.Dataset:
    """Shuffle the entries of every variable among themselves."""
    random = np.random.default_rng(0)
    shuffled = {
        name: variable.copy(
            data=random.permutation(variable.values.ravel()).reshape(variable.shape)
        )
        for name, variable in dataset.data_vars.items()
        if variable.ndim and variable.dtype.kind in "if"
    }
    return dataset.assign(shuffled)


def fails(checks: list[Check]) -> bool:
    return any(not check.holds for check in checks)


@pytest.mark.slow
def test_default_checks_can_fail(study: type[Study], tmp_path: Path) -> None:
    instance = study()
    result = instance.run(out=tmp_path, progress=False)
    theory, measured = result.theory, result.measured
    assert fails(list(instance.checks(zeroed(theory), measured))), "a zeroed theory passes"
    assert fails(list(instance.checks(theory, permuted(measured)))), "a permuted measurement passes"


def test_methods_have_the_signatures_of_the_base_class(study: type[Study]) -> None:
    for name in ("measure", "theory", "checks", "answers", "figures", "cost"):
        own, base = getattr(study, name), getattr(Study, name)
        assert list(inspect.signature(own).parameters) == list(inspect.signature(base).parameters)
    assert study.__dataclass_params__.frozen  # type: ignore[attr-defined]  # set by dataclass
    assert fields(study)
