"""What a measurement may use: seed, device, folder, and help for long work."""

from __future__ import annotations

import functools
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tractable.core import folder as store
from tractable.core import netcdf
from tractable.core.processes import Reference

if TYPE_CHECKING:
    import torch
    import xarray as xr
    from distributed import Client

__all__ = ["Run", "environment"]

log = logging.getLogger("tractable")


@dataclass
class Run:
    """What a measurement may use: its seed, its device, its folder, and help for long work."""

    seed: int
    folder: Path
    device_name: str = "auto"
    engine: Executor | Client | None = None
    show_progress: bool = True
    reporter: Callable[[int, float], None] | None = None
    notes: list[str] = field(default_factory=list)

    @functools.cached_property
    def device(self) -> torch.device:
        """The torch device; ``auto`` is CUDA when present."""
        import torch

        if self.device_name == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        try:
            device = torch.device(self.device_name)
            torch.empty(0, device=device)
        except (RuntimeError, AssertionError) as error:
            raise ValueError(
                f"device must be auto, cpu, or a device that torch finds here, got "
                f"{self.device_name!r}: {str(error).splitlines()[0]}"
            ) from error
        return device

    def track(self, work: Iterable[Any], description: str, total: int | None = None) -> Iterator:
        """Iterate with a progress bar (see `tractable.core.progress.track`)."""
        from tractable.core.progress import track

        return track(work, description, total=total, show=self.show_progress)

    def say(self, message: str) -> None:
        """Log a message and show it on top of the report."""
        log.warning(message)
        if message not in self.notes:
            self.notes.append(message)

    def checkpoint(self, name: str) -> Path:
        """Return the path of a checkpoint that lasts until the run is finished."""
        path = self.folder / "checkpoints" / f"{name}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def save(self, name: str, arrays: Mapping[str, Any] | Any) -> Path:
        """Save an array, or a state dict, as ``<name>.safetensors`` in the run folder."""
        import torch
        from safetensors.torch import save_file

        if not isinstance(arrays, Mapping):
            arrays = {name: arrays}
        tensors = {
            key: torch.as_tensor(value).detach().cpu().contiguous().clone()
            for key, value in arrays.items()
        }
        path = self.folder / f"{name}.safetensors"
        temporary = store.temporary_beside(path)  # a run that is killed here leaves no half a file
        try:
            save_file(tensors, temporary)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        return path

    def load(self, name: str) -> dict[str, torch.Tensor] | None:
        """Return what `save` stored under ``name``, or None."""
        from safetensors.torch import load_file

        path = self.folder / f"{name}.safetensors"
        return load_file(path) if path.exists() else None

    def report(self, step: int, value: float) -> None:
        """Tell a search how good the run is so far, so that it may stop a bad one."""
        if self.reporter is not None:
            self.reporter(step, value)

    def map(
        self, function: Callable[..., xr.Dataset], points: Iterable[Mapping[str, Any]]
    ) -> list[xr.Dataset]:
        """Return ``[function(**point) for point in points]``, on the engine, each point cached.

        ``function`` is a module-level function of plain values that returns an `xarray.Dataset`.
        Finished points are kept in the run folder: a run that was stopped computes only the rest.
        """
        todo = list(points)
        cache = self.folder / "points"
        cache.mkdir(exist_ok=True)
        name = f"{function.__module__}.{function.__qualname__}"
        paths = [cache / f"{store.digest([name, dict(point)])}.nc" for point in todo]
        missing = [i for i, path in enumerate(paths) if not path.exists()]
        title = f"{function.__name__} ({len(todo)} points)"
        computed: dict[int, xr.Dataset] = {}
        for i, dataset in self.track(self._computed(function, todo, missing), title, len(missing)):
            file = netcdf.packed(dataset)
            netcdf.save(paths[i], file)
            computed[i] = netcdf.as_read(dataset, file)
        return [computed[i] if i in computed else netcdf.load(path) for i, path in enumerate(paths)]

    def _computed(
        self, function: Callable[..., xr.Dataset], todo: list[Mapping[str, Any]], missing: list[int]
    ) -> Iterator[tuple[int, xr.Dataset]]:
        """Yield the missing points as they are finished; an error of a point is raised."""
        if self.engine is None:
            for i in missing:
                yield i, function(**todo[i])
            return
        from tractable.core.engine import RETRIES, Flow, engine_of

        reference = Reference.of(function)
        payloads = ((i, reference, dict(todo[i])) for i in missing)
        for ended in Flow(engine_of(self.engine), compute_point, payloads, losses=RETRIES):
            if ended.error is not None:
                raise ended.error
            yield ended.payload[0], ended.value


def compute_point(payload: tuple[int, Reference, dict[str, Any]]) -> xr.Dataset:
    """Compute one point of `Run.map` in a worker, on one thread."""
    import torch

    torch.set_num_threads(1)
    _, reference, point = payload
    return reference.resolve()(**point)


def environment(run: Run) -> dict[str, str]:
    """Return date, device, machine and versions of a run."""
    import platform

    import torch

    device = str(run.device)
    if run.device.type == "cuda":
        device += f" ({torch.cuda.get_device_name(run.device)})"
    return {
        "date": time.strftime("%Y-%m-%d %H:%M:%S"),
        "device": device,
        "threads": str(torch.get_num_threads()),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        **_versions(),
    }


@functools.cache
def _versions() -> dict[str, str]:
    from importlib.metadata import version

    packages = ("tractable", "torch", "numpy", "scipy", "xarray", "matplotlib")
    return {package: version(package) for package in packages}
