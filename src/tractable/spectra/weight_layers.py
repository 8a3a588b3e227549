"""The layers of a model that have weights, and its nonlinearities, read from its modules."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.utils import parametrize

from tractable.core.nonlinearity import Nonlinearity

__all__ = ["WeightLayer", "activation_of", "activations", "weight_layers"]

WEIGHTS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
NORMS = (
    nn.modules.batchnorm._NormBase,
    *(nn.LayerNorm, nn.GroupNorm, nn.LocalResponseNorm),
    *([nn.RMSNorm] if hasattr(nn, "RMSNorm") else []),
)
WHOLE = (nn.MultiheadAttention, nn.RNNBase, nn.RNNCellBase)
# Functions of each entry by itself, in torch.nn.
ELEMENTWISE = (
    *(nn.Tanh, nn.ReLU, nn.LeakyReLU, nn.Hardtanh, nn.ELU, nn.GELU, nn.SiLU, nn.Softplus),
    *(nn.Sigmoid, nn.SELU, nn.CELU, nn.Mish, nn.Hardswish, nn.Hardsigmoid, nn.Softsign),
    *(nn.LogSigmoid, nn.ReLU6, nn.Tanhshrink, nn.Softshrink, nn.Hardshrink, nn.Threshold),
    *(nn.PReLU,),
)


_OWN: dict[tuple[type[nn.Module], str], Nonlinearity] = {}  # of modules that are no built-in name


@dataclass(frozen=True, eq=False)
class WeightLayer:
    """A linear layer or a convolution.

    Parameters
    ----------
    name : str
        In ``model.named_modules()``.
    module : nn.Module
        Its ``weight`` has the shape (out, in) or (out, in, kernel).
    hidden : bool
        Whether a nonlinearity follows; the last layer of a classifier is a readout.
    tied_to : str
        Name of an earlier layer with the same weight, else empty.
    skipped : str
        Why it has no place in a theory of chains, else empty.
    """

    name: str
    module: nn.Module
    hidden: bool
    tied_to: str = ""
    skipped: str = ""

    @property
    def weight(self) -> nn.Parameter:
        """The weight."""
        return self.module.weight  # type: ignore[return-value]  # of the types in WEIGHTS

    @property
    def fan_in(self) -> int:
        """Inputs of one unit."""
        return self.weight[0].numel()

    @property
    def is_conv(self) -> bool:
        """Whether it is a convolution."""
        return not isinstance(self.module, nn.Linear)

    @property
    def sigma_w(self) -> float:
        """Root of (fan in) x (mean square weight): the standard deviation's scale of the theory."""
        return float((self.fan_in * self.weight.detach().double().square().mean()) ** 0.5)

    @property
    def sigma_b(self) -> float:
        """Root mean square bias; 0 without one."""
        bias = self.module.bias
        if not isinstance(bias, torch.Tensor):
            return 0.0
        return float(bias.detach().double().square().mean() ** 0.5)


def activation_of(module: nn.Module) -> Nonlinearity | None:
    """Return the nonlinearity of a module, None if it is no function of each entry.

    Examples
    --------
    >>> activation_of(nn.LeakyReLU(0.2))
    Nonlinearity('leaky_relu(0.2)', kinks=(0.0,))
    >>> activation_of(nn.LayerNorm(3)) is None
    True
    """
    if not isinstance(module, ELEMENTWISE):
        return None
    if isinstance(module, nn.PReLU) and module.num_parameters == 1:
        return Nonlinearity("leaky_relu", params={"a": float(module.weight.detach())})
    if isinstance(module, nn.PReLU):
        return None
    simple = {nn.Tanh: "tanh", nn.ReLU: "relu", nn.SiLU: "silu"}
    if type(module) in simple:
        return Nonlinearity(simple[type(module)])
    if isinstance(module, nn.LeakyReLU):
        return Nonlinearity("leaky_relu", params={"a": module.negative_slope})
    if type(module) is nn.ELU:
        return Nonlinearity("elu", params={"a": module.alpha})
    if type(module) is nn.Hardtanh and (module.min_val, module.max_val) == (-1.0, 1.0):
        return Nonlinearity("hard_tanh")
    if type(module) is nn.GELU and module.approximate == "none":
        return Nonlinearity("gelu")
    if type(module) is nn.Softplus and module.beta == 1:
        return Nonlinearity("softplus")
    own = copy.deepcopy(module)
    for hooks in (own._forward_hooks, own._forward_pre_hooks, own._backward_hooks):
        hooks.clear()  # whoever watches the module of the model does not watch its copy
    if getattr(own, "inplace", False):
        own.inplace = False
    # Modules without parameters are told apart by what they print: type and settings.
    key = (type(own), repr(own))
    if key not in _OWN:
        _OWN[key] = Nonlinearity(own)
    return _OWN[key]


def activations(model: nn.Module) -> list[Nonlinearity]:
    """Return the different nonlinearities among the modules, in the order of the modules."""
    found = [activation_of(module) for _, module in leaves(model)]
    return list(dict.fromkeys(phi for phi in found if phi is not None))


def leaves(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the modules without submodules; attention and recurrent layers stay whole."""
    whole: list[str] = []
    for name, module in model.named_modules():
        if any(name.startswith(f"{outer}." if outer else "") for outer in whole):
            continue
        if isinstance(module, WHOLE):
            whole.append(name)
            yield name, module
        elif parametrize.is_parametrized(module) or not any(module.children()):
            if parametrize.is_parametrized(module):
                whole.append(name)
            yield name, module


def weight_layers(model: nn.Module) -> list[WeightLayer]:
    """Return the layers with weights, in the order in which the model registers them.

    A layer is hidden when a nonlinearity is registered between it and the next one. Where there
    are fewer nonlinearities than that (one module used at every layer, or plain functions), all
    layers but the last are taken to be hidden.
    """
    order = list(leaves(model))
    kinds = [
        "weight" if is_weight(m) else "phi" if activation_of(m) is not None else ""
        for _, m in order
    ]
    places = [i for i, kind in enumerate(kinds) if kind == "weight"]
    followed = ["phi" in kinds[a:b] for a, b in itertools.pairwise([*places, len(kinds)])]
    if sum(followed) < len(places) - 1:
        followed = [True] * (len(places) - 1) + [followed[-1]] if places else []
    first_of: dict[int, str] = {}
    layers = []
    for place, hidden in zip(places, followed, strict=True):
        name, module = order[place]
        reason = _reason(module)
        tied = ""
        if not reason:
            tied = first_of.setdefault(id(module.weight), name)
            tied = "" if tied == name else tied
        layers.append(WeightLayer(name, module, hidden, tied, reason))
    return layers


def is_weight(module: nn.Module) -> bool:
    """Whether the module multiplies by a weight matrix or a kernel."""
    return isinstance(module, WEIGHTS + TRANSPOSED)


def _reason(module: nn.Module) -> str:
    """Say why a layer is left alone, or nothing."""
    if parametrize.is_parametrized(module) or hasattr(module, "weight_g"):
        return "its weight is computed by a parametrization"
    if isinstance(module, TRANSPOSED):
        return "transposed convolutions are not covered"
    if isinstance(module, torch.nn.modules.lazy.LazyModuleMixin):
        return "it has no weight before the first batch: run one through the model"
    return ""
