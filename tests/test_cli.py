"""The command line: exit codes, messages, cold start, and resuming after SIGKILL."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tractable.cli import main

TOY = str(Path(__file__).with_name("toy_study.py"))


@dataclass
class Ended:
    """What a command line left behind."""

    returncode: int
    stdout: str
    stderr: str


def cli(*words: object, cwd: Path) -> Ended:
    """Run a command line in this process: torch is imported once for all tests."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(cwd), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main([str(word) for word in words])
        except SystemExit as stop:
            code = int(stop.code or 0)
    return Ended(code, out.getvalue(), err.getvalue())


def cpu_seconds(*words: str, cwd: Path | None = None) -> float:
    """Return the least user + system seconds of three runs of a command in a fresh interpreter."""
    times = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *words], cwd=cwd, capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(times)


def test_own_study_file_runs_and_is_cached(tmp_path: Path) -> None:
    first = cli("run", TOY, "--n", 5, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert "1 of 1 checks hold" in first.stdout
    page = Path(tmp_path, first.stdout.splitlines()[-1])
    assert page.name == "report.html"
    assert (page.parent / "figures" / "squares.svg").exists()
    second = cli("run", TOY, "--n", 5, cwd=tmp_path)
    assert "found finished" in second.stdout
    assert len((tmp_path / "counter.txt").read_text().splitlines()) == 5


def test_a_cached_run_is_cheap_and_imports_no_torch(tmp_path: Path, slowness: float) -> None:
    code = (
        "import sys; from tractable.cli import main; code = main(['run', 'dynamics-rank-one', "
        "'--preset', 'smoke']); assert 'torch' not in sys.modules; sys.exit(code)"
    )
    assert cli("run", "dynamics-rank-one", "--preset", "smoke", cwd=tmp_path).returncode == 0
    assert cpu_seconds("-c", code, cwd=tmp_path) <= 1.0 * slowness


def test_list_starts_cold_without_torch(slowness: float) -> None:
    code = (
        "import sys; from tractable.cli import main; main(['list']); "
        "heavy = {'torch', 'scipy', 'matplotlib', 'xarray'} & set(sys.modules); assert not heavy"
    )
    assert cpu_seconds("-c", code) <= 0.4 * slowness
    assert cpu_seconds("-c", "import tractable") - cpu_seconds("-c", "pass") <= 0.1 * slowness


def test_list_names_every_study(capsys: pytest.CaptureFixture[str]) -> None:
    from tractable.studies import index

    assert main(["list"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in index())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "dynamics-rank-won"], "did you mean dynamics-rank-one"),
        (["run", TOY, "--preset", "smok"], "did you mean 'smoke'"),
        (["run", TOY, "--flavr", "sweet"], "--flavor"),
        (["run", TOY, "--n", "0"], "n must be >= 1 and <= 100, got 0"),
        (["run", TOY, "--n", "many"], "invalid literal"),
        (["run", TOY, "--seed", "-1"], "seed must be >= 0"),
        (["run", TOY, "--threads", "0"], "threads must be >= 1, got 0"),
        (["run", TOY, "--workers", "-1"], "workers must be >= 0, got -1"),
        (["run", TOY, "--device", "gpu"], "device must be auto, cpu, or a device"),
        (["run", TOY, "--out", TOY], "toy_study.py"),
        (["run", TOY, "--from", "nowhere.json"], "cannot read nowhere.json"),
        (["run", TOY, "--from", "x.json", "--preset", "smoke"], "--from excludes --preset"),
        (["run", "nothing.py"], "there is no file nothing.py"),
        (["run", "--seed", "3"], "the study comes first"),
        (["rum"], "did you mean 'run'"),
        (["report", "nowhere"], "does not hold a finished run"),
        (["list", "all"], "list takes no arguments"),
    ],
)
def test_a_mistake_ends_in_one_sentence_and_code_2(
    words: list[str], message: str, tmp_path: Path
) -> None:
    result = cli(*words, cwd=tmp_path)
    assert result.returncode == 2, result.stderr
    shown = re.sub(r"[│╭╰╮╯─\s]+", " ", result.stderr + result.stdout)
    assert message in shown
    assert "Traceback" not in shown


def test_a_failing_check_ends_in_code_1(tmp_path: Path) -> None:
    result = cli("run", TOY, "--power", 2.02, cwd=tmp_path)
    assert result.returncode == 1
    assert "0 of 1 checks hold" in result.stdout


def test_a_defect_ends_in_code_3_with_its_traceback_in_the_log(tmp_path: Path) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text(Path(TOY).read_text().replace("x**2)}, c", "x**2 / (x - x))}, c"))
    result = cli("run", broken, cwd=tmp_path)
    assert result.returncode == 3
    log = next(tmp_path.glob("runs/toy/*.partial/log.txt")).read_text()
    assert "ZeroDivisionError" in log


def test_from_repeats_a_run(tmp_path: Path) -> None:
    cli("run", TOY, "--n", 6, "--seed", 4, "--sizes", 3, 4, cwd=tmp_path)
    params = next(tmp_path.glob("runs/toy/*/params.json"))
    result = cli("run", TOY, "--from", params, cwd=tmp_path)
    assert "found finished" in result.stdout
    changed = cli("run", TOY, "--from", params, "--n", 7, cwd=tmp_path)
    assert "The last of 7 squares" in changed.stdout
    assert json.loads(params.read_text())["seed"] == 4


def test_the_command_in_the_report_repeats_the_run(tmp_path: Path) -> None:
    cli("run", TOY, "--n", 6, "--seed", 4, "--sizes", 3, 4, "--note", "a b", cwd=tmp_path)
    page = next(tmp_path.glob("runs/toy/*/report.html")).read_text()
    command = re.search(r"Repeat it: <code>tractable (.*?)</code>", page).group(1)
    import html
    import shlex

    result = cli(*shlex.split(html.unescape(command)), cwd=tmp_path)
    assert "found finished" in result.stdout


def test_report_redraws_without_computing(tmp_path: Path) -> None:
    cli("run", TOY, cwd=tmp_path)
    folder = next(tmp_path.glob("runs/toy/*"))
    (folder / "report.html").unlink()
    result = cli("report", folder, "--figures", "pdf", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert (folder / "report.html").exists()
    assert (folder / "figures" / "squares.pdf").exists()
    assert len((tmp_path / "counter.txt").read_text().splitlines()) == 4


def test_dry_run_prints_the_cost_and_computes_nothing(tmp_path: Path) -> None:
    result = cli("run", TOY, "--dry-run", "--n", 100, cwd=tmp_path)
    assert "about 1e+02 operations" in result.stdout
    assert not (tmp_path / "runs").exists()


def test_an_interrupted_run_ends_in_code_130_and_goes_on(tmp_path: Path) -> None:
    (tmp_path / "counter.stop").touch()
    assert cli("run", TOY, cwd=tmp_path).returncode == 130
    os.remove(tmp_path / "counter.stop")
    assert cli("run", TOY, cwd=tmp_path).returncode == 0
    assert len((tmp_path / "counter.txt").read_text().splitlines()) == 5


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("return xr.concat", "return dict() or xr.concat", None),
        ('        return xr.concat(run.map(square, points), "x")', "        return {}", "got dict"),
        ("error, 0.0, atol", "theory.y.values, 0.0, atol", "measured of the check 'squares'"),
        ('source="Euclid II.4"', 'source=""', "needs a source"),
        ("    n: Annotated", "    seed: int = 3\n    n: Annotated", "cannot have a field 'seed'"),
        ("def square", "def square(:\ndef square", "line 17: SyntaxError"),
        ("import numpy as np", "import nonesuch as np", "No module named 'nonesuch'"),
    ],
)
def test_a_mistake_in_ones_own_study_is_named(
    old: str, new: str, message: str | None, tmp_path: Path
) -> None:
    text = Path(TOY).read_text()
    assert old in text
    (tmp_path / "mine.py").write_text(text.replace(old, new, 1))
    result = cli("run", tmp_path / "mine.py", cwd=tmp_path)
    assert result.returncode == (0 if message is None else 2), result.stderr
    assert message is None or message in result.stderr


def test_an_error_is_said_once(tmp_path: Path) -> None:
    result = cli("run", TOY, "--device", "gpu", cwd=tmp_path)
    assert result.stderr.count("device must be") == 1


def test_a_figure_that_fails_comes_after_the_answers(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(Path(TOY).read_text().replace("plot.new()", "1 / 0"))
    result = cli("run", tmp_path / "mine.py", cwd=tmp_path)
    assert result.returncode == 3
    assert "The last of 4 squares" in result.stdout
    assert f"{tmp_path / 'mine.py'}, line" in result.stderr


def test_a_damaged_run_is_named(tmp_path: Path) -> None:
    cli("run", TOY, cwd=tmp_path)
    folder = next(tmp_path.glob("runs/toy/*"))
    (folder / "result.nc").write_bytes(b"cut")
    result = cli("report", folder, cwd=tmp_path)
    assert result.returncode == 2
    assert "result.nc is missing or damaged" in result.stderr


def test_data_lists_every_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data"]) == 0
    printed = capsys.readouterr().out
    assert "sll: 3,000 sentences" in printed
    assert "Listing(" not in printed


def test_a_smoke_run_asserts_nothing_and_says_so(capsys, tmp_path) -> None:
    path = tmp_path / "small.py"
    path.write_text(
        "from dataclasses import dataclass\n"
        "from typing import Annotated, ClassVar\n"
        "import xarray as xr\n"
        "from tractable.study import Check, Paper, Range, Run, Study\n\n"
        "@dataclass(frozen=True)\n"
        "class Small(Study):\n"
        "    '''A claim that needs size.'''\n"
        "    presets: ClassVar = {'smoke': {'n': 2}}\n"
        "    n: Annotated[int, Range(1, 100)] = 50\n"
        "    '''Size.'''\n"
        "    def measure(self, run): return xr.Dataset({'y': float(self.n)})\n"
        "    def theory(self, measured=None): return xr.Dataset({'y': 60.0})\n"
        "    def checks(self, theory, measured):\n"
        "        yield Check('size', measured.y, theory.y, source='a count')\n",
        encoding="utf-8",
    )
    line = ["run", str(path), "--out", str(tmp_path)]
    assert main([*line, "--preset", "smoke"]) == 0
    printed = capsys.readouterr().out
    assert "too small  size" in printed
    assert "0 of 1 checks hold (preset smoke: too small for the claims)" in printed
    assert main(line) == 1
    assert "FAILS  size" in capsys.readouterr().out


def test_another_format_of_figures_is_drawn_for_a_finished_run(tmp_path: Path) -> None:
    for suffix in ("svg", "pdf"):
        assert cli("run", TOY, "--figures", suffix, cwd=tmp_path).returncode == 0
        assert list(tmp_path.glob(f"runs/*/*/figures/squares.{suffix}"))


@pytest.mark.parametrize("words", [["--help"], ["list"], ["run", TOY, "--help"]])
def test_a_reader_that_has_seen_enough_is_no_error(words: list[str], tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "tractable", *words]
    ended = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_an_error_of_python_in_ones_own_study_is_placed(tmp_path: Path) -> None:
    broken = tmp_path / "broken.py"
    text = Path(TOY).read_text()
    broken.write_text(text.replace("if self.note:", "if not __import__('json').loads(''):"))
    ended = cli("run", broken, cwd=tmp_path)
    assert ended.returncode == 3
    assert re.search(r"tractable: .*broken\.py, line \d+: JSONDecodeError", ended.stderr)
