"""Sweeps and searches of points that are unlike one another, or were damaged, or cannot be."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest
import xarray as xr

from tractable.core import cluster, netcdf
from tractable.core.grid import Interval, read_grid
from tractable.core.processes import Reference, load_file
from tractable.search import search
from tractable.search_history import absolute
from tractable.study import Range, Run, Study
from tractable.sweep import plan, sweep

FILE = Path(__file__).with_name("odd_study.py")
Odd = load_file(FILE).Odd
MODES = ("good", "flat", "raise", "exit")


def run(out: Path, grid: Any, **options: Any) -> xr.Dataset:
    return sweep(Odd(), grid, out=out, progress=False, **options)


# --- points ----------------------------------------------------------------------------------


@pytest.mark.parametrize("points_per_file", [1, 2, 8])
def test_odd_points_fail_alone_whatever_file_they_are_in(
    tmp_path: Path, points_per_file: int
) -> None:
    grid = {"mode": ("good", "flat"), "seed": "0:3"}
    todo = plan(Odd(), {**grid, "n": (2, 3)}, out=tmp_path, points_per_file=points_per_file)
    todo.points_per_file = points_per_file
    data = todo.run(progress=False)
    failed = (data.error != "").any(("seed", "n"))
    assert int((data.error != "").sum()) == 6  # six of twelve: the first of equals is the rule
    assert failed.values.tolist() == [False, True]
    assert "at most points, as at mode=good" in str(data.error.sel(mode="flat").values[0, 0])
    assert data.y.sel(mode="good", n=3).notnull().all()


def test_most_points_decide_which_are_odd(tmp_path: Path) -> None:
    data = run(tmp_path, {"mode": ("good", "flat", "large"), "n": (2,)})  # two are scalars
    assert (data.error != "").values.ravel().tolist() == [True, False, False]
    more = sweep(
        Odd(n=2), {"seed": "0:3", "mode": ("flat",)}, out=tmp_path, progress=False
    )  # alone they are fine
    assert (more.error == "").all()


def test_a_point_that_ends_the_process_fails(tmp_path: Path) -> None:
    data = run(tmp_path, {"mode": ("exit", "good")})
    assert str(data.error.sel(mode="exit").values) == "SystemExit: 3"
    assert str(data.error.sel(mode="good").values) == ""
    shared = run(tmp_path / "b", {"mode": ("exit", "good")}, points_per_file=2)
    xr.testing.assert_identical(shared, data)


def test_integers_beyond_floats_are_kept_where_a_point_is_missing(tmp_path: Path) -> None:
    whole = sweep(Odd(mode="large"), {"n": (1, 2)}, out=tmp_path, progress=False)
    assert whole.y.dtype == np.int64
    data = run(tmp_path, {"mode": ("large", "raise"), "n": (1, 2)})
    assert data.y.sel(mode="large").values.tolist() == [str(2**60 + 1), str(2**60 + 2)]
    assert data.y.sel(mode="raise").values.tolist() == ["", ""]


@pytest.mark.parametrize("points_per_file", [1, 2])
@pytest.mark.parametrize(
    ("mode", "message"),
    [("point", "may not be named point"), ("theory", "theory_z"), ("twice", "measured_n")],
)
def test_names_that_no_sweep_holds_are_refused_at_the_first_point(
    tmp_path: Path, mode: str, message: str, points_per_file: int
) -> None:
    with pytest.raises(ValueError, match=message):
        sweep(
            Odd(mode=mode),  # type: ignore[arg-type]  # one of them
            {"n": "1:10"},
            out=tmp_path,
            progress=False,
            points_per_file=points_per_file,
        )
    done = [path for path in (tmp_path / "odd").iterdir() if (path / "checks.json").exists()]
    assert len(done) <= 2


# --- damage ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("checks.json", "null"),
        ("checks.json", "[1]"),
        ("checks.json", "{}"),
        ("params.json", "[]"),
        ("params.json", "nonsense"),
    ],
)
def test_records_that_hold_something_else_are_computed_again(
    tmp_path: Path, name: str, text: str
) -> None:
    before = run(tmp_path, {"n": (1, 2)})
    (tmp_path / "odd" / Odd(n=2).folder(out=tmp_path).name / name).write_text(text)
    xr.testing.assert_identical(run(tmp_path, {"n": (1, 2)}), before)
    again = plan(Odd(), {"n": (1, 2)}, out=tmp_path)
    assert again.look() == 0
    assert not again.failures


def test_damaged_points_are_computed_by_the_workers(tmp_path: Path) -> None:
    before = run(tmp_path, {"n": (1, 2, 3)})
    for path in (tmp_path / "odd").glob("*/result.nc"):
        if path.parent.parent.name != "sweeps":
            path.write_bytes(path.read_bytes() + b"more")
    with cluster.local(1) as client:
        seen: list[int] = []
        submit = client.submit
        client.submit = lambda *a, **k: (seen.append(1), submit(*a, **k))[1]
        xr.testing.assert_identical(run(tmp_path, {"n": (1, 2, 3)}, client=client), before)
    assert len(seen) >= 3


def test_a_full_disk_is_an_error_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.nc"
    old = xr.Dataset({"y": 1.0})
    netcdf.save(path, old)

    def full(self: Path, *args: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(OSError, match="No space"):
        netcdf.save(path, xr.Dataset({"y": 2.0}))
    monkeypatch.undo()
    assert [p.name for p in tmp_path.iterdir()] == ["a.nc"]
    assert netcdf.load(path).identical(old)


# --- the file of a study ---------------------------------------------------------------------


def write_study(path: Path, factor: float) -> None:
    path.write_text(
        FILE.read_text().replace("np.arange(self.n) + 1.0", f"np.arange(self.n) + {factor}")
    )


def test_a_worker_that_outlives_an_edit_takes_the_new_text(tmp_path: Path) -> None:
    copy = tmp_path / "mine.py"
    write_study(copy, 1.0)
    with cluster.local(1) as client:  # the same worker for both
        for factor in (1.0, 7.0):
            write_study(copy, factor)
            data = sweep(
                load_file(copy).Odd(), {"n": (1, 2)}, out=tmp_path, client=client, progress=False
            )
            assert float(data.y.sel(n=1, i=0)) == factor


def test_the_old_text_does_not_run_under_the_new_name(tmp_path: Path) -> None:
    copy = tmp_path / "mine.py"
    write_study(copy, 1.0)
    study = load_file(copy).Odd()
    before = study.folder()
    write_study(copy, 7.0)
    with pytest.raises(ValueError, match=r"mine\.py has changed since Odd was imported"):
        study.folder()
    assert load_file(copy).Odd().folder() != before
    assert Reference.of(load_file(copy).Odd).resolve() is load_file(copy).Odd


# --- grids -----------------------------------------------------------------------------------


def test_one_and_one_point_zero_are_one_run(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Floats(Study):
        """Numbers."""

        x: Annotated[float, Range(0.0, 9.0)] = 1.0
        """A number."""
        several: Annotated[tuple[float, ...], Range(0.0, 9.0)] = (1.0,)
        """Numbers."""
        maybe: float | None = None
        """A number, or none."""

    assert Floats(x=1, several=(1, 2), maybe=3) == Floats(x=1.0, several=(1.0, 2.0), maybe=3.0)
    assert Floats(x=1, several=(1,)).folder() == Floats().folder()
    assert type(Floats(x=2).x) is float
    build = lambda point: Floats(**point)  # noqa: E731
    a, b = (read_grid(grid, Floats.field_types(), build) for grid in ({"x": [1, 2]}, ["x=1,2"]))
    assert list(a) == list(b)
    assert all(type(point["x"]) is float for point in a)


def test_the_ends_of_a_whole_interval_are_as_likely_as_the_rest() -> None:
    import random

    source = random.Random(0)
    counts = Counter(Interval(1, 3, whole=True).draw(source) for _ in range(6000))
    assert sorted(counts) == [1, 2, 3]
    for value in counts.values():
        assert abs(value - 2000) < 4 * (6000 * 2 / 9) ** 0.5


def test_a_grid_that_no_memory_holds_is_refused() -> None:
    hints = Odd.field_types()
    for grid in (["seed=0:1000000000000"], ["seed=0:300000", "n=1:50"]):
        with pytest.raises(ValueError, match="more than 10,000,000"):
            read_grid(grid, hints, lambda point: None)


# --- searches --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pair(Study):
    """Two numbers in order."""

    a: Annotated[int, Range(0, 9)] = 0
    """The smaller."""
    b: Annotated[int, Range(0, 9)] = 9
    """The larger."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.a >= self.b:
            raise ValueError(f"a must be below b, got {self.a} and {self.b}")

    def measure(self, run: Run) -> xr.Dataset:
        found = {"gap": float(self.b - self.a)}
        return xr.Dataset({**found, "large": 1.0} if self.a > 2 else found)

    def theory(self, measured: Any = None) -> xr.Dataset:
        return xr.Dataset()


def test_trials_that_make_no_study_fail_and_the_rest_goes_on(tmp_path: Path) -> None:
    for trials in (8, 12):
        data = search(Pair(), "gap", over=["a", "b"], trials=trials, out=tmp_path, progress=False)
        assert data.sizes["trial"] == trials
    states = Counter(data.state.values.tolist())
    assert states["failed"] >= 2
    assert states["complete"] >= 2
    failed = data.isel(trial=data.state.values == "failed")
    assert all(text.startswith("ValueError: a must be below b") for text in failed.error.values)


def test_an_objective_that_some_trials_lack_fails_them(tmp_path: Path) -> None:
    data = search(
        Pair(), "large", over=["a=3,2,4,1,5"], trials=5, out=tmp_path, progress=False,
        sampler="random", search_seed=next(s for s in range(99) if first_choice(s) > 2),
    )  # fmt: skip
    for a, state in zip(data.a.values, data.state.values, strict=True):
        assert state == ("complete" if a > 2 else "failed")


def first_choice(search_seed: int) -> int:
    """Return the first a that a random search tries."""
    import optuna

    from tractable.core.seeds import derive
    from tractable.search_history import sampler_of

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        sampler=sampler_of("random", derive(search_seed, "search", 0) % 2**32)
    )
    return int(study.ask().suggest_categorical("a", [3, 2, 4, 1, 5]))


def test_a_search_computes_a_damaged_run_again(tmp_path: Path) -> None:
    options: dict[str, Any] = {"over": ["a=0:5"], "trials": 3, "progress": False, "out": tmp_path}
    before = search(Pair(), "gap", **options)
    shutil.rmtree(tmp_path / "pair" / "searches")
    for path in (tmp_path / "pair").glob("*/result.nc"):
        path.write_bytes(path.read_bytes()[:-8] + b"otherend")
    again = search(Pair(), "gap", **options)
    np.testing.assert_array_equal(again.value, before.value)


def test_an_interrupted_search_in_a_database_loses_no_trial(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/trials.db"
    count = {"n": 0}

    @dataclass(frozen=True)
    class Slow(Pair):
        """Two numbers, and Ctrl-C at the third."""

        def measure(self, run: Run) -> xr.Dataset:
            count["n"] += 1
            if count["n"] == 3:
                raise KeyboardInterrupt
            return super().measure(run)

    options: dict[str, Any] = {
        "over": ["a=0:9"], "trials": 5, "progress": False, "out": tmp_path, "storage": storage,
    }  # fmt: skip
    with pytest.raises(KeyboardInterrupt):
        search(Slow(), "gap", **options)
    data = search(Slow(), "gap", **options)
    assert data.state.values.tolist() == ["complete"] * 5
    assert sorted(data.trial.values.tolist()) == [0, 1, 2, 3, 4]


def test_a_storage_is_found_from_another_folder(tmp_path: Path) -> None:
    code = (
        "from tractable.search_history import absolute; "
        "print(*map(absolute, ('a.journal', 'sqlite:///b.db', 'sqlite:///:memory:')))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout.split()
    assert out == [f"{tmp_path}/a.journal", f"sqlite:///{tmp_path}/b.db", "sqlite:///:memory:"]
    for url in ("mysql://host/db", "sqlite:////tmp/c.db", "/tmp/d.journal"):
        assert absolute(url) == url


def test_a_record_of_a_sweep_says_what_failed(tmp_path: Path) -> None:
    todo = plan(Odd(), {"mode": MODES}, out=tmp_path)
    todo.run(progress=False)
    failures = json.loads((todo.folder / "failures.json").read_text())
    assert [failure["point"]["mode"] for failure in failures] == ["flat", "raise", "exit"]
