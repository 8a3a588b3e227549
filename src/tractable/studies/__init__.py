"""The studies: one file each, found by name without importing it.

``studies/linear/semantic_tree.py`` is the study ``semantic-tree``. Packages ship theirs by the
entry point group ``tractable.studies``; a user's own file is named by its path.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import re
from dataclasses import dataclass
from pathlib import Path

from tractable.core.checks import nearest_names
from tractable.core.claims import Paper
from tractable.core.processes import load_file
from tractable.study import Study

__all__ = ["Entry", "find", "index"]


@dataclass(frozen=True)
class Entry:
    """A study that can be run: its name, module, title and paper, read from the source text."""

    name: str
    module: str
    title: str
    paper: Paper | None


def index() -> dict[str, Entry]:
    """Return all studies by name, ours first; no study is imported."""
    here = Path(__file__).parent
    entries = {}
    for path in sorted(here.glob("*/[!_]*.py")):
        name = path.stem.replace("_", "-")
        entries[name] = _read(name, f"tractable.studies.{path.parent.name}.{path.stem}", path)
    for name, module in _entry_points():
        spec = importlib.util.find_spec(module)
        if spec is not None and spec.origin:
            entries.setdefault(name, _read(name, module, Path(spec.origin)))
    return entries


def find(name: str) -> type[Study]:
    """Return the study class of a name, or of a Python file.

    Raises
    ------
    ValueError
        For an unknown name (with the three nearest ones), or a file without a study.
    """
    if name.endswith(".py"):
        return _study_in(load_file(name), name)
    entries = index()
    if name not in entries:
        near = nearest_names(name, entries)
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        raise ValueError(f"there is no study {name!r}{hint} (see `tractable list`)")
    return _study_in(importlib.import_module(entries[name].module), name)


def _study_in(module: object, name: str) -> type[Study]:
    classes = [
        value
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, Study)
        and value.__module__ == module.__name__  # type: ignore[attr-defined]  # a module has a name
    ]
    if len(classes) != 1:
        found = ", ".join(cls.__name__ for cls in classes) or "none"
        raise ValueError(f"{name} must define one subclass of tractable.study.Study, got {found}")
    return classes[0]


def _entry_points() -> list[tuple[str, str]]:
    from importlib.metadata import entry_points

    return [
        (point.name, point.value.split(":")[0]) for point in entry_points(group="tractable.studies")
    ]


def _read(name: str, module: str, path: Path) -> Entry:
    """Read title and paper from the first class of the file that derives from Study."""
    for node in _head(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef) and any("Study" in ast.unparse(b) for b in node.bases):
            title = (ast.get_docstring(node) or name).splitlines()[0]
            return Entry(name, module, title, _paper(node))
    return Entry(name, module, name, None)


def _head(text: str) -> ast.Module:
    """Parse a study's class from its first line to the end of its paper, or else all of the file.

    The files are long, and every command reads them all.
    """
    start = re.search(r"^class \w+\(.*\bStudy\b.*\):", text, re.MULTILINE)
    if start is not None:
        begin = start.start()
        paper = re.compile(r"^    paper\b.*$", re.MULTILINE).search(text, begin)
        if paper is not None:
            after = re.compile(r"^    [A-Za-z_@]", re.MULTILINE).search(text, paper.end())
            try:
                return ast.parse(text[begin : after.start() if after else None])
            except SyntaxError:
                pass  # an odd layout: the whole file tells
    return ast.parse(text)


def _paper(node: ast.ClassDef) -> Paper | None:
    for item in node.body:
        target = item.target if isinstance(item, ast.AnnAssign) else None
        if isinstance(target, ast.Name) and target.id == "paper":
            call = item.value if isinstance(item, ast.AnnAssign) else None
            if isinstance(call, ast.Call):
                arguments = [ast.literal_eval(value) for value in call.args]
                named = {kw.arg: ast.literal_eval(kw.value) for kw in call.keywords if kw.arg}
                return Paper(*arguments, **named)
    return None
