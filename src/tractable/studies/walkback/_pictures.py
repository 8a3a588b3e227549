"""A set of images, learned and measured: functions of plain values, for `Run.map`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tractable.studies.walkback import _learning as learning

if TYPE_CHECKING:
    import xarray as xr

    from tractable.walkback import ImageClassifier, ImageSet

WIDTHS = (0.25, 0.5, 1.0, 2.0)  # of the kernels, times the typical distance sqrt(n) of the data
LARGEST = 200  # dimensions in which a mixture is fitted; beyond, in the first N_MIXED
N_MIXED = 100
ONE = {"units": "1"}
NATS = {"units": "nats"}
N_CHAINS = 8  # kept for pictures
N_GRID = 60
FINEST = 1e-3  # least variance of a component


def pixels_of(data: ImageSet) -> Any:
    """Return the function from points to standardized pixels, which the classifier takes."""
    basis = data.space.basis
    return (lambda s: s) if basis is None else (lambda s: np.asarray(s) @ basis.T)


def classifier_of(data: ImageSet, *, steps: int) -> ImageClassifier | None:
    """Return the classifier whose features measure the samples; None without labels."""
    from tractable.walkback import train_classifier

    if data.train_labels is None:
        return None
    shape = data.space.shape
    return train_classifier(pixels_of(data)(data.train), data.train_labels, shape, steps=steps)


def widths(data: ImageSet) -> list[float]:
    """Return the kernel widths, fixed by the dimension."""
    return [w * float(np.sqrt(data.space.dim)) for w in WIDTHS]


def scored(
    samples: dict[str, np.ndarray], data: ImageSet, classifier: ImageClassifier | None
) -> xr.Dataset:
    """Return all metrics of the samples against the test images."""
    from tractable.walkback import compare

    expected = None
    if data.train_labels is not None:
        expected = np.bincount(data.train_labels, minlength=data.n_classes)
    return compare(
        samples, data.test, data.train, bandwidths=widths(data), classifier=classifier,
        to_images=pixels_of(data), expected=expected,
    ).to_dataset()  # fmt: skip


def load(name: str, n_train: int, n_test: int, seed: int) -> ImageSet:
    """Return the images; the split follows the seed of the data, not of the training."""
    from tractable.walkback import load_image_set

    return load_image_set(name, n_train=n_train, n_test=n_test, seed=seed)


def with_likelihood(scores: xr.Dataset, values: dict[str, tuple[float, float]]) -> xr.Dataset:
    """Add bound (or exact log density) and importance estimate of each sample, nats."""
    names = [str(name) for name in scores["sample"].values]
    pairs = np.array([values.get(name, (np.nan, np.nan)) for name in names])
    return scores.assign(
        log_prob=("sample", pairs[:, 0], NATS), importance=("sample", pairs[:, 1], NATS)
    )


class Split:
    """A density of the first coordinates times a Gaussian of the others."""

    def __init__(self, first: Any, rest: Any, n: int) -> None:
        self.first, self.rest, self.n = first, rest, n

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        """Return log densities, nats."""
        return self.first.log_prob(x[:, : self.n]) + self.rest.log_prob(x[:, self.n :])

    def sample(self, n: int, *, seed: int) -> np.ndarray:
        """Return draws."""
        parts = (self.first.sample(n, seed=seed), self.rest.sample(n, seed=seed + 1))
        return np.concatenate(parts, axis=1)


def mixture(x: np.ndarray, n: int, covariance: Any) -> Any:
    """Return a mixture; of the first components only where there are many."""
    from tractable.walkback import fit_gaussian, fit_mixture

    if x.shape[1] <= LARGEST:
        return fit_mixture(x, n, covariance=covariance, floor=1e-2)
    first = fit_mixture(x[:, :N_MIXED], n, covariance=covariance, floor=1e-2)
    return Split(first, fit_gaussian(x[:, N_MIXED:], floor=FINEST), N_MIXED)


def rivals(
    *, data: str, n_train: int, n_test: int, seed: int, n_draws: int, n_likelihood: int,
    classifier_steps: int, mixtures: bool, ddpm_steps: int, n_hidden: int, length: int,
    highest: float, batch: int, split: int = 0,
) -> xr.Dataset:  # fmt: skip
    """Score a Gaussian, mixtures, a kernel density, the data, and a DDPM of the same net."""
    from tractable.walkback import fit_gaussian, fit_kernel

    images = load(data, n_train, n_test, split)
    models: dict[str, Any] = {"single Gaussian": fit_gaussian(images.train, floor=FINEST)}
    if mixtures:
        models["GMM-10 diagonal"] = mixture(images.train, 10, "diag")
        models["GMM-10 full"] = mixture(images.train, 10, "full")
        if images.space.dim <= LARGEST:
            models["GMM-20 full"] = mixture(images.train, 20, "full")
            models["kernel density 0.3"] = fit_kernel(images.train, 0.3)
    samples = {"training images (floor)": images.train[: max(n_draws, 1)]}
    points = images.test[:n_likelihood]
    likelihood = {}
    for name, model in models.items():
        samples[name] = model.sample(n_draws, seed=seed)
        likelihood[name] = (float(model.log_prob(points).mean()), np.nan)
    if ddpm_steps:
        drawn, bound = learning.diffuse(
            images.train, points, seed=seed, n_steps=ddpm_steps, hidden=(n_hidden,) * 3,
            length=length, lowest=0.1, highest=highest, batch=batch, n_draws=n_draws,
        )  # fmt: skip
        samples["DDPM, equal net (bound)"] = drawn
        likelihood["DDPM, equal net (bound)"] = (float(bound.mean()), np.nan)
    found = scored(samples, images, classifier_of(images, steps=classifier_steps))
    return with_likelihood(found, likelihood)


def learn_images(
    *, data: str, n_train: int, n_test: int, seed: int, n_steps: int, n_hidden: int, batch: int,
    sigma: float, factor: float, n_heat: int, n_draws: int, n_paths: int, n_likelihood: int,
    classifier_steps: int, far: int, n_far_chains: int, repeats: int, n_cold: int,
    n_components: int = 0, split: int = 0, net: str = "mlp",
) -> xr.Dataset:  # fmt: skip
    """Learn the images; return metrics of every way to sample, the bound, chains, completions."""
    import torch
    import xarray as xr

    from tractable.core.checks import quiet
    from tractable.core.seeds import derive
    from tractable.walkback import entropy_production, log_likelihood_bound

    images = load(data, n_train, n_test, split)
    variances = np.maximum(images.space.variances, FINEST)
    with quiet():
        model = learning.learn(
            images.train, variant="fixed", seed=seed, n_steps=n_steps, hidden=(n_hidden,) * 3,
            sigma=sigma, factor=factor, n_heat=n_heat, n_cold=n_cold, batch=batch, skip="gaussian",
            variances=variances, n_components=n_components,
            pixels=(images.space.shape, images.space.basis) if net == "conv" else None,
        )  # fmt: skip
        blank = learning.untrained(model)
    extra = tuple(sorted({0, min(30, far), far}))
    chain = model.chain(n_draws, extra=extra, seed=derive(seed, "chain"))
    samples = {"walkback, end of ladder": chain[0]}
    samples |= {f"walkback, {n} cold steps": x for n, x in zip(extra, chain, strict=True) if n}
    again = {"repeats": repeats, "seed": derive(seed, "repeats")}
    samples[f"walkback, {repeats} repeats"] = model.chain(n_draws, extra=(0,), **again)[0]
    samples[f"walkback, {repeats} repeats, mean of the last step"] = model.mean_samples(
        n_draws, **again
    )
    samples["walkback, untrained (F = 0)"] = blank.chain(n_draws, extra=(0,), seed=seed)[0]
    found = scored(samples, images, classifier_of(images, steps=classifier_steps))
    x = torch.from_numpy(images.test[:n_likelihood]).float()
    likelihood, terms = {}, None
    for name, one in (("walkback, end of ladder", model), ("walkback, untrained (F = 0)", blank)):
        with quiet():
            bound = log_likelihood_bound(
                one.operator, x, schedule=one.schedule, prior=one.prior, num_paths=n_paths,
                estimator="both", generator=learning.generator(seed, "bound"),
            )  # fmt: skip
        likelihood[name] = (float(bound.bound.mean()), float(bound.log_prob_is.mean()))
        terms = bound.path_terms if terms is None else terms
    with quiet():
        dissipation = entropy_production(
            model.operator, start=torch.from_numpy(chain[-1]).float(), burn_in=10, num_steps=10,
            num_chains=n_draws, generator=learning.generator(seed, "dissipation"),
        )  # fmt: skip
    bound_bits, better_bits = images.space.bits_per_dim(
        np.array(likelihood["walkback, end of ladder"])
    )
    return xr.merge(
        [
            with_likelihood(found, likelihood),
            xr.Dataset(
                {
                    "bits_per_dim": ((), bound_bits, {"units": "bits"}),
                    "importance_bits": ((), better_bits, {"units": "bits"}),
                    "path_terms": ("step", terms, NATS),
                    "dissipation": ((), float(dissipation.rate), {"units": "nats/step"}),
                    "dissipation_se": ((), float(dissipation.se), {"units": "nats/step"}),
                }
            ),
            _chains(model, images, seed, far, n_far_chains),
            _completions(model, images, seed),
            _levels(model, images, seed),
        ]
    ).assign_coords(seed=seed, data=data)


def _images(data: ImageSet, s: np.ndarray) -> np.ndarray:
    """Return intensities, float32, any leading shape."""
    flat = data.space.inverse(s.reshape(-1, s.shape[-1]))
    return flat.reshape(*s.shape[:-1], *data.space.shape).astype(np.float32)


def _chains(model: Any, data: ImageSet, seed: int, far: int, n_far: int) -> xr.Dataset:
    """Follow few chains from data up the ladder, from noise down, and far past training."""
    import torch
    import xarray as xr

    from tractable.core.seeds import derive

    x = torch.from_numpy(data.test[:N_CHAINS]).float()
    heated, walked, shown = model.paths(x, seed=derive(seed, "paths"), n_shown=10)
    length = len(model.schedule.temperatures)
    wanted = (0, 1, 3, 10, 30, 100, far, 10 * length, 100 * length)
    times = tuple(sorted({min(n, n_far) for n in wanted}))
    long = model.chain(200, extra=times, seed=derive(seed, "long"))
    grid = model.chain(N_GRID, extra=(0,), seed=derive(seed, "grid"))[0]
    scale = {"units": "intensity"}
    pixel = ("channel", "height", "width")
    return xr.Dataset(
        {
            "heated": (("shown", "chain", *pixel), _images(data, heated), scale),
            "walked": (("shown", "chain", *pixel), _images(data, walked), scale),
            "long": (("time", "chain", *pixel), _images(data, long[:, :N_CHAINS]), scale),
            "long_std": ("time", long.std((1, 2)), {"units": "units of the data"}),
            "grid": (("drawn", *pixel), _images(data, grid), scale),
            "tested": (("drawn", *pixel), _images(data, data.test[:N_GRID]), scale),
        },
        coords={"shown": shown, "time": list(times)},
    )


def _completions(model: Any, data: ImageSet, seed: int) -> xr.Dataset:
    """Complete the lower half of test images, several times each."""
    import xarray as xr

    height = data.space.shape[1]
    known = np.zeros(data.space.shape, dtype=bool)
    known[:, : height // 2] = True
    targets = pixels_of(data)(data.test[:100]).astype(np.float32)
    filled = model.complete(targets, known.ravel(), data.space.basis, seed=seed)
    truth = targets[:, ~known.ravel()]
    mean = pixels_of(data)(data.train).mean(0)[~known.ravel()]
    basis = data.space.basis
    back = filled if basis is None else filled @ basis
    return xr.Dataset(
        {
            "completed_mse": ((), float(((filled[:, ~known.ravel()] - truth) ** 2).mean()), ONE),
            "mean_mse": ((), float(((mean - truth) ** 2).mean()), ONE),
            "known_error": (
                (), float(abs(filled[:, known.ravel()] - targets[:, known.ravel()]).max()), ONE
            ),
            "completed": (("completion", "channel", "height", "width"),
                          _images(data, back[:20]), {"units": "intensity"}),
            "original": (("completion", "channel", "height", "width"),
                         _images(data, data.test[:20]), {"units": "intensity"}),
        }
    )  # fmt: skip


def _levels(model: Any, data: ImageSet, seed: int) -> xr.Dataset:
    """Compare walked and generated states at each temperature."""
    import xarray as xr

    sd, walked, generated = model.levels(data.train, seed=seed, n=1000)
    return xr.Dataset(
        {
            "walked_variance": (("level", "component"), walked[:, :8], ONE),
            "generated_variance": (("level", "component"), generated[:, :8], ONE),
        },
        coords={"level_std": ("level", sd, {"units": "units of the data"})},
    )
