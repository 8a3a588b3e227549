"""Studies and run folders: caching, hashing, resuming, locking."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from tractable.core.folder import Locked
from tractable.core.processes import load_file
from tractable.report import open_run
from tractable.study import Check, Result, Run, Study
from tractable.sweep import sweep

TOY = Path(__file__).with_name("toy_study.py")
Toy = load_file(TOY).Toy


def lines(path: Path) -> int:
    return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.fixture
def counter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "counter.txt"
    monkeypatch.setenv("TOY_COUNTER", str(path))
    return path


def run(tmp_path: Path, **options: object) -> Result:
    fields = {k: options.pop(k) for k in ("n", "power", "note") if k in options}
    return Toy(**fields).run(out=tmp_path / "runs", **options)


def test_run_folder_holds_everything(counter: Path, tmp_path: Path) -> None:
    result = run(tmp_path)
    names = {path.name for path in result.folder.iterdir()}
    assert names == {
        *("params.json", "result.nc", "checks.json", "answers.json", "log.txt"),
        "weights.safetensors",
    }
    assert result.holds
    assert result.summary() == "1 of 1 checks hold"
    np.testing.assert_array_equal(result.measured.y, [0, 1, 4, 9])
    np.testing.assert_array_equal(result.theory.y, [0, 1, 4, 9])
    assert "Euclid" in result.citation
    record = json.loads((result.folder / "params.json").read_text())
    assert record["parameters"]["n"] == 4
    assert record["environment"]["torch"]
    assert result.answers[1].rows[1] == (1.5, 2)


def test_second_run_is_the_first(counter: Path, tmp_path: Path) -> None:
    first = run(tmp_path)
    second = run(tmp_path)
    assert first.folder == second.folder
    assert lines(counter) == 4


def test_force_computes_anew_and_equals_bit_for_bit(counter: Path, tmp_path: Path) -> None:
    first = run(tmp_path).measured.load()
    second = run(tmp_path, force=True).measured
    assert lines(counter) == 8
    xr.testing.assert_identical(first, second)


@pytest.mark.parametrize("change", [{"n": 5}, {"power": 1.0}, {"seed": 1}])
def test_another_parameter_or_seed_is_another_run(
    change: dict, counter: Path, tmp_path: Path
) -> None:
    assert run(tmp_path).folder != run(tmp_path, **change).folder


def test_a_changed_study_file_is_another_run(tmp_path: Path) -> None:
    copy = tmp_path / "mine.py"
    copy.write_text(TOY.read_text())
    before = load_file(copy).Toy().folder()
    copy.write_text(TOY.read_text().replace("No effect", "No effect at all"))
    assert load_file(copy).Toy().folder() != before


def test_a_changed_data_file_is_another_run(tmp_path: Path) -> None:
    data = tmp_path / "data.txt"
    data.write_text("one")
    study = Toy(note=str(data))
    assert data in study.files()
    before = study.folder()
    data.write_text("two")
    assert study.folder() != before


def test_a_changed_data_folder_is_another_run(tmp_path: Path) -> None:
    study = Toy(note=str(tmp_path))
    before = study.folder()
    (tmp_path / "new.txt").write_text("one")
    assert study.folder() != before


def test_a_failing_check_is_shown_as_failing(counter: Path, tmp_path: Path) -> None:
    result = run(tmp_path, power=2.02)
    assert not result.holds
    assert result.checks[0].measured > 0.1


def test_ctrl_c_keeps_what_is_done(counter: Path, tmp_path: Path) -> None:
    stop = counter.with_suffix(".stop")
    stop.touch()
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path)
    assert lines(counter) == 3  # the third point was interrupted
    stop.unlink()
    result = run(tmp_path)
    assert lines(counter) == 5  # only the third and the fourth were computed again
    np.testing.assert_array_equal(result.measured.y, [0, 1, 4, 9])
    assert not list(tmp_path.glob("runs/*/*.partial"))


def test_worker_processes_give_the_same_numbers(counter: Path, tmp_path: Path) -> None:
    here = run(tmp_path / "a")
    there = run(tmp_path / "b", workers=2)
    xr.testing.assert_identical(here.measured, there.measured)


def test_a_run_in_progress_is_not_disturbed(counter: Path, tmp_path: Path) -> None:
    study = Toy()
    partial = Path(f"{study.folder(out=tmp_path)}.partial")
    partial.mkdir(parents=True)
    # Process 1 lives as long as the machine does.
    lock = {"host": __import__("socket").gethostname(), "process": 1}
    (partial / "lock.json").write_text(json.dumps(lock))
    with pytest.raises(Locked, match="process 1 "):
        study.run(out=tmp_path)


def test_the_lock_of_a_dead_process_is_taken_over(counter: Path, tmp_path: Path) -> None:
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], text=True,
                          capture_output=True, check=True)  # fmt: skip
    study = Toy()
    partial = Path(f"{study.folder(out=tmp_path)}.partial")
    partial.mkdir(parents=True)
    lock = {"host": __import__("socket").gethostname(), "process": int(dead.stdout)}
    (partial / "lock.json").write_text(json.dumps(lock))
    assert study.run(out=tmp_path).holds
    assert not list(tmp_path.rglob("lock*"))


def test_a_dead_host_is_recognized_by_its_heartbeat(counter: Path, tmp_path: Path) -> None:
    study = Toy()
    partial = Path(f"{study.folder(out=tmp_path)}.partial")
    partial.mkdir(parents=True)
    lock = partial / "lock.json"
    lock.write_text(json.dumps({"host": "elsewhere", "process": 1}))
    with pytest.raises(Locked, match="elsewhere"):
        study.run(out=tmp_path)
    os.utime(lock, (0, 0))
    assert study.run(out=tmp_path).holds


def test_open_run_finds_the_study_again(counter: Path, tmp_path: Path) -> None:
    result = run(tmp_path, note="data are generated")
    again = open_run(result.folder)
    assert again.study.parameters() == result.study.parameters()
    assert again.notes == ["data are generated"]
    with pytest.raises(ValueError, match="finished run"):
        open_run(tmp_path)


def test_notes_are_said_in_the_log(counter: Path, tmp_path: Path) -> None:
    result = run(tmp_path, note="data are generated")
    assert "data are generated" in (result.folder / "log.txt").read_text()


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"n": 0}, ValueError, "n must be >= 1 and <= 100, got 0"),
        ({"n": 2.5}, TypeError, "n must be int, got 2.5"),
        ({"n": True}, TypeError, "n must be int, got True"),
        ({"power": float("nan")}, ValueError, "power must be"),
        ({"flavor": "swet"}, ValueError, "did you mean 'sweet'"),
        ({"sizes": (1, 10)}, ValueError, "sizes must be >= 1 and <= 9, got 10"),
        ({"sizes": [1]}, TypeError, "sizes must be a tuple"),
        ({"note": 3}, TypeError, "note must be str"),
    ],
)
def test_fields_are_checked(fields: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Toy(**fields)


def test_parameters_survive_json() -> None:
    study = Toy(sizes=(3, 4), n=7)
    assert Toy.from_parameters(json.loads(json.dumps(study.parameters()))) == study
    with pytest.raises(ValueError, match="no parameter 'siz'; did you mean 'sizes'"):
        Toy.from_parameters({"siz": 3})
    with pytest.raises(ValueError, match="did you mean 'smoke'"):
        Toy.preset("smok")


@pytest.mark.parametrize(
    ("kind", "measured", "holds"),
    [
        *[("equal", m, h) for m, h in [(1.0, True), (1.12, True), (1.13, False), (0.87, False)]],
        *[("slope", m, h) for m, h in [(1.12, True), (1.13, False)]],
        *[("at_most", m, h) for m, h in [(-9.0, True), (1.12, True), (1.13, False)]],
        *[("at_least", m, h) for m, h in [(9.0, True), (0.88, True), (0.87, False)]],
        *[(k, float("nan"), False) for k in ("equal", "at_most", "at_least")],
        *[(k, float("inf"), False) for k in ("equal", "at_most", "at_least")],
    ],
)
def test_checks_hold_within_their_tolerance(kind: str, measured: float, holds: bool) -> None:
    check = Check("x", measured, 1.0, source="none", atol=0.1, rtol=0.02 + 1e-12, kind=kind)  # type: ignore[arg-type]
    assert check.holds is holds


def test_a_run_leaves_the_global_random_state_alone(counter: Path, tmp_path: Path) -> None:
    import torch

    state = torch.get_rng_state()
    run(tmp_path)
    assert torch.equal(state, torch.get_rng_state())


def letters(n: int) -> xr.Dataset:
    """Return what netCDF stores as another type: texts, truth values, a tuple in an attribute."""
    return xr.Dataset(
        {"holds": ("i", np.arange(n) > 1), "name": ("i", list("abcdef"[:n]), {"parts": ("x", "y")})}
    )


def test_a_mapped_point_is_the_same_before_and_after_it_was_stored(tmp_path: Path) -> None:
    first, second = (Run(0, tmp_path).map(letters, [{"n": 3}])[0] for _ in range(2))
    xr.testing.assert_identical(first, second)
    for name in second.variables:
        assert first[name].dtype == second[name].dtype
        assert {k: type(v) for k, v in first[name].attrs.items()} == {
            k: type(v) for k, v in second[name].attrs.items()
        }


@pytest.mark.parametrize("kind", ["equal", "slope"])
def test_nothing_equals_an_infinite_expectation(kind: str) -> None:
    check = Check("x", 3.0, float("inf"), rtol=0.1, source="none", kind=kind)  # type: ignore[arg-type]
    assert not check.holds


def total(values: np.ndarray) -> xr.Dataset:
    return xr.Dataset({"total": float(values.sum())})


def test_arrays_that_print_alike_are_different_points(tmp_path: Path) -> None:
    one, two = np.zeros(2000), np.zeros(2000)
    two[1000] = 5.0
    for _ in range(2):  # computed, then read back
        found = Run(0, tmp_path).map(total, [{"values": one}, {"values": two}])
        assert [float(dataset.total) for dataset in found] == [0.0, 5.0]


@dataclass(frozen=True)
class Files(Study):
    """Numbers in files."""

    data: tuple[str, ...] = ()
    path: Path = Path("none")
    kind: str = "numbers"
    n: int = 1

    def measure(self, run: Run) -> xr.Dataset:
        values = [np.loadtxt(name) for name in (*self.data, self.path.resolve())]
        measured = xr.Dataset({"y": ("i", np.ravel(values))})
        if self.kind == "attributes":
            measured.attrs |= {"settings": {"a": 1}, "quick": True, "none": None}
        elif self.kind == "packed":
            measured.y.attrs["scale_factor"] = 3.0
        elif self.kind == "object":
            measured["thing"] = ("i", np.array([{}, {}], dtype=object))
        return measured

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        if self.kind == "broken":
            raise KeyError("theory")
        return xr.Dataset({"z": 1.0})

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        yield Check("last", float(measured.y[-1]), 2.0, source="none")


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    for name in ("a", "b"):
        (tmp_path / name).write_text("2.0")
    monkeypatch.setattr("tractable.study.KEEP_SECONDS", 0.0)
    return Files((str(tmp_path / "a"),), tmp_path / "b")


def test_files_in_a_tuple_belong_to_the_run(files: Files, tmp_path: Path) -> None:
    before = files.folder()
    (tmp_path / "a").write_text("3.5")
    assert files.folder() != before


def test_paths_are_paths_in_a_sweep(files: Files, tmp_path: Path) -> None:
    assert Files.from_parameters(files.parameters()) == files
    data = sweep(files, {"n": (1, 2)}, out=tmp_path / "runs", progress=False)
    assert data.error.values.tolist() == ["", ""]


def test_attributes_that_no_file_holds_do_not_cost_the_measurement(
    files: Files, tmp_path: Path
) -> None:
    result = replace(files, kind="attributes").run(out=tmp_path / "runs", progress=False)
    attrs = result.measured.attrs
    assert (attrs["settings"], attrs["quick"], attrs["none"]) == ('{"a":1}', 1, "null")


def test_checks_see_what_is_read_back(files: Files, tmp_path: Path) -> None:
    result = replace(files, kind="packed").run(out=tmp_path / "runs", progress=False)
    assert result.checks[0].measured == float(result.measured.y[-1])


def test_an_error_says_where_the_measurement_is(files: Files, tmp_path: Path) -> None:
    with pytest.raises(KeyError) as found:
        replace(files, kind="broken").run(out=tmp_path / "runs", progress=False)
    kept = Path(found.value.__notes__[0].removeprefix("What was measured is kept in "))
    assert xr.load_dataset(kept).y.values.tolist() == [2.0, 2.0]
    with pytest.raises(ValueError, match="infer dtype") as found_too:
        replace(files, kind="object").run(out=tmp_path / "runs", progress=False)
    note = found_too.value.__notes__[0]
    assert note.startswith("A netCDF file cannot hold thing; the rest is kept in ")
    assert xr.load_dataset(note.rpartition(" in ")[2]).y.values.tolist() == [2.0, 2.0]


HELPED = """
from dataclasses import dataclass
from pathlib import Path
import xarray as xr
from tractable.study import Study
from helper_of_test import FACTOR

@dataclass(frozen=True)
class Helped(Study):
    def measure(self, run):
        return xr.Dataset({"y": FACTOR * float(Path(__file__).with_name("w.txt").read_text())})
    def theory(self, measured=None):
        return xr.Dataset({"z": 1.0})
"""


def test_a_file_beside_the_study_belongs_to_the_run(tmp_path: Path, caplog) -> None:
    helper, mine, weights = (tmp_path / n for n in ("helper_of_test.py", "mine.py", "w.txt"))
    mine.write_text(HELPED)
    weights.write_text("1.0")
    for factor in (2.0, 7.0):
        helper.write_text(f"from deeper_of_test import FACTOR  # {factor}")
        (tmp_path / "deeper_of_test.py").write_text(f"FACTOR = {factor}")
        study = load_file(mine).Helped()
        result = study.run(out=tmp_path / "runs", progress=False)
        assert float(result.measured.y) == factor
    (tmp_path / "deeper_of_test.py").write_text("FACTOR = 9.0")
    with pytest.raises(ValueError, match="or a file beside it that it imports"):
        study.folder()
    # Data that no field names are not in the hash: the run is found, and they are named.
    study = load_file(mine).Helped()
    study.run(out=tmp_path / "runs", progress=False)
    assert "is newer" not in caplog.text
    os.utime(weights, (time.time() + 10, time.time() + 10))
    study.run(out=tmp_path / "runs", progress=False)
    assert "w.txt, which mine.py names, is newer than this finished run" in caplog.text


def test_saved_arrays_are_whole_or_absent(tmp_path: Path, monkeypatch) -> None:
    def torn(tensors: object, path: Path) -> None:
        Path(path).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("safetensors.torch.save_file", torn)
    run_ = Run(0, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run_.save("weights", np.ones(3))
    assert run_.load("weights") is None
    assert not list(tmp_path.iterdir())
