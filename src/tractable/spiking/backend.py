"""Who runs the loops over time steps: numba on the CPU, Triton on a GPU, torch operations anywhere.

All give the same numbers up to rounding. Triton is imported only where it is used.
"""

from __future__ import annotations

import importlib.util
import os
from typing import Literal

import torch

__all__ = ["BACKENDS", "Backend", "has_triton", "resolve"]

Backend = Literal["auto", "numba", "torch", "triton"]
BACKENDS = ("auto", "numba", "torch", "triton")


def has_triton() -> bool:
    """Say whether the package `triton` can be imported; torch for CUDA brings it on Linux."""
    return importlib.util.find_spec("triton") is not None


def resolve(backend: Backend, device: torch.device) -> Literal["numba", "torch", "triton"]:
    """Return the loops to run for tensors on ``device``.

    ``auto`` is numba on the CPU; on a CUDA device it is Triton where that is installed; torch
    operations otherwise.

    Raises
    ------
    ValueError
        When the wanted loops do not run on this device.
    ImportError
        When Triton is wanted and not installed.

    Examples
    --------
    >>> resolve("auto", torch.device("cpu"))
    'numba'
    """
    kind = device.type
    if backend == "auto":
        if kind == "cpu":
            return "numba"
        return "triton" if kind == "cuda" and has_triton() else "torch"
    if backend == "numba" and kind != "cpu":
        raise ValueError(f"backend='numba' runs on the CPU, the weights are on {device}")
    if backend == "triton":
        if not has_triton():
            raise ImportError("backend='triton' needs the package triton: pip install triton")
        # its interpreter runs the kernels on the CPU, slowly, to test them
        if kind != "cuda" and not (kind == "cpu" and os.environ.get("TRITON_INTERPRET") == "1"):
            raise ValueError(
                f"backend='triton' runs on a CUDA device, the weights are on {device}; move the "
                "network there by net.to('cuda')"
            )
    return backend
