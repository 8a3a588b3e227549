"""Singular values of the input-output Jacobian of any torch model, exactly or by quadrature."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tractable.core.checks import check_choice, check_count, check_range, nearest_names
from tractable.core.progress import track
from tractable.core.seeds import derive, generator
from tractable.spectra.bidiagonal import bidiagonalize, gauss_nodes
from tractable.spectra.measured_spectrum import MeasuredSpectrum
from tractable.spectra.sample_map import (
    SampleMap,
    first_nonfinite,
    first_tensor,
    goes_through,
    measurable,
)
from tractable.train.records import mode

__all__ = ["jacobian_spectrum"]

MAX_EXACT = 4096  # smaller side up to which the exact spectrum is the default
UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


def jacobian_spectrum(
    model: Callable[..., Any],
    x: Tensor | Sequence[Tensor],
    *,
    method: str = "auto",
    probes: int = 8,
    steps: int = 32,
    chunk_size: int | None = None,
    layers: tuple[str | None, str | None] | None = None,
    memory: str | int = "2GB",
    seed: int = 0,
    progress: bool = True,
) -> MeasuredSpectrum:
    r"""Measure the singular values of :math:`J = \partial f(x) / \partial x`, sample by sample.

    Exact: J by rows, u^T J (or by columns, J v, where the input is smaller), then one singular
    value decomposition. Stochastic Lanczos quadrature (``"slq"``): k steps of Golub-Kahan
    bidiagonalization from random starts, re-orthogonalized; the singular values of the small
    bidiagonal matrix and the first entries of its vectors are the Gauss quadrature of the
    spectral measure.

    Parameters
    ----------
    model : nn.Module or callable
        Measured in eval mode; its weights, gradients and mode are left as they are.
    x : tensor, shape (samples, ...), or sequence of such tensors
        Input, one Jacobian per sample; of several inputs the first is differentiated.
        Integer input (tokens) is measured from the output of the model's only embedding.
    method : str
        ``"exact"``, ``"slq"``, or ``"auto"``: exact where the smaller side has at most 4096
        entries and J fits ``memory``.
    probes, steps : int
        Of ``"slq"``: random starts per sample, and k, the size of the bidiagonal matrix.
    chunk_size : int, optional
        Copies of a sample that run through the model at once; less takes less memory.
    layers : (str or None, str or None), optional
        Names of modules: J from the output of the first to the output of the second. None stands
        for the input and the output of the model.
    memory : str or int
        Largest size of J (exact) or of the Lanczos vectors, such as ``"2GB"`` or a number of bytes.
    seed : int
        Decides the random starts.
    progress : bool
        Show a bar on a terminal.

    Returns
    -------
    MeasuredSpectrum
        Per sample and pooled, with standard errors.

    Raises
    ------
    ValueError
        Unknown method or layer, empty batch, samples that influence one another, output that does
        not depend on x.
    TypeError
        Integer input without an embedding.
    MemoryError
        ``method="exact"`` and J is larger than ``memory``; the message holds the estimate.
    FloatingPointError
        The output is NaN or infinite; the message names the first layer where it is.

    Notes
    -----
    Cost: exact, min(n_in, n_out) products and a singular value decomposition per sample; slq,
    2 * steps * probes products. Memory of slq: (steps + 4) max(n_in, n_out) numbers per probe at
    work. With 64 steps and 16 probes the distribution function of a narrow spectrum is right to
    about 0.02; `MeasuredSpectrum.resolution` and ``cdf_error`` say how well a wide one is.

    References
    ----------
    Pennington, Schoenholz, Ganguli 2017, arXiv:1711.04735, section 2; Ubaru, Chen, Saad 2017,
    doi:10.1137/16M1104974 (quadrature).

    Examples
    --------
    >>> layer = nn.Linear(3, 3)
    >>> _ = layer.weight.data.copy_(torch.diag(torch.tensor([3.0, 2.0, 1.0])))
    >>> spectrum = jacobian_spectrum(layer, torch.ones(2, 3))
    >>> spectrum.singular_values.round(4)
    array([[3., 2., 1.],
           [3., 2., 1.]])
    >>> round(spectrum.mean, 4), round(spectrum.variance, 4)  # of s^2: 14 / 3, 98 / 9
    (4.6667, 10.8889)
    """
    check_choice("method", method, ("auto", "exact", "slq"))
    check_count("probes", probes)
    check_count("steps", steps)
    if chunk_size is not None:
        check_count("chunk_size", chunk_size)
    budget = _bytes(memory)
    inputs = _inputs(x)
    model, inputs, notes = measurable(model, inputs)
    start, stop = _ends(model, inputs, layers, notes)
    nodes, weights = [], []
    with contextlib.ExitStack() as stack:
        if isinstance(model, nn.Module):
            stack.enter_context(mode(model, train=False))
        _check_samples(model, inputs)
        n_samples = len(inputs[0])
        for index in track(range(n_samples), "Jacobians", show=progress):
            sample = SampleMap(model, [x[index : index + 1] for x in inputs], start, stop)
            size = min(sample.n_in, sample.n_out)
            needed = 8 * sample.n_in * sample.n_out
            if method == "exact" and needed > budget:
                raise MemoryError(
                    f"the exact Jacobian of {sample.n_out} x {sample.n_in} takes about "
                    f"{needed / 1e9:.3g} GB, more than memory = {budget / 1e9:.3g} GB; raise "
                    'memory, or measure with method="slq"'
                )
            exact = method == "exact" or (
                method == "auto" and size <= MAX_EXACT and needed <= budget
            )
            if exact:
                values = _exact(sample, chunk_size, budget)[None]
                share = np.full_like(values, 1 / size)
            else:
                values, share = _quadrature(
                    sample, probes, min(steps, size), chunk_size, budget, derive(seed, index)
                )
            nodes.append(values)
            weights.append(share)
    return MeasuredSpectrum(
        method="exact" if exact else "slq",
        nodes=np.stack(nodes),
        weights=np.stack(weights),
        n_in=sample.n_in,
        n_out=sample.n_out,
        notes=tuple(notes),
    )


def _exact(sample: SampleMap, chunk_size: int | None, budget: int) -> np.ndarray:
    """Return all singular values of J: by its rows, or by its columns where these are fewer."""
    by_columns = sample.n_in < sample.n_out
    size = min(sample.n_in, sample.n_out)
    product = sample.jvp if by_columns else sample.vjp
    jacobian = sample.point.new_empty(size, max(sample.n_in, sample.n_out))
    chunk = chunk_size or _chunk(sample, size, budget)
    for first in range(0, size, chunk):
        rows = torch.arange(first, min(first + chunk, size), device=sample.point.device)
        units = torch.zeros(len(rows), size, dtype=sample.point.dtype, device=rows.device)
        units[torch.arange(len(rows)), rows] = 1.0
        jacobian[rows] = product(units)
    values: np.ndarray = torch.linalg.svdvals(jacobian).double().cpu().numpy()
    return values


def _quadrature(
    sample: SampleMap, probes: int, steps: int, chunk_size: int | None, budget: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return nodes and weights of each probe, on the smaller side of J."""
    small_input = sample.n_in <= sample.n_out
    product, transposed = (sample.jvp, sample.vjp) if small_input else (sample.vjp, sample.jvp)
    size = min(sample.n_in, sample.n_out)
    vectors = (steps + 4) * max(sample.n_in, sample.n_out) * sample.point.element_size()
    chunk = chunk_size or max(1, min(probes, budget // (4 * vectors)))
    nodes, weights = [], []
    for first in range(0, probes, chunk):
        starts = sample.point.new_empty(min(chunk, probes - first), size)
        for i in range(len(starts)):  # a start depends on its number alone, not on the chunks
            random = generator(derive(seed, "probe", first + i))
            starts[i] = torch.randn(size, generator=random, dtype=starts.dtype)
        entries = bidiagonalize(product, transposed, starts, steps)
        values, share = gauss_nodes(*entries)
        nodes.append(values)
        weights.append(share)
    return np.concatenate(nodes), np.concatenate(weights)


def _chunk(sample: SampleMap, size: int, budget: int) -> int:
    """Return how many copies run at once: few enough that inputs and outputs stay small."""
    one = 32 * (sample.n_in + sample.n_out) * sample.point.element_size()
    return int(max(1, min(size, 256, budget // (4 * one))))


def _ends(
    model: Callable[..., Any],
    inputs: tuple[Tensor, ...],
    layers: tuple[str | None, str | None] | None,
    notes: list[str],
) -> tuple[nn.Module | None, nn.Module | None]:
    """Return the modules between which J is measured."""
    if layers is not None:
        if not isinstance(model, nn.Module):
            raise TypeError("layers needs an nn.Module, whose layers have names")
        if isinstance(layers, str) or len(layers) != 2:
            raise ValueError(f"layers must be two names (or None), from and to, got {layers!r}")
        known = dict(model.named_modules())
        for name in layers:
            if name is not None and name not in known:
                near = ", ".join(nearest_names(name, known)) or ", ".join(list(known)[1:6])
                raise ValueError(f"layers: the model has no layer {name!r}; nearest: {near}")
        notes.append(f"From {layers[0] or 'the input'} to {layers[1] or 'the output'}.")
        ends = [None if name is None else known[name] for name in layers]
        return ends[0], ends[1]
    if inputs[0].is_floating_point():
        return None, None
    embeddings = (
        [(n, m) for n, m in model.named_modules() if isinstance(m, nn.Embedding)]
        if isinstance(model, nn.Module)
        else []
    )
    if len(embeddings) != 1:
        raise TypeError(
            f"x must be floating-point to be differentiated, got {inputs[0].dtype}, and the model "
            f"has {len(embeddings)} embeddings to start from instead; name one: "
            "layers=(name of the embedding, None)"
        )
    notes.append(f"The input is integer: measured from the output of {embeddings[0][0]!r}.")
    return embeddings[0][1], None


def _check_samples(model: Callable[..., Any], inputs: tuple[Tensor, ...]) -> None:
    """Refuse non-finite output, and models in which samples of a batch influence one another."""
    with torch.no_grad():
        with goes_through("x", inputs):
            whole = first_tensor(model(*(x.clone() for x in inputs)))
        if whole.is_floating_point() and not bool(whole.isfinite().all()):
            where = first_nonfinite(model, inputs)
            raise FloatingPointError(f"the output is NaN or infinite, first in layer {where!r}")
        if len(inputs[0]) < 2 or not whole.dim() or len(whole) != len(inputs[0]):
            return
        alone = first_tensor(model(*(x[:1].clone() for x in inputs)))
    error = float((alone[0] - whole[0]).abs().max()) if alone.numel() else 0.0
    if error > 1e-2 * float(whole[0].abs().max()) + 1e-6:
        raise ValueError(
            f"the output of a sample changes by {error:.2g} with the rest of the batch, so a "
            "sample has no Jacobian of its own; measure one sample at a time or freeze the "
            "statistics of the batch"
        )


def _inputs(x: Tensor | Sequence[Tensor], name: str = "x") -> tuple[Tensor, ...]:
    inputs = (x,) if isinstance(x, Tensor) else tuple(x)
    if not inputs or not all(isinstance(part, Tensor) for part in inputs):
        raise TypeError(f"{name} must be a tensor or a sequence of tensors, got {type(x).__name__}")
    lengths = [len(part) if part.dim() else 0 for part in inputs]
    if len(set(lengths)) > 1 or lengths[0] == 0:
        raise ValueError(f"{name} must hold one or more samples along dimension 0, got {lengths}")
    for part in inputs:
        if part.is_meta:
            raise ValueError(f"{name} must have values, got a tensor on the meta device")
        if part.is_floating_point() and not bool(part.isfinite().all()):
            raise ValueError(f"{name} must be finite, got NaN or infinite entries")
    return tuple(part.detach() for part in inputs)


def _bytes(memory: str | int) -> int:
    if isinstance(memory, str):
        match = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*([kmgt]?)(i?)b?\s*", memory.lower())
        if match is None:
            raise ValueError(f'memory must be a size such as "2GB" or "500MB", got {memory!r}')
        unit = UNITS[match[2]]
        if match[3]:
            unit = 1024 ** (len(str(unit)) // 3)
        memory = int(float(match[1]) * unit)
    check_range("memory", memory, 1)
    return memory
