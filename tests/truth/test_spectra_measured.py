"""Measured Jacobians and initialization against theory.

Witnesses: SIMULATION of finite networks against closed forms (variance L v, sums over layers),
INDEPENDENT measurements of the same spectrum (exact against stochastic), IDENTITY of the operator
of a delta-orthogonal convolution.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tractable.core.checks import TractableWarning
from tractable.core.memory import peak_memory
from tractable.core.seeds import seeded
from tractable.spectra import (
    audit,
    critical_line,
    init_,
    jacobian_spectrum,
    operator_singular_values,
)


def tanh_net(depth: int, width: int, activation=nn.Tanh) -> nn.Sequential:
    return nn.Sequential(
        *[m for _ in range(depth) for m in (nn.Linear(width, width), activation())]
    )


@pytest.fixture(scope="module")
def isometric() -> tuple[nn.Sequential, torch.Tensor]:
    """The network of the 2017 paper, smaller: L = 16, N = 400, sigma_w^2 = 1.05."""
    with seeded(0):
        net = tanh_net(16, 400)
        init_(net, target_q=0.02592094821)
        return net, torch.tanh(0.02592094821**0.5 * torch.randn(1, 400))


def test_init_reaches_the_target_variance() -> None:
    # SIMULATION: sigma_JJ^2 = L v(q*) = 0.25 at N = 512; the mean of one input has a s.d. of .06
    with seeded(1):
        net = tanh_net(48, 512)
        report = init_(net, target_variance=0.25, seed=0)
        x = torch.tanh(report.q_star**0.5 * torch.randn(8, 512))
        found = jacobian_spectrum(net, x)
    assert 0.22 <= found.variance <= 0.28
    assert abs(found.mean - 1) <= 0.05
    assert max(layer.ortho_error for layer in report.layers) <= 3e-6
    biases = torch.cat([m.bias for m in net if isinstance(m, nn.Linear)])
    assert float(biases.detach().std()) == pytest.approx(report.sigma_b, rel=0.1)
    assert report.variance == pytest.approx(0.25, rel=1e-9)


def test_inputs_of_another_scale_are_named() -> None:
    # SIMULATION: 24 layers set for .25 are far from it at unit-normal inputs
    with seeded(0):
        net, x = tanh_net(24, 256), torch.randn(16, 256)
        report = init_(net, target_variance=0.25)
        found = audit(net, x)
    assert found.measured.mean < 0.3
    codes = {item.code: item for item in found.advice}
    assert codes["input-scale"].numbers["q_first"] == pytest.approx(1.1, abs=0.15)
    assert codes["input-scale"].numbers["q_star"] == pytest.approx(report.q_star, rel=0.2)


def test_relu_cannot_and_gelu_warns() -> None:
    with pytest.raises(ValueError, match="minimum 48"):
        init_(tanh_net(48, 32, nn.ReLU), target_variance=0.25)
    with pytest.warns(TractableWarning, match="unstable"):
        init_(tanh_net(48, 32, nn.GELU))
    with pytest.raises(ValueError, match="no critical point"):
        init_(tanh_net(4, 32, nn.Softplus))


def test_a_delta_orthogonal_convolution_is_an_isometry() -> None:
    # IDENTITY: every singular value of the operator is sigma_w; by Fourier and by the Jacobian
    q = 0.1
    sigma_w = float(critical_line("tanh", [q]).sigma_w[0])
    conv = nn.Conv2d(8, 8, 3, padding=1, padding_mode="circular")
    init_(nn.Sequential(conv, nn.Tanh()), "delta_orthogonal", target_q=q)
    by_fourier = operator_singular_values(conv.weight, (8, 8)).numpy()
    by_jacobian = jacobian_spectrum(conv, torch.randn(1, 8, 8, 8)).singular_values[0]
    np.testing.assert_allclose(by_fourier, sigma_w, atol=1e-5)
    np.testing.assert_allclose(by_jacobian, sigma_w, atol=1e-5)


@pytest.mark.parametrize("channels", [8, 16, 32])
def test_orthogonal_of_torch_is_no_isometry_on_convolutions(channels: int) -> None:
    # INDEPENDENT: Fourier modes against the Jacobian of the layer itself
    conv = nn.Conv2d(8, channels, 3, padding=1, padding_mode="circular")
    nn.init.orthogonal_(conv.weight)
    values = operator_singular_values(conv.weight, (8, 8)).numpy()
    assert values[0] / values[-1] > 1.5
    direct = jacobian_spectrum(conv, torch.randn(1, 8, 8, 8)).singular_values[0]
    np.testing.assert_allclose(np.sort(values), np.sort(direct), atol=1e-5)


def test_quadrature_finds_the_spectrum(isometric) -> None:
    # INDEPENDENT: stochastic against exact measurement, (64, 16), median of 5 repeats
    net, x = isometric
    exact = jacobian_spectrum(net, x)
    lam = np.sort(exact.singular_values[0] ** 2)
    errors = []
    for seed in range(5):
        found = jacobian_spectrum(net, x, method="slq", probes=16, steps=64, seed=seed)
        errors.append(np.abs(found.cdf(lam) - exact.cdf(lam)).max())
    assert max(errors) <= 0.05
    assert np.median(errors) <= 0.03


def test_quadrature_finds_the_largest_value_and_the_mean(isometric) -> None:
    net, x = isometric
    exact = jacobian_spectrum(net, x)
    found = jacobian_spectrum(net, x, method="slq", probes=32, steps=32)
    assert found.s_max[0] ** 2 == pytest.approx(exact.s_max[0] ** 2, rel=1e-4)
    assert abs(found.mean - exact.mean) <= 4 * found.mean_error


def test_quadrature_of_a_million_inputs_fits() -> None:
    # BOUND: (k + 4) n float32 and a half more, besides the model's own
    n, steps = 1_000_000, 32
    scale = torch.linspace(0.5, 2.0, n)
    jacobian_spectrum(lambda x: 2 * x, torch.zeros(1, 9), method="slq", steps=3)  # imports
    before = peak_memory(reset=True)
    found = jacobian_spectrum(
        lambda x: x * scale, torch.zeros(1, n), method="slq", probes=2, steps=steps, chunk_size=1
    )
    grown = peak_memory() - before
    model = 4 * 4 * n  # input, its copy, output, gradient
    assert grown < 1.5 * (steps + 4) * n * 4 + model
    assert found.mean == pytest.approx(float(scale.double().square().mean()), rel=0.01)


def test_the_audit_of_a_xavier_net_names_the_cause_and_init_removes_it() -> None:
    # SIMULATION: sum over the layers of v + r against the measured relative variance, N = 400
    with seeded(0):
        net, x = tanh_net(64, 400), torch.randn(32, 400)
        for layer in net:
            if isinstance(layer, nn.Linear):
                nn.init.xavier_normal_(layer.weight)
                nn.init.zeros_(layer.bias)
        before = audit(net, x, n_samples=2)
        codes = {item.code: item for item in before.advice}
        assert before.measured.mean == pytest.approx(0.01, rel=0.6)
        assert "orthogonal" in codes["not-orthogonal"].sentence
        assert "vanish" in codes["gradients-vanish"].sentence
        assert codes["variance"].numbers["predicted"] == pytest.approx(65, abs=2)
        # At L / N = .16 the sample variance of one network fluctuates by a good part of itself.
        assert 30 <= codes["variance"].numbers["measured"] <= 130
        assert before.predicted.relative_variance == pytest.approx(65, abs=2)
        init_(net, input_batch=x)
        after = audit(net, x, n_samples=2)
    assert after.healthy
    assert after.advice == ()
    assert after.measured.relative_variance == pytest.approx(0.25, abs=0.04)
    assert after.predicted.relative_variance == pytest.approx(0.25, abs=0.02)
