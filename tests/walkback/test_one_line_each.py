"""Single lines whose factor or sign no other test would miss."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import nn

from tractable import walkback as w

X = torch.randn(60, 2, generator=torch.Generator().manual_seed(0))


class Nothing(nn.Module):
    """F = 0."""

    def forward(self, s: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(s)


class Flat:
    """A prior of log density 0 everywhere."""

    def sample(self, n: int, *, generator: torch.Generator | None = None) -> torch.Tensor:
        return torch.zeros(n, 2)

    def log_prob(self, s: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(s))


def test_the_gaussian_skip_shrinks_by_the_variance_of_the_noise() -> None:
    v = torch.tensor([2.0, 0.3])
    operator = w.GaussianOperator(Nothing(), (2,), skip="gaussian", sigma=0.3, variances=v)
    kept = np.sqrt(np.maximum(0.0, 1 - 4 * 0.09 / v.numpy()))  # 0 for the second
    assert operator.mean(X, 4.0).numpy() == pytest.approx(X.numpy() * kept, rel=1e-5)


def test_equal_weights_count_as_many_paths_and_average_to_themselves() -> None:
    # A symmetric walk under a flat prior: every weight is 1.
    operator = w.GaussianOperator(nn.Identity(), (2,), sigma=0.1)
    found = w.log_likelihood_bound(
        operator, X, schedule=w.Schedule.geometric(3, 1.5), prior=Flat(), num_paths=16
    )
    assert found.ess == pytest.approx(16.0)
    assert found.log_prob_is == pytest.approx(0.0, abs=1e-12)


def test_the_average_of_the_weights_is_short_at_the_start() -> None:
    class Watch:
        def __init__(self) -> None:
            self.pairs: list[tuple[np.ndarray, ...]] = []

        def on_step(self, info: Any) -> None:
            both = (info.operator.net.last.bias, info.average.net.last.bias)
            self.pairs.append(tuple(b.detach().numpy().copy() for b in both))

    torch.manual_seed(0)
    operator: Any = w.mlp_operator(2, (8,), sigma=0.3, skip="preconditioned")
    average, watch = operator.net.last.bias.detach().numpy().copy(), Watch()
    w.fit(
        operator, X, schedule=w.Schedule.geometric(4, 1.5), steps=6, ema=0.3, callbacks=[watch],
        progress=False,
    )  # fmt: skip
    for done, (now, told) in enumerate(watch.pairs):
        kept = min(0.3, (1 + done) / (10 + done))
        average = kept * average + (1 - kept) * now
        assert told == pytest.approx(average, rel=1e-4, abs=1e-8)


def test_the_smallest_p_value_is_corrected_for_the_number_of_observables() -> None:
    operator = w.LinearGaussianOperator([[0.5, -0.02], [0.02, 0.5]])
    found = w.detailed_balance_test(
        operator, start=X, num_chains=300, burn_in=20, num_steps=20,
        generator=torch.Generator().manual_seed(1),
    )  # fmt: skip
    each = np.r_[norm.sf(found.z[0]), 2 * norm.sf(np.abs(found.z[1:]))]
    assert 0 < each.min() * len(each) < 1
    assert found.p_value == pytest.approx(each.min() * len(each))
