"""Operators: conventions of temperature and leak, shapes, and what is refused."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from tractable.walkback import (
    BernoulliOperator,
    GaussianOperator,
    LinearGaussianOperator,
    Schedule,
    conv_operator,
    mlp_operator,
)


@pytest.mark.parametrize(("gamma", "times"), [(1.0, 3.0), (2.0, 9.0), (0.5, math.sqrt(3))])
def test_noise_at_nine_times_the_temperature(gamma: float, times: float) -> None:
    operator = GaussianOperator(nn.Identity(), (1,), sigma=0.2, temperature_power=gamma)
    s = torch.zeros(100_000, 1)
    drawn = operator.sample(s, 9.0, generator=torch.Generator().manual_seed(0))
    assert float(drawn.std()) == pytest.approx(times * 0.2, rel=0.02)
    assert float(operator.std(s[:1], 9.0)) == pytest.approx(times * 0.2, rel=1e-6)


def test_alpha_is_the_weight_of_the_network() -> None:
    class Seven(nn.Module):
        def forward(self, s: torch.Tensor) -> torch.Tensor:
            return torch.full_like(s, 7.0)

    operator = GaussianOperator(Seven(), (2,), alpha=0.2, sigma=1.0)
    s = torch.tensor([[1.0, -2.0]])
    assert torch.allclose(operator.mean(s, 1.0), 0.8 * s + 0.2 * 7.0)


def test_density_is_that_of_the_normal_law() -> None:
    operator = mlp_operator(3, (8,), sigma="learned", skip="leak")
    s, there = torch.randn(2, 5, 3).unbind()
    mean, sd = operator.mean_std(s, 2.0)
    exact = torch.distributions.Normal(mean, sd).log_prob(there).sum(1)
    assert torch.allclose(operator.log_prob(there, s, 2.0), exact, atol=1e-5)


def test_bits_at_infinite_heat_are_fair_coins() -> None:
    operator = BernoulliOperator(nn.Identity(), (4,), alpha=0.5)
    s = torch.ones(1, 4)
    assert float(operator.log_prob(s, s, 1e9)) == pytest.approx(-4 * math.log(2), abs=1e-6)


def test_images_and_one_temperature_for_each_state() -> None:
    operator = conv_operator((2, 8, 8), sigma="learned")
    s = torch.randn(3, 2, 8, 8)
    hot = torch.tensor([1.0, 2.0, 4.0])
    each = torch.cat([operator.mean(s[i : i + 1], hot[i]) for i in range(3)])
    assert torch.allclose(operator.mean(s, hot), each, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"alpha": 0.0}, "alpha"), ({"alpha": 1.1}, "alpha"), ({"sigma": -1.0}, "sigma"),
     ({"sigma_min": 0.0}, "sigma_min"), ({"skip": "leek"}, "leak"),
     ({"temperature_power": 0.0}, "temperature_power"), ({"skip": "gaussian"}, "variances")],
)  # fmt: skip
def test_bad_settings_are_named(settings: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        GaussianOperator(nn.Identity(), (2,), **settings)


def test_bad_states_are_named() -> None:
    operator = GaussianOperator(nn.Identity(), (2,), sigma=1.0)
    with pytest.raises(ValueError, match=r"shape \(B, 2\)"):
        operator.check_state(torch.zeros(3, 4))
    with pytest.raises(TypeError, match="dequantize"):
        operator.check_state(torch.zeros(3, 2, dtype=torch.int64))
    with pytest.raises(ValueError, match="2 values"):
        operator.check_state(torch.tensor([[float("nan"), float("inf")]]))
    with pytest.raises(ValueError, match="holds no states"):
        operator.check_state(torch.zeros(0, 2))
    with pytest.raises(ValueError, match="temperature"):
        operator.mean(torch.zeros(1, 2), 0.0)
    with pytest.raises(ValueError, match="0 and 1"):
        BernoulliOperator(nn.Identity(), (2,)).check_state(torch.full((1, 2), 0.5))


def test_bad_schedules_are_named() -> None:
    with pytest.raises(ValueError, match="factor"):
        Schedule.geometric(3, 0.9)
    with pytest.raises(ValueError, match="num_heat"):
        Schedule.geometric(0)
    with pytest.raises(ValueError, match="temperatures"):
        Schedule(torch.tensor([1.0, -1.0]))
    assert Schedule.geometric(3, 1.0).temperatures.tolist() == [1, 1, 1]


def test_an_unstable_linear_operator_has_no_stationary_law() -> None:
    with pytest.raises(RuntimeError, match="spectral radius"):
        LinearGaussianOperator([[1.1]]).stationary()


@pytest.mark.parametrize(("gamma", "rungs"), [(1.0, 6), (2.0, 4)])
def test_a_ladder_from_data_ends_at_the_widest_direction(gamma: float, rungs: int) -> None:
    x = torch.randn(50, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x[:, 1] *= 0.1
    widest = torch.linalg.eigvalsh(torch.cov(x.T))[-1]
    # 2^5 covers a ratio of 31.7: neither a rung fewer, nor one more.
    operator = GaussianOperator(
        nn.Identity(), (2,), sigma=float((widest / 31.7).sqrt()), temperature_power=gamma
    )
    found = Schedule.from_data(x, operator, factor=2.0, num_cold=3)
    assert len(found) == 3 + rungs


@pytest.mark.parametrize(("centered", "leak"), [(False, (0.0, 0.75)), (True, (-0.75, 0.75))])
def test_a_centered_leak_does_not_push_bits_to_one(
    centered: bool, leak: tuple[float, float]
) -> None:
    class Zero(nn.Module):
        def forward(self, s: torch.Tensor) -> torch.Tensor:
            return torch.zeros_like(s)

    operator = BernoulliOperator(Zero(), (2,), alpha=0.25, centered=centered)
    odds = operator.logits(torch.tensor([[0.0, 1.0]]), 2.0)
    torch.testing.assert_close(odds, torch.tensor([leak]) / 2.0)
