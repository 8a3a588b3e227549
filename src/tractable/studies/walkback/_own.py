"""A user's own points or images, learned and measured."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tractable.studies.walkback import _learning as learning
from tractable.studies.walkback import _pictures as pictures

if TYPE_CHECKING:
    import xarray as xr

    from tractable.walkback import PixelSpace

N_SHOWN = 400
COLD = 8  # cold steps before the ladder


def read(data: str, size: int, color: bool) -> tuple[np.ndarray, bool, str]:
    """Return points or images, whether they are images, and a sentence about them."""
    from tractable.walkback import read_array, read_image_folder, toy

    if not data:
        x = toy("grid").sample(4000, 0)
        return x, False, "No data given: a grid of nine Gaussians in the plane is learned."
    if Path(data).is_dir():
        images = read_image_folder(data, size=size, color=color)
        return images, True, f"{len(images)} pictures of {data}, scaled to {size} x {size}."
    stored = read_array(data)
    if stored.dtype.kind in "ub" and stored.ndim in (3, 4):
        if stored.dtype.kind == "u" and stored.max() > 255:
            raise ValueError(
                f"data: images must be 0 .. 255, got {stored.dtype} up to {stored.max()}; give "
                "floating-point numbers to learn them as points"
            )
        grey = stored.astype(np.uint8) * (255 if stored.dtype.kind == "b" else 1)
        return _channels_first(grey), True, f"{len(stored)} images of {data}."
    shape = " x ".join(map(str, stored.shape[1:]))
    told = f"{len(stored)} points of {data}, each of {shape} numbers."
    if stored.ndim == 2:
        varies = stored.max(0) > stored.min(0)
        if varies.any() and not varies.all():
            told += f" {np.sum(~varies)} of them never vary, have no density, and are left out."
            stored = stored[:, varies]
    if stored.dtype.kind == "f":
        return stored.astype(float), False, told
    # A density needs numbers that are not few distinct values.
    noise = np.random.default_rng(0).random(stored.shape)
    told += " They are whole: uniform noise of one unit is added, so that there is a density."
    return stored.astype(float) + noise, False, told


def _channels_first(images: np.ndarray) -> np.ndarray:
    if images.ndim == 3:
        return images[:, None]
    return images.transpose(0, 3, 1, 2) if images.shape[-1] in (1, 3) else images


def split(x: np.ndarray, is_image: bool, seed: int) -> tuple[np.ndarray, np.ndarray, PixelSpace]:
    """Return training part, test part (a fifth) and the space, made of the training part.

    Columns of a table have units of their own, so that each is taken in its standard deviation;
    pixels, and points of more axes, share one.
    """
    from tractable.walkback import PixelSpace, dequantize

    order = np.random.default_rng(seed).permutation(len(x))
    n_test = max(len(x) // 5, 4)
    y = dequantize(x, 256, seed=seed) if is_image else x
    if not is_image and y.ndim == 2:
        spread = y[order[n_test:]].std(0)
        y = y / np.where(spread > 0, spread, 1.0)
    elif not is_image:
        y = y.reshape(len(y), -1)
    train, test = y[order[n_test:]], y[order[:n_test]]
    space = PixelSpace.of(train)
    return space.forward(train), space.forward(test), space


def ladder(variances: np.ndarray, sigma: float, factor: float) -> int:
    """Return the steps after which the noise passes the largest component."""
    needed = 2 * np.log(1.15 * np.sqrt(variances.max()) / sigma) / np.log(factor)
    return int(np.clip(np.ceil(needed) + 1, 2, 200))


def learn_own(
    *, data: str, size: int, color: bool, seed: int, n_steps: int, n_hidden: int, sigma: float,
    factor: float, n_draws: int, n_paths: int, far: int, repeats: int,
) -> xr.Dataset:  # fmt: skip
    """Learn the data; return metrics beside a Gaussian and a mixture, bound, dissipation."""
    import torch

    from tractable.core.checks import quiet
    from tractable.core.seeds import derive
    from tractable.walkback import (
        compare,
        entropy_production,
        fit_gaussian,
        fit_mixture,
        log_likelihood_bound,
    )

    x, is_image, _ = read(data, size, color)
    train, test, space = split(x, is_image, derive(0, "own"))
    variances = np.maximum(space.variances, 1e-4)
    plain = space.dim <= 3
    with quiet():
        model = learning.learn(
            train, variant="fixed", seed=seed, n_steps=n_steps, hidden=(n_hidden,) * 3,
            sigma=sigma, factor=factor, n_heat=ladder(variances, sigma, factor),
            n_cold=COLD, batch=24, skip="preconditioned" if plain else "gaussian",
            variances=None if plain else variances,
        )  # fmt: skip
    chain = model.chain(n_draws, extra=(0, far), seed=derive(seed, "chain"))
    samples = {"training part (floor)": train[:n_draws]}
    gaussian = fit_gaussian(train, floor=1e-4)
    densities: dict[str, Any] = {"single Gaussian": gaussian}
    components = int(np.clip(len(train) // (4 * space.dim + 20), 1, 10))
    densities[f"GMM-{components}"] = fit_mixture(
        train, components, covariance="full" if space.dim <= 100 else "diag", floor=1e-3
    )
    samples |= {name: law.sample(n_draws, seed=seed) for name, law in densities.items()}
    samples["walkback, end of ladder"] = chain[0]
    samples[f"walkback, {far} cold steps"] = chain[1]
    samples[f"walkback, {repeats} repeats"] = model.chain(
        n_draws, extra=(0,), repeats=repeats, seed=derive(seed, "repeats")
    )[0]
    widths = [w * float(np.sqrt(space.dim)) for w in pictures.WIDTHS]
    found = compare(samples, test, train, bandwidths=widths).to_dataset()
    points = torch.from_numpy(test[:100]).float()
    with quiet():
        bound = log_likelihood_bound(
            model.operator, points, schedule=model.schedule, prior=model.prior, num_paths=n_paths,
            estimator="both", generator=learning.generator(seed, "bound"),
        )  # fmt: skip
        rate = entropy_production(
            model.operator, start=torch.from_numpy(chain[1]).float(), burn_in=10, num_steps=10,
            num_chains=n_draws, generator=learning.generator(seed, "dissipation"),
        )  # fmt: skip
    likelihood = {name: (float(d.log_prob(test[:100]).mean()), np.nan)
                  for name, d in densities.items()}  # fmt: skip
    likelihood["walkback, end of ladder"] = (
        float(bound.bound.mean()), float(bound.log_prob_is.mean())
    )  # fmt: skip
    shown = {"shape": space.shape if is_image else (space.dim,)}
    return (
        pictures.with_likelihood(found, likelihood)
        .assign(
            path_terms=("step", bound.path_terms, pictures.NATS),
            temperature=("step", model.schedule.temperatures.numpy().astype(float), pictures.ONE),
            dissipation=((), float(rate.rate), {"units": "nats/step"}),
            dissipation_se=((), float(rate.se), {"units": "nats/step"}),
            dim=((), space.dim, pictures.ONE),
            scale=((), space.scale, {"units": "units of the data"}),
            variance=("component", space.variances, pictures.ONE),
            tested=(("point", "axis"), test[:N_SHOWN, :2], pictures.ONE),
            drawn=(("draw", "axis"), chain[0][:N_SHOWN, :2], pictures.ONE),
            past=(("draw", "axis"), chain[1][:N_SHOWN, :2], pictures.ONE),
            **_shown_images(space, test, chain[0], is_image),
        )
        .assign_attrs(
            shape=list(shown["shape"]),
            far=far,
            units="its column's standard deviation"
            if not is_image and x.ndim == 2
            else f"the scale {space.scale:.4g}",
        )
    )


def _shown_images(
    space: PixelSpace, test: np.ndarray, drawn: np.ndarray, is_image: bool
) -> dict[str, Any]:
    if not is_image:
        return {}
    dims = ("picture", "channel", "height", "width")
    scale = {"units": "intensity"}
    n = min(60, len(test), len(drawn))
    return {
        "test_images": (dims, space.inverse(test[:n]).astype(np.float32), scale),
        "drawn_images": (dims, space.inverse(drawn[:n]).astype(np.float32), scale),
    }
