"""Sweeps: grids, engines that give equal numbers, and accidents that lose nothing."""

from __future__ import annotations

import contextlib
import html
import io
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

from tractable import sweep_report
from tractable.core import cluster, devices
from tractable.core.engine import Flow, Unreachable
from tractable.core.grid import Grid, read_grid
from tractable.core.processes import load_file
from tractable.study import Study
from tractable.sweep import plan, sweep

FILE = Path(__file__).with_name("sweep_study.py")
Waves = load_file(FILE).Waves
GRID = {"gain": "0.5,1,2,4", "depth": "2,3", "seed": "0:2"}
DASK = [sys.executable, "-m", "dask"]  # what the command `dask` runs


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with cluster.local(2) as client:
        yield client


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    return run(tmp_path_factory.mktemp("undisturbed"))


def run(out: Path, grid: Any = GRID, **options: Any) -> xr.Dataset:
    return sweep(Waves(), grid, out=out, progress=False, **options)


def starts(out: Path) -> list[str]:
    """Return a line for each start of a measurement."""
    path = out / "waves" / "count.txt"
    return path.read_text().splitlines() if path.exists() else []


def accident(out: Path, name: str, what: str) -> Path:
    path = out / "waves" / f"accident-{name}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(what)
    return path


def finished(out: Path) -> list[Path]:
    return [
        path.parent for path in (out / "waves").glob("*/checks.json") if ".partial" not in str(path)
    ]


def n_measured(out: Path) -> int:
    """Return how many unfinished points have kept their measurement (it took over a second)."""
    return len(list(out.glob("waves/*.partial/measured.nc")))


def wait_for(condition: Callable[[], Any], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


# --- one dataset -----------------------------------------------------------------------------


def test_a_sweep_is_one_labeled_dataset(undisturbed: xr.Dataset) -> None:
    data = undisturbed
    assert data.y.dims == ("gain", "depth", "seed", "t")
    assert data.y.shape == (4, 2, 2, 3)
    assert data.y.attrs["units"] == data.theory_y.attrs["units"] == "V"
    assert data.t.attrs["units"] == "s"
    np.testing.assert_array_equal(data.peak.sel(gain=2.0), 2.0)
    assert np.isnan(data.y.sel(depth=2, t=2)).all()  # a wave of two points has no third
    assert data.y.sel(depth=3).notnull().all()
    expected = 2.0 * np.sin(1) + 0.01 * np.random.default_rng(1).normal(size=3)[1]
    assert float(data.y.sel(gain=2.0, depth=3, seed=1, t=1)) == expected
    assert set(data.error.values.ravel().tolist()) == {""}
    assert float(data.checks_hold.sum()) == 16.0
    assert data["name"].sel(depth=2).values.ravel().tolist() == ["wave 2"] * 8
    assert data["count"].dtype.kind == "i"
    assert json.loads(data.attrs["parameters"])["steps"] == 0
    assert "gain" not in json.loads(data.attrs["parameters"])


def test_points_are_ordinary_runs_without_figures_and_pages(tmp_path: Path) -> None:
    data = run(tmp_path, {"gain": "1,2"})
    folders = finished(tmp_path)
    assert len(folders) == 2
    names = {path.name for path in folders[0].iterdir()}
    assert names == {"params.json", "result.nc", "checks.json", "answers.json", "log.txt"}
    again = Waves(gain=2.0).run(out=tmp_path, progress=False)
    assert len(starts(tmp_path)) == 2
    np.testing.assert_array_equal(again.measured.y, data.y.sel(gain=2.0))
    (folder,) = (tmp_path / "waves" / "sweeps").iterdir()
    stored = xr.load_dataset(folder / "result.nc", engine="h5netcdf")
    np.testing.assert_array_equal(stored.y, data.y)
    assert "2 of 2 points done, 0 failed" in (folder / "log.txt").read_text()


def test_many_points_share_a_file(tmp_path: Path, undisturbed: xr.Dataset) -> None:
    data = run(tmp_path, points_per_file=5)
    xr.testing.assert_identical(data, undisturbed)
    assert not finished(tmp_path)
    assert len(list((tmp_path / "waves" / "shared").glob("*.nc"))) >= 4  # more on a slow machine
    wider = {**GRID, "gain": "0.5,1,2,4,8"}
    more = run(tmp_path, wider, points_per_file=5)  # the 16 old points are found
    xr.testing.assert_identical(more.sel(gain=[0.5, 1, 2, 4]).y, data.y)
    shared = list((tmp_path / "waves" / "shared").glob("*.json"))
    assert sum(len(json.loads(path.read_text())["points"]) for path in shared) == 20


def test_a_damaged_shared_file_is_computed_again(tmp_path: Path, undisturbed: xr.Dataset) -> None:
    run(tmp_path, points_per_file=8)
    path = next((tmp_path / "waves" / "shared").glob("*.nc"))
    n_points = len(json.loads(path.with_suffix(".json").read_text())["points"])
    path.write_bytes(path.read_bytes()[:-200])
    xr.testing.assert_identical(run(tmp_path, points_per_file=8), undisturbed)
    assert len(finished(tmp_path)) == n_points


def test_random_points(tmp_path: Path) -> None:
    data = run(tmp_path, {"gain": "0:10", "depth": "1,2,3"}, random=5)
    assert data.peak.dims == ("point",)
    np.testing.assert_array_equal(data.peak, data.gain)
    xr.testing.assert_identical(run(tmp_path, {"gain": "0:10", "depth": "1,2,3"}, random=5), data)
    assert len(starts(tmp_path)) == 5
    drawn = list(read(["depth=1:5", "seed=0:3"], n_random=7))
    assert len({tuple(point.values()) for point in drawn}) == 7
    assert len(list(read(["depth=1:5", "seed=0:3"], n_random=70))) == 12
    with pytest.raises(ValueError, match="is empty: it holds no integer"):
        read(["depth=2.2:2.8:log"], n_random=3)


# --- grids -----------------------------------------------------------------------------------


def read(grid: Any, **options: Any) -> Grid:
    return read_grid(grid, Waves.field_types(), lambda p: p, **options)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("depth=2,8,32", (2, 8, 32)),
        ("seed=0:4", (0, 1, 2, 3)),
        ("depth=1:64:log7", (1, 2, 4, 8, 16, 32, 64)),
        ("gain=0:1:lin3", (0.0, 0.5, 1.0)),
        ("gain=1e-2:1:log3", (0.01, 0.1, 1.0)),
        ("sizes=(2,8),(2,8,3)", ((2, 8), (2, 8, 3))),
        ("gain=.5", (0.5,)),
    ],
)
def test_grid_syntax(text: str, values: tuple[Any, ...]) -> None:
    (axis,) = read([text]).axes
    assert axis.values == pytest.approx(values) if "log3" in text else axis.values == values


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        (["depht=2"], "no field 'depht'; did you mean 'depth'"),
        ([], "must name at least one field"),
        (["depth="], "depth has no values"),
        (["seed=3:3"], "is empty"),
        (["gain=0:1"], "has no number of values"),
        (["gain=0:1:log5"], "must be above 0"),
        (["depth"], "field=values"),
        (["depth=2", "depth=3"], "given twice"),
        (["depth=2,2"], "the value 2 twice"),
        (["depth=2.5"], "depth must be int, got 2.5"),
        (["gain=many"], "gain must be float, got 'many'"),
        (["sizes=2,8"], "takes tuples"),
        (["gain=1,11,-3", "depth=0,2"], r"3 values that are not(.|\n)*11(.|\n)*-3(.|\n)*depth"),
        (["gain=1,9", "depth=8,9"], r"1 point that(.|\n)*gain=9.0, depth=9: gain and depth"),
    ],
)
def test_a_bad_grid_is_refused_before_anything_runs(
    grid: list[str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        run(tmp_path, grid)
    assert not list(tmp_path.iterdir())


class Dry:
    """An engine that ends every task at once."""

    def __init__(self) -> None:
        self.flying: list[int] = []
        self.most = 0

    def workers(self) -> int:
        return 2

    def capacity(self) -> int:
        return 8

    def submit(self, number: int, function: Any, payload: Any) -> None:
        self.flying.append(number)
        self.most = max(self.most, len(self.flying))

    def collect(self, seconds: float) -> tuple[int, Any, None]:
        return self.flying.pop(0), [], None

    def cancel(self) -> None:
        self.flying.clear()


@pytest.mark.parametrize("n", [4_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_a_hundred_thousand_points_are_never_all_in_memory(n: int, tmp_path: Path) -> None:
    import tracemalloc

    todo = plan(Waves(), {"gain": "0.5,1", "seed": f"0:{n // 2}"}, out=tmp_path)
    engine = Dry()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    found = sum(len(ended.payload.points) for ended in Flow(engine, len, todo._missing()))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == n
    assert engine.most == 8
    assert peak - before < 5e5


# --- the same numbers everywhere -------------------------------------------------------------


def test_workers_give_bit_equal_numbers(
    client: Any, tmp_path: Path, undisturbed: xr.Dataset
) -> None:
    xr.testing.assert_identical(run(tmp_path / "a", client=client), undisturbed)
    assert len(starts(tmp_path / "a")) == 16
    shared = run(tmp_path / "b", client=client, points_per_file=4)
    xr.testing.assert_identical(shared, undisturbed)


def test_workers_have_one_thread_each(client: Any, tmp_path: Path) -> None:
    run(tmp_path, {"seed": "0:4"}, client=client)
    assert set(client.nthreads().values()) == {1}
    assert set(client.run(torch.get_num_threads).values()) == {1}


def test_a_local_cluster_keeps_nothing_of_what_is_done() -> None:
    """Dask keeps a thousand messages to each worker: the tasks of a long sweep, in the parent."""
    from dask import config

    before = config.get("distributed.admin.low-level-log-length")
    with cluster.local(1) as client:
        for _ in Flow(cluster.Cluster(client), len, (list(range(i, i + 9)) for i in range(40))):
            pass
        streams = [client.scheduler_comm, *client.cluster.scheduler.stream_comms.values()]
        assert all(len(stream.recent_message_log) <= 10 for stream in streams)
    assert config.get("distributed.admin.low-level-log-length") == before


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[Callable[[], str]]:
    """Start ``dask scheduler`` and two ``dask worker``, again and again on the same port."""
    started: list[subprocess.Popen[bytes]] = []
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"

    def command(*words: str) -> None:
        process = subprocess.Popen(
            [*DASK, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=tmp_path
        )
        started.append(process)

    def stop() -> None:
        for process in started:
            process.kill()
            process.wait()
        started.clear()

    def start() -> str:
        stop()
        listen = ("--host", "127.0.0.1", "--port", str(port), "--no-dashboard")
        command("scheduler", *listen)
        for _ in range(2):
            command("worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard")
        return address

    start.stop = stop  # type: ignore[attr-defined]
    yield start
    stop()


def test_a_scheduler_elsewhere_gives_bit_equal_numbers(
    scheduler: Callable[[], str], tmp_path: Path, undisturbed: xr.Dataset
) -> None:
    address = scheduler()
    wait_for(lambda: answers(address))
    xr.testing.assert_identical(run(tmp_path, scheduler=address), undisturbed)


def answers(address: str) -> bool:
    host, port = address.removeprefix("tcp://").split(":")
    with socket.socket() as tried:
        return tried.connect_ex((host, int(port))) == 0


@pytest.mark.slow
def test_a_restarted_scheduler_loses_nothing(
    scheduler: Any, tmp_path: Path, undisturbed: xr.Dataset
) -> None:
    address = scheduler()
    wait_for(lambda: answers(address))
    base = Waves(seconds=0.5)
    results: list[xr.Dataset] = []
    thread = threading.Thread(
        target=lambda: results.append(
            sweep(base, GRID, out=tmp_path, scheduler=address, progress=False)
        )
    )
    thread.start()
    wait_for(lambda: len(finished(tmp_path)) >= 4)
    scheduler.stop()
    time.sleep(2)
    kept = len(finished(tmp_path))
    assert kept < 16
    scheduler()
    thread.join(300)
    (data,) = results
    np.testing.assert_array_equal(data.y, undisturbed.y)
    log = next(tmp_path.glob("waves/sweeps/*/log.txt")).read_text()
    assert f"the scheduler at {address} is gone" in log
    assert f"the scheduler at {address} is back" in log
    assert len(starts(tmp_path)) <= 16 + 2  # what the two workers were at


def test_run_map_uses_the_same_engine(client: Any, tmp_path: Path) -> None:
    Toy = load_file(FILE.with_name("toy_study.py")).Toy
    here = Toy().run(out=tmp_path / "a", progress=False)
    there = Toy().run(out=tmp_path / "b", progress=False, engine=client)
    xr.testing.assert_identical(here.measured, there.measured)
    Path("counter.txt").unlink(missing_ok=True)


# --- accidents -------------------------------------------------------------------------------


def test_a_point_that_fails_is_tried_three_times(tmp_path: Path, undisturbed: xr.Dataset) -> None:
    mishap = accident(tmp_path, "2-3", "fail")
    data = run(tmp_path)
    assert sorted(starts(tmp_path)).count("2 3 0") == 3
    assert len(starts(tmp_path)) == 14 + 2 * 3
    lost = data.sel(gain=2.0, depth=3)
    assert lost.y.isnull().all()
    assert lost.error.values.tolist() == ["RuntimeError: an accident"] * 2
    assert data["count"].dtype.kind == "f"
    (folder,) = (tmp_path / "waves" / "sweeps").iterdir()
    failures = json.loads((folder / "failures.json").read_text())
    assert [f["point"] for f in failures] == [{"gain": 2.0, "depth": 3, "seed": i} for i in (0, 1)]
    assert all(re.search(r"line \d+, in measure", f["traceback"]) for f in failures)
    mishap.unlink()
    xr.testing.assert_identical(run(tmp_path), undisturbed)
    assert len(starts(tmp_path)) == 14 + 2 * 3 + 2  # exactly the missing ones


def test_a_worker_killed_once_costs_one_start(
    client: Any, tmp_path: Path, undisturbed: xr.Dataset
) -> None:
    accident(tmp_path, "2-3", "kill once")
    xr.testing.assert_identical(run(tmp_path, client=client), undisturbed)
    assert len(starts(tmp_path)) == 17
    assert not list((tmp_path / "waves").glob("*.partial"))


def test_a_point_that_kills_its_workers_is_recorded_and_the_rest_goes_on(
    client: Any, tmp_path: Path, undisturbed: xr.Dataset
) -> None:
    grid = {"gain": "0.5,1,2,4", "depth": "2,3"}
    accident(tmp_path, "2-3", "kill")
    data = run(tmp_path, grid, client=client)
    assert starts(tmp_path).count("2 3 0") == 3
    assert len(starts(tmp_path)) == 7 + 3
    error = str(data.error.sel(gain=2.0, depth=3).values)
    assert error == "Lost: its worker was lost 3 times"
    assert int((data.error == "").sum()) == 7
    left = undisturbed.isel(seed=0).y.where(data.error == "")
    np.testing.assert_array_equal(data.y, left.transpose(*data.y.dims))


def test_a_killed_sweep_runs_exactly_what_is_missing(
    tmp_path: Path, undisturbed: xr.Dataset
) -> None:
    words = ["sweep", str(FILE), "--grid", *(f"{k}={v}" for k, v in GRID.items())]
    process = subprocess.Popen(
        [sys.executable, "-m", "tractable", *words, "--workers", "2", "--seconds", "0.4"],
        cwd=tmp_path,
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    )
    out = tmp_path / "runs"
    wait_for(lambda: len(finished(out)) >= 3)
    process.kill()
    process.wait()
    workers_are_gone(process.pid)
    before = {path.name for path in finished(out)}
    n_starts, measured = len(starts(out)), n_measured(out)
    assert len(before) < 16
    data = sweep(Waves(seconds=0.4), GRID, out=out, progress=False)
    assert len(starts(out)) - n_starts == 16 - len(before) - measured
    log = next(out.glob("waves/sweeps/*/log.txt")).read_text()
    assert f"16 points, {len(before)} finished" in log
    xr.testing.assert_identical(data.drop_attrs(), undisturbed.drop_attrs())


def workers_are_gone(session: int) -> None:
    """Wait until no process of the killed one's session is left."""

    def left() -> list[int]:
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                words = (folder / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(words[3]) == session and words[0] != "Z":
                found.append(int(folder.name))
        return found

    if Path("/proc").is_dir():
        wait_for(lambda: not left())
    else:
        time.sleep(5.0)


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_done(tmp_path: Path, undisturbed: xr.Dataset) -> None:
    words = ["sweep", str(FILE), "--grid", *(f"{k}={v}" for k, v in GRID.items())]
    process = subprocess.Popen(
        [sys.executable, "-m", "tractable", *words, "--workers", "0", "--seconds", "0.2"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    out = tmp_path / "runs"
    wait_for(lambda: len(finished(out)) >= 3)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "goes on from here" in err
    kept, n_starts, measured = len(finished(out)), len(starts(out)), n_measured(out)
    assert 3 <= kept < 16
    data = sweep(Waves(seconds=0.2), GRID, out=out, progress=False)
    assert len(starts(out)) - n_starts == 16 - kept - measured
    xr.testing.assert_identical(data.drop_attrs(), undisturbed.drop_attrs())


def test_a_damaged_result_is_computed_again(tmp_path: Path, undisturbed: xr.Dataset) -> None:
    run(tmp_path)
    cut, flipped, emptied = finished(tmp_path)[:3]
    with (cut / "result.nc").open("r+b") as file:
        file.truncate(1000)
    with (flipped / "result.nc").open("r+b") as file:
        file.seek(-40, os.SEEK_END)
        byte = file.read(1)
        file.seek(-40, os.SEEK_END)
        file.write(bytes([byte[0] ^ 255]))
    (emptied / "checks.json").write_text("")
    xr.testing.assert_identical(run(tmp_path), undisturbed)
    assert len(starts(tmp_path)) == 16 + 3
    log = next(tmp_path.glob("waves/sweeps/*/log.txt")).read_text()
    assert "3 damaged points are computed again" in log


def test_two_sweeps_at_once_share_the_work(
    client: Any, tmp_path: Path, undisturbed: xr.Dataset
) -> None:
    results: list[xr.Dataset] = []
    thread = threading.Thread(target=lambda: results.append(run(tmp_path, client=client)))
    thread.start()
    results.append(run(tmp_path))
    thread.join(120)
    assert len(results) == 2
    for data in results:
        xr.testing.assert_identical(data, undisturbed)
    assert sorted(starts(tmp_path)) == sorted(set(starts(tmp_path)))
    assert len(starts(tmp_path)) == 16


def test_a_full_disk_loses_no_finished_work(tmp_path: Path, undisturbed: xr.Dataset) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(small)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        with pytest.raises(OSError, match=r"no room is left in .*; make room and repeat"):
            run(small)
        kept, n_starts = len(finished(small)), len(starts(small))
        assert 1 <= kept < 16
        remount = ["mount", "-o", "remount,size=64m", str(small)]
        subprocess.run(remount, check=True, capture_output=True)
        xr.testing.assert_identical(run(small), undisturbed)
        assert len(starts(small)) - n_starts == 16 - kept
    finally:
        subprocess.run(["umount", str(small)], check=True, capture_output=True)


# --- mistakes --------------------------------------------------------------------------------


def test_an_unreachable_scheduler_is_said_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster.connect, "__kwdefaults__", {"seconds": 1.0})
    started = time.monotonic()
    with pytest.raises(Unreachable, match=r"no scheduler answers at tcp://127.0.0.1:9 within 1 s"):
        run(tmp_path, scheduler="tcp://127.0.0.1:9")
    assert time.monotonic() - started < 20
    with pytest.raises(ValueError, match="scheduler must be an address like"):
        run(tmp_path, scheduler="nowhere")
    finished = run(tmp_path)
    xr.testing.assert_identical(run(tmp_path, scheduler="tcp://127.0.0.1:9"), finished)  # not asked
    with pytest.raises(ValueError, match="scheduler must be an address like"):
        run(tmp_path, scheduler="nowhere")
    with pytest.raises(ValueError, match="exclude one another"):
        run(tmp_path, scheduler="tcp://127.0.0.1:9", workers=2)


def test_a_study_that_the_workers_cannot_import_is_named(client: Any, tmp_path: Path) -> None:
    copy = tmp_path / "mine.py"
    here = f"if os.getpid() != {os.getpid()}:\n    import nonesuch\n"
    copy.write_text(FILE.read_text().replace("import numpy as np", f"{here}import numpy as np", 1))
    study = load_file(copy).Waves
    with pytest.raises(ValueError, match=r"workers cannot import .*mine.py .*named 'nonesuch'"):
        sweep(study(), {"gain": "1,2"}, out=tmp_path, client=client, progress=False)
    assert not starts(tmp_path)

    class Local(Study):
        """In a function."""

    with pytest.raises(ValueError, match="other processes cannot import"):
        sweep(Local(), {"seed": "0:2"}, out=tmp_path, client=client, progress=False)


def cli(*words: object, cwd: Path) -> tuple[int, str, str]:
    from tractable.cli import main

    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(cwd), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main([str(word) for word in words])
        except SystemExit as stop:
            code = int(stop.code or 0)
    return code, out.getvalue(), err.getvalue()


def test_the_command_line(tmp_path: Path) -> None:
    words = ("sweep", FILE, "--grid", "gain=1,2", "depth=2,3", "--workers", 0)
    code, out, _ = cli(*words, "--dry-run", cwd=tmp_path)
    assert code == 0
    assert "4 points, 0 of them finished" in out
    assert not (tmp_path / "runs").exists()
    accident(tmp_path / "runs", "2-3", "fail")
    code, out, err = cli(*words, cwd=tmp_path)
    assert code == 1
    assert "3 of 4 points are finished, 1 failed; all checks hold in 3 of 3" in out
    assert "gain=2.0, depth=3: RuntimeError: an accident" in err
    (tmp_path / "runs/waves/accident-2-3").unlink()
    code, out, _ = cli(*words, cwd=tmp_path)
    assert code == 0
    assert "4 of 4 points are finished; all checks hold in 4 of 4" in out
    code, _, err = cli("sweep", FILE, "--grid", "gain=1,99,-1", cwd=tmp_path)
    assert code == 2
    assert "99" in err
    assert "-1" in err
    assert "Traceback" not in err
    code, _, err = cli(*words, "--scheduler", "tcp://127.0.0.1:9", cwd=tmp_path)
    assert (code, err) == (
        2,
        "tractable: --scheduler excludes --workers: both say where the points are computed\n",
    )
    code, _, err = cli(*words, "--out", "/proc/nowhere", cwd=tmp_path)
    assert code == 2
    assert err.startswith("tractable: out: the folder /proc/nowhere/")
    assert cli("sweep", FILE, "--grd", "gain=1", cwd=tmp_path)[0] == 2
    assert cli("sweep", cwd=tmp_path)[0] == 2


# --- the page --------------------------------------------------------------------------------


def test_the_page_of_a_sweep(tmp_path: Path) -> None:
    accident(tmp_path / "runs", "2-3", "fail")
    words = ("sweep", FILE, "--grid", "gain=0.5,1,2", "depth=2,3", "seed=0:2", "--workers", 0)
    cli(*words, cwd=tmp_path)
    (folder,) = (tmp_path / "runs/waves/sweeps").iterdir()
    code, out, err = cli("report", folder, cwd=tmp_path)
    assert code == 0, err
    page = (folder / "report.html").read_text()
    assert out.strip() == str(folder / "report.html")
    assert "10 of 12 points are finished, 2 failed" in page
    assert "Points that failed" in page
    assert "RuntimeError: an accident" in page
    assert "in measure" in page  # the traceback
    assert page.count("<figure") >= 3
    assert not re.search(r'(src|href)="https?://', page)
    command = html.unescape(re.search(r"Repeat it: <code>tractable (.*?)</code>", page)[1])
    (tmp_path / "runs/waves/accident-2-3").unlink()
    again = cli(*shlex.split(command), "--workers", 0, cwd=tmp_path)
    assert "12 of 12 points" in again[1]
    assert list((tmp_path / "runs/waves/sweeps").iterdir()) == [folder]


def test_a_page_of_several_runs(tmp_path: Path) -> None:
    run(tmp_path / "runs", {"gain": "1,2", "depth": "2,3"})
    folders = finished(tmp_path / "runs")
    code, out, err = cli("report", *folders, "--out", "page", cwd=tmp_path)
    assert code == 0, err
    text = (tmp_path / out.strip()).read_text()
    assert "a sweep over gain, depth" in text
    data = xr.load_dataset(tmp_path / "page" / "result.nc", engine="h5netcdf")
    assert data.y.dims == ("gain", "depth", "t")
    code, out, err = cli("report", *folders[:3], "--out", "three", cwd=tmp_path)
    assert code == 0, err
    assert xr.load_dataset(tmp_path / "three" / "result.nc", engine="h5netcdf").sizes["point"] == 3
    assert cli("report", cwd=tmp_path)[0] == 2
    unfinished = tmp_path / "runs/waves/sweeps/unfinished"
    unfinished.mkdir()
    (unfinished / "sweep.json").write_text("{}")
    ended = [next((tmp_path / "runs/waves/sweeps").glob("*/result.nc")).parent]
    run(tmp_path / "runs", {"gain": "1,2"})
    ended += {path.parent for path in tmp_path.glob("runs/waves/sweeps/*/result.nc")} - {*ended}
    code, out, err = cli("report", *ended, cwd=tmp_path)  # a page for each
    assert code == 0, err
    assert out.split() == [str(folder / "report.html") for folder in ended]
    code, _, err = cli("report", unfinished, cwd=tmp_path)
    assert code == 2
    assert "has not come to its end" in err


def test_pictures_of_a_sweep(tmp_path: Path) -> None:
    from tractable.sweep_figures import draw, drawable

    data = run(tmp_path, {"gain": "0.5,1,2", "depth": "2,3", "seed": "0:2"})
    swept = ["gain", "depth", "seed"]
    assert drawable(data, swept) == ["y", "peak", "count", "distance", "first_step"]
    figure = draw(data, "peak", swept)
    (ax,) = figure.axes
    assert ax.get_xlabel() == "gain"
    assert ax.get_ylabel() == "peak (V)"
    theory = [line for line in ax.lines if line.get_label().startswith("theory")]
    np.testing.assert_array_equal(theory[0].get_xydata(), [[g, g] for g in (0.5, 1, 2)])
    assert len(draw(data, "y", swept).axes) == 2  # one panel for each depth
    random = run(tmp_path, {"gain": "0:10", "depth": "1,2,3"}, random=3)
    assert len(draw(random, "peak", ["gain", "depth"]).axes) == 2


def test_a_worker_claims_a_gpu_of_its_own(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from tractable.core.devices import claim; "
        f"print(claim('auto', n_devices=2, folder=Path({str(tmp_path)!r})), flush=True); input()"
    )
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    assert {worker.stdout.readline().strip() for worker in workers} == {"cuda:0", "cuda:1"}
    for worker in workers:
        worker.communicate("")
    assert devices.claim("cpu") == "cpu"
    assert devices.claim("auto", n_devices=0) == "auto"


def test_a_point_of_other_dimensions_fails_and_costs_no_other(tmp_path: Path) -> None:
    odd = Path(__file__).parent / "odd_study.py"
    grid = ("--grid", "n=1,2", "mode=good,flat,raise")
    code, _, said = cli("sweep", odd, *grid, "--workers", 0, "--out", tmp_path, cwd=tmp_path)
    assert code == 1
    (folder,) = (tmp_path / "odd" / "sweeps").iterdir()
    failures = json.loads((folder / "failures.json").read_text())
    failed = {f["point"]["mode"]: f["error"] for f in failures}
    assert failed == {
        "flat": "ValueError: y has the dimensions (), but (i) at most points, as at n=1, mode=good",
        "raise": "ValueError: n = 2 is not liked",  # its first line, with its type
    }
    assert "n=2, mode=raise: ValueError: n = 2 is not liked" in said
    found = xr.load_dataset(folder / "result.nc", engine="h5netcdf")
    assert found.y.sel(n=2, mode="good").values.tolist() == [1.0, 2.0]
    assert found.y.sel(mode=["flat", "raise"]).isnull().all()


def test_a_dry_sweep_counts_points_of_a_study_without_cost(tmp_path: Path) -> None:
    odd = Path(__file__).parent / "odd_study.py"
    code, out, _ = cli("sweep", odd, "--grid", "n=1,2", "--dry-run", cwd=tmp_path)
    assert code == 0
    assert "2 points, 0 of them finished" in out
    assert "does not say what a point costs" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("n=1,2", "--n", 3), "--n and --grid n=... exclude one another"),
        (("seed=0:2", "--seed=1"), "--seed and --grid seed=... exclude one another"),
        (("n=1:5:2",), "grid: n=1:5:2 is no interval: write low:high, low:high:lin5 or"),
        (("n=100",), "grid: 1 value that is not permitted; nothing was run"),
    ],
)
def test_a_sweep_says_what_is_wrong(
    words: tuple[object, ...], message: str, tmp_path: Path
) -> None:
    odd = Path(__file__).parent / "odd_study.py"
    code, _, said = cli("sweep", odd, "--workers", 0, "--grid", *words, cwd=tmp_path)
    assert code == 2
    assert message in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--over", "n=100"), "over: 1 value that is not permitted; nothing was run"),
        (("--storage", "sqlite:////nowhere/x.db"), "storage: sqlite:////nowhere/x.db cannot be op"),
    ],
)
def test_a_search_names_its_own_flags(words: tuple[str, ...], message: str, tmp_path: Path) -> None:
    odd = Path(__file__).parent / "odd_study.py"
    common = ("search", odd, "--objective", "z", "--trials", 1, "--workers", 0)
    code, _, said = cli(*common, *words, cwd=tmp_path)
    assert code == 2
    assert message in said
    assert "Traceback" not in said


def test_a_sweep_at_smoke_size_asserts_nothing(tmp_path: Path) -> None:
    name = "linear-modes"  # few points in time: its rates are not met
    words = ("sweep", name, "--preset", "smoke", "--grid", "seed=0:2", "--workers", 0)
    code, out, _ = cli(*words, cwd=tmp_path)
    assert code == 0
    assert "the preset smoke is too small for them" in out
    (folder,) = (tmp_path / "runs" / name / "sweeps").iterdir()
    assert sweep_report.open_runs([folder]).holds
    runs = [path for path in (tmp_path / "runs" / name).iterdir() if path.name != "sweeps"]
    page = sweep_report.open_runs(runs)
    assert page.holds
    assert "too small" in page.verdict
    assert not replace(page, data=page.data.assign_attrs(smoke=0)).holds
