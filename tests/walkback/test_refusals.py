"""Bad arguments: every message names the argument."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tractable import walkback as w

X = torch.randn(40, 2, generator=torch.Generator().manual_seed(0))
LADDER = w.Schedule.geometric(3, 1.5)
PRIOR, WIDE = w.GaussianPrior((2,)), w.GaussianPrior((3,))
MASK = torch.tensor([True, False])
MAP = [[0.7, -0.3], [0.3, 0.7]]


def op(**settings: Any) -> Any:
    return w.mlp_operator(2, (4,), **({"sigma": 0.3, "skip": "preconditioned"} | settings)).eval()


def fit(**settings: Any) -> Any:
    return w.fit(op(), X, **({"schedule": LADDER, "steps": 1, "progress": False} | settings))


def draw(**settings: Any) -> Any:
    return w.sample(op(), **({"n": 3, "schedule": LADDER, "prior": PRIOR} | settings))


def bound(**settings: Any) -> Any:
    return w.log_likelihood_bound(op(), X, **({"schedule": LADDER, "prior": PRIOR} | settings))


CALLS: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: w.mlp_operator(2.5), TypeError, "dim must be a whole number"),  # type: ignore[arg-type]
    (lambda: op(sigma=float("inf")), ValueError, "sigma must be above 0 and finite"),
    (lambda: w.GaussianOperator(None, (2,)), TypeError, "net must be a module"),  # type: ignore[arg-type]
    (lambda: op().mean(torch.ones(3, 5), 1.0), ValueError, r"shape \(B, 2\)"),
    (lambda: op().mean(X, float("inf")), ValueError, "temperature must be above 0 and finite"),
    (lambda: w.Schedule.geometric(2.5), TypeError, "num_heat must be a whole number"),  # type: ignore[arg-type]
    (lambda: w.Schedule.constant(0), ValueError, "num_steps"),
    (lambda: w.GaussianPrior(()), ValueError, "event_shape"),
    (lambda: w.GaussianPrior.from_data(X.numpy()), TypeError, "x must be a tensor"),  # type: ignore[arg-type]
    (lambda: PRIOR.update_(torch.ones(0, 2)), ValueError, "B >= 1"),
    (lambda: w.BernoulliPrior.from_data(X), ValueError, "0 and 1 only"),
    (lambda: w.walkback_path(op(), X, [1.0]), TypeError, "schedule must be a Schedule"),  # type: ignore[arg-type]
    (lambda: draw(prior=WIDE), ValueError, r"prior must be of states of shape \(2,\)"),
    (lambda: draw(prior=None), TypeError, "prior must have sample"),
    (lambda: draw(schedule=torch.ones(3)), TypeError, "schedule must be a Schedule"),
    (lambda: w.inpaint(op(), X, MASK, schedule=LADDER, prior=PRIOR, num_resample=0), ValueError,
     "num_resample"),
    (lambda: w.inpaint(op(), X, torch.ones(3) > 0, schedule=LADDER, prior=PRIOR), ValueError,
     "mask must broadcast"),
    (lambda: w.walkback_loss(op(), X, LADDER, chunk=0), ValueError, "chunk"),
    (lambda: fit(warmup=-1), ValueError, "warmup"),
    (lambda: fit(final_lr=-1.0), ValueError, "final_lr"),
    (lambda: fit(eval_every=0), ValueError, "eval_every"),
    (lambda: fit(patience=-1), ValueError, "patience"),
    (lambda: fit(monitor="loss"), ValueError, "monitor"),
    (lambda: fit(adapt_every=0), ValueError, "adapt_every"),
    (lambda: fit(chunk=0), ValueError, "chunk"),
    (lambda: fit(estimator="z"), ValueError, "estimator"),
    (lambda: fit(schedule=[1.0]), TypeError, "schedule must be a Schedule"),
    (lambda: fit(prior=WIDE), ValueError, "prior must be of states"),
    (lambda: bound(chunk=0), ValueError, "chunk"),
    (lambda: bound(prior=None), TypeError, "prior must have sample"),
    (lambda: w.entropy_production(op(), start=X.numpy()), TypeError, "start must be a tensor"),
    (lambda: w.detailed_balance_test(op(), start=X, burn_in=-1), ValueError, "burn_in"),
    (lambda: w.probability_current(op(), bounds=((-1, 1), (-1, 1)), bins=0, start=X), ValueError,
     "bins"),
    (lambda: w.gaussian_kl(np.zeros(1), -np.eye(1), np.zeros(1), np.eye(1)), ValueError, "cov_p"),
    (lambda: w.linear_bound(X.numpy(), MAP, np.eye(2), [], np.zeros(2), np.eye(2)), ValueError,
     "temperatures"),
    (lambda: w.linear_log_prob(X.numpy(), MAP, np.eye(2), [0.0], np.zeros(2), np.eye(2)),
     ValueError, "temperatures"),
    (lambda: w.time_reversal(MAP, np.eye(2), -np.eye(2)), ValueError, "C must be symmetric"),
    (lambda: w.tied_ladder([]), ValueError, "temperatures"),
    (lambda: w.tied_ladder([1.0], d=-1.0), ValueError, "d must"),
    (lambda: w.conditioned_ladder([1.0, 2.0], a=[0.1, 0.2, 0.3]), ValueError, "a must"),
    (lambda: w.gaussian_ladder([1.0], sigma=0.1, v=0.0), ValueError, "v must"),
    (lambda: w.toy("ring").log_density(np.full((1, 2), np.nan)), ValueError, "x must be finite"),
    (lambda: w.gaussian_mmd2(w.toy("ring"), []), ValueError, "bandwidths"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "words"), CALLS)
def test_bad_arguments_are_named(
    call: Callable[[], Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        call()


def test_a_net_that_normalizes_over_the_batch_has_no_bound() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    operator = w.GaussianOperator(net, (2,), sigma=0.3).train()
    with pytest.raises(ValueError, match="normalizes over the batch"):
        w.log_likelihood_bound(operator, X, schedule=LADDER, prior=PRIOR, num_paths=1)
    for asked in (
        lambda: w.entropy_production(operator, start=X),
        lambda: w.detailed_balance_test(operator, start=X),
        lambda: w.probability_current(operator, bounds=((-1, 1), (-1, 1)), bins=2, start=X),
    ):
        with pytest.raises(ValueError, match="normalizes over the batch"):
            asked()
    operator.eval()
    found = w.log_likelihood_bound(
        operator, X, schedule=LADDER, prior=PRIOR, num_paths=2, estimator="bound"
    )
    assert np.isfinite(found.bound).all()


def test_few_effective_paths_are_reported() -> None:
    cold = w.GaussianOperator(nn.Tanh(), (2,), sigma=0.01)
    with pytest.warns(w.LowESSWarning, match="of 8 paths"):
        w.log_likelihood_bound(cold, X, schedule=LADDER, prior=PRIOR, num_paths=8)
