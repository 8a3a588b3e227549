"""Kernels, Jacobians over time and training of `meet-convrnn-spectra`."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray as xr

from tractable.core.checks import quiet
from tractable.core.seeds import derive, generator
from tractable.spectra import JacobianSpectrum, delta_orthogonal
from tractable.studies.vision import _convrnn_parts as recall
from tractable.vision.convrnn import ConvRNN, ConvRNNSpec, Node
from tractable.vision.convrnn.recall import movie_batches
from tractable.vision.convrnn.training import predictions, train

if TYPE_CHECKING:
    from tractable.studies.meet.meet_convrnn_spectra import MeetConvrnnSpectra

SIDE = 4  # of the cell's maps
TAPS = 3
VARIANT = "C"
TORCH_VARIANCE = 1 / 3  # of torch's uniform kernels, times the number of inputs
ONE = {"units": "1"}


# --- theory ----------------------------------------------------------------------------------


@functools.lru_cache(maxsize=256)
def point(kernel: str, q_star: float) -> JacobianSpectrum:
    """Return one layer at the point at which a cell with such a kernel starts."""
    with quiet():  # q* repels at small q: the cells here start at it
        critical = JacobianSpectrum("elu", 1, "orthogonal", q=q_star)
        if kernel != "torch default":
            return critical
        sigma_w = math.sqrt(TORCH_VARIANCE)
        return JacobianSpectrum("elu", 1, "gaussian", sigma_w=sigma_w, sigma_b=critical.sigma_b)


@functools.lru_cache(maxsize=64)  # with the table of its distribution
def law(kernel: str, q_star: float, depth: int) -> JacobianSpectrum:
    """Return the theory of a deep network with the matrices of a centered kernel."""
    ensemble = "orthogonal" if kernel == "delta-orthogonal" else "gaussian"
    with quiet():
        return JacobianSpectrum("elu", depth, ensemble, q=q_star)


@functools.lru_cache(maxsize=256)
def quantiles(kernel: str, q_star: float, depth: int, n: int) -> np.ndarray:
    """Return n equally spaced quantiles of the singular values."""
    return law(kernel, q_star, depth).quantile((np.arange(n) + 0.5) / n) ** 0.5


def survival(steps: int, side: int = SIDE, taps: int = TAPS) -> float:
    r"""Return the share of walks that stay on a square map, all starts and all moves alike.

    A kernel with equal variance on its taps moves the square of a signal like such a walk, and
    what leaves the map is lost to the padding:
    :math:`\big(\tfrac1n \mathbf 1^T A^T \mathbf 1\big)^2`, A the n x n band of 1/k.

    Examples
    --------
    >>> round(survival(1), 4), survival(3, taps=1)  # (10/12)^2, and a kernel of one tap
    (0.6944, 1.0)
    """
    near = np.abs(np.subtract.outer(np.arange(side), np.arange(side))) <= taps // 2
    one_way = np.linalg.matrix_power(near / taps, steps).sum() / side
    return float(one_way**2)


def mean_square(kernel: str, q_star: float, steps: int) -> float:
    """Return the predicted mean squared singular value of the Jacobian over some steps."""
    centered = kernel in ("delta-orthogonal", "centered Gaussian")
    return float(point(kernel, q_star).chi) ** steps * (1.0 if centered else survival(steps))


def task_steps() -> int:
    """Return the steps from the first digit to the readout."""
    return recall.tasks()[VARIANT].n_frames - 1


def order_bound(share: np.ndarray) -> float:
    """Return the best accuracy without memory for the order of frames."""
    return float(recall.tasks()[VARIANT].bound(share))  # type: ignore[union-attr]  # one with an order


def distances(theory: xr.Dataset, measured: xr.Dataset) -> xr.DataArray:
    """Return the Kolmogorov-Smirnov distances of centered kernels to their laws."""
    p = theory.p.values
    out = np.zeros((theory.sizes["law"], theory.sizes["steps"]))
    for i, kernel in enumerate(theory.law.values):
        for j, t in enumerate(theory.steps.values):
            sample = np.sort(measured.s.sel(kernel=kernel, steps=t).values, None)
            quantile = theory.s.sel(law=kernel, steps=t).values
            # An atom of the law is a jump that the sample shares.
            above = np.searchsorted(sample, quantile * (1 + 1e-9), side="right") / len(sample)
            below = np.searchsorted(sample, quantile * (1 - 1e-9), side="left") / len(sample)
            out[i, j] = max(float(np.maximum(p - above, below - p).max()), 0.0)
    coords = {"law": theory.law.values, "steps": theory.steps.values}
    return xr.DataArray(out, dims=("law", "steps"), coords=coords)


# --- kernels ---------------------------------------------------------------------------------


def draw_kernel(
    kernel: str, channels: int, sigma_w: float, random: torch.Generator
) -> torch.Tensor:
    """Return recurrent filters (C, C, 3, 3) that multiply a signal's variance by sigma_w^2.

    Torch's own have a third of it, whatever sigma_w is.
    """
    shape = (channels, channels, TAPS, TAPS)
    if kernel == "torch default":
        widest = 1 / math.sqrt(channels * TAPS**2)
        return (2 * torch.rand(shape, generator=random, dtype=torch.float64) - 1) * widest
    if kernel == "delta-orthogonal":
        return sigma_w * delta_orthogonal(channels, channels, (TAPS, TAPS), generator=random)
    entries = torch.randn(shape, generator=random, dtype=torch.float64) * sigma_w
    if kernel == "Gaussian":
        return entries / math.sqrt(channels * TAPS**2)
    centered = torch.zeros(shape, dtype=torch.float64)
    centered[:, :, TAPS // 2, TAPS // 2] = entries[:, :, 0, 0] / math.sqrt(channels)
    return centered


def singular_values(
    kernel: str, channels: int, q_star: float, steps: tuple[int, ...], seed: int
) -> xr.Dataset:
    """Return the singular values of a cell's Jacobian after each number of steps.

    The cell's input is held fixed and stands for the biases; the first state is drawn at q*.
    """
    at, random = point(kernel, q_star), generator(seed)
    node = Node("v", channels, op="none", activation="identity", cell="vanilla",
                cell_args={"norm": False})  # fmt: skip
    net = ConvRNN(ConvRNNSpec.chain([node], n_classes=2), in_shape=(channels, SIDE, SIDE)).double()
    cell: Any = net.layers["v"].cell
    with torch.no_grad():
        cell.recurrent.weight.copy_(draw_kernel(kernel, channels, float(at.sigma_w), random))
        cell.input.weight.zero_()
        cell.input.weight[:, :, TAPS // 2, TAPS // 2] = torch.eye(channels)
        cell.input.bias.zero_()
        cell.recurrent.bias.zero_()
    normal = torch.randn(2, 1, channels, SIDE, SIDE, generator=random, dtype=torch.float64)
    drive = normal[0] * float(at.sigma_b)
    state = torch.nn.functional.elu(normal[1] * math.sqrt(float(at.q)))
    step = net.step_map("v", drive)
    total, found = torch.eye(step.n, dtype=torch.float64), []
    for t in range(1, max(steps) + 1):
        total = net.jacobian("v", (state,), drive).detach() @ total
        with torch.no_grad():
            state = step.states(step(step.flat((state,))))[0]
        if t in steps:
            found.append(torch.linalg.svdvals(total).numpy())
    return xr.Dataset({"s": (("steps", "unit"), np.array(found), ONE)})


# --- training --------------------------------------------------------------------------------


def start(kernel: str, width: int, q_star: float, seed: int) -> ConvRNN:
    """Return the recall network of a plain cell without norm, its recurrent filters drawn anew."""
    nodes = [Node("v1", 16, 3, pool=2),
             Node("v2", width, 3, cell="vanilla", cell_args={"norm": False})]  # fmt: skip
    net = recall.network(ConvRNNSpec.chain(nodes, n_classes=10), seed)
    cell: Any = net.layers["v2"].cell
    sigma_w = float(point(kernel, q_star).sigma_w)
    drawn = draw_kernel(kernel, width, sigma_w, generator(derive(seed, "kernel")))
    with torch.no_grad():
        cell.recurrent.weight.copy_(drawn)
        cell.recurrent.bias.zero_()
    return net


@functools.cache
def _digits(n_test: int) -> tuple[torch.Tensor, ...]:
    return recall.digits(n_test)


def train_kernel(
    kernel: str,
    width: int,
    q_star: float,
    updates: int,
    batch_size: int,
    learning_rate: float,
    n_test: int,
    seed: int,
    device: str,
) -> xr.Dataset:
    """Train one network; return test accuracy and the course of the loss."""
    images, labels, test_images, test_labels = _digits(n_test)
    task = recall.tasks()[VARIANT]
    net = start(kernel, width, q_star, seed)
    result = train(
        net,
        movie_batches(task, images, labels, batch_size=batch_size, seed=seed),
        steps=updates,
        learning_rate=learning_rate,
        seed=seed,
        device=device,
        progress=False,
    )
    found = predictions(net, recall.movies_of(task, test_images, seed)).argmax(1)
    # Means of up to twenty stretches of equal length.
    length = max(1, updates // 20)
    whole = len(result.losses) // length * length
    loss = np.asarray(result.losses)[:whole].reshape(-1, length).mean(1)
    return xr.Dataset(
        {
            "accuracy": ((), float((found == test_labels).double().mean()), ONE),
            "loss": ("update", loss, {"units": "nat"}),
            "class_share": ("digit", recall.shares(labels, test_labels), ONE),
        },
        coords={"update": length * (np.arange(len(loss)) + 0.5)},
    )


def training_cost_of(study: MeetConvrnnSpectra) -> tuple[float, float, float]:
    """Return operations, bytes and seconds of one training run."""
    task = recall.tasks()[VARIANT]
    images, labels = _digits(study.n_test)[:2]
    batches = movie_batches(task, images, labels, batch_size=study.batch_size, seed=0)
    net = start("Gaussian", study.width, study.q_star, 0)
    return recall.training_cost(net, next(batches(0)), study.updates)
