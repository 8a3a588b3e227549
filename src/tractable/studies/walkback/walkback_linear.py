"""Walkback where everything can be solved: a linear operator with Gaussian noise."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np

from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

EXACT = "exact: linear operator with Gaussian noise (docs/theory/walkback.md)"
TRAINING = "derived: damped time reversal ends in detailed balance (W22)"
COVARIANCE = np.diag([1.0, 2.0])
NATS, ONE, RATE = {"units": "nats"}, {"units": "1"}, {"units": "nats/step"}
OPERATORS = ("rotation", "reversible", "asymmetric")
FACTORS = (2.0, 1.5, 1.25, 1.1)
LENGTHS = (12, 20, 36, 84)
TIED = (2.0, 1.3, 1.0)
SIGMA = 0.05


def operators() -> list[tuple[np.ndarray, np.ndarray]]:
    """Return A and D of the operators that are measured."""
    from tractable.walkback import reversible_operator

    c, s = 0.8 * np.cos(0.4), 0.8 * np.sin(0.4)
    return [
        (np.array([[c, -s], [s, c]]), np.eye(2)),
        reversible_operator([[1.0, 0.3], [0.3, 2.0]], [[0.6, 0.2], [0.2, -0.1]]),
        (np.array([[0.7, 0.4], [-0.1, 0.5]]), np.diag([0.5, 1.0])),
    ]


@dataclass(frozen=True)
class WalkbackLinear(Study):
    """A linear operator: stationary law, irreversibility, bound, training, solved and simulated."""

    paper: ClassVar = Paper(
        "Goyal, Ke, Ganguli, Bengio",
        2017,
        "Variational Walkback: Learning a Transition Operator as a Stochastic Recurrent Net",
        arxiv="1711.02282",
    )
    presets: ClassVar = {
        "smoke": {"n_updates": 20, "n_chains": 400, "n_paths": 2000, "tied_updates": 0},
        "paper": {"n_updates": 1500, "n_chains": 20_000, "n_paths": 2_000_000},
    }

    n_updates: Annotated[int, Range(1, 100_000, log=True)] = 300
    """Adam updates of the operator that is trained at one temperature."""
    tied_updates: Annotated[int, Range(0, 100_000)] = 3000
    """Updates of one operator for all temperatures, for each factor; 0 leaves it out."""
    n_chains: Annotated[int, Range(40, 1_000_000, log=True)] = 4000
    """Chains of the measured rates and of generated variances."""
    n_paths: Annotated[int, Range(10, 10_000_000, log=True)] = 200_000
    """Walks of the measured bound."""

    def measure(self, run: Run) -> xr.Dataset:
        import xarray as xr

        parts = [
            rates(run, self.n_chains),
            bounds(run.seed, self.n_paths),
            training(run.seed, self.n_updates),
            ladders(run.seed, self.n_chains),
            tied(run, self.tied_updates),
        ]
        return xr.merge(parts)

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        return closed_forms().copy(deep=True)

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        for name in OPERATORS:
            own, exact = measured.sel(operator=name), theory.sel(operator=name)
            yield Check(f"{name}: entropy production of chains", float(own.rate),
                        float(exact.rate), atol=4 * float(own.rate_se), source=EXACT)  # fmt: skip
            yield Check(f"{name}: circulation of chains", float(own.area), float(exact.area),
                        atol=4 * float(own.area_se), source=EXACT)  # fmt: skip
            yield Check(f"{name}: uncertainty bound stays below the entropy production",
                        float(own.tur), float(exact.rate), atol=3 * float(own.tur_se),
                        kind="at_most", source="Proesmans, Van den Broeck 2017 (W28)")  # fmt: skip
        yield Check("bound by walks", float(measured.bound), float(theory.bound),
                    atol=4 * float(measured.bound_se), source=EXACT)  # fmt: skip
        yield Check("importance estimate of all walks", float(measured.importance),
                    float(theory.log_prob), atol=2 / np.sqrt(self.n_paths / 1000),
                    source=EXACT)  # fmt: skip
        if self.n_updates >= 300:
            yield Check("entropy production after training over its start",
                        float(measured.trained_rate[-1] / theory.damped_rate[0]), 0.01,
                        kind="at_most", source=TRAINING)  # fmt: skip
            worst = float(abs(measured.trained_variance / theory.variance - 1).max())
            yield Check("relative error of the trained stationary variances", worst, 0.1,
                        kind="at_most", source=TRAINING)  # fmt: skip
        for i, factor in enumerate(FACTORS):
            yield Check(f"variance generated after a ladder of factor {factor:g}",
                        float(measured.generated[i]), float(theory.generated[i]),
                        rtol=4 * np.sqrt(2 / self.n_chains), source=EXACT + ", W24")  # fmt: skip
        yield Check("fast heating dissipates more: total at factor 2 over that at 1.1",
                    float(measured.dissipated[0] / measured.dissipated[-1]),
                    float(theory.dissipation[0] / theory.dissipation[-1]), rtol=0.5,
                    source=EXACT + ", W24")  # fmt: skip
        if self.tied_updates >= 3000:
            for i, factor in enumerate(TIED):
                yield Check(f"cold variance of an operator for all temperatures, factor {factor:g}",
                            float(measured.tied[i]), float(theory.tied[i]), atol=0.1,
                            source="derived: W23")  # fmt: skip

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        yield (
            f"Training pulls the operator toward detailed balance: its entropy production falls "
            f"from {float(theory.damped_rate[0]):.3f} to {float(measured.trained_rate[-1]):.2g} "
            f"nats per step in {self.n_updates} updates."
        )
        rows = [
            (
                name, f"{float(theory.rate[i]):.4f}",
                f"{float(measured.rate[i]):.4f} ± {float(measured.rate_se[i]):.4f}",
                f"{float(measured.counts[i]):.4f} ± {float(measured.counts_se[i]):.4f}",
                f"{float(measured.tur[i]):.4f} ± {float(measured.tur_se[i]):.4f}",
            )
            for i, name in enumerate(OPERATORS)
        ]  # fmt: skip
        yield Table("Entropy production, nats per step",
                    ("operator", "exact", "density", "counts", "uncertainty bound"),
                    tuple(rows))  # fmt: skip
        yield (
            f"The bound on log p is {float(theory.bound):.4f} nats exactly and "
            f"{float(measured.bound):.4f} ± {float(measured.bound_se):.4f} by walks; log p is "
            f"{float(theory.log_prob):.4f}."
        )
        ratio = float(theory.small_step_error[1] / theory.small_step_error[2])
        yield (
            f"Ten times smaller steps bring the rate {ratio:.2f} times closer to that of "
            "continuous time."
        )

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable import plot

        fall, (left, right) = plot.new(1, 2, size=(8.4, 3.2))
        at = np.arange(theory.sizes["iteration"])
        fall_of = theory.damped_rate.where(theory.damped_rate > 1e-12)  # below: rounding
        plot.theory(left, at, fall_of, label="partial steps")
        left.plot(at, theory.full_rate, "--", color="C1", label="full steps")
        left.set(xlabel="iteration", ylabel="entropy production, nats/step", yscale="log")
        left.legend(fontsize=7)
        shown = np.maximum(measured.trained_rate.values, 1e-12)
        plot.measurement(right, measured["update"], shown, label="Adam on samples", ms=3)
        right.set(xlabel="update", ylabel="entropy production, nats/step", yscale="log")
        right.legend(fontsize=7)
        fall.set_label(
            "Entropy production of a linear operator while it learns a Gaussian. Left: partial "
            "steps toward the time reversal end in detailed balance, full steps alternate for "
            "ever. Right: the same by gradient, measured on the operator."
        )
        heat, (one, two) = plot.new(1, 2, size=(8.4, 3.2))
        plot.theory(one, theory.factor, theory.dissipation)
        plot.measurement(one, theory.factor, measured.dissipated, error=measured.dissipated_se)
        one.set(xlabel="ladder factor f", ylabel="total dissipation, nats")
        one.legend(fontsize=7)
        plot.theory(two, theory.factor, theory.generated)
        error = measured.generated.values * np.sqrt(2 / self.n_chains)
        plot.measurement(two, theory.factor, measured.generated, error=error)
        two.set(xlabel="ladder factor f", ylabel="generated variance (data: 1)")
        two.legend(fontsize=7)
        heat.set_label(
            "What fast heating costs an operator that knows the temperature, for Gaussian data of "
            "variance 1: dissipation along the walk (left) and the variance of what it generates "
            "(right)."
        )
        return {"training": fall, "heating": heat}

    def cost(self, run: Run) -> Cost:
        steps = 80 * self.n_chains * 3 * 3 + 6 * self.n_paths + 4 * 512 * self.n_updates
        steps += 8 * 256 * 3 * self.tied_updates
        seconds = 2 + 1e-6 * steps + 2.5e-3 * (self.n_updates + 3 * self.tied_updates)
        return Cost(60.0 * steps, 400.0 * self.n_chains + 200.0 * 50_000, seconds)


def CASE() -> tuple[Any, ...]:  # one worked case, as a call
    """Return A, D, temperatures, prior and shift of the worked case of the bound."""
    return (
        np.array([[0.9, 0.1], [-0.05, 0.95]]), np.diag([0.04, 0.09]), 2.0 ** np.arange(6),
        np.zeros(2), 4 * np.eye(2), np.array([0.02, -0.01]),
    )  # fmt: skip


def random_of(seed: int, *names: object) -> Any:
    """Return a generator for a part of the study."""
    from tractable.core.seeds import derive, generator

    return generator(derive(seed, *names) % 2**62)


def rates(run: Run, n_chains: int) -> xr.Dataset:
    """Measure entropy production and circulation of chains, by three estimators."""
    import torch
    import xarray as xr

    from tractable.walkback import LinearGaussianOperator, entropy_production

    found: dict[str, list[float]] = {}
    for name, (a, d) in zip(OPERATORS, run.track(operators(), "chains"), strict=True):
        operator = LinearGaussianOperator(a, D=d)
        mean, cov = operator.stationary()
        random = random_of(run.seed, name)
        white = torch.randn(n_chains, 2, generator=random, dtype=torch.float64)
        start = white @ torch.from_numpy(np.linalg.cholesky(cov)).T + torch.from_numpy(mean)
        for method in ("density", "counts", "tur"):
            one = entropy_production(
                operator, start=start, burn_in=5, num_steps=40, num_chains=n_chains,
                method=method, bins=8, generator=random,
            )  # fmt: skip
            key = "rate" if method == "density" else method
            found.setdefault(key, []).append(one.rate)
            found.setdefault(f"{key}_se", []).append(one.se)
            if method == "density":
                assert one.area_rate is not None
                assert one.area_rate_se is not None
                found.setdefault("area", []).append(float(one.area_rate[0, 1]))
                found.setdefault("area_se", []).append(float(one.area_rate_se[0, 1]))
    return xr.Dataset(
        {name: ("operator", value, RATE) for name, value in found.items()},
        coords={"operator": list(OPERATORS)},
    )


def bounds(seed: int, n_paths: int) -> xr.Dataset:
    """Measure the bound of the worked case by walks."""
    import torch
    import xarray as xr

    from tractable.core.checks import quiet
    from tractable.walkback import (
        GaussianPrior,
        LinearGaussianOperator,
        Schedule,
        log_likelihood_bound,
    )

    a, d, hot, _, cov, b = CASE()
    prior = GaussianPrior((2,))
    prior.second.copy_(torch.tensor(np.diag(cov).copy()))
    with quiet():
        found = log_likelihood_bound(
            LinearGaussianOperator(a, b, d), torch.tensor([[0.3, -0.2]], dtype=torch.float64),
            schedule=Schedule(torch.from_numpy(hot)), prior=prior, num_paths=n_paths,
            chunk=50_000, generator=random_of(seed, "bound"),
        )  # fmt: skip
    return xr.Dataset(
        {
            "bound": ((), found.bound[0], NATS),
            "bound_se": ((), found.bound_se[0], NATS),
            "importance": ((), found.log_prob_is[0], NATS),
            "ess": ((), found.ess[0], {"units": "paths"}),
        }
    )


def training(seed: int, n_updates: int) -> xr.Dataset:
    """Train the rotation on Gaussian data at one temperature; record its exact rate."""
    import torch
    import xarray as xr

    from tractable.walkback import LinearGaussianOperator, Schedule, fit

    class Recorder:
        def __init__(self) -> None:
            self.step: list[int] = []
            self.rate: list[float] = []

        def on_step(self, info: Any) -> None:
            if info.step % max(1, n_updates // 30) == 0:
                self.step.append(info.step)
                self.rate.append(info.operator.entropy_production())

    x = torch.randn(20_000, 2, generator=random_of(seed, "data"), dtype=torch.float64)
    x = x * torch.from_numpy(np.sqrt(np.diag(COVARIANCE)))
    operator = LinearGaussianOperator(operators()[0][0], D=np.eye(2) / 2)
    kept = Recorder()
    kept.step, kept.rate = [0], [operator.entropy_production()]
    fit(
        operator, x, schedule=Schedule.constant(4), update="accumulate", steps=n_updates,
        batch_size=512, lr=5e-3, warmup=1, final_lr=1.0, ema=None, callbacks=(kept,),
        seed=seed, device="cpu", progress=False,
    )  # fmt: skip
    return xr.Dataset(
        {
            "trained_rate": ("update", kept.rate, RATE),
            "trained_variance": ("axis", np.diag(operator.stationary()[1]), ONE),
            "trained_noise": ("axis", np.diag(operator.D), ONE),
        },
        coords={"update": kept.step},
    )


def ladders(seed: int, n_chains: int) -> xr.Dataset:
    """Walk and generate with the conditioned operator of one Gaussian component, F = 0."""
    import torch
    import xarray as xr

    from tractable.core.checks import quiet
    from tractable.walkback import (
        GaussianOperator,
        GaussianPrior,
        Schedule,
        log_likelihood_bound,
        sample,
    )

    net = torch.nn.Linear(1, 1)
    for weight in net.parameters():
        torch.nn.init.zeros_(weight)
    operator = GaussianOperator(
        net, (1,), skip="gaussian", sigma=SIGMA, variances=torch.ones(1)
    ).eval()
    generated, lost, error = [], [], []
    for factor, length in zip(FACTORS, LENGTHS, strict=True):
        random = random_of(seed, "ladder", factor)
        schedule = Schedule.geometric(length, factor)
        x = torch.randn(n_chains, 1, generator=random)
        prior = GaussianPrior.from_paths(operator, x, schedule, n_chains, generator=random)
        y = sample(operator, n_chains, schedule=schedule, prior=prior, generator=random)
        generated.append(float(y.double().square().mean()))
        with quiet():
            bound = log_likelihood_bound(
                operator, x, schedule=schedule, prior=prior, num_paths=8, estimator="bound",
                generator=random,
            )  # fmt: skip
        # -E[bound] = H + KL(q_L || p*) + sum of sigma_t (W11). The prior has the walk's moments; of
        # x itself only its deviation from the entropy is noise, and log N(x) takes it away.
        exact = -0.5 * (x[:, 0].double().square().numpy() + np.log(2 * np.pi))
        gap = exact - bound.bound
        lost.append(float(gap.mean()))
        error.append(float(gap.std() / np.sqrt(n_chains)))
    return xr.Dataset(
        {
            "generated": ("factor", generated, ONE),
            "dissipated": ("factor", lost, NATS),
            "dissipated_se": ("factor", error, NATS),
        },
        coords={"factor": list(FACTORS)},
    )


def tied(run: Run, n_updates: int) -> xr.Dataset:
    """Train one operator of one number for all temperatures; return its cold variance."""
    import torch
    import xarray as xr

    from tractable.core.checks import quiet
    from tractable.walkback import LinearGaussianOperator, Schedule, fit

    x = torch.randn(20_000, 1, generator=random_of(run.seed, "tied"), dtype=torch.float64)
    variance = []
    for factor in run.track(TIED, "one operator for all temperatures"):
        operator = LinearGaussianOperator([[0.9]], D=[[0.01]])
        if n_updates:
            with quiet():
                fit(
                    operator, x, schedule=Schedule.geometric(8, factor), update="pool",
                    steps=n_updates, batch_size=256, lr=5e-3, warmup=1, final_lr=0.01, ema=None,
                    seed=run.seed, device="cpu", progress=False,
                )  # fmt: skip
        variance.append(float(operator.stationary()[1][0, 0]))
    return xr.Dataset({"tied": ("tied_factor", variance, ONE)}, coords={"tied_factor": list(TIED)})


@functools.cache
def closed_forms() -> xr.Dataset:
    """Return the theory's numbers; no field changes them."""
    import xarray as xr

    from tractable.walkback import (
        area_rate,
        damped_reversal,
        gaussian_ladder,
        linear_bound,
        linear_entropy_production,
        linear_log_prob,
        ou_entropy_production,
        tied_ladder,
    )

    pairs = operators()
    turn = pairs[0][0]
    history = damped_reversal(turn, np.eye(2) / 2, COVARIANCE, steps=100)
    full = damped_reversal(turn, np.eye(2) / 2, COVARIANCE, steps=100, damping=1.0)
    found = [
        gaussian_ladder(f ** np.arange(n), sigma=SIGMA, v=1.0)
        for f, n in zip(FACTORS, LENGTHS, strict=True)
    ]
    small = np.array([0.1, 0.01, 0.001])
    drift = np.array([[1.0, -1.5], [0.7, 2.0]])
    flow = ou_entropy_production(drift, np.eye(2))
    error = [
        abs(linear_entropy_production(np.eye(2) - drift * dt, 2 * np.eye(2) * dt) / dt - flow)
        for dt in small
    ]
    x = np.array([[0.3, -0.2]])
    return xr.Dataset(
        {
            "rate": ("operator", [linear_entropy_production(a, d) for a, d in pairs], RATE),
            "area": ("operator", [area_rate(a, d)[0, 1] for a, d in pairs], ONE),
            "bound": ((), linear_bound(x, *CASE())[0][0], NATS),
            "log_prob": ((), linear_log_prob(x, *CASE())[0], NATS),
            "damped_rate": ("iteration", history.rate, RATE),
            "full_rate": ("iteration", full.rate, RATE),
            "variance": ("axis", np.diag(COVARIANCE), ONE),
            "generated": ("factor", [one.generated for one in found], ONE),
            "end": ("factor", [one.walked[-1] for one in found], ONE),
            "dissipation": ("factor", [one.dissipation.sum() for one in found], NATS),
            "tied": ("tied_factor", [tied_ladder(f ** np.arange(8))[2] for f in TIED], ONE),
            "small_step_error": ("dt", error, RATE),
        },
        coords={"operator": list(OPERATORS), "factor": list(FACTORS),
                "tied_factor": list(TIED), "dt": small},
    )  # fmt: skip
