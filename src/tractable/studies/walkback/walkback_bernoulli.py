"""Walkback on a few bits: every state is visited, so every claim is exact."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np

from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

EXACT = "exact: enumeration of all states (docs/theory/walkback.md, W11)"
NATS, ONE = {"units": "nats"}, {"units": "1"}


@dataclass(frozen=True)
class WalkbackBernoulli(Study):
    """An operator on bits: exact likelihood, bound, where the bound goes, irreversibility."""

    paper: ClassVar = Paper(
        "Goyal, Ke, Ganguli, Bengio",
        2017,
        "Variational Walkback: Learning a Transition Operator as a Stochastic Recurrent Net",
        arxiv="1711.02282",
    )
    presets: ClassVar = {
        "smoke": {"n_bits": 4, "n_updates": 20, "n_chains": 400, "n_paths": 200},
        "paper": {"n_bits": 10, "n_updates": 5000},
    }

    n_bits: Annotated[int, Range(2, 10)] = 6
    """Bits of a state."""
    n_updates: Annotated[int, Range(1, 100_000, log=True)] = 1500
    """Updates of the operator that learns a random law."""
    n_chains: Annotated[int, Range(40, 1_000_000, log=True)] = 1000
    """Chains of the measured entropy production, of 20 steps each."""
    n_paths: Annotated[int, Range(10, 100_000, log=True)] = 2000
    """Walks from each state, for the measured bound."""
    n_heat: Annotated[int, Range(1, 100)] = 8
    """Steps of the ladder."""
    factor: Annotated[float, Range(1.0, 10.0)] = 1.5
    """Factor of the ladder."""

    def measure(self, run: Run) -> xr.Dataset:
        return learned(
            n_bits=self.n_bits, n_updates=self.n_updates, n_chains=self.n_chains,
            n_paths=self.n_paths, n_heat=self.n_heat, factor=self.factor, seed=run.seed,
        )  # fmt: skip

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        """Solve the operator that was learned: its matrices are in ``measured``."""
        import xarray as xr

        from tractable.walkback import matrix_decomposition, matrix_entropy_production

        if measured is None:
            return xr.Dataset()
        p = measured.matrix.values
        data, prior = measured.data.values, measured.prior.values
        parts = matrix_decomposition(p, data, prior)
        relaxed = np.array([matrix_entropy_production(one) for one in p])
        return xr.Dataset(
            {
                "log_prob": ("state", parts.log_prob, NATS),
                "bound": ("state", parts.bound, NATS),
                "dissipation": ("step", parts.dissipation, NATS),
                "entropy": ((), parts.entropy, NATS),
                "prior_kl": ((), parts.prior_kl, NATS),
                "data_kl": ((), parts.data_kl, NATS),
                "gap": ((), parts.gap, NATS),
                "rate": ("step", relaxed, {"units": "nats/step"}),
            }
        )

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        direct = float((measured.data * measured.path_bound).sum())
        parts = -float(theory.entropy + theory.prior_kl + theory.dissipation.sum())
        exact = float((measured.data * theory.bound).sum())
        yield Check("mean bound equals the sum of its parts", exact, parts, atol=1e-11,
                    source=EXACT)  # fmt: skip
        yield Check("probabilities of all states sum to 1",
                    float(np.exp(theory.log_prob).sum()), 1.0, atol=1e-12,
                    source=EXACT)  # fmt: skip
        yield Check("largest bound minus log p over all states",
                    float((theory.bound - theory.log_prob).max()), 0.0, atol=1e-12,
                    kind="at_most", source="exact: Jensen's inequality (W10)")  # fmt: skip
        yield Check("mean bound by walks", direct, exact, atol=4 * float(measured.path_bound_se),
                    source=EXACT)  # fmt: skip
        yield Check("entropy production of chains, cold", float(measured.rate),
                    float(theory.rate[0]), atol=4 * float(measured.rate_se),
                    source="exact: W26")  # fmt: skip
        if self.n_updates >= 1000:
            yield Check("KL(data || generated) after training over its start",
                        float(theory.data_kl / measured.kl[0]), 0.5, kind="at_most",
                        source="arXiv:1711.02282: the operator learns the data")  # fmt: skip
            yield Check("KL(data || cold stationary law) after training over its start",
                        float(measured.cold_kl[-1] / measured.cold_kl[0]), 0.5, kind="at_most",
                        source="arXiv:1711.02282: the operator learns the data")  # fmt: skip

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        yield (
            f"The bound of the data is {float((measured.data * theory.bound).sum()):.4f} nats, "
            f"their log likelihood {float((measured.data * theory.log_prob).sum()):.4f}: the gap "
            f"is {float(theory.gap):.4f}."
        )
        yield Table(
            "Where the bound goes", ("part", "nats"),
            (("entropy of the data", f"{float(theory.entropy):.4f}"),
             ("prior is not the walk's end", f"{float(theory.prior_kl):.4f}"),
             ("dissipation of the walk", f"{float(theory.dissipation.sum()):.4f}"),
             ("less: generated is not the data", f"{float(theory.data_kl):.4f}")),
        )  # fmt: skip
        yield (
            f"The cold chain produces {float(theory.rate[0]):.4f} nats per step exactly, "
            f"{float(measured.rate):.4f} ± {float(measured.rate_se):.4f} by density; before "
            f"training {float(measured.entropy_rate[0]):.4f}."
        )
        yield (
            f"KL(data || generated) went from {float(measured.kl[0]):.3f} to "
            f"{float(measured.kl[-1]):.3f} nats, that of the cold stationary law from "
            f"{float(measured.cold_kl[0]):.3f} to {float(measured.cold_kl[-1]):.3f}."
        )

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable import plot

        states, (left, right) = plot.new(1, 2, size=(8.4, 3.3))
        order = np.argsort(theory.log_prob.values)
        at = np.arange(len(order))
        plot.theory(left, at, theory.log_prob.values[order], label=r"$\log p$, exact")
        left.plot(at, theory.bound.values[order], "-", color="C1", label="bound, exact")
        plot.measurement(left, at, measured.path_bound.values[order], color="C1", ms=2.5,
                         label="bound by walks")  # fmt: skip
        left.set(xlabel="state, by its probability", ylabel="nats")
        left.legend(fontsize=7)
        step = 1 + np.arange(theory.sizes["step"])
        plot.theory(right, step, theory.dissipation, label=r"dissipation $\sigma_t$")
        plot.theory(right, step, theory.rate, color="C1", label=r"entropy production at $T_t$")
        right.set(xlabel="heating step t", ylabel="nats")
        right.legend(fontsize=7)
        states.set_label(
            "Left: exact log probability of every state, exact bound, and the bound by walks. "
            "Right: what each heating step dissipates, and the entropy production that a "
            "stationary chain at its temperature would have."
        )
        learn, (one, two) = plot.new(1, 2, size=(8.4, 3.3))
        plot.measurement(one, measured["update"], measured.kl, label="generated", ms=3)
        plot.measurement(one, measured["update"], measured.cold_kl, color="C1", ms=3,
                         label="cold stationary law")  # fmt: skip
        one.set(xlabel="update", ylabel="KL(data || law), nats")
        one.legend(fontsize=7)
        plot.measurement(two, measured["update"], measured.entropy_rate, label="T = 1", ms=3)
        two.set(xlabel="update", ylabel="entropy production, nats/step")
        two.legend(fontsize=7)
        learn.set_label(
            "An operator on bits learns a random law. Left: divergence of the data from what it "
            "generates and from its cold stationary law. Right: its entropy production; all exact "
            "for the operator as trained."
        )
        return {"states": states, "training": learn}

    def cost(self, run: Run) -> Cost:
        states = 2**self.n_bits
        steps = 42 * 64 * self.n_updates / 21 + self.n_paths * states * self.n_heat * 3
        moves = 12 * (self.n_heat + 1) * states**2
        operations = 2 * 5000 * (self.n_updates * 64 * self.n_heat * 4 + moves) + 5000 * steps
        seconds = 2 + 3e-3 * self.n_updates + 2e-6 * (moves + steps)
        return Cost(operations, 8.0 * states**2 * (self.n_heat + 4), seconds)


def learned(
    *, n_bits: int, n_updates: int, n_chains: int, n_paths: int, n_heat: int, factor: float,
    seed: int,
) -> xr.Dataset:  # fmt: skip
    """Train an operator on a random law; return matrices, chains and walks of the result."""
    import torch
    import xarray as xr

    from tractable.core.checks import quiet
    from tractable.core.seeds import derive, generator, seeded
    from tractable.walkback import (
        BernoulliPrior,
        Schedule,
        all_states,
        entropy_production,
        exact_decomposition,
        fit,
        log_likelihood_bound,
        matrix_entropy_production,
        mlp_operator,
        stationary_distribution,
        transition_matrix,
    )

    random = np.random.default_rng(derive(seed, "law") % 2**32)
    law = np.exp(1.5 * random.normal(size=2**n_bits))
    law /= law.sum()
    states = all_states(n_bits)
    rows = random.choice(len(law), size=20_000, p=law)
    x = torch.from_numpy(states[rows]).float()
    with seeded(derive(seed, "weights") % 2**32):
        operator = mlp_operator(n_bits, (48,), kind="bernoulli", alpha=0.9, centered=True)
        for weight in operator.parameters():  # an operator that is irreversible from the start
            if weight.ndim == 2:
                torch.nn.init.normal_(weight, std=0.7)
    schedule = Schedule.geometric(n_heat, factor, num_cold=1)
    record: dict[str, list[float]] = {"update": [], "kl": [], "cold_kl": [], "rate": []}

    class Recorder:
        def on_step(self, info: Any) -> None:
            if info.step % max(1, n_updates // 12) == 0:
                keep(info.step, info.operator, info.prior)

    def keep(step: int, op: Any, prior: Any) -> None:
        parts = exact_decomposition(op, law, schedule=schedule, prior=prior)
        cold = stationary_distribution(op)
        record["update"].append(step)
        record["kl"].append(parts.data_kl)
        record["cold_kl"].append(float((law * np.log(law / cold)).sum()))
        record["rate"].append(matrix_entropy_production(transition_matrix(op)))

    prior = BernoulliPrior((n_bits,))
    keep(0, operator, prior)
    with quiet():
        result = fit(
            operator, x, schedule=schedule, prior=prior, steps=n_updates, batch_size=32, lr=5e-3,
            ema=None, callbacks=(Recorder(),), seed=seed, device="cpu", progress=False,
        )  # fmt: skip
    end = result.operator
    keep(n_updates, end, result.prior)
    exact = exact_decomposition(end, law, schedule=schedule, prior=result.prior)
    everything = torch.from_numpy(states).float()
    prior_law = np.exp(result.prior.log_prob(everything.double()).numpy())
    source = generator(derive(seed, "walks") % 2**62)
    with quiet():
        bound = log_likelihood_bound(
            end, everything, schedule=schedule, prior=result.prior, num_paths=n_paths,
            estimator="bound", chunk=65_536, generator=source,
        )  # fmt: skip
        start = random.choice(len(law), size=n_chains, p=stationary_distribution(end))
        rate = entropy_production(
            end, start=everything[start], burn_in=0, num_steps=20, num_chains=n_chains,
            method="density", generator=source,
        )  # fmt: skip
    weights = law * bound.bound_se
    return xr.Dataset(
        {
            "matrix": (("step", "state", "next"), _matrices(end, schedule), ONE),
            "data": ("state", law, ONE),
            "prior": ("state", prior_law / prior_law.sum(), ONE),
            "path_bound": ("state", bound.bound, NATS),
            "path_bound_se": ((), float(np.sqrt((weights**2).sum())), NATS),
            "path_terms": ("step", bound.path_terms, NATS),
            "rate": ((), rate.rate, {"units": "nats/step"}),
            "rate_se": ((), rate.se, {"units": "nats/step"}),
            "kl": ("update", record["kl"], NATS),
            "cold_kl": ("update", record["cold_kl"], NATS),
            "entropy_rate": ("update", record["rate"], {"units": "nats/step"}),
            "mean_bound": ((), exact.mean_bound, NATS),
        },
        coords={"update": record["update"]},
    )


def _matrices(operator: Any, schedule: Any) -> np.ndarray:
    from tractable.walkback import transition_matrix

    return np.array([transition_matrix(operator, t) for t in schedule.temperatures.tolist()])
