"""The sentiment study: its texts, its mistakes, its accuracy, and its resume after SIGKILL."""

from __future__ import annotations

import contextlib
import io
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from tractable.cli import main
from tractable.studies import find
from tractable.study import Run

Sentiment = find("dynamics-sentiment")
QUICK = ("--units", "8", "--embedding", "4", "--epochs", "1", "--n-starts", "32", "--no-signatures")


def cli(*words: object, cwd: Path) -> tuple[int, str]:
    out = io.StringIO()
    with contextlib.chdir(cwd), contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            code = main(["run", "dynamics-sentiment", *map(str, words)])
        except SystemExit as stop:
            code = int(stop.code or 0)
    return code, out.getvalue()


def reviews(n: int) -> str:
    random = np.random.default_rng(0)
    words = (["awful", "bad", "poor"], ["good", "great", "fine"])
    rows = ["text,label"]
    for _ in range(n):
        label = int(random.integers(2))
        text = " ".join(random.choice(["the", "a", *words[label]], size=6))
        rows.append(f"{text},{label}")
    return "\n".join(rows) + "\n"


def test_a_table_of_ones_own_is_analyzed(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text(reviews(200))
    code, printed = cli("--data", "mine.csv", *QUICK, cwd=tmp_path)
    assert code == 0, printed
    assert "mine.csv" in printed
    assert "2 of 2 checks hold" in printed


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"text,label\ngood,1\nfine,1\n", "class"),
        (b"text,label\ngood,1\n,0\n", "empty"),
        (b"text,label\ngood\xff,1\nbad,0\n", "UTF-8"),
        (b"text,label\ngood,1\nbad\n", "row 3"),
        (b"", "mine.csv"),
        (None, "mine.csv"),
    ],
)
def test_an_unreadable_table_ends_in_one_sentence(
    content: bytes | None, message: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "mine.csv").write_bytes(content)
    code, printed = cli("--data", "mine.csv", *QUICK, cwd=tmp_path)
    assert code == 2, printed
    assert message in printed
    assert "Traceback" not in printed


def test_generated_texts_instead_of_real_ones_are_said_loudly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tractable.data import Resolved

    note = "Texts: the generated review language, instead of the UCI sentences (no network)."
    monkeypatch.setattr(Sentiment, "texts", Resolved("synthetic", (), note))
    smoke = {**Sentiment.presets["smoke"], "data": "auto"}
    result = Sentiment(**smoke).run(out=tmp_path, progress=False)
    assert note in result.notes[0]
    assert note in (result.folder / "log.txt").read_text()


def test_the_theory_is_that_of_the_trained_network(tmp_path: Path) -> None:
    study = Sentiment.preset("smoke")
    result = study.run(out=tmp_path, progress=False)
    rebuilt = study.rebuild(result.measured)
    tokens = torch.as_tensor(result.measured.tokens.values)
    with torch.no_grad():
        logits = rebuilt(tokens, torch.as_tensor(result.measured.length.values)).numpy()
    np.testing.assert_allclose(logits, result.theory.logit, atol=1e-4)


@pytest.mark.parametrize("cell", ["vanilla", "ugrnn", "lstm"])
def test_every_architecture_runs(cell: str, tmp_path: Path) -> None:
    smoke = {**Sentiment.presets["smoke"], "cell": cell, "epochs": 1}
    assert Sentiment(**smoke).run(out=tmp_path, progress=False).holds


@pytest.mark.slow
@pytest.mark.data("sll")
def test_median_accuracy_on_the_real_sentences(tmp_path: Path) -> None:
    """PUBLISHED-style bar: a regularized GRU reaches 0.80, median of five seeds."""
    from tractable.studies.dynamics._sentiment_parts import accuracy

    study, reached = Sentiment(data="uci"), []
    for seed in range(5):
        train, test = study.documents(seed)
        model, _ = study.train(Run(seed, tmp_path / str(seed), show_progress=False), train, test)
        reached.append(accuracy(model, test))
    assert statistics.median(reached) >= 0.80, reached


@pytest.mark.slow
def test_a_killed_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    words = ["--data", "synthetic", "--n-train", "8000", "--epochs", "2", "--batch-size", "16"]
    words += ["--units", "12", "--embedding", "8", "--n-starts", "32", "--no-signatures"]
    command = [sys.executable, "-m", "tractable", "run", "dynamics-sentiment", *words]
    killed = subprocess.Popen([*command, "--out", "killed"], cwd=tmp_path)
    deadline = time.monotonic() + 100
    while not list(tmp_path.glob("killed/*/*.partial/checkpoints/training.safetensors")):
        assert time.monotonic() < deadline
        assert killed.poll() is None, "it ended before its first checkpoint"
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    for out in ("killed", "whole"):
        subprocess.run([*command, "--out", out], cwd=tmp_path, check=True, capture_output=True)
    results = [next(tmp_path.glob(f"{out}/*/*/result.nc")) for out in ("killed", "whole")]
    first, second = (xr.load_dataset(path, group="measured", engine="h5netcdf") for path in results)
    xr.testing.assert_identical(first, second)
