"""The memory of the bound: that of a chunk, whatever the length of the walk."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tractable.core.checks import quiet
from tractable.walkback import GaussianPrior, Schedule, log_likelihood_bound, mlp_operator


class Peak(TorchDispatchMode):
    """Counts the bytes of the storages that live at once."""

    def __init__(self) -> None:
        super().__init__()
        self.live: dict[int, int] = {}
        self.peak = 0

    def __torch_dispatch__(self, call: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = call(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, torch.Tensor):
                storage = leaf.untyped_storage()
                key = storage._cdata
                if key not in self.live:
                    self.live[key] = storage.nbytes()
                    weakref.finalize(storage, self.live.pop, key, None)
        self.peak = max(self.peak, sum(self.live.values()))
        return out


def peak(length: int, chunk: int, paths: int = 16) -> int:
    torch.manual_seed(0)
    operator = mlp_operator(8, (64,), sigma=0.3, skip="preconditioned").eval()
    x = torch.randn(64, 8)
    with quiet(), Peak() as counted:
        log_likelihood_bound(
            operator, x, schedule=Schedule.geometric(length, 1.05), prior=GaussianPrior((8,)),
            num_paths=paths, chunk=chunk,
        )  # fmt: skip
    return counted.peak


def test_the_bound_needs_the_memory_of_a_chunk() -> None:
    short, long = peak(5, 256), peak(50, 256)
    assert long <= 1.2 * short
    assert 3.0 <= peak(5, 1024) / short <= 4.5  # linear in the chunk
    assert peak(5, 256, paths=64) <= 1.3 * short  # only the weights, 8 bytes a path, grow
