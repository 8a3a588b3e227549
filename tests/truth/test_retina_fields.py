"""Receptive fields and the model against what is known in closed form.

IDENTITY: parameter counts; the field of a network without ReLUs is the cascade of its kernels; all
channels of one backward pass are the single gradients; Stein's identity E[(u - mean) e] / s =
E[gradient]; untied layers with copied kernels are convolutions. SIMULATION with its rate: the
spike-triggered average; the noise's standard deviation.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.signal import convolve2d
from torch import nn

from tractable.vision.retina import (
    LocalConv2d,
    RetinaVVS,
    parameter_count,
    receptive_fields,
    sta,
)
from tractable.vision.retina.layers import analysis, capture


@pytest.mark.parametrize("n_bn", [1, 4, 32])
@pytest.mark.parametrize("d_vvs", range(5))
def test_parameter_counts(n_bn: int, d_vvs: int) -> None:
    sizes = [(1, 32), (32, n_bn), *((n_bn if i == 0 else 32, 32) for i in range(d_vvs))]
    expected = sum(81 * c * d + d for c, d in sizes)
    last = 32 if d_vvs else n_bn
    head = 64  # the published 1024 would draw 33 million numbers for each case: see below
    expected += 1024 * last * head + head + head * 10 + 10
    model = RetinaVVS(n_bn, d_vvs, head=(head, 10))
    assert parameter_count(model)["total"] == expected


def test_published_parameter_counts() -> None:
    counts = parameter_count(RetinaVVS(1, 2))
    assert counts == {
        "retina_1": 2624,
        "retina_2": 2593,
        "vvs_1": 2624,
        "vvs_2": 82_976,
        "fc1": 33_555_456,
        "fc2": 10_250,
        "total": 33_656_523,
    }
    assert round(counts["fc1"] / counts["total"], 4) == 0.9970


def cascade(model: RetinaVVS, size: int) -> np.ndarray:
    """Return the fields of vvs_1 at the center, from the kernels alone: correlations in a row."""
    kernels = [
        model.get_submodule(name).conv.weight.detach().double().numpy()  # type: ignore[union-attr, operator]
        for name in ("retina_1", "retina_2", "vvs_1")
    ]
    first, second, third = kernels
    found = []
    for v in range(third.shape[0]):
        whole = 0.0
        for b in range(second.shape[0]):
            for c in range(first.shape[0]):
                both = convolve2d(third[v, b], second[b, c])
                whole = whole + convolve2d(both, first[c, 0])
        field = np.zeros((size, size))
        side, center = whole.shape[0], size // 2  # type: ignore[attr-defined]
        low = center - side // 2
        field[low : low + side, low : low + side] = whole
        found.append(field)
    return np.array(found)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_without_relus_the_field_is_the_cascade_of_kernels(
    dtype: torch.dtype, tolerance: float
) -> None:
    model = RetinaVVS(2, 1, 5, 3, 4, head=(3,), in_shape=(1, 24, 24)).to(dtype)
    found = receptive_fields(model, "vvs_1", base="gray", through="linear").rf
    expected = cascade(model, 24)
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


def test_spike_triggered_average_of_a_linear_net() -> None:
    model = RetinaVVS(1, 1, 5, 3, 2, head=(3,), in_shape=(1, 24, 24))
    exact = receptive_fields(model, "vvs_1", base="gray", through="linear").rf
    noisy = sta(model, "vvs_1", n=20_000, through="linear", seed=3, batch_size=2000).rf
    for one, other in zip(exact, noisy, strict=True):
        # E corr = 1 / sqrt(1 + pixels / n) = 0.986
        assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.95


def test_spike_triggered_average_is_the_mean_gradient_at_its_rate() -> None:
    model = RetinaVVS(1, 1, 3, 4, 3, head=(3,), in_shape=(1, 10, 10)).double()
    random = torch.Generator().manual_seed(0)
    noise = 0.5 + 0.3 * torch.randn(4000, 1, 10, 10, generator=random, dtype=torch.float64)
    mean = receptive_fields(model, "vvs_1", images=noise, n_images=4000, through="post").rf
    errors = []
    for n in (1000, 16_000):
        found = sta(model, "vvs_1", n=n, std=0.3, through="post", seed=5).rf
        errors.append(np.sqrt(((found - mean) ** 2).mean()))
    assert errors[1] < 0.12 * np.abs(mean).max()
    assert 2.5 < errors[0] / errors[1] < 6.0  # 16 times the images: a quarter of the error


def one_by_one(model: nn.Module, layer: str, base: torch.Tensor) -> np.ndarray:
    of = capture(model, layer, "pre")
    found = []
    with analysis(model):
        n = of(base).shape[1]
        for c in range(n):
            x = base.clone().requires_grad_(True)
            u = of(x)
            (gradient,) = torch.autograd.grad(u[0, c, u.shape[2] // 2, u.shape[3] // 2], x)
            found.append(gradient[0, 0].double().numpy())
    return np.array(found)


def test_one_backward_pass_equals_single_ones() -> None:
    model = RetinaVVS(4, 1, 5, 8, 32, head=(3,), in_shape=(1, 16, 16))
    base = torch.rand(1, 1, 16, 16)
    found = receptive_fields(model, "vvs_1", base=base[0]).rf
    expected = one_by_one(model, "vvs_1", base)
    assert np.abs(np.nan_to_num(found) - expected).max() < 1e-6


class Halved(torch.autograd.Function):
    """An operation without a rule for batched gradients."""

    @staticmethod
    def forward(ctx, x):  # type: ignore[no-untyped-def, override]
        return x / 2

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def, override]
        return torch.from_numpy(gradient.numpy() / 2)  # no batch can pass through numpy


def test_gradients_that_cannot_be_batched_come_from_copies() -> None:
    conv = nn.Conv2d(1, 6, 5, padding=2)
    images = torch.rand(3, 1, 9, 9)
    found = receptive_fields(lambda x: Halved.apply(conv(x)).relu(), None, images=images)
    expected = receptive_fields(lambda x: (conv(x) / 2).relu(), None, images=images)
    assert np.array_equal(found.dead, expected.dead)
    assert np.nan_to_num(np.abs(found.rf - expected.rf)).max() < 1e-6
    assert found.n_dead < 6


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [3, 9])
@pytest.mark.parametrize("channels", [(3, 2), (5, 6)])  # by shifts, by patches
def test_untied_layers_with_copied_kernels_are_convolutions(
    channels: tuple[int, int], stride: int, kernel: int
) -> None:
    shared = nn.Conv2d(*channels, kernel, stride=stride, padding=kernel // 2)
    local = LocalConv2d(*channels, kernel, (12, 11), stride=stride).copy_kernel(shared)
    x = torch.rand(4, channels[0], 12, 11)
    assert (local(x) - shared(x)).abs().max() < 1e-5


@pytest.mark.parametrize("stride", [1, 2])
def test_untied_layers_are_sums_of_their_own_kernels(stride: int) -> None:
    local = LocalConv2d(2, 3, 3, (6, 5), stride=stride).double()
    x = torch.rand(2, 2, 6, 5, dtype=torch.float64)
    padded = nn.functional.pad(x, (1,) * 4)
    kernels, y = local.kernels(), local(x)
    for r in range(y.shape[2]):
        for c in range(y.shape[3]):
            patch = padded[:, :, r * stride : r * stride + 3, c * stride : c * stride + 3]
            expected = torch.einsum("bcij,ocij->bo", patch, kernels[r, c])
            assert (y[:, :, r, c] - expected).abs().max() < 1e-12


def test_untied_model_equals_the_tied_one() -> None:
    arguments = {"kernel": 5, "retina_channels": 4, "vvs_channels": 4, "head": (3,)}
    tied = RetinaVVS(1, 1, in_shape=(1, 12, 12), **arguments)  # type: ignore[arg-type]
    untied = RetinaVVS(1, 1, in_shape=(1, 12, 12), tied=False, **arguments)  # type: ignore[arg-type]
    untied.load_state_dict(
        {k: v for k, v in tied.state_dict().items() if "retina" not in k}, strict=False
    )
    for name in ("retina_1", "retina_2"):
        untied.get_submodule(name).conv.copy_kernel(tied.get_submodule(name).conv)  # type: ignore[union-attr, operator]
    x = torch.rand(5, 1, 12, 12)
    assert (untied(x) - tied(x)).abs().max() < 1e-5


def test_noise_has_its_standard_deviation_and_is_off_in_eval_mode() -> None:
    model = RetinaVVS(1, 0, 3, 4, noise_in=0.0, noise_out=0.2, head=(2,), in_shape=(1, 32, 32))
    x = torch.rand(1, 1, 32, 32).expand(200, 1, 32, 32)
    layer = model.get_submodule("retina_1")
    output = model.get_submodule("retina_2")
    with torch.no_grad():
        quiet = output.eval()(layer(x))
        assert torch.equal(quiet, output(layer(x)))
        noisy = output.train()(layer(x))
    assert float((noisy - quiet).std()) == pytest.approx(0.2, rel=0.01)  # 205,000 draws: 0.16 %
    assert float((noisy < 0).float().mean()) > 0  # added after the ReLU
    both = RetinaVVS(1, 1, 3, 4, 4, noise_in=0.5, noise_out=0.5, head=(2,), in_shape=(1, 8, 8))
    image = torch.rand(1, 1, 8, 8)
    assert not torch.equal(both(image), both(image))
    both.eval()
    assert torch.equal(both(image), both(image))


def test_the_mean_of_a_cell_adds_no_scatter_to_its_average() -> None:
    """|w x| has no field: what is left at n draws has the deviation sd(u) / (std sqrt n)."""
    n, side = 2000, 12
    w = torch.randn(20, side * side, generator=torch.Generator().manual_seed(1)).double()
    w = w - w.mean(1, keepdim=True)
    w = w / w.norm(dim=1, keepdim=True)

    def cells(x: torch.Tensor) -> torch.Tensor:
        return (x.flatten(1).double() @ w.T).abs()

    found = sta(cells, n=n, std=0.1, shape=(1, side, side), through="post", seed=2).rf
    scatter = np.sqrt((found**2).mean()) * n**0.5
    assert scatter == pytest.approx((1 - 2 / np.pi) ** 0.5, rel=0.05)
