"""Audit a model: its Jacobian spectrum measured and predicted, layer by layer, with advice."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from tractable.core.checks import check_count, check_finite, check_range
from tractable.spectra.advice import Advice, advise
from tractable.spectra.audit_layers import Block, LayerAudit, audit_layer
from tractable.spectra.chain import Chain, trace
from tractable.spectra.measure import _inputs, jacobian_spectrum
from tractable.spectra.measured_spectrum import MeasuredSpectrum
from tractable.spectra.predict import Prediction, predict
from tractable.spectra.sample_map import first_nonfinite, first_tensor, goes_through, measurable
from tractable.train.records import mode

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Audit", "audit"]

MAX_BLOCKS = 24
QUANTILES = np.array([0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0])


@dataclass(frozen=True, eq=False)
class Audit:
    """What `audit` found.

    Parameters
    ----------
    measured : MeasuredSpectrum
        Of the hidden layers of a chain, from h^1 on, so that the mean of a critical one is the
        first layer's E[phi'^2]; of the whole model otherwise (``measured.notes`` say).
    predicted : Prediction or None
        By mean field, from the scales of the weights and biases and the first layer's q.
    semi_empirical : Prediction or None
        The same with the observed phi'^2 of each layer.
    reason : str
        Why there is no prediction, or no curve; empty where there is.
    layers : tuple of LayerAudit
        Layer by layer, in the order of the calls.
    blocks : tuple of Block
        Of a model that is no chain.
    advice : tuple of Advice
        Most severe first; empty where there is nothing to mend.
    """

    measured: MeasuredSpectrum
    predicted: Prediction | None
    semi_empirical: Prediction | None
    reason: str
    layers: tuple[LayerAudit, ...]
    blocks: tuple[Block, ...]
    advice: tuple[Advice, ...]

    @property
    def healthy(self) -> bool:
        """Whether there is no advice but notes."""
        return all(item.severity == "note" for item in self.advice)

    def __str__(self) -> str:
        m = self.measured
        lines = [
            f"measured ({m.method}, {len(m)} samples, {m.n_in} -> {m.n_out}): mean eigenvalue "
            f"{m.mean:.4g}, relative variance {m.relative_variance:.4g}, largest singular value "
            f"{m.s_max.max():.4g}"
        ]
        for name, found in (("predicted", self.predicted), ("observed D", self.semi_empirical)):
            if found is not None:
                lines.append(
                    f"{name}: mean eigenvalue {found.mean:.4g}, relative variance "
                    f"{found.relative_variance:.4g}"
                )
        if self.reason:
            lines.append(f"no prediction: {self.reason}")
        lines += [f"{item.severity}: {item.sentence}" for item in self.advice]
        return "\n".join(lines)

    def json(self) -> str:
        """Return numbers, layers and advice as JSON; NaN and infinity become null."""
        quantiles = self.measured.quantile(QUANTILES)
        content = {
            "measured": {
                "method": self.measured.method,
                "samples": len(self.measured),
                "n_in": self.measured.n_in,
                "n_out": self.measured.n_out,
                "mean": self.measured.mean,
                "mean_error": self.measured.mean_error,
                "variance": self.measured.variance,
                "relative_variance": self.measured.relative_variance,
                "s_max": float(self.measured.s_max.max()),
                "quantiles": dict(zip(map(str, QUANTILES), quantiles.tolist(), strict=True)),
                "notes": list(self.measured.notes),
            },
            "predicted": None if self.predicted is None else self.predicted.summary(),
            "semi_empirical": (
                None if self.semi_empirical is None else self.semi_empirical.summary()
            ),
            "reason": self.reason,
            "layers": [asdict(layer) for layer in self.layers],
            "blocks": [asdict(block) for block in self.blocks],
            "advice": [asdict(item) for item in self.advice],
        }
        return json.dumps(_plain(content), indent=2, allow_nan=False)

    def to_dataset(self) -> xr.Dataset:
        """Return everything as one dataset; `from_dataset` reads it."""
        import xarray as xr

        parts = [self.measured.to_dataset()]
        for name in ("predicted", "semi_empirical"):
            found = getattr(self, name)
            if found is not None:
                dataset = found.to_dataset().rename({"quantile": f"{name}_quantile", "p": "p"})
                parts.append(dataset.rename({"p": f"{name}_p"}))
        merged = xr.merge(parts, combine_attrs="drop")
        attrs = {
            **self.measured.to_dataset().attrs,
            "result": "Audit",
            "reason": self.reason,
            **{
                name: json.dumps(_plain([asdict(item) for item in getattr(self, name)]))
                for name in ("layers", "blocks", "advice")
            },
            **{
                name: json.dumps(_plain(found.summary()))
                for name in ("predicted", "semi_empirical")
                if (found := getattr(self, name)) is not None
            },
        }
        for variable in merged.data_vars.values():
            variable.attrs.setdefault("units", "1")
        return merged.assign_attrs(attrs)

    @classmethod
    def from_dataset(cls, dataset: xr.Dataset) -> Audit:
        """Return the audit that `to_dataset` wrote."""
        if dataset.attrs.get("result") != "Audit":
            raise ValueError(f"dataset must hold an Audit, got {dataset.attrs.get('result')!r}")
        attrs = dataset.attrs
        spectrum = dataset[["nodes", "weights"]].assign_attrs(
            {**attrs, "result": "MeasuredSpectrum"}
        )
        predictions: list[Prediction | None] = []
        for name in ("predicted", "semi_empirical"):
            if name not in attrs:
                predictions.append(None)
                continue
            has_curve = f"{name}_quantile" in dataset
            predictions.append(
                Prediction(
                    **_numbers(json.loads(attrs[name])),
                    p=dataset[f"{name}_p"].values if has_curve else np.zeros(0),
                    quantile=dataset[f"{name}_quantile"].values if has_curve else np.zeros(0),
                )
            )
        return cls(
            measured=MeasuredSpectrum.from_dataset(spectrum),
            predicted=predictions[0],
            semi_empirical=predictions[1],
            reason=str(attrs["reason"]),
            layers=tuple(LayerAudit(**_numbers(row)) for row in json.loads(attrs["layers"])),
            blocks=tuple(Block(**_numbers(row)) for row in json.loads(attrs["blocks"])),
            advice=tuple(Advice(**row) for row in json.loads(attrs["advice"])),
        )


def audit(
    model: nn.Module,
    batch: Tensor | Sequence[Tensor],
    *,
    per_layer: bool = True,
    target: float | None = None,
    n_samples: int = 4,
    method: str = "auto",
    probes: int = 8,
    steps: int = 32,
    memory: str | int = "2GB",
    seed: int = 0,
    progress: bool = True,
) -> Audit:
    r"""Say how well signals and gradients pass through a model, why, and what to change.

    A chain of layers h = W phi(h) + b is recognized by its values, whether the nonlinearities are
    modules or functions. Its Jacobian is measured over the hidden layers, from the first
    pre-activations h^1 (the first weight's scale is that of the input) to what the readout gets,
    and predicted by mean field and free probability.
    Of any other model the whole and each block are measured, and the reason is said.

    Parameters
    ----------
    model : nn.Module
        Measured in eval mode and left as it is.
    batch : tensor, shape (samples, ...), or sequence of tensors
        Typical inputs; layers are judged on all of them.
    per_layer : bool
        False leaves out the table of layers and the blocks' spectra; the advice still knows them.
    target : float, optional
        Largest relative variance :math:`\sigma^2_{JJ^T} / m_1^2` to accept; by default 1.
    n_samples : int
        Samples of the batch whose Jacobian is measured.
    method, probes, steps, memory, seed, progress
        As for `jacobian_spectrum`.

    Returns
    -------
    Audit
        Measured, predicted, layers, blocks, advice.

    Raises
    ------
    FloatingPointError
        The output is NaN or infinite; the message names the first layer where it is.
    TypeError, ValueError
        As for `jacobian_spectrum`.

    Notes
    -----
    The mean over J J^T is set by the product of the layers' chi, its relative variance by the sum
    of their v = E[phi'^4] / E[phi'^2]^2 - 1 and of the relative variances r of the eigenvalues of
    W W^T: 0 for orthogonal weights, 1 for square Gaussian ones.

    References
    ----------
    Pennington, Schoenholz, Ganguli 2017, arXiv:1711.04735; Schoenholz, Gilmer, Ganguli,
    Sohl-Dickstein 2017, arXiv:1611.01232 (trainable depth).

    Examples
    --------
    >>> layers = [m for _ in range(20) for m in (nn.Linear(50, 50), nn.ReLU())]
    >>> found = audit(nn.Sequential(*layers), torch.randn(16, 50))
    >>> [item.code for item in found.advice if item.severity == "problem"]
    ['gradients-vanish', 'variance', 'too-deep']
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be an nn.Module, got {type(model).__name__}")
    check_count("n_samples", n_samples)
    if target is not None:
        check_finite("target", target)
        check_range("target", target, 0, open_low=True)
    inputs = _inputs(batch, "batch")
    model, inputs, _ = measurable(model, inputs)
    settings = {"method": method, "probes": probes, "steps": steps, "memory": memory}
    few = tuple(x[:n_samples] for x in inputs)
    with mode(model, train=False):
        _refuse_nonfinite(model, inputs)
        chain = trace(model, inputs)
        spectrum = _measure_chain if _predictable(chain) else _measure_whole
        measured = spectrum(model, chain, few, {**settings, "seed": seed, "progress": progress})
        layers = tuple(audit_layer(call) for call in chain.layers)
        blocks: tuple[Block, ...] = ()
        if not _predictable(chain):
            blocks = tuple(_blocks(model, few, {**settings, "seed": seed}))
    predicted = semi = None
    reason = chain.reason
    if _predictable(chain):
        predicted, semi, reason = predict(chain, layers)
    advice = advise(chain, layers, measured, semi, blocks, target=1.0 if target is None else target)
    if not per_layer:
        layers, blocks = (), ()
    return Audit(measured, predicted, semi, reason, layers, blocks, tuple(advice))


def _predictable(chain: Chain) -> bool:
    return not chain.reason and len(chain.hidden) > 0


def _refuse_nonfinite(model: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    with torch.no_grad(), goes_through("batch", inputs):
        output = first_tensor(model(*(x.clone() for x in inputs)))
    if output.is_floating_point() and not bool(output.isfinite().all()):
        where = first_nonfinite(model, inputs)
        raise FloatingPointError(f"the output is NaN or infinite, first in layer {where!r}")


def _measure_whole(
    model: nn.Module, chain: Chain, inputs: tuple[Tensor, ...], settings: dict[str, Any]
) -> MeasuredSpectrum:
    return jacobian_spectrum(model, inputs, **settings)


def _measure_chain(
    model: nn.Module, chain: Chain, inputs: tuple[Tensor, ...], settings: dict[str, Any]
) -> MeasuredSpectrum:
    """Measure the hidden layers: from h^1, whose scale is the input's, to the readout's input."""
    start = chain.layers[0].layer.name
    if not chain.readout:
        return jacobian_spectrum(model, inputs, layers=(start, None), **settings)
    # The readout is replaced by what it gets, for the time of the measurement.
    readout = chain.layers[-1].layer.module

    def give_back(module: nn.Module, args: Any, output: Any) -> Any:
        return args[0]

    with contextlib.ExitStack() as stack:
        stack.callback(readout.register_forward_hook(give_back).remove)
        name = chain.layers[-1].layer.name
        return jacobian_spectrum(model, inputs, layers=(start, name), **settings)


def _blocks(model: nn.Module, inputs: tuple[Tensor, ...], settings: dict[str, Any]) -> list[Block]:
    """Measure each block by itself, on what it gets when the model runs."""
    found = []
    for name, module in _candidates(model)[:MAX_BLOCKS]:
        seen: list[Tensor] = []

        def look(module: nn.Module, args: Any, seen: list[Tensor] = seen) -> None:
            if len(args) == 1 and isinstance(args[0], Tensor) and args[0].is_floating_point():
                seen.append(args[0].detach().clone())

        handle = module.register_forward_pre_hook(look)
        try:
            with torch.enable_grad():
                model(*(x.clone() for x in inputs))
        finally:
            handle.remove()
        if not seen:
            continue
        try:
            spectrum = jacobian_spectrum(
                module, seen[0][:2], **{**settings, "probes": 4, "steps": 24}, progress=False
            )
        except (ValueError, TypeError, RuntimeError):
            continue  # a block that is not a function of one tensor is seen in the whole only
        found.append(
            Block(
                name,
                type(module).__name__,
                spectrum.n_in,
                spectrum.n_out,
                spectrum.mean,
                spectrum.relative_variance,
                float(spectrum.s_max.max()),
            )
        )
    return found


def _candidates(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return the blocks: children, with containers opened, that have parameters."""
    found: list[tuple[str, nn.Module]] = []

    def open_up(prefix: str, module: nn.Module, depth: int) -> None:
        for name, child in module.named_children():
            full = f"{prefix}{name}"
            container = isinstance(child, nn.Sequential | nn.ModuleList | nn.ModuleDict)
            if container and depth < 3 and len(list(child.children())) > 0:
                open_up(f"{full}.", child, depth + 1)
            elif any(True for _ in child.parameters()) and not isinstance(child, nn.Embedding):
                found.append((full, child))

    open_up("", model, 0)
    return found


def _plain(value: Any) -> Any:
    """Return what JSON can hold."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def _numbers(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of JSON with None as NaN."""
    return {key: math.nan if value is None else value for key, value in row.items()}
