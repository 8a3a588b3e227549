"""What can be said by hand: the three means, the states of the pool, the moments of a prior."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tractable.walkback import (
    BernoulliPrior,
    GaussianOperator,
    GaussianPrior,
    Schedule,
    TransitionOperator,
    detailed_balance_test,
    fit,
    inpaint,
    level_table,
    probability_current,
    rotation_operator,
    sample,
)
from tractable.walkback.chain_records import jackknife


class Told(nn.Module):
    """F that puts out 0.3 times what it sees and keeps it."""

    def forward(self, s: Tensor, features: Tensor | None = None) -> Tensor:
        self.saw, self.told = s, features
        return 0.3 * s


def operator(net: nn.Module, **settings) -> GaussianOperator:
    return GaussianOperator(net, (2,), time_conditioning="log_temperature", **settings)


def test_the_preconditioned_mean_is_the_formula() -> None:
    net = Told()
    op = operator(net, skip="preconditioned", sigma=0.5, scale=1.2)
    s = torch.tensor([[1.0, -2.0]])
    v, c2 = 9.0 * 0.5**2, 1.2**2
    seen = s / math.sqrt(c2 + v)
    expected = c2 / (c2 + v) * s + math.sqrt(v * c2 / (c2 + v)) * 0.3 * seen
    torch.testing.assert_close(op.mean(s, 9.0), expected)
    torch.testing.assert_close(net.saw, seen)
    l = math.log(1.5)  # of the noise's standard deviation
    features = [l, math.sin(l), math.cos(l), math.sin(2 * l), math.cos(2 * l)]
    torch.testing.assert_close(net.told, torch.tensor([features]))


def test_the_gaussian_mean_is_the_formula_for_each_component() -> None:
    sigma, variances = torch.tensor([0.5, 0.2]), torch.tensor([4.0, 0.1])
    op = operator(Told(), skip="gaussian", sigma=sigma, variances=variances)
    s = torch.tensor([[1.0, -2.0]])
    sd = 2.0 * sigma  # at T = 4; the second component's noise is wider than itself
    seen = 0.3 * s / math.sqrt(1 + 1.0**2)  # scaled by the largest sigma
    keep = torch.tensor([math.sqrt(1 - 1.0 / 4.0), 0.0])
    expected = keep * s + torch.tensor([1.0, math.sqrt(0.1)]) * seen
    torch.testing.assert_close(op.mean(s, 4.0), expected)
    torch.testing.assert_close(op.std(s, 4.0), sd)


def test_the_leak_scales_its_input_only_when_asked() -> None:
    s = torch.tensor([[1.0, -2.0]])
    for scaled, over in ((False, 1.0), (True, math.sqrt(1 + 4 * 0.5**2 / 1.5**2))):
        op = operator(Told(), alpha=0.2, sigma=0.5, scale=1.5, input_scaling=scaled)
        torch.testing.assert_close(op.mean(s, 4.0), 0.8 * s + 0.2 * 0.3 * s / over)


class Counting(TransitionOperator):
    """A step adds 1, so that a state says how many steps it has walked from data at 0."""

    event_shape = (1,)

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.pairs: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []

    def sample(self, s, temperature, *, step=None, generator=None):
        return s + 1

    def log_prob(self, s_next, s, temperature, *, step=None, reduce=True):
        t = torch.as_tensor(temperature)
        self.pairs.append((s_next[:, 0].clone(), s[:, 0].clone(), t.clone(), step))
        return self.weight * s[:, 0] - self.weight.square()


@pytest.mark.parametrize("update", ["pool", "accumulate", "online"])
def test_every_pair_is_one_step_of_a_walk_at_its_own_temperature(update: str) -> None:
    op, schedule = Counting(), Schedule.geometric(4, 2.0, num_cold=1)
    fit(op, torch.zeros(20, 1), schedule=schedule, steps=6, batch_size=3, update=update,
        ema=None, progress=False)  # fmt: skip
    assert op.pairs
    levels = set()
    for colder, hotter, temperature, step in op.pairs:
        walked = torch.as_tensor(step).float().expand(len(colder))
        torch.testing.assert_close(colder, walked)  # slot t holds what has walked t steps
        torch.testing.assert_close(hotter, walked + 1)
        expected = schedule.temperatures.float()[walked.long()]
        torch.testing.assert_close(temperature.float().expand(len(colder)), expected)
        levels |= set(walked.int().tolist())
    assert levels == set(range(5))


def test_a_prior_has_the_moments_of_what_it_was_given() -> None:
    random = torch.Generator().manual_seed(0)
    x = torch.randn(500, 3, generator=random, dtype=torch.float64) @ torch.tensor(
        [[2.0, 0.0, 1.0], [0.0, 0.5, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64
    ) + torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64)
    covariance = torch.cov(x.T, correction=0)
    for kind in ("diag", "full"):
        prior = GaussianPrior.from_data(x, covariance=kind)
        torch.testing.assert_close(prior.mean, x.mean(0))
        torch.testing.assert_close(prior.variance, covariance.diagonal())
        whole = covariance if kind == "full" else torch.diag(covariance.diagonal())
        torch.testing.assert_close(prior.cov, whole)
        law = torch.distributions.MultivariateNormal(x.mean(0), whole)
        torch.testing.assert_close(prior.log_prob(x), law.log_prob(x), rtol=1e-7, atol=1e-7)
        drawn = prior.sample(200_000, generator=random).double()
        torch.testing.assert_close(torch.cov(drawn.T), whole, rtol=0.03, atol=0.03)


def test_moments_are_mixed_with_the_decay() -> None:
    a, b = torch.tensor([[0.0], [2.0]]), torch.tensor([[4.0], [8.0]])
    prior = GaussianPrior.from_data(a)
    prior.update_(b, 0.75)
    mean, second = 0.75 * 1 + 0.25 * 6, 0.75 * 2 + 0.25 * 40
    assert float(prior.mean) == pytest.approx(mean)
    assert float(prior.variance) == pytest.approx(second - mean**2)
    bits = BernoulliPrior.from_data(torch.tensor([[0.0], [1.0]]))
    bits.update_(torch.tensor([[1.0], [1.0]]), 0.75)
    assert float(bits.probability) == pytest.approx(0.625)


def test_moments_of_what_is_not_finite_and_unknown_words_are_refused() -> None:
    with pytest.raises(ValueError, match="s must be finite"):
        GaussianPrior.from_data(torch.full((3, 2), float("nan")))
    with pytest.raises(ValueError, match=r"sigma \(a number, or a word\) must be one of 'scalar'"):
        operator(Told(), sigma="fixed")


def test_levels_compare_states_of_one_temperature() -> None:
    class Stretch(TransitionOperator):
        """Multiplies by the temperature: what a state has gone through can be read off."""

        event_shape = (2,)

        def sample(self, s, temperature, *, step=None, generator=None):
            return s * temperature

    random = torch.Generator().manual_seed(0)
    x = torch.randn(400, 2, generator=random) * torch.tensor([1.0, 0.2])
    schedule = Schedule(torch.tensor([1.0, 2.0, 4.0]))
    found = level_table(Stretch(), x, schedule, GaussianPrior((2,)), n=300, generator=random)
    assert found.temperature.tolist() == [1.0, 2.0, 4.0]
    walked, generated = found.walked[:, 0], found.generated[:, 0]
    assert walked / walked[0] == pytest.approx([1.0, 4.0, 64.0], rel=1e-5)  # after the step
    assert generated / generated[-1] == pytest.approx([64.0, 16.0, 1.0], rel=1e-5)  # before it
    assert walked[0] == pytest.approx(1.0, rel=0.3)  # the widest component comes first
    assert found.walked[0, 1] == pytest.approx(0.04, rel=0.3)
    assert (found.mmd2 > 0.01).all()


def test_known_values_reach_the_unknown_ones() -> None:
    class Copy(TransitionOperator):
        """Puts the first entry into both."""

        event_shape = (2,)

        def sample(self, s, temperature, *, step=None, generator=None):
            return s[:, :1].expand(-1, 2)

    x = torch.tensor([[5.0, float("nan")], [-3.0, float("nan")]])
    found = inpaint(
        Copy(), x, torch.tensor([True, False]), schedule=Schedule.constant(1),
        prior=GaussianPrior((2,)),
    )  # fmt: skip
    assert torch.equal(found, x[:, :1].expand(-1, 2))


def test_the_prior_of_walks_has_the_heat_of_every_step() -> None:
    walk = GaussianOperator(nn.Identity(), (2,), sigma=0.3)  # mean s
    x = torch.randn(2000, 2, generator=torch.Generator().manual_seed(0))
    prior = GaussianPrior.from_paths(
        walk, x, Schedule(torch.tensor([1.0, 10.0])), 8000,
        generator=torch.Generator().manual_seed(1),
    )  # fmt: skip
    expected = float(x.var(0).mean()) + (1 + 10) * 0.3**2
    assert float(prior.variance.mean()) == pytest.approx(expected, rel=0.05)


class Moved(TransitionOperator):
    """Moves without noise."""

    event_shape = (2,)

    def __init__(self, move) -> None:
        super().__init__()
        self.move = move

    def sample(self, s, temperature, *, step=None, generator=None):
        return s + self.move(s)


def test_a_current_is_counted_half_where_a_move_begins_and_half_where_it_ends() -> None:
    field = probability_current(
        Moved(lambda s: torch.tensor([1.0, 2.0])), bounds=((0, 4), (0, 4)), bins=4,
        start=torch.full((6, 2), 0.5), burn_in=0, num_steps=1,
    )  # fmt: skip
    expected = np.zeros((4, 4, 2))
    expected[0, 0] = expected[1, 2] = [0.5, 1.0]
    assert field.current == pytest.approx(expected)
    assert field.drift[0, 0] == pytest.approx([1.0, 2.0])
    assert field.density[0, 0] == pytest.approx(1.0)
    assert field.divergence[1, 1] == pytest.approx((1.0 - 0.0) / 2)  # in y; in x it is 0


def test_the_error_of_a_current_is_that_of_the_mean_of_its_chains() -> None:
    height = torch.arange(40) / 40
    field = probability_current(
        Moved(lambda s: torch.stack([0.4 * s[:, 1], torch.zeros(len(s))], 1)),
        bounds=((0, 2), (0, 2)), bins=2, burn_in=0, num_steps=1,
        start=torch.stack([torch.full((40,), 0.5), height], 1),
    )  # fmt: skip
    moves = 0.4 * height.numpy()  # all within one cell: both halves are counted there
    assert field.current[0, 0, 0] == pytest.approx(moves.mean())
    assert field.current_se[0, 0, 0] == pytest.approx(moves.std(ddof=1) / math.sqrt(40))


def test_the_jackknife_of_a_mean_is_its_standard_error() -> None:
    values = np.random.default_rng(0).normal(size=40)
    groups = values.reshape(2, 20).mean(0)  # chains k and k + 20 are one group
    found = jackknife(lambda kept: float(values[kept].mean()), 40)
    assert found == pytest.approx(groups.std(ddof=1) / math.sqrt(20))


def test_heat_alone_tells_a_rotation_from_equilibrium() -> None:
    found = detailed_balance_test(
        rotation_operator(0.9, 0.2), start=torch.zeros(400, 2, dtype=torch.float64), burn_in=30,
        num_steps=20, num_chains=400, n_components=1, generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    assert found.names == ("heat", "cubic 0")
    assert found.z[0] > 5
    assert found.p_value < 1e-6


def test_records_of_a_chain_know_their_temperature() -> None:
    found = sample(
        Moved(lambda s: 1.0), 3, schedule=Schedule(torch.tensor([1.0, 2.0, 4.0])),
        prior=GaussianPrior((2,)), extra_steps=1, record_every=1,
    )  # fmt: skip
    assert found.steps == (0, 1, 2, 3, 4)
    assert found.temperatures == (4.0, 4.0, 2.0, 1.0, 1.0)
    torch.testing.assert_close(found.states[4], found.states[0] + 4)
