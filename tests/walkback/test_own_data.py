"""A user's own numbers, nets, operators and priors: any precision, any unit, nothing in silence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tractable import walkback as w
from tractable.train.checkpoint import CheckpointError

X = torch.randn(60, 2, generator=torch.Generator().manual_seed(0))
BITS = np.random.default_rng(0).random((60, 5)) < 0.3
LADDER = w.Schedule.geometric(5, 1.5)
SHORT: dict[str, Any] = {"schedule": LADDER, "steps": 3, "progress": False}


def op(seed: int = 0, **settings: Any) -> w.GaussianOperator:
    torch.manual_seed(seed)
    settings = dict[str, Any](sigma=0.3, skip="preconditioned") | settings
    found = w.mlp_operator(2, (8,), **settings)
    assert isinstance(found, w.GaussianOperator)
    return found


# --- precision ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_data_of_any_precision_train_a_net_of_its_own(dtype: torch.dtype) -> None:
    x = X.to(dtype)
    for data in (x, x.numpy(), torch.utils.data.TensorDataset(x)):
        same = w.fit(op(), x.float(), **SHORT)
        assert np.array_equal(w.fit(op(), data, **SHORT).history["loss"], same.history["loss"])


def test_an_operator_of_float64_trains_draws_and_fills_in_float64() -> None:
    double = op().double()
    found = w.fit(double, X.double().numpy(), **SHORT)
    settings = {"schedule": found.schedule, "prior": found.prior}
    assert w.sample(found.ema_operator, 3, **settings).dtype == torch.float64
    x = X[:3].double()
    filled = w.inpaint(found.ema_operator, x, torch.tensor([True, False]), **settings)
    assert filled.dtype == torch.float64
    assert torch.equal(filled[:, 0], x[:, 0])
    w.entropy_production(
        found.ema_operator, start=found.prior, burn_in=2, num_steps=3, num_chains=4
    )


def test_states_of_float64_are_filled_in_by_a_net_of_float32() -> None:
    x = X[:3].double()
    filled = w.inpaint(
        op(), x, torch.tensor([True, False]), schedule=LADDER, prior=w.GaussianPrior((2,))
    )
    assert filled.dtype == torch.float64
    assert torch.equal(filled[:, 0], x[:, 0])


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float64])
def test_bits_of_any_kind_train_a_binary_operator(dtype: type) -> None:
    def learned(data: Any) -> np.ndarray:
        torch.manual_seed(0)
        operator = w.mlp_operator(5, (8,), kind="bernoulli")
        return w.fit(operator, data, **SHORT).history["loss"]

    assert np.array_equal(learned(BITS.astype(dtype)), learned(BITS.astype(np.float32)))


def test_whole_bits_are_refused_where_they_would_not_fit_the_net() -> None:
    with pytest.raises(TypeError, match=r"x must be floating point.*x\.float"):
        w.log_likelihood_bound(
            w.mlp_operator(5, (8,), kind="bernoulli"),
            torch.from_numpy(BITS.astype(np.int64)),
            schedule=LADDER,
            prior=w.BernoulliPrior((5,)),
        )


@pytest.mark.parametrize("data", [X.tolist(), "points.npy"])
def test_lists_and_names_of_files_are_refused_by_name(data: Any) -> None:
    with pytest.raises(TypeError, match="data must be a tensor, an array or a Dataset"):
        w.fit(op(), data, **SHORT)


# --- units ----------------------------------------------------------------------------------------


def test_distances_do_not_depend_on_where_the_origin_is() -> None:
    random = np.random.default_rng(0)
    a, b = random.normal(size=(2, 200, 2))
    far = 2.0**27  # exact in float64, and far beyond the spread
    a, b = np.round(a * 2**20) / 2**20, np.round(b * 2**20) / 2**20
    at, there = w.mmd2(a, b + 1, [1.0]), w.mmd2(a + far, b + 1 + far, [1.0])
    assert there.value == pytest.approx(at.value, rel=1e-9)
    here, moved = w.prdc(a, b), w.prdc(a + far, b + far)
    assert here == moved
    ratio = w.memorization_ratio(a + far, b + far, b[:100] + far)
    assert ratio == pytest.approx(w.memorization_ratio(a, b, b[:100]), rel=1e-9, nan_ok=True)
    density = w.fit_kernel(b + far, 0.5).log_prob(a + far)
    assert density == pytest.approx(w.fit_kernel(b, 0.5).log_prob(a), rel=1e-9)


@pytest.mark.parametrize("sigma", ["scalar", "learned"])
def test_a_learned_noise_starts_where_it_is_told_in_any_unit(sigma: str) -> None:
    operator = op(sigma=sigma, sigma_start=500.0, scale=1000.0)
    assert operator.std(X, 1.0).detach().numpy() == pytest.approx(500.0, rel=1e-4)


# --- operators and priors of a user ---------------------------------------------------------------


class Own(w.TransitionOperator):
    """Only what the base class asks for."""

    event_shape = (2,)

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(0.5 * torch.eye(2))

    def sample(self, s, temperature, *, step=None, generator=None):  # type: ignore[no-untyped-def]
        noise = torch.randn(s.shape, generator=generator)
        return s @ self.weight + 0.5 * self.heat(temperature).sqrt() * noise

    def log_prob(self, s_next, s, temperature, *, step=None, reduce=True):  # type: ignore[no-untyped-def]
        sd = 0.5 * self.heat(temperature).sqrt()
        terms = -0.5 * ((s_next - s @ self.weight) / sd) ** 2 - sd.log() - 0.9189
        return terms.sum(1) if reduce else terms

    def heat(self, temperature: Any) -> torch.Tensor:
        return torch.as_tensor(temperature, dtype=torch.float32).reshape(-1, 1)


class WithNumber(Own):
    """Its ``std`` is a number, not a method."""

    std = 0.5


class WithMethod(Own):
    """Its ``std`` knows no steps."""

    def std(self, s: torch.Tensor, temperature: float) -> torch.Tensor:
        return torch.tensor(0.5 * temperature**0.5)


@pytest.mark.parametrize("kind", [Own, WithNumber, WithMethod])
def test_an_operator_needs_no_more_than_sample_and_log_prob(kind: type[Own]) -> None:
    found = w.fit(kind(), X, **SHORT)
    assert np.isfinite(found.history["sigma"]).all() == (kind is WithMethod)


class OwnPrior:
    """A fixed law, no module."""

    def sample(self, n: int, *, generator: torch.Generator | None = None) -> torch.Tensor:
        return 3 * torch.randn(n, 2, generator=generator)

    def log_prob(self, s: torch.Tensor) -> torch.Tensor:
        return -0.5 * (s / 3).square().sum(1) - 4.035


@pytest.mark.parametrize("mode", ["walkback", "elbo"])
def test_a_prior_needs_no_more_than_sample_and_log_prob(mode: Any, tmp_path: Path) -> None:
    prior = OwnPrior()
    found = w.fit(op(), X, prior=prior, mode=mode, checkpoint_dir=tmp_path, **SHORT)
    assert found.prior is prior
    again = w.fit(op(), X, prior=prior, mode=mode, checkpoint_dir=tmp_path, resume=True, **SHORT)
    assert np.array_equal(found.history["loss"], again.history["loss"])


def test_the_elbo_leaves_the_gradients_of_a_prior_as_they_were() -> None:
    prior = w.GaussianPrior((2,))
    prior.shift = nn.Parameter(torch.zeros(2))
    w.walkback_loss(op(), X, LADDER, mode="elbo", prior=prior)[0].backward()
    assert prior.shift.requires_grad
    assert prior.shift.grad is None


class Normalized(nn.Module):
    """A net with batch normalization and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(2, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2)
        )

    def forward(self, s: torch.Tensor) -> torch.Tensor:
        return self.body(s)


def test_a_callback_may_draw_from_an_average_that_normalizes_over_batches() -> None:
    class Watch:
        def on_step(self, info: w.StepInfo) -> None:
            info.samples(8)
            info.entropy_production(16, burn_in=1, num_steps=2)

    w.fit(w.GaussianOperator(Normalized(), (2,), sigma=0.3), X, callbacks=[Watch()], **SHORT)


def test_densities_under_dropout_are_refused() -> None:
    net = nn.Sequential(nn.Linear(2, 8), nn.Dropout(0.5), nn.Linear(8, 2))
    operator = w.GaussianOperator(net, (2,), sigma=0.3)
    prior = w.GaussianPrior((2,))
    with pytest.raises(ValueError, match=r"net\.1 drops out units"):
        w.log_likelihood_bound(operator, X, schedule=LADDER, prior=prior)
    with pytest.raises(ValueError, match=r"net\.1 drops out units"):
        w.entropy_production(operator, start=X, num_chains=4, num_steps=2)
    w.log_likelihood_bound(operator.eval(), X, schedule=LADDER, prior=prior, estimator="bound")


def test_a_density_of_a_move_is_not_broadcast() -> None:
    with pytest.raises(ValueError, match="s_next and s must have one shape"):
        op().log_prob(torch.zeros(2), X[:2], 1.0)


# --- clamped and filled in ------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [1024, 4096])
def test_every_chain_is_clamped_to_values_of_its_own(chunk: int) -> None:
    n = 5000
    values = torch.arange(2.0 * n).reshape(n, 2)
    mask = torch.zeros(n, 2, dtype=torch.bool)
    mask[:, 0] = True
    drawn = w.sample(
        op(), n, schedule=w.Schedule.constant(2), prior=w.GaussianPrior((2,)),
        clamp=(mask, values), chunk=chunk,
    )  # fmt: skip
    assert torch.equal(drawn[:, 0], values[:, 0])


def test_values_for_another_number_of_chains_are_refused() -> None:
    with pytest.raises(ValueError, match=r"the mask of clamp is of 7 chains, n is 10"):
        w.sample(
            op(), 10, schedule=LADDER, prior=w.GaussianPrior((2,)),
            clamp=(torch.ones(7, 2) > 0, torch.ones(7, 2)),
        )  # fmt: skip


FIRST = torch.tensor([True, False])


@pytest.mark.parametrize(
    ("x", "basis", "error", "told"),
    [
        (torch.tensor([[float("nan"), 1.0]]), torch.eye(2), ValueError, "x holds 1 values"),
        (torch.tensor([[3, 1]]), torch.eye(2), TypeError, "x must be floating point"),
        (X[:0], torch.eye(2), ValueError, "x holds no states"),
        (X[:1], 2 * torch.eye(2), ValueError, "basis must be orthogonal"),
    ],
)
def test_what_cannot_be_filled_in_through_a_basis_is_refused(
    x: torch.Tensor, basis: torch.Tensor, error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        w.inpaint(op(), x, FIRST, schedule=LADDER, prior=w.GaussianPrior((2,)), basis=basis)


def test_a_basis_may_be_an_array() -> None:
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    filled = w.inpaint(op(), X[:3], FIRST, schedule=LADDER, prior=w.GaussianPrior((2,)), basis=turn)
    assert torch.equal(filled[:, 0], X[:3, 0])


# --- currents -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"start": X[:1]}, "num_chains must be a whole number >= 2|num_chains must be >= 2"),
        ({"num_chains": -3}, "num_chains must be >= 2"),
        ({"bins": 2.5}, "bins must be a whole number"),
        ({"bounds": ((-1, float("inf")), (-1, 1))}, "bounds must be finite"),
    ],
)
def test_a_current_needs_chains_cells_and_bounds(settings: dict[str, Any], told: str) -> None:
    box = ((-1, 1), (-1, 1))
    given: dict[str, Any] = {"start": X, "bounds": box, "num_steps": 2, "burn_in": 0} | settings
    with pytest.raises(ValueError, match=told):
        w.probability_current(op(), **given)


def test_the_current_of_chains_that_run_away_is_refused() -> None:
    class Away(nn.Module):
        def forward(self, s: torch.Tensor) -> torch.Tensor:
            return 1e3 * s

    operator = w.GaussianOperator(Away(), (2,), sigma=0.1)
    with pytest.raises(FloatingPointError, match="the chains run away"):
        w.probability_current(operator, start=X, bounds=((-1, 1), (-1, 1)), num_steps=2)


# --- the gradient of the bound on bits ------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 2])
def test_reinforce_has_the_exact_gradient_on_average(batch: int) -> None:
    torch.manual_seed(1)
    operator: Any = w.mlp_operator(1, (4,), kind="bernoulli").double()
    with torch.no_grad():
        for weight in operator.parameters():
            weight.normal_()
    once, prior = w.Schedule.constant(1), w.BernoulliPrior((1,))
    x, exact = torch.ones(1, 1, dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for bit in (0.0, 1.0):
        y = torch.full((1, 1), bit, dtype=torch.float64)
        forth = operator.log_prob(y, x, 1.0)
        log_weight = operator.log_prob(x, y, 1.0) - forth + prior.log_prob(y)
        exact = exact - (forth.exp() * log_weight).sum()
    exact.backward()
    bias = operator.net.last.bias
    wanted = float(bias.grad)
    random, found = torch.Generator().manual_seed(0), []
    for _ in range(1200):
        operator.zero_grad()
        w.walkback_loss(
            operator, x.expand(batch, 1), once, mode="elbo", prior=prior, estimator="reinforce",
            generator=random,
        )[0].backward()  # fmt: skip
        found.append(float(bias.grad))
    error = np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found) - wanted) < 3.5 * error + 1e-12


# --- resuming -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operator", "settings"),
    [
        ({}, {"schedule": w.Schedule.geometric(7, 1.3)}),
        ({"sigma": 0.4}, {}),
        ({"skip": "leak"}, {}),
        ({"temperature_power": 2.0}, {}),
        ({"scale": 5.0}, {}),
        ({}, {"data": X + 5}),
        ({}, {"warmup": 3}),
        ({}, {"final_lr": 0.5}),
        ({}, {"grad_clip": 0.1}),
        ({}, {"val_data": X[:9]}),
        ({}, {"eval_every": 2}),
        ({}, {"adapt_every": 2}),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(
    operator: dict[str, Any], settings: dict[str, Any], tmp_path: Path
) -> None:
    class Stop:
        def on_step(self, info: w.StepInfo) -> None:
            if info.step == 2:
                raise KeyboardInterrupt

    folder: dict[str, Any] = {"checkpoint_dir": tmp_path}
    with pytest.raises(KeyboardInterrupt):
        w.fit(op(), X, callbacks=[Stop()], **SHORT, **folder)
    changed = {"data": X} | SHORT | settings
    with pytest.raises(CheckpointError, match="written by another configuration"):
        w.fit(op(**operator), resume=True, **folder, **changed)
    w.fit(op(), X, resume=True, **SHORT, **folder)


def test_a_table_of_pandas_is_learned_and_mixed_columns_are_refused() -> None:
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(X.numpy(), columns=["a", "b"])
    losses = [w.fit(op(), data, **SHORT).history["loss"] for data in (table, X.numpy())]
    assert np.array_equal(*losses)
    table["c"] = "text"
    with pytest.raises(TypeError, match="data must hold numbers in all columns"):
        w.fit(op(), table, **SHORT)


def test_a_full_covariance_needs_more_rows_than_dimensions() -> None:
    with pytest.raises(ValueError, match="more rows than dimensions, got 5 rows of 5"):
        w.GaussianPrior.from_data(torch.randn(5, 5), covariance="full")
    assert w.GaussianPrior.from_data(torch.randn(6, 5), covariance="full").cov.shape == (5, 5)
