"""Checks, answers and figures of the image studies; they read the two datasets only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tractable.studies.walkback import _pictures as pictures
from tractable.studies.walkback._learning import PAPER, multiplications, time_updates
from tractable.study import Check, Cost, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

END = "walkback, end of ladder"
GAUSSIAN = "single Gaussian"
METRICS = (
    *("mmd2", "mmd2_se", "sliced_wasserstein", "precision", "recall", "density", "coverage"),
    *("memorization", "frechet", "sure", "least_label", "largest_label", "chi2"),
    *("log_prob", "importance"),
)
DERIVED = "derived: recipe of the theory page; bars set on digits"
COLUMNS = (
    *("model", "MMD²", "Fréchet", "sure", "labels", "nearest train", "precision", "recall"),
    *("log p or bound", "importance"),
)


def together(learned: Sequence[xr.Dataset], rival: xr.Dataset) -> xr.Dataset:
    """Return one dataset: runs along ``run``, rivals as ``rival_*`` along ``rival``."""
    import xarray as xr

    runs = xr.concat(list(learned), "run")
    renamed = rival[list(METRICS)].rename({name: f"rival_{name}" for name in METRICS})
    return xr.merge([runs, renamed.rename(sample="rival")])


def ladder_theory(
    variances: np.ndarray, sigma: float, factor: float, n_heat: int, n_cold: int
) -> xr.Dataset:
    """Return variances, ladder, what a reversible walk does, and the Gaussian's log density."""
    import xarray as xr

    ladder = np.concatenate([np.ones(n_cold), factor ** np.arange(n_heat)])
    sd = sigma * np.sqrt(ladder)
    floored = np.maximum(variances, pictures.FINEST)
    entropy = 0.5 * np.log(2 * np.pi * np.exp(1) * (floored + 1e-3)).sum()
    walk = np.maximum(floored, sd[:, None] ** 2)
    return xr.Dataset(
        {
            "variance": ("component", variances, pictures.ONE),
            "temperature": ("step", ladder, pictures.ONE),
            "noise_std": ("step", sd, {"units": "units of the data"}),
            "walk_variance": (("step", "component"), walk, pictures.ONE),
            "gaussian_log_prob": ((), -entropy, pictures.NATS),
        }
    )


def checks(
    study: Any, theory: xr.Dataset, measured: xr.Dataset, *, strict: bool
) -> Iterator[Check]:
    """Yield what must hold of any run, and with ``strict`` the bars of trained digits."""

    def own(metric: str, sample: str = END) -> float:
        return float(measured[metric].sel(sample=sample).median())

    def rival(metric: str, name: str = GAUSSIAN) -> float:
        return float(measured[f"rival_{metric}"].sel(rival=name))

    excess = own("log_prob") - own("importance")
    yield Check("the bound is below the importance estimate", excess, 0.0, kind="at_most",
                source="exact: Jensen's inequality")  # fmt: skip
    yield Check("known pixels are returned unchanged", float(measured.known_error.max()), 0.0,
                source="exact: they are clamped")  # fmt: skip
    first = float(theory.walk_variance.isel(step=-1, component=0))
    last = float(measured.walked_variance.isel(level=-1, component=0).median())
    yield Check("largest component: variance at the end of the walk over max(v, sd²)",
                last / max(first, 1e-12), 1.0, rtol=0.25,
                source="derived: a reversible walk at fixed noise")  # fmt: skip
    spread = float(measured.long_std.isel(time=-1).max())
    top = 1.5 * float(np.sqrt(theory.variance.mean()))
    yield Check(
        f"spread of the chain after {int(measured.time[-1])} cold steps", spread, top,
        kind="at_most", source="derived: a bounded net with a contracting skip",
    )  # fmt: skip
    if not strict:
        return
    yield Check("lower halves completed: squared error over that of the mean image",
                float((measured.completed_mse / measured.mean_mse).median()), 1.0, kind="at_most",
                source="derived: completions use the upper half")  # fmt: skip
    repeated = f"walkback, {study.repeats} repeats"
    past = f"walkback, {study.far} cold steps"
    mmd2, fd = rival("mmd2"), rival("frechet")
    better = min(own("mmd2", repeated), own("mmd2", "walkback, 30 cold steps"))
    for name, value, bar, kind in (
        ("MMD² at the end of the ladder", own("mmd2"), 1.1 * mmd2, "at_most"),
        ("MMD², better of repeats and 30 cold steps", better, 0.8 * mmd2, "at_most"),
        ("Fréchet distance at the end of the ladder", own("frechet"), 0.6 * fd, "at_most"),
        ("Fréchet distance with repeats", own("frechet", repeated), 0.5 * fd, "at_most"),
        ("share of sure labels", own("sure"), 0.85, "at_least"),
        ("least share of a label", own("least_label"), 0.04, "at_least"),
        ("largest share of a label", own("largest_label"), 0.18, "at_most"),
        ("distance to the training data, at least", own("memorization"), 1.0, "at_least"),
        ("distance to the training data, at most", own("memorization"), 1.4, "at_most"),
    ):
        yield Check(name, value, bar, kind=kind, source=DERIVED)  # type: ignore[arg-type]
    if study.far >= 300:
        source = f"{PAPER}, abstract: good samples well past the length of training; bar derived"
        yield Check(f"MMD² after {study.far} cold steps", own("mmd2", past), 1.1 * mmd2,
                    kind="at_most", source=source)  # fmt: skip
        yield Check(f"Fréchet distance after {study.far} cold steps", own("frechet", past),
                    0.65 * fd, kind="at_most", source=source)  # fmt: skip
    yield Check("importance estimate over the exact log density of a Gaussian, nats",
                own("importance") - rival("log_prob"), 5.0, kind="at_least",
                source=DERIVED)  # fmt: skip
    if "GMM-10 full" in measured.rival.values:
        goal = "goal beyond the bar: a mixture of 10 Gaussians with full covariance"
        yield Check("goal: Fréchet distance with repeats, against 10 Gaussians",
                    own("frechet", repeated), rival("frechet", "GMM-10 full"), kind="at_most",
                    source=goal)  # fmt: skip
        yield Check("goal: MMD² with repeats, against 10 Gaussians", own("mmd2", repeated),
                    rival("mmd2", "GMM-10 full"), kind="at_most", source=goal,
                    atol=rival("mmd2_se", "GMM-10 full"))  # fmt: skip


def answers(measured: xr.Dataset) -> Iterator[str | Table]:
    """Yield what came out, and the table with the rivals."""

    def own(metric: str, sample: str = END) -> float:
        return float(measured[metric].sel(sample=sample).median())

    gaussian = measured.sel(rival=GAUSSIAN)
    yield (
        f"At the end of the ladder MMD² is {own('mmd2'):.4f} (single Gaussian "
        f"{float(gaussian.rival_mmd2):.4f}); bound {own('log_prob'):.1f}, importance estimate "
        f"{own('importance'):.1f} nats (single Gaussian, exact: "
        f"{float(gaussian.rival_log_prob):.1f})."
    )
    rate, error = float(measured.dissipation.median()), float(measured.dissipation_se.median())
    still = "no more than its error" if abs(rate) < 3 * error else "more than its error"
    yield f"The cold chain produces {rate:.3f} ± {error:.3f} nats per step: {still}."
    ratio = float((measured.completed_mse / measured.mean_mse).median())
    yield (
        f"Lower halves completed from the upper half have {ratio:.2f} times the squared error of "
        "the mean image; known pixels come back unchanged."
    )
    rows = [_row(str(name), measured.sel(rival=name), "rival_") for name in measured.rival.values]
    for name in measured["sample"].values:
        rows += [
            _row(f"{name}{_seed(measured, k)}", measured.isel(run=k).sel(sample=name), "")
            for k in range(measured.sizes["run"])
        ]
    yield Table("Samples against test images", COLUMNS, tuple(rows))


def _seed(measured: xr.Dataset, k: int) -> str:
    return f" ({k})" if measured.sizes["run"] > 1 else ""


def _row(name: str, one: xr.Dataset, prefix: str) -> tuple[str, ...]:
    def number(metric: str, form: str) -> str:
        value = float(one[prefix + metric])
        return format(value, form) if np.isfinite(value) else ""

    labels = f"{number('least_label', '.2f')}–{number('largest_label', '.2f')}"
    return (
        name, f"{number('mmd2', '.4f')} ± {number('mmd2_se', '.4f')}", number("frechet", ".1f"),
        number("sure", ".2f"), labels if len(labels) > 1 else "", number("memorization", ".2f"),
        number("precision", ".2f"), number("recall", ".2f"), number("log_prob", ".1f"),
        number("importance", ".1f"),
    )  # fmt: skip


def figures(theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
    """Return chains along time, grids, levels, terms of the bound, completions."""
    from tractable import plot
    from tractable.walkback.plots import bound_terms, chain_grid, level_curves, sample_grid

    one = measured.isel(run=0)
    labels = [f"T = {value:.3g}" for value in one.shown.values]
    found: dict[str, Figure] = {}
    figure = chain_grid(one.heated.values.swapaxes(0, 1), labels, axis_label="heating: data first")
    figure.set_label("Eight test images, heated by the learned operator step by step.")
    found["heating"] = figure
    figure = chain_grid(one.walked.values[::-1].swapaxes(0, 1), labels[::-1],
                        axis_label="cooling: noise first")  # fmt: skip
    figure.set_label("Eight chains from noise down the ladder to temperature 1.")
    found["cooling"] = figure
    steps = [str(int(n)) for n in one.time.values]
    figure = chain_grid(
        one.long.values.swapaxes(0, 1), steps,
        axis_label=f"cold steps after the ladder of {theory.sizes['step']} steps",
    )  # fmt: skip
    figure.set_label(
        "Eight chains at temperature 1, far past the length of training: they change slowly, and "
        "stay digits as far as the operator is good."
    )
    found["past"] = figure
    figure, axes = plot.new(1, 2, size=(9.0, 4.4), gridspec_kw={"wspace": 0.06})
    sample_grid(one.tested.values, title="test images", ax=axes[0])
    sample_grid(one.grid.values, title="samples", ax=axes[1])
    for ax in axes:
        ax.set_label("images")
    figure.set_label("Test images, and samples at the end of the ladder, not selected.")
    found["samples"] = figure
    figure, axes = plot.new(2, 1, size=(9.0, 2.4))
    sample_grid(one.original.values, columns=20, title="test images", ax=axes[0])
    sample_grid(one.completed.values, columns=20, title="lower half completed", ax=axes[1])
    for ax in axes:
        ax.set_label("images")
    figure.set_label("Test images, and the same with the lower half completed by the operator.")
    found["completions"] = figure
    figure = level_curves(
        one.level_std.values, one.walked_variance.values, one.generated_variance.values,
        components=(0, 3, 7), scales=theory.variance.values,
    )  # fmt: skip
    figure.set_label(
        "Variances of walked and generated states at each level of noise: where they part, "
        "generation leaves the walk."
    )
    found["levels"] = figure
    figure = bound_terms(theory.temperature.values, measured.path_terms.mean("run").values)
    figure.set_label(
        "What each heating step costs the bound: E[log q − log p]. A term may be negative: what "
        "the states gain by spreading is paid by the prior. The jump is where the noise of small "
        "components, half of their standard deviation at T = 1, passes it: they are erased at once."
    )
    found["bound_terms"] = figure
    return found


def cost(study: Any, dim: int, *, rivals: bool, image: tuple[int, ...] | None = None) -> Cost:
    """Return what a run costs, from timed updates of the same net."""
    length = study.n_cold + study.n_heat
    rows = study.batch * length
    per_update = time_updates(dim, (study.n_hidden,) * 3, length, study.batch, image)
    forward = per_update / 4 / rows  # seconds of one row of a forward pass
    draws = study.n_draws * (2 * length + study.repeats * 2 * length + study.far)
    draws += 200 * study.n_far_chains + 4000 * length
    bound = 4 * study.n_paths * study.n_likelihood * length
    updates = study.n_steps * (study.n_seeds + 0.6 * rivals)
    seconds = per_update * updates + forward * (draws + bound) * study.n_seeds + 10.0
    weights = 2.0 * study.n_hidden**2 + 2 * dim * study.n_hidden
    if image is not None:
        weights = multiplications(dim, (study.n_hidden,) * 3, image)
    return Cost(
        8.0 * rows * weights * updates + 2.0 * weights * (draws + bound) * study.n_seeds,
        4.0 * (20 * rows * study.n_hidden + 16 * weights + study.n_draws * dim * 10),
        seconds,
    )
