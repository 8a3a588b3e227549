"""Training: the gradient of the objective, resuming, stopping, and what is refused."""

from __future__ import annotations

import math
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tractable.core.checks import quiet
from tractable.walkback import (
    GaussianOperator,
    GaussianPrior,
    NoHeatingWarning,
    Schedule,
    SigmaCollapseWarning,
    fit,
    log_likelihood_bound,
    mlp_operator,
    sample,
    swiss_roll,
    walkback_loss,
    walkback_path,
)
from tractable.walkback.objective import pair_loss

DATA = torch.randn(500, 2, generator=torch.Generator().manual_seed(0))


def small(seed: int = 0, **settings) -> GaussianOperator:
    torch.manual_seed(seed)
    settings = {"sigma": 0.2, "skip": "preconditioned"} | settings
    return mlp_operator(2, (16,), **settings)


class Shifted(GaussianOperator):
    """Samples with a shift that no density knows of."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(2, 2), (2,), sigma=0.5)
        self.shift = nn.Parameter(torch.tensor(0.3))

    def sample(self, s, temperature, *, step=None, generator=None):
        return super().sample(s, temperature, step=step, generator=generator) + self.shift


def test_the_gradient_enters_through_the_way_back_only() -> None:
    torch.manual_seed(0)
    operator, schedule = Shifted().double(), Schedule.geometric(4, 1.5)
    x = DATA[:50].double()
    loss, _ = walkback_loss(operator, x, schedule, generator=torch.Generator().manual_seed(1))
    loss.backward()
    assert operator.shift.grad is None
    found = operator.net.weight.grad.clone()
    operator.zero_grad()
    states = walkback_path(operator, x, schedule, generator=torch.Generator().manual_seed(1)).states
    total = sum(
        operator.log_prob(states[t], states[t + 1], temperature).sum()
        for t, temperature in enumerate(schedule.temperatures.tolist())
    )
    (-total / (4 * 50)).backward()
    assert torch.allclose(found, operator.net.weight.grad, rtol=1e-6, atol=1e-12)
    operator.zero_grad()
    prior = GaussianPrior.from_data(x)
    walkback_loss(operator, x, schedule, mode="elbo", prior=prior)[0].backward()
    assert float(operator.shift.grad.abs()) > 0


def test_source_and_target_of_a_path_by_hand() -> None:
    class Zero(nn.Module):
        def forward(self, s: torch.Tensor) -> torch.Tensor:
            return torch.zeros_like(s)

    operator = GaussianOperator(Zero(), (1,), alpha=0.5, sigma=1.0)  # mean 0.5 s
    path = torch.tensor([[1.0], [2.0], [-2.0]])
    hot = torch.ones(2)
    loss = pair_loss(operator, path[1:], path[:-1], hot)
    half = 0.5 * math.log(2 * math.pi)
    by_hand = ((1 - 1.0) ** 2 + (2 + 1.0) ** 2) / 4 + half
    assert float(loss) == pytest.approx(by_hand, abs=1e-6)
    assert float(pair_loss(operator, path[:-1], path[1:], hot)) != pytest.approx(by_hand, abs=0.1)


def test_a_walk_that_does_nothing_has_the_bound_of_the_prior() -> None:
    operator = GaussianOperator(nn.Identity(), (2,), sigma=0.1).double()
    x, prior = DATA[:20].double(), GaussianPrior.from_data(DATA.double())
    schedule = Schedule.geometric(5, 1.3)
    found = log_likelihood_bound(
        operator, x, schedule=schedule, prior=prior, num_paths=4, estimator="bound",
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    assert found.bound.mean() == pytest.approx(found.prior_term, abs=1e-9)


class Interrupted(GaussianOperator):
    """Gets a Ctrl-C while it scores, in the middle of an iteration."""

    left = 8

    def log_prob(self, *args, **settings):
        self.left -= 1
        if self.left == 0:
            signal.raise_signal(signal.SIGINT)
        return super().log_prob(*args, **settings)


class Stop:
    """Interrupts after an iteration."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, info) -> None:
        if info.step == self.step:
            raise KeyboardInterrupt


@pytest.fixture
def listening() -> Iterator[None]:
    """Take SIGINT as in a terminal; a process in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("listening")
@pytest.mark.parametrize(
    ("update", "stop"),
    [("pool", 6), ("accumulate", 8), ("online", 6), ("pool", 8), ("pool", None), ("online", None)],
)  # 8: an evaluation is due; None: Ctrl-C within an iteration
def test_a_resumed_run_has_the_bits_of_a_whole_one(
    tmp_path: Path, update: str, stop: int | None
) -> None:
    settings = {
        "schedule": Schedule.geometric(5, 1.4), "update": update, "steps": 12, "batch_size": 8,
        "val_data": DATA[:50], "eval_every": 4, "progress": False, "device": "cpu",
    }  # fmt: skip
    cut = small()
    callbacks = [] if stop is None else [Stop(stop)]
    if stop is None:
        cut.__class__ = Interrupted
    with quiet():
        whole = fit(small(), DATA, **settings)
        with pytest.raises(KeyboardInterrupt):
            fit(cut, DATA, callbacks=callbacks, checkpoint_dir=tmp_path, **settings)
        again = fit(small(1), DATA, checkpoint_dir=tmp_path, resume=True, **settings)
    for name, value in whole.history.items():
        assert np.array_equal(value, again.history[name], equal_nan=True), name
    for a, b in zip(whole.ema_operator.parameters(), again.ema_operator.parameters(), strict=True):
        assert torch.equal(a, b)
    assert torch.equal(whole.prior.second, again.prior.second)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_run_that_stopped_early_stays_so_when_resumed(tmp_path: Path) -> None:
    settings = {
        "schedule": Schedule.geometric(3, 1.4), "steps": 60, "batch_size": 8, "lr": 1e-9,
        "val_data": DATA[:50], "eval_every": 1, "patience": 2, "progress": False, "device": "cpu",
    }  # fmt: skip
    first = fit(small(), DATA, checkpoint_dir=tmp_path, **settings)
    bound = first.history["bound"]
    assert len(bound) < 60
    assert len(bound) == int(np.argmax(bound)) + 1 + 2  # patience: two that were no better
    again = fit(small(1), DATA, checkpoint_dir=tmp_path, resume=True, **settings)
    assert np.array_equal(bound, again.history["bound"])


def test_a_net_that_drops_out_units_resumes_too(tmp_path: Path) -> None:
    def dropping() -> GaussianOperator:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(2, 8), nn.Dropout(0.5), nn.Linear(8, 2))
        return GaussianOperator(net, (2,), sigma=0.3)

    settings = {"schedule": Schedule.geometric(4, 1.5), "steps": 12, "progress": False}
    whole = fit(dropping(), DATA, device="cpu", **settings)
    with pytest.raises(KeyboardInterrupt):
        fit(
            dropping(), DATA, device="cpu", callbacks=[Stop(5)], checkpoint_dir=tmp_path, **settings
        )
    again = fit(dropping(), DATA, device="cpu", checkpoint_dir=tmp_path, resume=True, **settings)
    assert np.array_equal(whole.history["loss"], again.history["loss"])


def test_callbacks_see_epochs_the_running_prior_and_the_dissipation() -> None:
    class Watch:
        def __init__(self) -> None:
            self.epochs, self.width, self.rate = [], math.nan, None

        def on_epoch(self, info) -> None:
            self.epochs.append(info.step)
            self.width = float(info.prior.variance.mean())
            self.rate = info.entropy_production(50, generator=torch.Generator().manual_seed(0))

    watch = Watch()
    operator = GaussianOperator(nn.Linear(2, 2), (2,), sigma=0.3, alpha=1e-6)  # a random walk
    fit(
        operator, DATA, schedule=Schedule(torch.tensor([1.0, 10.0])), steps=500, batch_size=2,
        callbacks=[watch], progress=False, device="cpu",
    )  # fmt: skip
    assert watch.epochs == [250, 500]
    # The prior follows the walks' ends: the data, and the noise of both steps.
    assert watch.width == pytest.approx(float(DATA.var(0).mean()) + 11 * 0.09, rel=0.15)
    assert abs(watch.rate.rate) < 4 * watch.rate.se + 1e-6


@pytest.mark.parametrize("monitor", ["bound", "importance"])
def test_the_best_evaluation_is_that_of_what_is_monitored(monitor: str) -> None:
    found = fit(
        small(), DATA, schedule=Schedule.geometric(8, 2.0), steps=40, batch_size=8, lr=0.3,
        ema=0.5, warmup=0, val_data=DATA[:60], eval_every=2, monitor=monitor, progress=False,
        device="cpu",
    )  # fmt: skip
    history = found.history
    assert (history["importance"] >= history["bound"]).all()
    assert found.best_step == history["eval_step"][int(np.argmax(history[monitor]))]


def test_chunks_do_not_change_samples() -> None:
    operator, prior = small(), GaussianPrior((2,))
    draws = [
        sample(operator, 2500, schedule=Schedule.geometric(4, 1.5), prior=prior, chunk=chunk,
               generator=torch.Generator().manual_seed(0))
        for chunk in (1024, 4096)
    ]  # fmt: skip
    assert torch.allclose(draws[0], draws[1], atol=1e-6)


def test_a_collapsing_noise_is_reported_and_the_best_bound_is_kept() -> None:
    operator = small(sigma="learned", skip="leak", time_conditioning="none", sigma_min=0.05)
    with pytest.warns(SigmaCollapseWarning, match="floor"):
        found = fit(
            operator, DATA, schedule=Schedule.constant(3), steps=200, batch_size=64, lr=2e-2,
            val_data=DATA[:100], eval_every=20, progress=False, device="cpu",
        )  # fmt: skip
    history = found.history
    assert history["loss"][-20:].mean() < history["loss"][:20].mean()
    assert found.best_step == history["eval_step"][int(np.argmax(history["bound"]))]


def test_the_objective_grows_while_the_bound_falls() -> None:
    """With a tiny floor of the noise: the bound, not the objective, says which weights to keep."""
    x = torch.from_numpy(swiss_roll().sample(2000, 0)).float()
    torch.manual_seed(0)
    operator = mlp_operator(
        2, (32,), sigma="learned", sigma_start=0.1, sigma_min=1e-4, skip="leak",
        time_conditioning="none",
    )  # fmt: skip
    with quiet():
        found = fit(
            operator, x, schedule=Schedule.constant(4), steps=500, batch_size=32, lr=5e-3,
            val_data=x[:200], eval_every=50, progress=False, device="cpu", ema=0.9,
        )  # fmt: skip
    history, best = found.history, found.best_step
    assert best < 500
    assert history["loss"][-50:].mean() < history["loss"][best - 50 : best].mean() - 0.2
    assert history["bound"][-1] < history["bound"].max()
    assert history["sigma"][-1] < history["sigma"][best // 50 - 1]


def test_one_seed_gives_one_history_and_a_new_ladder_resumes(tmp_path: Path) -> None:
    settings = {
        "schedule": Schedule.geometric(3, 1.5), "steps": 12, "batch_size": 8, "adapt_every": 4,
        "progress": False, "device": "cpu",
    }  # fmt: skip

    with quiet():
        whole, twin = fit(small(), DATA, **settings), fit(small(), DATA, **settings)
        with pytest.raises(KeyboardInterrupt):
            fit(small(), DATA, callbacks=[Stop(8)], checkpoint_dir=tmp_path, **settings)
        again = fit(small(1), DATA, checkpoint_dir=tmp_path, resume=True, **settings)
    assert len(whole.schedule) > 3  # fitted to the data's width
    for other in (twin, again):
        assert np.array_equal(whole.history["loss"], other.history["loss"])
        assert torch.equal(whole.schedule.temperatures, other.schedule.temperatures)


def test_a_walk_that_does_not_heat_is_reported() -> None:
    class Undo(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(0.0))

        def forward(self, s: torch.Tensor) -> torch.Tensor:
            return self.scale * s

    class Cold(GaussianOperator):
        def sample(self, s, temperature, *, step=None, generator=None):
            return s.clone()

    operator = Cold(Undo(), (2,), sigma=0.3, alpha=1.0)
    with pytest.warns(NoHeatingWarning, match="undoes"):
        fit(operator, DATA, schedule=Schedule.geometric(12, 2.0), steps=2, progress=False)


def test_states_that_overflow_are_named() -> None:
    operator = small()
    with torch.no_grad():
        operator.net.last.bias.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match=r"iteration 0.*T = "):
        fit(operator, DATA, schedule=Schedule.geometric(4), steps=2, progress=False, device="cpu")


def test_half_precision_has_the_same_bound() -> None:
    schedule, found = Schedule.geometric(8, 1.5), []
    for amp in (None, "bf16"):
        result = fit(
            small(), DATA, schedule=schedule, steps=100, batch_size=32, amp=amp, progress=False,
            device="cpu",
        )  # fmt: skip
        with quiet():
            found.append(log_likelihood_bound(
                result.ema_operator, DATA[:100], schedule=schedule, prior=result.prior,
                num_paths=16, generator=torch.Generator().manual_seed(0),
            ).mean)  # fmt: skip
    assert found[1] == pytest.approx(found[0], rel=0.02)


def test_bad_arguments_are_named() -> None:
    schedule = Schedule.geometric(3)
    with pytest.raises(ValueError, match="steps or epochs"):
        fit(small(), DATA, schedule=schedule)
    with pytest.raises(ValueError, match="update"):
        fit(small(), DATA, schedule=schedule, steps=1, update="pond")
    with pytest.raises(ValueError, match="GPU"):
        fit(small(), DATA, schedule=schedule, steps=1, amp="fp16", device="cpu")
    binary, bits = mlp_operator(2, (4,), kind="bernoulli"), (DATA[:4] > 0).float()
    with pytest.raises(ValueError, match="reinforce"):
        walkback_loss(binary, bits, schedule, mode="elbo", prior=GaussianPrior((2,)))
    with pytest.raises(ValueError, match="NaN"):
        fit(small(), DATA * float("nan"), schedule=schedule, steps=1)
