"""Neural networks you can solve.

Ten published theories of neural networks, each beside the networks it explains.
The subpackages are imported when first used: ``import tractable`` costs next to nothing.
"""

from __future__ import annotations

import importlib
from types import ModuleType

__version__ = "0.1.0"

_SYSTEMS = ("dynamics", "linear", "spectra", "spiking", "tensors", "vision", "walkback")
_SUBPACKAGES = ("core", "data", "plot", "report", "result", "studies", "study", "train", *_SYSTEMS)

__all__ = [*_SUBPACKAGES, "__version__"]


def __getattr__(name: str) -> ModuleType:
    if name in _SUBPACKAGES:
        return importlib.import_module(f"tractable.{name}")
    raise AttributeError(f"module 'tractable' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
