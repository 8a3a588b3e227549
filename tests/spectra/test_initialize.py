"""Initialization of all kinds of layers, and what is left alone."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from tractable.core.checks import TractableWarning
from tractable.spectra import (
    InitReport,
    Nonlinearity,
    critical_line,
    delta_orthogonal,
    haar,
    init_,
)
from tractable.spectra.orthogonal import orthogonality_error
from tractable.spectra.weight_layers import activation_of, weight_layers


def mlp(sizes: list[int], activation: type[nn.Module] = nn.Tanh) -> nn.Sequential:
    layers: list[nn.Module] = []
    for n_in, n_out in itertools.pairwise(sizes[:-1]):
        layers += [nn.Linear(n_in, n_out), activation()]
    return nn.Sequential(*layers, nn.Linear(sizes[-2], sizes[-1]))


def test_square_tall_wide_and_readout() -> None:
    net = mlp([30, 60, 60, 20, 5])
    report = init_(net, target_q=0.1)
    sigma_w = float(critical_line("tanh", [0.1]).sigma_w[0])
    tall, square, wide, readout = (m for m in net if isinstance(m, nn.Linear))
    gram = tall.weight.detach().T @ tall.weight.detach()
    torch.testing.assert_close(gram, sigma_w**2 * 2 * torch.eye(30), atol=1e-5, rtol=0)
    for layer in (square, wide):
        gram = layer.weight.detach() @ layer.weight.detach().T
        torch.testing.assert_close(gram, sigma_w**2 * torch.eye(len(gram)), atol=1e-5, rtol=0)
    assert float(readout.weight.detach().std()) == pytest.approx(20**-0.5, rel=0.3)
    assert float(readout.bias.detach().abs().max()) == 0.0
    assert [layer.done for layer in report.layers] == ["orthogonal"] * 3 + ["readout lecun"]
    assert "sqrt(60/30)" in report.layers[0].remark
    assert report.depth == 3
    assert report.skipped == ()


def test_the_variance_of_the_preactivations_is_that_of_the_theory() -> None:
    # SIMULATION: q^l stays q* through tall, square and wide layers
    net = mlp([300, 600, 600, 400, 5])
    report = init_(net, target_q=0.3)
    x = torch.tanh(0.3**0.5 * torch.randn(64, 300))
    for layer in list(net)[:-1]:
        x = layer(x)
        if isinstance(layer, nn.Linear):
            assert float(x.detach().square().mean()) == pytest.approx(report.q_star, rel=0.12)


def test_gaussian_weights_and_biases_have_their_scales() -> None:
    net = mlp([200, 300, 300, 300, 5])
    report = init_(net, "gaussian", target_q=0.3)
    weights = net[2].weight
    assert float(weights.detach().std()) == pytest.approx(report.sigma_w / 300**0.5, rel=0.02)
    biases = torch.cat([net[0].bias, net[2].bias, net[4].bias])
    assert float(biases.detach().std()) == pytest.approx(report.sigma_b, rel=0.1)
    assert report.variance == pytest.approx(3 * (1 + critical_line("tanh", [0.3]).v[0]))
    with pytest.raises(ValueError, match=r"cannot have sigma_JJ2 = 0\.25"):
        init_(net, "gaussian")


@pytest.mark.parametrize("readout", ["zero", "keep"])
def test_the_readout_as_asked(readout: str) -> None:
    net = mlp([8, 8, 3])
    before = net[-1].weight.detach().clone()
    init_(net, readout=readout)
    expected = torch.zeros_like(before) if readout == "zero" else before
    assert torch.equal(net[-1].weight, expected)


def test_the_input_batch_sets_the_first_layer() -> None:
    net, x = mlp([20, 50, 50, 3]), 3 * torch.randn(100, 20)
    report = init_(net, target_q=0.05, input_batch=x)
    assert float(net[0](x).detach().square().mean()) == pytest.approx(0.05, rel=1e-4)
    assert report.input_scale != 1
    assert "q^1 = q*" in report.layers[0].remark
    with pytest.raises(ValueError, match="input_batch must not be zero"):
        init_(net, input_batch=torch.zeros(5, 20))


def test_convolutions_in_one_two_and_three_dimensions() -> None:
    for kind, kernel in ((nn.Conv1d, (3,)), (nn.Conv2d, (3, 5)), (nn.Conv3d, (3, 3, 3))):
        conv = kind(4, 6, kernel, padding=tuple(k // 2 for k in kernel))
        report = init_(nn.Sequential(conv, nn.Tanh()), target_q=0.1)
        assert report.layers[0].done == "delta-orthogonal"
        scale, error = orthogonality_error(conv.weight)
        assert error < 1e-6
        assert scale == pytest.approx(report.sigma_w * (6 / 4) ** 0.5, rel=1e-6)


@pytest.mark.parametrize(
    ("conv", "reason"),
    [
        (nn.Conv2d(4, 4, 2), "even kernel"),
        (nn.Conv2d(4, 4, 3, stride=2), "stride"),
        (nn.Conv2d(4, 4, 3, groups=2), "2 groups"),
        (nn.ConvTranspose2d(4, 4, 3), "transposed"),
        (nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 4, 3)), "parametrization"),
    ],
)
def test_what_cannot_be_isometric_is_left_alone_with_a_warning(conv, reason) -> None:
    before = conv.weight.detach().clone()
    with pytest.warns(TractableWarning, match=f"left alone: .*{reason}"):
        report = init_(nn.Sequential(conv, nn.Tanh()), target_q=0.1)
    assert torch.equal(conv.weight, before)
    assert reason in report.skipped[0].remark


def test_norms_embeddings_and_attention_are_untouched() -> None:
    net = nn.Sequential(
        nn.Embedding(5, 8), nn.Linear(8, 8), nn.LayerNorm(8), nn.Tanh(), nn.Linear(8, 2)
    )
    attention = nn.MultiheadAttention(8, 2)
    net.append(attention)
    kept = {
        name: value.clone()
        for name, value in net.state_dict().items()
        if not name.startswith(("1.", "4."))
    }
    init_(net)
    for name, value in kept.items():
        assert torch.equal(net.state_dict()[name], value), name


def test_tied_weights_are_initialized_once() -> None:
    first, second = nn.Linear(6, 6), nn.Linear(6, 6)
    second.weight = first.weight
    net = nn.Sequential(first, nn.Tanh(), second, nn.Tanh(), first, nn.Tanh())
    report = init_(net)
    assert [layer.done for layer in report.layers] == ["orthogonal", "tied"]
    assert report.layers[1].remark == "shares that of '0'"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_precisions(dtype: torch.dtype) -> None:
    net = nn.Sequential(nn.Linear(16, 16), nn.Tanh()).to(dtype)
    report = init_(net, target_q=0.1)
    assert net[0].weight.dtype == dtype
    assert report.layers[0].ortho_error < 32 * torch.finfo(dtype).eps


def test_a_seed_decides_the_weights_whatever_the_state() -> None:
    nets = [mlp([6, 7, 7, 2]) for _ in range(3)]
    for net, seed in zip(nets, (3, 3, 4), strict=True):
        torch.randn(seed)
        init_(net, seed=seed)
    assert torch.equal(nets[0][0].weight, nets[1][0].weight)
    assert not torch.equal(nets[0][0].weight, nets[2][0].weight)


def test_functional_nonlinearities_are_named() -> None:
    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(9, 9) for _ in range(4))

        def forward(self, x):
            for layer in self.layers[:-1]:
                x = torch.tanh(layer(x))
            return self.layers[-1](x)

    with pytest.raises(ValueError, match='name it, such as nonlinearity="tanh"'):
        init_(Plain())
    report = init_(Plain(), nonlinearity="tanh")
    assert report.depth == 3
    assert report.layers[-1].done == "readout lecun"


def test_a_module_used_again_after_every_layer() -> None:
    act = nn.Tanh()
    net = nn.Sequential(nn.Linear(9, 9), act, nn.Linear(9, 9), act, nn.Linear(9, 3))
    assert init_(net).depth == 2


def test_linear_networks_are_exactly_isometric() -> None:
    net = nn.Sequential(nn.Linear(9, 9), nn.Linear(9, 9), nn.Linear(9, 9))
    report = init_(net, nonlinearity="linear", readout="keep")
    assert report.sigma_w == pytest.approx(1.0)
    assert report.variance == 0.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"target_q": 0.1, "target_variance": 0.2}, "one of target_q and target_variance"),
        ({"target_q": 0.0}, "target_q must be > 0, got 0"),
        ({"target_q": math.nan}, "target_q must be finite"),
        ({"target_variance": -1.0}, "sigma_JJ2 must be > 0, got -1"),
        ({"scheme": "orthogonl"}, "did you mean 'orthogonal'"),
        ({"readout": "none"}, "readout must be one of"),
        ({"nonlinearity": "tanhh"}, "did you mean 'tanh'"),
    ],
)
def test_settings_are_checked(settings, message) -> None:
    with pytest.raises(ValueError, match=message):
        init_(mlp([4, 4, 2]), **settings)


def test_models_without_a_place_for_it() -> None:
    with pytest.raises(ValueError, match="no Linear or Conv layer"):
        init_(nn.LayerNorm(3))
    mixed = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3), nn.ReLU())
    with pytest.raises(ValueError, match=r"several nonlinearities \(tanh, relu\)"):
        init_(mixed)


def test_the_report_comes_back_from_a_dataset() -> None:
    report = init_(mlp([5, 6, 6, 2]))
    again = InitReport.from_dataset(report.to_dataset())
    assert str(again) == str(report)
    assert again.layers[0].shape == (6, 5)
    assert "sigma_w^2" in str(report)
    with pytest.raises(ValueError, match="must hold an InitReport"):
        InitReport.from_dataset(report.to_dataset().assign_attrs(result="other"))


def test_haar_matrices_have_the_moments_of_the_haar_measure() -> None:
    # IDENTITY: E O_ij = 0, E O_ij^2 = 1/n, E O_11^4 = 3 / (n (n + 2)); and no preferred sign
    random = torch.Generator().manual_seed(0)
    draws = torch.stack([haar(4, 4, generator=random) for _ in range(4000)])
    assert float(draws.mean(0).abs().max()) < 0.04
    assert float((draws.square().mean(0) - 0.25).abs().max()) < 0.02
    assert float(draws[:, 0, 0].pow(4).mean()) == pytest.approx(3 / 24, rel=0.1)
    with pytest.raises(ValueError, match="rows must be >= 1, got 0"):
        haar(0, 3)
    with pytest.raises(ValueError, match="kernel_size must be odd"):
        delta_orthogonal(2, 2, (4,))


@pytest.mark.parametrize(
    "module",
    [
        *(nn.Tanh(), nn.ReLU(inplace=True), nn.LeakyReLU(0.3), nn.Hardtanh(), nn.ELU(0.7)),
        *(nn.GELU(), nn.GELU("tanh"), nn.SiLU(), nn.Softplus(), nn.Sigmoid(), nn.SELU()),
        *(nn.Hardtanh(-2, 2), nn.PReLU(), nn.Mish(), nn.Softsign(), nn.ReLU6()),
    ],
)
def test_activations_are_read_from_modules(module: nn.Module) -> None:
    # INDEPENDENT: the module itself and its automatic derivative
    phi = activation_of(module)
    x = torch.linspace(-2.9, 2.9, 50, dtype=torch.float64).requires_grad_()
    y = module.double()(x.clone())
    (slope,) = torch.autograd.grad(y.sum(), x)
    np.testing.assert_allclose(phi(x.detach().numpy()), y.detach().numpy(), atol=1e-6)
    np.testing.assert_allclose(phi.deriv(x.detach().numpy()), slope.numpy(), atol=1e-6)
    assert isinstance(phi, Nonlinearity)


def test_layers_are_read_in_order() -> None:
    layers = weight_layers(mlp([3, 4, 5, 2]))
    assert [layer.hidden for layer in layers] == [True, True, False]
    assert [layer.fan_in for layer in layers] == [3, 4, 5]
