"""The rival is a fair one: with the exact noise estimate of a Gaussian its bound is tight."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from tractable.studies.walkback._ddpm import DDPM
from tractable.studies.walkback._learning import denoiser, diffuse


class Exact(nn.Module):
    """E[e | x] for data N(0, v): x sqrt(1 - a^2) / (a^2 v + 1 - a^2), a^2 = 1/(1 + s^2)."""

    def __init__(self, variance: float) -> None:
        super().__init__()
        self.variance = variance

    def forward(self, x: Tensor, log_s: Tensor) -> Tensor:
        a2 = 1 / (1 + (2 * log_s).exp())
        return x * (1 - a2).sqrt() / (a2 * self.variance + 1 - a2)


@pytest.mark.parametrize("variance", [1.0, 4.0])
def test_the_bound_of_the_exact_model_closes_with_the_number_of_steps(variance: float) -> None:
    # The gap comes from the fixed variances of the steps: of second order in their size each.
    x = torch.randn(20_000, 1, generator=torch.Generator().manual_seed(0)) * variance**0.5
    exact = float((-0.5 * x.double() ** 2 / variance).mean()) - 0.5 * math.log(
        2 * math.pi * variance
    )
    gaps = []
    for steps in (100, 400):
        model = DDPM(Exact(variance), 1, steps, 0.02, 60.0)
        value = model.bound(x, torch.Generator().manual_seed(1))
        gaps.append(exact - float(value.mean()))
    assert 0 < gaps[1] < 0.12
    assert 3.0 < gaps[0] / gaps[1] < 6.0


def test_samples_of_the_exact_model_have_the_variance_of_the_data() -> None:
    model = DDPM(Exact(4.0), 1, 200, 0.02, 60.0)
    drawn = model.sample(20_000, torch.Generator().manual_seed(0))
    assert float(drawn.var()) == pytest.approx(4.0, rel=0.04)


def test_it_trains_with_the_net_of_the_operators() -> None:
    net = denoiser(2, (16,))
    assert net(torch.zeros(3, 2), torch.zeros(3, 1)).shape == (3, 2)
    x = torch.randn(500, 2, generator=torch.Generator().manual_seed(0)).numpy()
    draws, bound = diffuse(
        x, x[:50], seed=0, n_steps=60, hidden=(16,), length=10, lowest=0.1, highest=10.0,
        batch=64, n_draws=40,
    )  # fmt: skip
    assert draws.shape == (40, 2)
    assert bound.shape == (50,)
    assert -30.0 < bound.mean() < -2.8
