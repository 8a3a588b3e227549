"""Initialize a model of one's own on the critical line: to dynamical isometry where it exists."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from tractable.core.checks import TractableWarning, check_choice, check_finite, check_range
from tractable.core.nonlinearity import Nonlinearity, as_nonlinearity
from tractable.core.seeds import derive, generator
from tractable.spectra.init_report import InitLayer, InitReport
from tractable.spectra.measure import _inputs
from tractable.spectra.orthogonal import delta_orthogonal, haar, orthogonality_error
from tractable.spectra.phase import critical_line, q_for_variance, variance_per_layer
from tractable.spectra.sample_map import check_values, goes_through
from tractable.spectra.weight_layers import WeightLayer, activations, weight_layers
from tractable.train.records import mode

__all__ = ["init_"]

SCHEMES = ("orthogonal", "gaussian", "delta_orthogonal")
READOUTS = ("zero", "lecun", "keep")
TARGET_VARIANCE = 0.25
PADDED = "its padding is not half the kernel, so the map is cut at the border"


def init_(
    model: nn.Module,
    scheme: str = "orthogonal",
    *,
    nonlinearity: str | Nonlinearity | Callable[..., Any] = "auto",
    target_q: float | None = None,
    target_variance: float | None = None,
    input_batch: Tensor | Sequence[Tensor] | None = None,
    readout: str = "lecun",
    seed: int = 0,
) -> InitReport:
    r"""Initialize a model in place, on the critical line of its nonlinearity and depth.

    Weights are :math:`\sigma_w O` with a Haar orthogonal O (or Gaussian of variance
    :math:`\sigma_w^2 / N`), biases Gaussian of standard deviation :math:`\sigma_b`, with
    :math:`(\sigma_w, \sigma_b)` the critical point of the variance q* of the pre-activations at
    which the eigenvalues of :math:`J J^T` have the wanted variance.

    Parameters
    ----------
    model : nn.Module
        ``Linear`` and ``Conv1d/2d/3d`` layers are initialized; normalization, embedding, attention
        and recurrent layers are left alone. In float16 and bfloat16 by way of float64.
    scheme : str
        ``"orthogonal"`` (convolutions delta-orthogonal), ``"delta_orthogonal"`` (the same), or
        ``"gaussian"``.
    nonlinearity : str, Nonlinearity or callable
        ``"auto"`` reads it from the modules; needed where it is called as a function.
    target_q : float, optional
        q*, > 0.
    target_variance : float, optional
        Wanted :math:`\sigma^2_{JJ^T}` of all hidden layers together; 0.25 where neither is given.
        A nonlinearity that cannot reach it is refused with what it can reach: ReLU has at least L.
    input_batch : tensor or sequence of tensors, optional
        Input of the model. The first layer's weight is scaled so that q^1 = q* on it. Without it,
        inputs must have the mean square of phi(sqrt(q*) z), about q* itself, for the theory to
        hold in the first layers.
    readout : str
        Of a last layer without nonlinearity: ``"lecun"`` (Gaussian of variance 1 / fan-in, zero
        bias), ``"zero"``, ``"keep"``.
    seed : int
        Decides the weights, whatever the device.

    Returns
    -------
    InitReport
        Layer by layer: shape, scales, orthogonality of what is stored, what was skipped and why.

    Raises
    ------
    ValueError
        Both targets, an unknown nonlinearity, several nonlinearities, a variance out of reach,
        no critical point (softplus), a model without layers or on the meta device.

    Warns
    -----
    TractableWarning
        q* repels (GELU, SiLU); a layer was skipped; a stored matrix is not orthogonal to the
        precision of its type.

    Notes
    -----
    A layer of more outputs than inputs gets orthonormal columns times sqrt(N_out / N_in), so that
    the variance of its pre-activations is that of the theory; its own Jacobian is then not unit.
    A convolution becomes delta-orthogonal if its kernel is odd, its stride 1 and its groups 1;
    another one is skipped.

    References
    ----------
    Pennington, Schoenholz, Ganguli 2017, arXiv:1711.04735; Xiao et al. 2018, arXiv:1806.05393.

    Examples
    --------
    >>> layers = [m for _ in range(48) for m in (nn.Linear(64, 64), nn.Tanh())]
    >>> report = init_(nn.Sequential(*layers), target_variance=0.25)
    >>> round(report.q_star, 4), round(report.sigma_w**2, 4), report.layers[0].ortho_error < 1e-6
    (0.029, 1.0557, True)
    """
    check_choice("scheme", scheme, SCHEMES)
    check_choice("readout", readout, READOUTS)
    if target_q is not None and target_variance is not None:
        raise ValueError(
            f"give one of target_q and target_variance, got {target_q} and {target_variance}"
        )
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be an nn.Module, got {type(model).__name__}")
    check_values(model)
    given = None if input_batch is None else _inputs(input_batch, "input_batch")
    layers = weight_layers(model)
    if not layers:
        raise ValueError("the model has no Linear or Conv layer to initialize")
    phi = _nonlinearity(model, nonlinearity)
    depth = max(1, sum(layer.hidden for layer in layers))
    ensemble = "gaussian" if scheme == "gaussian" else "orthogonal"
    q, sigma_w, sigma_b, stable = critical_point(
        phi, depth, ensemble, target_q=target_q, target_variance=target_variance
    )
    if not stable:
        warnings.warn(
            f"q* = {q:.4g} of {phi.name} is unstable: the variance of the pre-activations runs "
            "away from it with depth, and the theory holds for the first layers only",
            TractableWarning,
            stacklevel=2,
        )
    random = generator(derive(seed, "init_"))
    rows = [_apply(layer, scheme, sigma_w, sigma_b, readout, random) for layer in layers]
    scale = 1.0
    if given is not None:
        scale = _fit_input(model, layers, rows, given, q)
    for row in rows:
        if row.done == "skipped":
            warnings.warn(
                f"layer {row.name!r} was left alone: {row.remark}", TractableWarning, stacklevel=2
            )
    offset = 1.0 if ensemble == "gaussian" else 0.0
    variance = depth * ((0.0 if phi.is_linear else variance_per_layer(phi, q)) + offset)
    return InitReport(
        scheme, phi.name, depth, q, sigma_w, sigma_b, variance, stable, scale, tuple(rows)
    )


def critical_point(
    phi: Nonlinearity,
    depth: int,
    ensemble: str,
    *,
    target_q: float | None = None,
    target_variance: float | None = None,
) -> tuple[float, float, float, bool]:
    """Return q*, sigma_w, sigma_b and stability of the critical point for a target.

    Raises
    ------
    ValueError
        Out of reach, or no critical point.
    """
    if target_q is not None:
        check_finite("target_q", target_q)
        check_range("target_q", target_q, 0, open_low=True)
        q = float(target_q)
    elif phi.is_linear and ensemble == "orthogonal":
        q = 1.0  # every q is critical and every variance is zero
    else:
        if target_variance is not None:
            check_finite("target_variance", target_variance)
        variance = TARGET_VARIANCE if target_variance is None else float(target_variance)
        feasible = bool(critical_line(phi, [0.1]).feasible[0])
        try:
            q = q_for_variance(phi, depth, variance, ensemble) if feasible else 0.1
        except ValueError as error:
            raise ValueError(
                f"target_variance: {error}; target_q initializes it at a q* of your choice"
            ) from error
    point = critical_line(phi, [q])
    if not point.feasible[0]:
        raise ValueError(
            f"{phi.name} has no critical point at q* = {q:g}: it would need sigma_b^2 = "
            f"{float(point.sigma_b2[0]):.3g} < 0; take another nonlinearity"
        )
    return q, float(point.sigma_w[0]), float(point.sigma_b[0]), bool(point.stable[0])


def _nonlinearity(
    model: nn.Module, nonlinearity: str | Nonlinearity | Callable[..., Any]
) -> Nonlinearity:
    if nonlinearity != "auto":
        return as_nonlinearity(nonlinearity)
    found = activations(model)
    if len(found) > 1:
        raise ValueError(
            f"the model has several nonlinearities ({', '.join(phi.name for phi in found)}); name "
            "the one of the hidden layers: nonlinearity=..."
        )
    if not found:
        if sum(1 for layer in weight_layers(model)) == 1:
            return Nonlinearity("linear")
        raise ValueError(
            'no nonlinearity among the modules; name it, such as nonlinearity="tanh" (or "linear")'
        )
    return found[0]


def _apply(
    layer: WeightLayer,
    scheme: str,
    sigma_w: float,
    sigma_b: float,
    readout: str,
    random: torch.Generator,
) -> InitLayer:
    """Initialize one layer and say what was done."""
    shape = tuple(layer.weight.shape) if "no weight" not in layer.skipped else ()
    nothing = (math.nan, math.nan, math.nan)
    if layer.skipped:
        return InitLayer(layer.name, shape, "skipped", *nothing, layer.skipped)
    if layer.tied_to:
        return InitLayer(layer.name, shape, "tied", *nothing, f"shares that of {layer.tied_to!r}")
    if not layer.hidden:
        return _apply_readout(layer, shape, readout, random)
    if scheme == "gaussian":
        weight = torch.randn(*shape, generator=random, dtype=torch.float64)
        _store(layer.weight, weight * (sigma_w / layer.fan_in**0.5))
        _store_bias(layer, sigma_b, random)
        return InitLayer(layer.name, shape, "gaussian", sigma_w, sigma_b, math.nan, "")
    reason = _not_delta(layer.module) if layer.is_conv else ""
    if reason:
        return InitLayer(layer.name, shape, "skipped", *nothing, reason)
    n_out, n_in = shape[:2]
    stretch = max(1.0, n_out / n_in) ** 0.5
    if layer.is_conv:
        weight = delta_orthogonal(n_out, n_in, shape[2:], generator=random)
    else:
        weight = haar(n_out, n_in, generator=random)
    _store(layer.weight, sigma_w * stretch * weight)
    _store_bias(layer, sigma_b, random)
    error = orthogonality_error(layer.weight)[1]
    remarks = []
    if stretch > 1:
        remarks.append(
            f"orthonormal columns times sqrt({n_out}/{n_in}): its own Jacobian is not unit, "
            "that from its output on is"
        )
    elif n_out < n_in:
        remarks.append("orthonormal rows: it projects")
    if layer.is_conv and PADDED in _padding(layer.module):
        remarks.append(PADDED)
    precision = torch.finfo(layer.weight.dtype).eps
    if error > 32 * precision:
        warnings.warn(
            f"layer {layer.name!r}: the stored weight misses orthogonality by {error:.2g}",
            TractableWarning,
            stacklevel=3,
        )
    done = "delta-orthogonal" if layer.is_conv else "orthogonal"
    return InitLayer(layer.name, shape, done, sigma_w, sigma_b, error, "; ".join(remarks))


def _apply_readout(
    layer: WeightLayer, shape: tuple[int, ...], readout: str, random: torch.Generator
) -> InitLayer:
    done = f"readout {readout}"
    if readout == "keep":
        return InitLayer(layer.name, shape, done, layer.sigma_w, layer.sigma_b, math.nan, "")
    scale = 1.0 if readout == "lecun" else 0.0
    weight = torch.randn(*shape, generator=random, dtype=torch.float64)
    _store(layer.weight, weight * (scale / layer.fan_in**0.5))
    if isinstance(layer.module.bias, Tensor):
        nn.init.zeros_(layer.module.bias)
    return InitLayer(layer.name, shape, done, scale, 0.0, math.nan, "no nonlinearity follows")


def _store(parameter: Tensor, value: Tensor) -> None:
    with torch.no_grad():
        parameter.copy_(value.to(parameter.device, parameter.dtype))


def _store_bias(layer: WeightLayer, sigma_b: float, random: torch.Generator) -> None:
    bias = layer.module.bias
    if isinstance(bias, Tensor):
        draw = torch.randn(*bias.shape, generator=random, dtype=torch.float64)
        _store(bias, sigma_b * draw)


def _not_delta(module: nn.Module) -> str:
    """Say why a convolution cannot be delta-orthogonal, or nothing."""
    assert isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d)
    if any(size % 2 == 0 for size in module.kernel_size):
        return f"an even kernel {tuple(module.kernel_size)} has no center"
    if any(step != 1 for step in module.stride):
        return f"with stride {tuple(module.stride)} a convolution is not orthogonal"
    if module.groups != 1:
        return f"{module.groups} groups: delta-orthogonal kernels need one"
    return ""


def _padding(module: nn.Module) -> str:
    assert isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d)
    if module.padding == "same":
        return ""
    halves = [d * (k // 2) for k, d in zip(module.kernel_size, module.dilation, strict=True)]
    padding = [0] * len(halves) if isinstance(module.padding, str) else list(module.padding)
    return "" if padding == halves else PADDED


def _fit_input(
    model: nn.Module,
    layers: list[WeightLayer],
    rows: list[InitLayer],
    inputs: tuple[Tensor, ...],
    q: float,
) -> float:
    """Scale the first layer's weight so that its pre-activations have the variance q."""
    first = next((i for i, row in enumerate(rows) if row.done not in ("skipped", "tied")), None)
    if first is None or not layers[first].hidden:
        raise ValueError("input_batch: there is no hidden layer whose input could be scaled")
    layer, seen = layers[first], []
    bias = layer.module.bias

    def look(module: nn.Module, args: Any, output: Tensor) -> None:
        seen.append(output.detach().double())

    handle = layer.module.register_forward_hook(look)
    try:
        with torch.no_grad(), mode(model, train=False), goes_through("input_batch", inputs):
            model(*(x.clone() for x in inputs))
    finally:
        handle.remove()
    if not seen:
        raise ValueError(f"input_batch: the layer {layer.name!r} is not called by the model")
    shape = (1, -1) + (1,) * (seen[0].dim() - 2) if layer.is_conv else (-1,)
    offset = bias.detach().double().reshape(shape) if isinstance(bias, Tensor) else torch.zeros(1)
    weighted = seen[0] - offset
    power, overlap = float(weighted.square().mean()), float((weighted * offset).mean())
    check_finite("input_batch: the mean square of the first pre-activations", power)
    if power == 0:
        raise ValueError("input_batch must not be zero: its scale is that of the first layer")
    missing = q - float(torch.zeros_like(weighted).add(offset).square().mean())
    if missing <= 0:
        raise ValueError(f"input_batch: the biases alone exceed q* = {q:g}")
    # The mean square of c W x + b is q: a quadratic equation for c.
    factor = ((overlap**2 + power * missing) ** 0.5 - overlap) / power
    _store(layer.weight, layer.weight.detach().double() * factor)
    row = rows[first]
    remark = f"times {factor:.4g}, so that q^1 = q* on the input batch"
    remark = "; ".join(part for part in (row.remark, remark) if part)
    rows[first] = replace(row, sigma_w=row.sigma_w * factor, remark=remark)
    return factor
