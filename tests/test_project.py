"""Promises of the project as a whole."""

from __future__ import annotations

import ast
import itertools
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "src").rglob("*.py"))


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_no_forbidden_import(path: Path) -> None:
    never = {"pickle", "torchvision", "lightning", "torchmetrics", "yaml", "jax", "mlflow"}
    assert not imported(path) & never
    text = path.read_text(encoding="utf-8")
    assert "torch.load" not in text
    assert not re.search(r"allow_pickle\s*=\s*True", text)


def test_every_dependency_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = itertools.chain.from_iterable(project["optional-dependencies"].values())
    named = [*project["dependencies"], *extras]
    wanted = {re.split(r"[<>=!\[; ]", name)[0].lower().replace("_", "-") for name in named}
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {
        line.split("==")[0].lower().replace("_", "-") for line in lines if not line.startswith("#")
    }
    assert wanted - {"tractable"} <= pinned  # an extra may name another one of ours
    assert next(line for line in lines if not line.startswith("#")).startswith("torch==")


def test_no_print_outside_the_command_line() -> None:
    for path in SOURCES:
        if path.name == "cli.py":
            continue
        calls = [
            node
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print"
        ]
        assert not calls, path
