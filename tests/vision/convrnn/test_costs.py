"""Memory and operations as counted, against what a run keeps alive."""

from __future__ import annotations

import weakref
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tractable.vision.convrnn import ConvRNN, ConvRNNSpec, Node, SpecError


class Live(TorchDispatchMode):
    """Counts the bytes of all storages that are alive, and their peak."""

    def __init__(self) -> None:
        super().__init__()
        self.live, self.peak = 0, 0
        self.sizes: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for z in tree_leaves(out):
            if isinstance(z, torch.Tensor) and z.untyped_storage()._cdata not in self.sizes:
                storage = z.untyped_storage()
                self.sizes[storage._cdata] = storage.nbytes()
                self.live += storage.nbytes()
                self.peak = max(self.peak, self.live)
                weakref.finalize(storage, self.drop, storage._cdata)
        return out

    def drop(self, key: int) -> None:
        self.live -= self.sizes.pop(key, 0)


def small() -> ConvRNN:
    nodes = [Node("a", 8, pool=2), Node("b", 12, cell="rgc"), Node("c", 12, cell="gru")]
    spec = ConvRNNSpec.chain(nodes, n_classes=4).feedback("c", "b", entry="out")
    return ConvRNN(spec, in_shape=(1, 16, 16))


def test_recomputation_halves_the_memory_and_the_prediction_holds() -> None:
    net, x, peak = small(), torch.rand(8, 1, 16, 16), {}
    for how in ("none", "sqrt"):
        with Live() as live:
            net(x, T=32, checkpoint=how).logits.sum().backward()  # type: ignore[arg-type]
        peak[how] = live.peak
        predicted = net.cost(32, 8, checkpoint=how).peak_bytes  # type: ignore[arg-type]
        assert predicted == pytest.approx(live.peak, rel=0.2)
    assert peak["sqrt"] <= 0.5 * peak["none"]


def counted(net: ConvRNN, x: torch.Tensor, **call: Any) -> int:
    """Count the multiplications of a forward pass that is computed."""
    total = 0

    def add(module: Any, inputs: Any, out: torch.Tensor) -> None:
        nonlocal total
        total += out.numel() * module.weight[0].numel()

    kinds = torch.nn.Conv2d | torch.nn.Linear
    hooks = [m.register_forward_hook(add) for m in net.modules() if isinstance(m, kinds)]
    with torch.no_grad():
        net(x, **call)
    for hook in hooks:
        hook.remove()
    return total


def test_operations_are_those_of_a_pass_whose_state_is_not_kept() -> None:
    """What no readout sees is left out of such a pass, and out of the count."""
    net, x = small(), torch.rand(1, 1, 16, 16)
    assert net.cost(6).macs == counted(net, x, T=6)
    assert net.cost(6).macs < counted(net, x, T=6, keep_state=True)


def test_errors_name_node_and_length() -> None:
    net = small()
    x = torch.rand(2, 1, 16, 16)
    with pytest.raises(ValueError, match="no stimulus reaches the readout before step 2"):
        net(x, T=2)
    with pytest.raises(ValueError, match="image_off must be 1"):
        net(x, T=4, image_off=5)
    with pytest.raises(ValueError, match="x must be finite"):
        net(x * float("nan"), T=4)
    with pytest.raises(SpecError, match="there is no node 'd'"):
        ConvRNNSpec.chain([Node("a", 2)], n_classes=2).feedback("d", "a").validate()
    with torch.no_grad():
        net.layers["a"].conv.weight.mul_(1e9)
    with pytest.raises(FloatingPointError, match="node 'b' has a state"):
        net(x, T=8)
