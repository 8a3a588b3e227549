"""Spike-triggered averages: what noise on the image reveals of a receptive field."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tractable.core.checks import check_choice, check_count, check_range
from tractable.core.progress import track
from tractable.core.seeds import derive, generator
from tractable.vision.retina.field_sets import RFSet
from tractable.vision.retina.gradients import BASES, base_images, select_units, without_colors
from tractable.vision.retina.layers import (
    Model,
    analysis,
    capture,
    device_of,
    dtype_of,
    refuse_nan,
)

__all__ = ["sta"]


def sta(
    model: Model,
    layer: str | None = None,
    *,
    n: int = 20_000,
    std: float = 0.1,
    base: str | Tensor | np.ndarray = "gray",
    images: Tensor | None = None,
    through: str = "pre",
    position: str | tuple[int, int] = "center",
    units: Sequence[int] | None = None,
    shape: tuple[int, int, int] | None = None,
    seed: int = 0,
    batch_size: int = 500,
    pad: str | None = None,
    progress: bool = False,
) -> RFSet:
    r"""Return spike-triggered averages :math:`E[(u - \bar u)\, e] / s` under white noise, (R6).

    The image is ``base`` plus ``std`` times standard normal noise e. By Stein's identity the
    average equals the mean gradient over the noise; the error falls as one over the root of n.

    Parameters
    ----------
    n : int
        Noise images, >= 2.
    std : float
        Standard deviation s of the noise, > 0.
    base : str or tensor
        ``"gray"``, ``"black"``, ``"mean"`` (of ``images``), or a tensor or array (C, H, W).
    seed : int
        Decides the noise.
    batch_size : int
        Images of one pass.
    model, layer, images, through, position, units, shape, pad, progress
        As for `receptive_fields`.

    Returns
    -------
    RFSet
        A unit that never changes is NaN.

    Examples
    --------
    >>> from tractable.vision.retina import receptive_fields
    >>> conv = torch.nn.Conv2d(1, 1, 3, padding=1)
    >>> exact = receptive_fields(conv, shape=(1, 9, 9), base="gray").rf[0]
    >>> noisy = sta(conv, shape=(1, 9, 9), n=20_000).rf[0]
    >>> bool(np.corrcoef(exact.ravel(), noisy.ravel())[0, 1] > 0.97)
    True
    """
    check_count("n", n, 2)
    check_range("std", std, 0.0, open_low=True)
    if isinstance(base, str):
        check_choice("base", base, BASES[1:])
    center, name = base_images(model, images, base, 1, shape)
    random, of = generator(derive(seed, "sta")), capture(model, layer, through)
    place = device_of(model)
    product: Any = 0.0
    activity: Any = 0.0
    noise: Any = 0.0
    parts = range(0, n, batch_size)
    first: np.ndarray | None = None
    constant: Any = True
    with analysis(model, pad), torch.inference_mode():
        for start in track(parts, "spike-triggered average", show=progress):
            size = min(batch_size, n - start)
            e = torch.randn(size, *center.shape[1:], generator=random, dtype=torch.float32)
            x = (center + std * e.double()).to(place, dtype_of(model))
            u, unit = select_units(of(x), position, units)
            refuse_nan(u, layer)
            values = u.double().cpu().numpy()
            first = values[:1] if first is None else first
            constant = constant & (values == first).all(0)
            flat = e.double().numpy().reshape(size, -1)
            shifted = values - first  # a common offset would only add noise
            product = product + shifted.T @ flat
            activity, noise = activity + shifted.sum(0), noise + flat.sum(0)
    rf = (product / n - np.outer(activity / n, noise / n)) / std
    rf = rf.reshape(len(rf), *center.shape[1:])
    rf[constant] = np.nan
    return RFSet(without_colors(rf), unit, layer or "output", f"noise around {name}", through, n)
