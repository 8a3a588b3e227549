"""Code that other processes import too: Python files by path, and references to functions."""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
import inspect
import linecache
import socket
import sys
import traceback
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tractable.core.folder import digest

__all__ = ["NotImportable", "Reference", "imported_beside", "load_file", "named_in"]

BY_PATH = "tractable_file_"  # how the modules of files that are imported by path begin
SOURCE = "__source_when_imported__"


def load_file(path: str | Path) -> types.ModuleType:
    """Import a Python file by its path; files beside it can be imported by it.

    A file that has not changed since, nor one beside it that it imports, is imported once; else it
    is imported again.

    Raises
    ------
    ValueError
        The file does not exist, is not Python, or stops with an error: which, and in which line.
    """
    file = Path(path).resolve()
    name = f"{BY_PATH}{file.stem}_{digest(str(file))[:8]}"
    known = sys.modules.get(name)
    if not file.is_file():
        raise ValueError(f"there is no file {path}")
    source = file.read_bytes()
    beside = imported_beside(file)
    texts = (source, *(helper.read_bytes() for helper in beside))
    if known is not None:
        if known.__dict__.get(SOURCE) == texts:
            return known
        for other, module in list(sys.modules.items()):  # they may be what has changed
            if Path(getattr(module, "__file__", None) or "").resolve() in beside:
                del sys.modules[other]
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} is not a Python file (.py)")
    module = importlib.util.module_from_spec(spec)
    setattr(module, SOURCE, texts)
    linecache.checkcache(str(file))
    sys.modules[name] = module  # dataclasses and worker processes look the module up by name
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))
    try:
        # Not by exec_module: it takes compiled code of an older text of the same second and size.
        exec(compile(source, str(file), "exec", dont_inherit=True), module.__dict__)
    except Exception as error:
        del sys.modules[name]
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == str(file)]
        line = getattr(error, "lineno", None) or (frames[-1].lineno if frames else None)
        where = f"{path}, line {line}" if line else str(path)
        raise ValueError(f"{where}: {type(error).__name__}: {error}") from error
    return module


def imported_beside(path: Path) -> tuple[Path, ...]:
    """Return the Python files in the folder of a file that it imports, also by way of one another.

    They are found by the text of the import statements; nothing is imported.
    """
    found: dict[Path, None] = {}
    left = [path.resolve()]
    while left:
        for file in _imports(left.pop(), path.resolve().parent):
            if file not in found and file != path.resolve():
                found[file] = None
                left.append(file)
    return tuple(sorted(found))


def named_in(path: Path) -> list[Path]:
    """Return the files that a text in a Python file names, seen from here or from beside it.

    Weights that a model file loads, say: no field names them.
    """
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return []
    texts = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    found: dict[Path, None] = {}
    for text in sorted(text for text in texts if 0 < len(text) < 200 and text.isprintable()):
        for place in (Path(text), path.parent / text):
            if place.is_file():
                found[place.resolve()] = None
                break
    return list(found)


def _imports(path: Path, folder: Path) -> list[Path]:
    try:
        source = path.read_bytes()
    except OSError:
        return []
    places = [
        base.joinpath(*names, last)
        for base in dict.fromkeys((folder, path.parent))
        for *names, name in _imported_names(source)
        for last in (f"{name}.py", f"{name}/__init__.py")
    ]
    return [place for place in places if place.is_file()]


@functools.lru_cache(maxsize=256)
def _imported_names(source: bytes) -> tuple[tuple[str, ...], ...]:
    """Return the modules that a text may import: a and a.b of ``import a.b``."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return ()
    names: dict[tuple[str, ...], None] = {}
    for node in ast.walk(tree):
        words: list[str] = []
        if isinstance(node, ast.Import):
            words = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = node.module or ""
            words = [f"{start}.{alias.name}".strip(".") for alias in node.names]
        for word in words:
            parts = tuple(word.split("."))
            names |= dict.fromkeys(parts[: i + 1] for i in range(len(parts)))
    return tuple(names)


@dataclass(frozen=True)
class Reference:
    """Where a class or a function is defined, so that another process finds it too."""

    module: str
    name: str
    file: str | None

    @classmethod
    def of(cls, thing: Any) -> Reference:
        """Return the reference of a class or function at the top of a module.

        Raises
        ------
        ValueError
            It is defined in a notebook or inside a function, where no other process finds it.
        """
        module, name = thing.__module__, thing.__qualname__
        try:
            file = str(Path(inspect.getfile(thing)).resolve())
        except (TypeError, OSError):
            file = None
        by_file = module == "__main__" or module.startswith(BY_PATH)
        if not name.isidentifier() or (by_file and (file is None or not Path(file).is_file())):
            raise ValueError(
                f"other processes cannot import {name}: define it at the top of a Python file, or "
                "compute in this process (workers=0)"
            )
        return cls(module, name, file)

    def resolve(self) -> Any:
        """Import what the reference names.

        Raises
        ------
        NotImportable
            This process cannot import it; the message says why.
        """
        try:
            if self.module == "__main__" or self.module.startswith(BY_PATH):
                return getattr(load_file(str(self.file)), self.name)
            try:
                module = importlib.import_module(self.module)
            except ModuleNotFoundError:
                if self.file is None:
                    raise
                module = load_file(self.file)
            return getattr(module, self.name)
        except Exception as error:
            where = self.file or self.module
            raise NotImportable(
                f"the workers cannot import {where} (on {socket.gethostname()}): {error}; the file "
                "and what it imports must be where every worker finds them"
            ) from error


class NotImportable(ValueError):
    """A worker cannot import the code that it should run."""
