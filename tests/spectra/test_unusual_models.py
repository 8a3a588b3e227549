"""Models and functions as users have them: measured, initialized, or refused by name."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import nn

from tractable.spectra import (
    JacobianSpectrum,
    Layer,
    audit,
    compare,
    critical_line,
    init_,
    jacobian_spectrum,
)
from tractable.spectra.weight_layers import activation_of

X = torch.randn(8, 16, generator=torch.Generator().manual_seed(0))


def chain(activation, depth: int = 4, width: int = 16) -> nn.Sequential:
    parts = [m for _ in range(depth) for m in (nn.Linear(width, width), activation())]
    return nn.Sequential(*parts)


OTHERS = [nn.Sigmoid, nn.Softsign, nn.Mish, nn.SELU, nn.Hardswish]


@pytest.mark.parametrize("activation", OTHERS)
def test_activations_without_a_built_in_name_are_audited(activation) -> None:
    """Also while the model is watched: the copy that phi is evaluated with is not."""
    found = audit(chain(activation), X)
    assert found.predicted is not None
    assert found.predicted.p.size > 0
    assert {layer.nonlinearity for layer in found.layers} == {activation.__name__}
    assert found.semi_empirical.mean == pytest.approx(found.measured.mean, rel=0.5)


def test_a_module_under_watch_is_read_as_one_that_is_not() -> None:
    module, calls = nn.Mish(), []
    module.register_forward_hook(lambda *_: calls.append(1))
    module.register_forward_pre_hook(lambda *_: calls.append(1))
    phi = activation_of(module)
    assert phi is not None
    assert not calls
    assert phi(np.array([1.0])) == pytest.approx(float(nn.Mish()(torch.ones(1))), rel=1e-6)


@pytest.mark.parametrize("activation", [nn.Mish, nn.SELU, nn.Softsign])
def test_equal_activations_are_one_nonlinearity(activation) -> None:
    assert activation_of(activation()) == activation_of(activation())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some of these have a q* that repels
        assert init_(chain(activation), target_q=0.5).nonlinearity == activation.__name__


def test_different_settings_are_different_nonlinearities() -> None:
    assert activation_of(nn.Softshrink(0.1)) != activation_of(nn.Softshrink(0.2))
    assert activation_of(nn.CELU(0.5)) != activation_of(nn.CELU(1.5))
    assert activation_of(nn.SELU(inplace=True)) == activation_of(nn.SELU())


def test_one_hidden_layer_has_no_layer_whose_weights_count() -> None:
    """The spectrum from h^1 on has no weights in it: nothing is said about those before."""
    found = audit(chain(nn.Tanh, depth=1), X)
    assert not {"gradients-vanish", "gradients-explode", "not-orthogonal"} & {
        item.code for item in found.advice
    }


def test_the_meta_device_has_no_values() -> None:
    with torch.device("meta"):
        empty = chain(nn.Tanh)
    for call in (
        lambda: jacobian_spectrum(empty, X),
        lambda: audit(empty, X),
        lambda: init_(empty),
    ):
        with pytest.raises(ValueError, match=r"'0\.weight' is on the meta device.*to_empty"):
            call()
    for name, call in (
        ("x", lambda: jacobian_spectrum(chain(nn.Tanh), X.to("meta"))),
        ("batch", lambda: audit(chain(nn.Tanh), X.to("meta"))),
        ("input_batch", lambda: init_(chain(nn.Tanh), input_batch=X.to("meta"))),
    ):
        with pytest.raises(ValueError, match=f"{name} must have values"):
            call()


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(16, 16), nn.Linear(16, 16)

    def forward(self, x, gate):
        return torch.tanh(self.a(x)) * torch.sigmoid(self.b(gate))


LAW = JacobianSpectrum("tanh", 3, q=0.1)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: audit(TwoInputs(), X), ValueError, r"batch of shape \(8, 16\).*missing 1"),
        (lambda: jacobian_spectrum(TwoInputs(), X), ValueError, "x of shape.*missing 1"),
        (lambda: jacobian_spectrum(lambda x: x.sum(), X), ValueError, "must be the batch"),
        (lambda: jacobian_spectrum(torch.fft.fft, X), TypeError, "must be real.*view_as_real"),
        (lambda: init_("model"), TypeError, r"model must be an nn\.Module, got str"),
        (lambda: init_(torch.tanh), TypeError, r"model must be an nn\.Module, got builtin"),
        (
            lambda: init_(chain(nn.Tanh), input_batch=torch.ones(3, 5)),
            ValueError,
            r"input_batch of shape \(3, 5\)",
        ),
        (
            lambda: init_(chain(nn.Tanh), input_batch=np.ones((3, 16))),
            TypeError,
            "input_batch must be a tensor",
        ),
        (lambda: LAW.moments(2.5), ValueError, "k must be a whole number"),
        (lambda: LAW.sample(2.5, np.random.default_rng(0)), ValueError, "n must be a whole"),
        (lambda: LAW.sample(3, 0), TypeError, r"numpy\.random\.Generator, got int"),
        (lambda: LAW.transform("a"), TypeError, "x must hold real numbers"),
        (lambda: LAW.grid(0), ValueError, "n must be >= 1, got 0"),
        (lambda: compare("tanh", [1.0]), TypeError, "theory must be a law"),
        (lambda: JacobianSpectrum("tanh", 3, q=[0.1, 0.2]), TypeError, "q must be one number"),
        (
            lambda: JacobianSpectrum("tanh", 3, sigma_w=[1.0, 2.0], sigma_b=0.1),
            TypeError,
            "sigma_w must be one number",
        ),
        (lambda: JacobianSpectrum(layers=Layer("tanh")), TypeError, "a sequence of Layer"),
        (lambda: JacobianSpectrum(layers="tanh"), TypeError, "a sequence of Layer, got str"),
        (
            lambda: JacobianSpectrum(layers=[Layer(torch.zeros_like)]),
            ValueError,
            "zeros_like is constant around q = 1",
        ),
        (
            lambda: JacobianSpectrum(lambda x: torch.exp(x * x), 3, q=0.3),
            ValueError,
            "grows too fast",
        ),
    ],
)
def test_mistakes_are_named_without_warnings(call, error, message) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(error, match=message):
            call()


def test_no_points_have_no_transform() -> None:
    assert LAW.transform([]).shape == (0,)
    assert LAW.transform([[0.1, 1.0]]).shape == (1, 2)


@pytest.mark.parametrize("phi", ["tanh", "erf"])
def test_tiny_variances_are_quiet(phi: str) -> None:
    """Of E[q z^2 - sigma_w^2 phi^2] nothing but rounding is left there."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        point = critical_line(phi, [1e-14, 1e-12, 1e-10])
        assert JacobianSpectrum(phi, 3, q=1e-12).s_max == pytest.approx(1, abs=1e-9)
    assert point.feasible.all()


def test_frozen_shared_and_training_models_are_left_as_they_are() -> None:
    frozen = chain(nn.Tanh).requires_grad_(False)
    init_(frozen)
    assert not any(p.requires_grad for p in frozen.parameters())
    encoder = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.5, batch_first=True).train()
    sequence = torch.randn(2, 5, 16)
    first, second = (jacobian_spectrum(encoder, sequence) for _ in range(2))
    np.testing.assert_array_equal(first.nodes, second.nodes)
    assert "eval mode" in first.notes[0]
    assert encoder.training
    assert encoder.dropout.training
    layer = nn.Linear(16, 16)
    found = audit(nn.Sequential(layer, nn.Tanh(), layer, nn.Tanh()), X)
    assert "used more than once" in found.reason


def test_own_kinks_of_any_height_are_found() -> None:
    """A bend by a tenth: the same law as with the kinks declared."""

    def bent(x: torch.Tensor) -> torch.Tensor:
        inner = x.clamp(-0.3, 0.3)
        return inner + 0.9 * (x - inner)

    from tractable.spectra import Nonlinearity

    found = JacobianSpectrum(bent, 6, q=0.2)
    told = JacobianSpectrum(Nonlinearity(bent, kinks=(-0.3, 0.3)), 6, q=0.2)
    assert found.phi.slopes == pytest.approx((0.9, 1.0, 0.9))
    lam = np.linspace(0.5, 1.5, 30)
    np.testing.assert_allclose(found.cdf(lam), told.cdf(lam), atol=1e-8)
