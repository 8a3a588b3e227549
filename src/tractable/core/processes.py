"""Local worker processes, and Python files imported by path so that workers know them too."""

from __future__ import annotations

import importlib.util
import multiprocessing
import sys
import traceback
import types
from concurrent.futures import Executor, ProcessPoolExecutor
from pathlib import Path

from tractable.core.folder import digest

__all__ = ["load_file", "processes"]


def load_file(path: str | Path) -> types.ModuleType:
    """Import a Python file by its path, once; files beside it can be imported by it.

    Raises
    ------
    ValueError
        The file does not exist, is not Python, or stops with an error: which, and in which line.
    """
    file = Path(path).resolve()
    name = f"tractable_file_{file.stem}_{digest(str(file))[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    if not file.is_file():
        raise ValueError(f"there is no file {path}")
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} is not a Python file (.py)")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and worker processes look the module up by name
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == str(file)]
        line = getattr(error, "lineno", None) or (frames[-1].lineno if frames else None)
        where = f"{path}, line {line}" if line else str(path)
        raise ValueError(f"{where}: {type(error).__name__}: {error}") from error
    return module


def processes(workers: int, source: Path | None = None) -> Executor:
    """Return an executor of ``workers`` fresh processes, one torch thread each.

    ``source`` is a Python file, imported by `load_file` here, that the workers import too.
    """
    return ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_prepare_worker,
        initargs=(None if source is None else str(source),),
    )


def _prepare_worker(source: str | None) -> None:
    import torch

    torch.set_num_threads(1)
    if source is not None:
        load_file(source)
