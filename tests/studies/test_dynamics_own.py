"""The study of a user's own network: model files, states, and mistakes; and the others' options."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest

from tractable.cli import main
from tractable.studies import find

MODEL = '''
import torch
from torch import nn

def make():
    torch.manual_seed(0)
    return nn.GRU(2, 8)

class Nested(nn.Module):
    """A state of two tensors."""
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(5, 3)
    def forward(self, state, x):
        a, b = state
        a = torch.tanh(self.layer(torch.cat([x, a], -1)))
        return a, 0.9 * b + 0.1 * a[..., :1]

def nested():
    from tractable.dynamics import as_cell
    torch.manual_seed(0)
    return as_cell(Nested(), n_state=(3, 1), n_input=2)

def broken():
    raise RuntimeError("no weights here")

number = 3

class Whole(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.GRU(2, 8)
        self.head = nn.Linear(8, 1)

def weights():
    return nn.GRU(2, 8).state_dict()

def of_a_class():
    return nn.GRU

def swapped():
    from tractable.dynamics import as_cell
    layer = nn.Linear(5, 3)
    return as_cell(lambda x, h: torch.tanh(layer(torch.cat([x, h], -1))[..., :3] + x.sum(-1, True)
                   + h @ torch.eye(3).to(h)), n_state=3, n_input=2)
'''


def cli(*words: object, cwd: Path) -> tuple[int, str]:
    out = io.StringIO()
    with contextlib.chdir(cwd), contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            code = main(["run", "dynamics-own", *map(str, words)])
        except SystemExit as stop:
            code = int(stop.code or 0)
    return code, out.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "net.py").write_text(MODEL)
    random = np.random.default_rng(0)
    np.save(tmp_path / "states.npy", 0.3 * random.normal(size=(100, 8)))
    np.save(tmp_path / "input.npy", np.array([0.5, -0.5]))
    np.save(tmp_path / "wrong.npy", np.zeros((4, 5)))
    np.save(tmp_path / "nan.npy", np.full((4, 8), np.nan))
    (tmp_path / "text.npy").write_text("no array")
    return tmp_path


@pytest.mark.parametrize(
    "words",
    [
        ("--model", "net.py:make", "--starts", "states.npy", "--x-star", "input.npy"),
        ("--model", "net.py:make", "--kind", "slow", "--tau-c", "5", "--n-starts", "64"),
        ("--model", "net.py:nested", "--n-starts", "64"),
    ],
)
def test_a_model_file_is_taken_apart(words: tuple[str, ...], folder: Path) -> None:
    code, printed = cli(*words, "--horizon", "10", cwd=folder)
    assert code == 0, printed
    assert "net.py" in printed
    assert "checks hold" in printed
    code, _ = cli(*words, "--horizon", "10", cwd=folder)
    assert code == 0
    (folder / "net.py").write_text(MODEL + "# another file\n")
    study = find("dynamics-own")(model=f"{folder}/net.py:make")
    assert folder / "net.py" in study.files()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--model", "net.py"), "file.py:function"),
        (("--model", "absent.py:make"), "absent.py"),
        (("--model", "net.py:absent"), "has no function absent"),
        (("--model", "net.py:number"), "has no function number"),
        (("--model", "net.py:broken"), "no weights here"),
        (("--model", "net.py:make", "--starts", "absent.npy"), "no file absent.npy"),
        (("--model", "net.py:make", "--starts", "net.py"), "must be a .npy file"),
        (("--model", "net.py:make", "--starts", "wrong.npy"), "must have shape (n, 8)"),
        (("--model", "net.py:make", "--starts", "nan.npy"), "must be finite"),
        (("--model", "net.py:make", "--starts", "text.npy"), "no array of numbers"),
        (("--model", "net.py:make", "--x-star", "wrong.npy"), "must have shape (2,)"),
        (("--starts", "states.npy"), "name it by model"),
        (("--model", "net.py:Whole"), "it holds encoder (GRU); give that part, as in net.encoder"),
        (("--model", "net.py:weights"), "build it and load them (load_state_dict)"),
        (("--model", "net.py:of_a_class"), "it is a class, give a network of it, GRU(...)"),
        (("--model", "net.py:swapped"), "it seems to take (x, state); give lambda state, x"),
        (("--modle", "net.py:make"), "--model STR"),
        (("--model", "net.py:make", "--start", "states.npy"), "--starts STR"),
    ],
)
def test_mistakes_end_in_one_sentence(words: tuple[str, ...], message: str, folder: Path) -> None:
    code, printed = cli(*words, cwd=folder)
    assert code == 2, printed
    assert message in " ".join(printed.split())
    assert "Traceback" not in printed


def test_starts_that_led_nowhere_are_told_with_their_reason(folder: Path) -> None:
    (folder / "ghost.py").write_text(
        "import torch\nfrom tractable.dynamics import as_cell\n"
        "def make():\n"
        "    # one root, 0; beyond 2 the state runs away\n"
        "    step = lambda h, x: torch.where(h.abs() > 2, h + 0.1, 0.5 * h) + 0 * x\n"
        "    return as_cell(step, n_state=1, n_input=1)\n"
    )
    np.save(folder / "apart.npy", np.array([[0.5], [-0.4], [1.0], [9.0]]))
    code, printed = cli(
        "--model", "ghost.py:make", "--starts", "apart.npy", "--horizon", "5", cwd=folder
    )
    text = " ".join(printed.split())
    assert code == 0, printed
    assert "found 1 fixed point; 1 start led to none (most: " in text
    assert "• It is stable." in text


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("dynamics-architectures", {"cells": ("gru", "gru")}, "name each once"),
        ("dynamics-architectures", {"cells": ("rnn",)}, "cells must be one of"),
        ("dynamics-architectures", {"data": ()}, "at least one"),
        ("dynamics-universality", {"tasks": ("sums",)}, "tasks must be one of"),
        ("dynamics-universality", {"cells": ()}, "at least one"),
        ("dynamics-classes", {"categorical": (), "ordered": ()}, "one network or more"),
        ("dynamics-classes", {"categorical": (1,)}, "categorical"),
    ],
)
def test_options_are_checked(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        find(name)(**options)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["dynamics-flipflop", "dynamics-context", "dynamics-classes", "dynamics-own"]
)
def test_all_signatures_hold_at_default_size(name: str, tmp_path: Path) -> None:
    result = find(name)().run(out=tmp_path, progress=False)
    assert result.holds, [check.name for check in result.checks if not check.holds]


@pytest.mark.slow
def test_line_attractors_of_the_gated_networks(tmp_path: Path) -> None:
    """The table of gated networks on the generated language, medians of three seeds."""
    study = find("dynamics-architectures").preset("small", cells=("ugrnn", "gru", "lstm"))
    result = study.run(out=tmp_path, progress=False)
    assert result.holds, [check.name for check in result.checks if not check.holds]
