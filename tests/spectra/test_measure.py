"""Measured Jacobians: right on every kind of model, and refused with a reason where impossible."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from tractable.spectra import MeasuredSpectrum, jacobian_spectrum


def dense(model: nn.Module, x: torch.Tensor) -> np.ndarray:
    """Return the singular values by torch.func.jacrev, one row per sample."""
    model.eval()
    rows = []
    for sample in x:
        with sdpa_kernel(SDPBackend.MATH):  # the other kernel has no rule for vmap
            jacobian = torch.func.jacrev(lambda z: model(z[None])[0])(sample)
        flat = jacobian.reshape(model(sample[None]).numel(), sample.numel())
        rows.append(torch.linalg.svdvals(flat).detach().numpy())
    return np.stack(rows)


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x):
        return x + self.attention(x, x, x, need_weights=False)[0]


MODELS = {
    "mlp": (nn.Sequential(nn.Linear(7, 9), nn.Tanh(), nn.Linear(9, 5)), (7,)),
    "tall": (nn.Sequential(nn.Linear(3, 9), nn.Tanh(), nn.Linear(9, 12)), (3,)),
    "cnn": (
        nn.Sequential(
            nn.Conv2d(1, 3, 3, padding=1),
            nn.BatchNorm2d(3),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Flatten(),
            nn.Linear(48, 6),
        ),
        (1, 4, 4),
    ),
    "attention": (Attention(), (3, 8)),
}


@pytest.mark.parametrize("name", MODELS)
def test_exact_equals_jacrev(name: str) -> None:
    # INDEPENDENT: torch.func.jacrev and svd
    model, shape = MODELS[name]
    x = torch.randn(2, *shape)
    model.train()
    found = jacobian_spectrum(model, x, chunk_size=4)
    assert model.training, "the mode is restored"
    assert all(parameter.grad is None for parameter in model.parameters())
    np.testing.assert_allclose(found.singular_values, dense(model, x), atol=1e-5)
    assert found.exact
    assert found.singular_values.shape[1] == min(found.n_in, found.n_out)


@pytest.mark.parametrize("name", MODELS)
def test_quadrature_with_all_steps_has_the_exact_moments(name: str) -> None:
    model, shape = MODELS[name]
    x = torch.randn(1, *shape)
    exact = jacobian_spectrum(model, x)
    found = jacobian_spectrum(model, x, method="slq", probes=200, steps=8)
    assert abs(found.mean - exact.mean) <= 4 * found.mean_error
    np.testing.assert_allclose(found.s_max, exact.s_max, rtol=1e-3)


def test_functions_without_forward_mode_are_differentiated_twice() -> None:
    class Cube(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx, grad):
            (x,) = ctx.saved_tensors
            return 3 * x**2 * grad

    weight = torch.randn(10, 4)
    found = jacobian_spectrum(lambda x: Cube.apply(x) @ weight.T, torch.ones(1, 4))
    np.testing.assert_allclose(
        found.singular_values[0], 3 * torch.linalg.svdvals(weight), rtol=1e-5
    )


def test_chunks_do_not_change_the_result() -> None:
    model, x = nn.Sequential(nn.Linear(30, 20), nn.Tanh()), torch.randn(1, 30)
    one, other = (jacobian_spectrum(model, x, chunk_size=c) for c in (1, 20))
    np.testing.assert_allclose(one.nodes, other.nodes, rtol=1e-5)
    settings = {"method": "slq", "probes": 6, "steps": 5}
    one, other = (jacobian_spectrum(model, x, chunk_size=c, **settings) for c in (1, 6))
    np.testing.assert_allclose(one.nodes, other.nodes, rtol=1e-3)


def test_the_same_seed_gives_the_same_numbers() -> None:
    model, x = nn.Linear(20, 20), torch.randn(1, 20)
    runs = [jacobian_spectrum(model, x, method="slq", steps=6, seed=s) for s in (0, 0, 1)]
    assert np.array_equal(runs[0].nodes, runs[1].nodes)
    assert not np.array_equal(runs[0].nodes, runs[2].nodes)


def test_tokens_are_measured_from_the_embedding() -> None:
    model = nn.Sequential(nn.Embedding(11, 4), nn.Flatten(), nn.Linear(12, 5))
    found = jacobian_spectrum(model, torch.randint(0, 11, (2, 3)))
    expected = torch.linalg.svdvals(model[2].weight).detach().numpy()
    np.testing.assert_allclose(found.singular_values, np.tile(expected, (2, 1)), rtol=1e-5)
    assert "embedding" not in found.notes[0]
    assert "'0'" in found.notes[0]
    with pytest.raises(TypeError, match=r"got torch\.int64, and the model has 0 embeddings"):
        jacobian_spectrum(model[1:], torch.ones(1, 12, dtype=torch.int64))


def test_between_two_layers() -> None:
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 3))
    x = torch.randn(1, 4)
    found = jacobian_spectrum(model, x, layers=("1", "3"))
    with torch.no_grad():
        start = model[:2](x)
    np.testing.assert_allclose(found.singular_values, dense(model[2:4], start), atol=1e-5)
    with pytest.raises(ValueError, match="no layer '7'"):
        jacobian_spectrum(model, x, layers=("7", None))
    with pytest.raises(ValueError, match="two names"):
        jacobian_spectrum(model, x, layers="7")


def test_half_precision_is_measured_on_a_copy() -> None:
    model = nn.Linear(6, 6).bfloat16()
    found = jacobian_spectrum(model, torch.randn(1, 6).bfloat16())
    assert model.weight.dtype == torch.bfloat16
    assert "float32; the model is bfloat16" in found.notes[0]
    expected = torch.linalg.svdvals(model.weight.detach().float())
    np.testing.assert_allclose(found.singular_values[0], expected, rtol=1e-5)


def test_of_several_inputs_the_first_is_differentiated() -> None:
    class Product(nn.Module):
        def forward(self, x, gate):
            return x * gate

    gate = torch.tensor([[1.0, 2.0, 3.0]])
    found = jacobian_spectrum(Product(), (torch.ones(1, 3), gate))
    np.testing.assert_allclose(found.singular_values[0], [3, 2, 1])


def test_statistics_of_the_batch_are_refused() -> None:
    norm = nn.BatchNorm1d(4, track_running_stats=False)
    with pytest.raises(ValueError, match="normalizes by the statistics of the batch"):
        jacobian_spectrum(nn.Sequential(nn.Linear(4, 4), norm), torch.randn(3, 4))
    with pytest.raises(ValueError, match=r"changes by .* with the rest of the batch"):
        jacobian_spectrum(lambda x: x - x.mean(0), torch.randn(3, 4))


def test_memory_is_refused_with_an_estimate() -> None:
    model, x = nn.Linear(1000, 1000), torch.randn(1, 1000)
    with pytest.raises(MemoryError, match=r"1000 x 1000 takes about 0.008 GB.*0.001 GB.*slq"):
        jacobian_spectrum(model, x, method="exact", memory="1MB")
    assert not jacobian_spectrum(model, x, memory="1MB", probes=1, steps=2).exact
    with pytest.raises(ValueError, match='size such as "2GB"'):
        jacobian_spectrum(model, x, memory="lots")


def test_a_non_finite_output_names_the_layer() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3))
    model[2].bias.data[1] = torch.inf
    with pytest.raises(FloatingPointError, match="first in layer '2'"):
        jacobian_spectrum(model, torch.zeros(1, 3))


@pytest.mark.parametrize(
    ("model", "x", "error", "message"),
    [
        (lambda x: x.detach(), torch.ones(1, 2), ValueError, "does not depend on x"),
        (lambda x: x, torch.ones(0, 2), ValueError, "one or more samples"),
        (lambda x: x, torch.tensor([[1.0, torch.nan]]), ValueError, "x must be finite"),
        (lambda x: x, "x", TypeError, "x must be a tensor"),
        (lambda x: "y", torch.ones(1, 2), TypeError, "must return a tensor"),
        (lambda x: x.T, torch.ones(1, 2), ValueError, "first dimension must be the batch"),
    ],
)
def test_bad_input_is_refused(model, x, error, message) -> None:
    with pytest.raises(error, match=message):
        jacobian_spectrum(model, x)


def test_settings_are_checked() -> None:
    model, x = nn.Linear(2, 2), torch.ones(1, 2)
    wrong = ({"method": "svd"}, {"probes": 0}, {"probes": 2.5}, {"steps": 0}, {"chunk_size": 0})
    for settings in (*wrong, {"memory": "1.5.2GB"}):
        with pytest.raises(ValueError, match=next(iter(settings))):
            jacobian_spectrum(model, x, **settings)


def test_what_a_spectrum_says() -> None:
    nodes = np.array([[[2.0, 1.0, 1.0, 0.0]], [[2.0, 2.0, 1.0, 0.0]]])
    found = MeasuredSpectrum("exact", nodes, np.full_like(nodes, 0.25), 4, 5)
    assert found.cdf([0.5, 1.0, 4.0]).tolist() == [0.25, 0.625, 1.0]
    assert found.cdf(1.0, sample=0) == 0.75
    assert found.quantile([0.0, 0.25, 0.5, 1.0]).tolist() == [0, 0, 1, 4]
    assert found.mean == pytest.approx((6 / 4 + 9 / 4) / 2)
    assert found.mean_error == pytest.approx(3 / 8)
    assert found.mass_below(0.5) == (0.25, 0.0)
    assert found.condition(0.3) == 2.0  # of singular values, as the condition of a law
    assert found.quantile(0.5, sample=-1) == found.quantile(0.5, sample=1) == 1.0
    with pytest.raises(IndexError, match="2 samples"):
        found.quantile(0.5, sample=2)
    assert np.isinf(found.condition(0.1))
    again = MeasuredSpectrum.from_dataset(found.to_dataset())
    assert np.array_equal(again.nodes, nodes)
    assert repr(again) == repr(found)
    with pytest.raises(ValueError, match=r"p must be >= 0 and <= 1, got 1\.5"):
        found.quantile(1.5)
    slq = MeasuredSpectrum("slq", nodes, np.full_like(nodes, 0.25), 4, 5)
    with pytest.raises(ValueError, match="no single singular values"):
        _ = slq.singular_values
