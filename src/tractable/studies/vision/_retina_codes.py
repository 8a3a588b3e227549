"""One network of the studies of what layers compute: separable classes, complex cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray as xr

    from tractable.vision.retina import GrayImages, RetinaVVS, TrainResult

ONE = {"units": "1"}
N_COSINE_IMAGES = 64
N_STRIP = 6  # images whose code is kept for a picture
SF_OF_SIZE = (1, 2, 3, 4, 6)  # cycles per 16 pixels


def trained_net(
    model: dict[str, Any],
    recipe: dict[str, Any] | str,
    data: str,
    size: int,
    n_train: int,
    n_test: int,
    seed: int,
    device: str,
) -> tuple[RetinaVVS, GrayImages, TrainResult]:
    """Return a trained network on the CPU in eval mode, its images, and how it was trained."""
    from tractable.studies.vision._retina_nets import build, images
    from tractable.vision.retina import train_classifier

    pictures = images(data, size, n_train, n_test)
    net = build(model, pictures, seed)
    done = train_classifier(
        net, pictures, recipe, seed=seed, device=device, record_at=[], progress=False
    )
    return net.cpu().eval(), pictures, done


def basics(done: TrainResult) -> dict[str, Any]:
    """Return what every network reports."""
    return {
        "accuracy": ((), done.accuracy, ONE),
        "n_restarts": ((), len(done.restarts), ONE),
        "n_dead": ((), done.n_dead, ONE),
        "active": ((), float(done.active_fraction.mean()), ONE),
    }


def separable_net(
    model: dict[str, Any],
    recipe: dict[str, Any] | str,
    data: str,
    size: int,
    n_train: int,
    n_test: int,
    seed: int,
    layers: list[str],
    n_fit: int,
    window: int,
    device: str,
) -> xr.Dataset:
    """Train one network; return the separability of some layers, and of each bottleneck channel."""
    import xarray as xr

    from tractable.vision.retina import linearity, separability

    net, pictures, done = trained_net(model, recipe, data, size, n_train, n_test, seed, device)
    x, y = pictures.test, pictures.test_labels.numpy()
    found = [separability(net, layer, x, y, n_fit=n_fit) for layer in layers]
    bottleneck = str(net.bottleneck)
    straight = linearity(net, bottleneck, x, window=window)
    channels = range(net.n_bn) if net.n_bn > 1 else []
    each = [separability(net, bottleneck, x, y, n_fit=n_fit, channels=[c]).score for c in channels]
    code = net.activations(x[:N_STRIP], bottleneck)[bottleneck][:, 0].detach().double().numpy()
    return xr.Dataset(
        {
            **basics(done),
            "separability": ("layer", [one.score for one in found], ONE),
            "error": ("layer", [one.error for one in found], ONE),
            "fitted": ("layer", [one.fitted.mean() for one in found], ONE),
            "converged": ("layer", [one.converged.mean() for one in found], ONE),
            "linearity": ((), straight.r2, ONE),
            "channel_linearity": ("channel", straight.r2_per_channel, ONE),
            "channel_separability": ("channel", each or [found[0].score], ONE),
            "code": (("strip", "row", "column"), code, {"units": "activation"}),
        },
        coords={"layer": list(layers), "channel": np.arange(net.n_bn)},
    )


def complex_net(
    model: dict[str, Any],
    recipe: dict[str, Any] | str,
    data: str,
    size: int,
    n_train: int,
    n_test: int,
    seed: int,
    layers: list[str],
    n_init: int,
    device: str,
) -> xr.Dataset:
    """Train one network; return how complex the cells of some layers are."""
    import xarray as xr

    from tractable.vision.retina import complexity, gratings

    net, pictures, done = trained_net(model, recipe, data, size, n_train, n_test, seed, device)
    parts = [xr.Dataset(basics(done))]
    natural = pictures.test[:N_COSINE_IMAGES]
    for layer in layers:
        around = complexity(net, layer, n_init=n_init, seed=seed)
        over = complexity(net, layer, images=natural)
        tuning = gratings(net, layer, sf=[cycles / 16 for cycles in SF_OF_SIZE])
        dim = f"{layer}_unit"
        values = {
            "complexity": around.complexity,
            "used": around.n_used / n_init,
            "cosine": over.cosine,
            "natural": over.complexity,
            "f1_f0": tuning.ratio(),
            "selectivity": tuning.selectivity(),
        }
        data_vars = {f"{layer}_{name}": (dim, v, ONE) for name, v in values.items()}
        parts.append(xr.Dataset(data_vars, coords={dim: np.arange(len(around))}))
    return xr.merge(parts)
