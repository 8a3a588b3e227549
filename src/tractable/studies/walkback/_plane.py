"""One law of the plane, learned and measured: functions of plain values, for `Run.map`."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from tractable.studies.walkback import _learning as learning

if TYPE_CHECKING:
    import xarray as xr

WIDTHS = (0.1, 0.2, 0.5, 1.0, 2.0)  # of the kernels, fixed beforehand
COLD = 4  # cold steps before the ladder
N_TRAIN = 10_000
RATE = 4e-3  # learning rate
ONE = {"units": "1"}
NATS = {"units": "nats"}
N_DRAWN = 500  # points kept for pictures


@functools.cache
def exact(name: str) -> tuple[float, float, float]:
    """Return MMD^2 of the Gaussian of a law's moments, its mean log density, and the law's own."""
    from tractable.walkback import gaussian_mmd2, toy

    law = toy(name)
    entropy = 0.5 * np.linalg.slogdet(2 * np.pi * np.exp(1) * law.moments()[1])[1]
    return gaussian_mmd2(law, WIDTHS), -float(entropy), law.mean_log_density()


def parts(name: str, n_test: int, split: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return training, test and second test points; the same for every seed of the training."""
    from tractable.walkback import toy

    law, first = toy(name), 3 * split
    return law.sample(N_TRAIN, first), law.sample(n_test, first + 1), law.sample(n_test, first + 2)


def learn_toy(
    *,
    name: str,
    variant: str,
    seed: int,
    n_steps: int,
    n_hidden: int,
    n_test: int,
    n_paths: int,
    sigma: float,
    factor: float,
    n_heat: int,
    n_cold: int,
    extra: tuple[int, ...],
    split: int = 0,
) -> xr.Dataset:
    """Learn one law by one variant; return metrics along the chain, the bound and pictures."""
    import torch
    import xarray as xr

    from tractable.core.checks import quiet
    from tractable.core.seeds import derive
    from tractable.walkback import (
        entropy_production,
        log_likelihood_bound,
        mmd2,
        prdc,
        probability_current,
        sliced_wasserstein,
    )

    train, test, _ = parts(name, n_test, split)
    with quiet():  # a collapsed noise, or a walk that does not heat, is seen in the results
        model = learning.learn(
            train, variant=variant, seed=seed, n_steps=n_steps, hidden=(n_hidden,) * 3,
            sigma=sigma, factor=factor, n_heat=n_heat, n_cold=n_cold, batch=32,
            skip="preconditioned", learning_rate=RATE,
        )  # fmt: skip
    chain = model.chain(n_test, extra=extra, seed=derive(seed, "chain"))
    found = [mmd2(x, test, WIDTHS) for x in chain]
    nearby = prdc(chain[0], test)
    x = torch.from_numpy(test[:N_DRAWN]).float()
    few = x[: N_DRAWN // 2]
    with quiet():  # few effective paths: the table shows their number
        bound = log_likelihood_bound(
            model.operator, few, schedule=model.schedule, prior=model.prior, num_paths=n_paths,
            estimator="both", generator=learning.generator(seed, "bound"),
        )  # fmt: skip
        start = torch.from_numpy(chain[-1]).float()
        dissipation = entropy_production(
            model.operator, start=start, burn_in=20, num_steps=20, num_chains=len(start),
            generator=learning.generator(seed, "dissipation"),
        )  # fmt: skip
        current = probability_current(
            model.operator, bounds=((-3, 3), (-3, 3)), bins=24, start=start, num_steps=100,
            generator=learning.generator(seed, "current"),
        )  # fmt: skip
    heated, walked, shown = model.paths(x, seed=derive(seed, "paths"))
    per_datum = (bound.bound, bound.log_prob_is)
    error = [float(v.std() / np.sqrt(len(v))) for v in per_datum]
    return xr.Dataset(
        {
            "mmd2": ("extra", [v.value for v in found], ONE),
            "mmd2_se": ("extra", [v.se for v in found], ONE),
            "sliced_wasserstein": (
                "extra", [sliced_wasserstein(x, test) for x in chain],
                {"units": "units of the data"},
            ),
            "spread": ("extra", [float(x.std()) for x in chain], {"units": "units of the data"}),
            "coverage": ((), nearby.coverage, ONE),
            "precision": ((), nearby.precision, ONE),
            "bound": ((), float(per_datum[0].mean()), NATS),
            "bound_se": ((), error[0], NATS),
            "importance": ((), float(per_datum[1].mean()), NATS),
            "importance_se": ((), error[1], NATS),
            "ess": ((), float(np.median(bound.ess)), {"units": "paths"}),
            "path_terms": ("step", bound.path_terms, NATS),
            "dissipation": ((), float(dissipation.rate), {"units": "nats/step"}),
            "dissipation_se": ((), float(dissipation.se), {"units": "nats/step"}),
            "end_std": ((), float(heated[-1].std()), {"units": "units of the data"}),
            "sigma": ((), model.sigma(x), {"units": "units of the data"}),
            "heated": (("shown", "point", "axis"), heated.astype(np.float32), ONE),
            "walked": (("shown", "point", "axis"), walked.astype(np.float32), ONE),
            "after": (("extra", "point", "axis"), chain[:, :N_DRAWN].astype(np.float32), ONE),
            "density": (("x", "y"), np.asarray(current.density, float), {"units": "1/area"}),
            "current": (("x", "y", "axis"), np.asarray(current.current, float),
                        {"units": "density length/step"}),
        },
        coords={"extra": list(extra), "shown": shown, "toy": name, "variant": variant},
    )  # fmt: skip


def baselines(
    *, name: str, n_test: int, seed: int, components: tuple[int, ...], split: int = 0
) -> xr.Dataset:
    """Return MMD^2 and log likelihood of a Gaussian, mixtures, and the data themselves."""
    import xarray as xr

    from tractable.walkback import fit_gaussian, fit_mixture, mmd2, toy

    train, test, other = parts(name, n_test, split)
    models: dict[str, Any] = {"single Gaussian": fit_gaussian(train)}
    models |= {f"GMM-{k}": fit_mixture(train, k, floor=1e-5, seed=seed) for k in components}
    found = {key: mmd2(model.sample(n_test, seed=seed), test, WIDTHS)
             for key, model in models.items()}  # fmt: skip
    found["data (floor)"] = mmd2(other, test, WIDTHS)
    log_prob = [float(model.log_prob(test).mean()) for model in models.values()]
    log_prob.append(float(toy(name).log_density(test).mean()))
    return xr.Dataset(
        {
            "rival_mmd2": ("rival", [v.value for v in found.values()], ONE),
            "rival_mmd2_se": ("rival", [v.se for v in found.values()], ONE),
            "rival_log_prob": ("rival", log_prob, NATS),
        },
        coords={"rival": list(found), "toy": name},
    )


def diffusion(
    *, name: str, n_test: int, seed: int, n_steps: int, n_hidden: int, length: int, sigma: float,
    highest: float, batch: int, split: int = 0,
) -> xr.Dataset:  # fmt: skip
    """Train a DDPM of the same net on as many rows as the operator; return the same numbers."""
    import xarray as xr

    from tractable.walkback import mmd2

    train, test, _ = parts(name, n_test, split)
    drawn, bound = learning.diffuse(
        train, test, seed=seed, n_steps=n_steps, hidden=(n_hidden,) * 3, length=length,
        lowest=sigma, highest=highest, batch=batch, n_draws=n_test,
    )  # fmt: skip
    found = mmd2(drawn, test, WIDTHS)
    values: dict[str, Any] = {
        "rival_mmd2": ("rival", [found.value], ONE),
        "rival_mmd2_se": ("rival", [found.se], ONE),
        "rival_log_prob": ("rival", [float(bound.mean())], NATS),
    }
    return xr.Dataset(values, coords={"rival": ["DDPM (bound)"], "toy": name})


def follow(
    *, name: str, variant: str, seed: int, n_steps: int, n_hidden: int, n_test: int, sigma: float,
    factor: float, n_heat: int, n_cold: int, extra: tuple[int, ...],
) -> xr.Dataset:  # fmt: skip
    """Learn one law and follow its cold chain; return MMD^2 and spread along it."""
    import torch
    import xarray as xr

    from tractable.core.checks import quiet
    from tractable.core.seeds import derive
    from tractable.walkback import mmd2

    train, test, _ = parts(name, n_test)
    with quiet():
        model = learning.learn(
            train, variant=variant, seed=seed, n_steps=n_steps, hidden=(n_hidden,) * 3,
            sigma=sigma, factor=factor, n_heat=n_heat, n_cold=n_cold, batch=32,
            skip="preconditioned", learning_rate=RATE,
        )  # fmt: skip
    chain = model.chain(n_test, extra=extra, seed=derive(seed, "chain"))
    found = [mmd2(x, test, WIDTHS) for x in chain]
    return xr.Dataset(
        {
            "mmd2": ("extra", [v.value for v in found], ONE),
            "mmd2_se": ("extra", [v.se for v in found], ONE),
            "spread": ("extra", chain.std((1, 2)), {"units": "units of the data"}),
            "end_std": ((), model.end_std(seed), {"units": "units of the data"}),
            "sigma": ((), model.sigma(torch.from_numpy(test).float()),
                      {"units": "units of the data"}),
            "after": (("extra", "point", "axis"), chain[:, :N_DRAWN].astype(np.float32), ONE),
        },
        coords={"extra": list(extra)},
    )  # fmt: skip


def ablate(
    *, name: str, variant: str, seed: int, n_steps: int, n_hidden: int, n_test: int, n_paths: int,
    sigma: float, factor: float, n_heat: int, n_cold: int, extra: tuple[int, ...],
    temperature_power: float = 1.0, update: str = "pool", skip: str = "preconditioned",
    adaptations: int = 0,
) -> xr.Dataset:  # fmt: skip
    """Learn one law with one thing changed, on as many rows as the recipe sees."""
    import torch
    import xarray as xr

    from tractable.core.checks import quiet
    from tractable.core.seeds import derive
    from tractable.walkback import entropy_production, log_likelihood_bound, mmd2

    train, test, _ = parts(name, n_test)
    length = n_heat + n_cold
    # The recipe sees 32 rows for each of 34 temperatures in an update.
    updates = max(round(n_steps * 34 / length), 1)
    with quiet():
        model = learning.learn(
            train, variant=variant, seed=seed, n_steps=updates, hidden=(n_hidden,) * 3,
            sigma=sigma, factor=factor, n_heat=n_heat, n_cold=n_cold, batch=32, skip=skip,
            temperature_power=temperature_power, update=update, learning_rate=RATE,
            adapt_every=max(updates // (adaptations + 1), 1) if adaptations else None,
        )  # fmt: skip
        chain = model.chain(n_test, extra=extra, seed=derive(seed, "chain"))
        x = torch.from_numpy(test[:N_DRAWN]).float()
        bound = log_likelihood_bound(
            model.operator, x, schedule=model.schedule, prior=model.prior, num_paths=n_paths,
            estimator="both", generator=learning.generator(seed, "bound"),
        )  # fmt: skip
        rate = entropy_production(
            model.operator, start=torch.from_numpy(chain[-1]).float(), burn_in=10, num_steps=10,
            num_chains=n_test, generator=learning.generator(seed, "dissipation"),
        )  # fmt: skip
    found = [mmd2(y, test, WIDTHS) for y in chain]
    values = {name: getattr(bound, key)
              for name, key in (("bound", "bound"), ("importance", "log_prob_is"))}  # fmt: skip
    return xr.Dataset(
        {
            "mmd2": ("extra", [v.value for v in found], ONE),
            "mmd2_se": ("extra", [v.se for v in found], ONE),
            "bound": ((), float(values["bound"].mean()), NATS),
            "importance": ((), float(values["importance"].mean()), NATS),
            "importance_se": ((), float(values["importance"].std() / np.sqrt(len(x))), NATS),
            "dissipation": ((), float(rate.rate), {"units": "nats/step"}),
            "dissipation_se": ((), float(rate.se), {"units": "nats/step"}),
            "end_std": ((), model.end_std(seed), {"units": "units of the data"}),
            "sigma": ((), model.sigma(x), {"units": "units of the data"}),
            "updates": ((), updates, ONE),
            "ladder": ((), len(model.schedule), ONE),
            "last_temperature": ((), float(model.schedule.temperatures[-1]), ONE),
            "last_noise": ((), model.last_noise(), {"units": "units of the data"}),
        },
        coords={"extra": list(extra)},
    )
