"""Where the units of a map lie over the image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tractable.vision.retina.gradients import gradients
from tractable.vision.retina.layers import Activations, activations

__all__ = ["MapGrid", "map_grid"]

MORE = 64  # pixels by which the image grows, so that a unit has no edge in its sight
PROBES, CHANNELS = 4, 16  # images and channels that show what a unit sees


@dataclass(frozen=True)
class MapGrid:
    """Unit p of a map lies over pixel ``origin + step p``, in rows and columns."""

    origin: tuple[float, float]
    step: tuple[float, float]
    size: tuple[int, int]

    def pixel(self, place: tuple[int, int]) -> tuple[int, int]:
        """Return the pixel over which a unit lies, inside the image."""
        found = [
            min(max(int(np.floor(start + p * step + 1e-9)), 0), size - 1)
            for start, step, p, size in zip(self.origin, self.step, place, self.size, strict=True)
        ]
        return found[0], found[1]


def map_grid(
    model: Activations, layer: str | None, images: Tensor, through: str, shape: tuple[int, ...]
) -> MapGrid:
    """Return the grid of a layer's map (B, channels, H', W').

    The step is by how much the map grows with the image; the origin is the middle of what a unit
    sees of a larger image. Where that has no answer, of recorded activations, of networks for one
    size of image or of units that see all of it, the middles of map and image agree.
    """
    size, sides = tuple(images.shape[2:]), shape[2:]
    step = [float(max(1, n // side)) for n, side in zip(size, sides, strict=True)]

    def centered() -> MapGrid:
        at = [
            (n - 1) / 2 - (side - 1) / 2 * s for n, side, s in zip(size, sides, step, strict=True)
        ]
        return MapGrid((at[0], at[1]), (step[0], step[1]), (size[0], size[1]))

    if isinstance(model, Tensor | np.ndarray):
        return centered()
    larger = torch.rand(
        PROBES, images.shape[1], size[0] + MORE, size[1] + MORE,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    try:
        grown = activations(model, layer, larger[:1], through=through).shape
    except (RuntimeError, ValueError):  # a network of images of one size
        return centered()
    if len(grown) != 4 or grown[2] <= sides[0] or grown[3] <= sides[1]:
        return centered()
    step = [max(1.0, float(round(MORE / (grown[2 + i] - sides[i])))) for i in (0, 1)]
    unit = (grown[2] // 2, grown[3] // 2)
    try:
        fields, _ = gradients(
            model, layer, larger, through, unit, range(min(CHANNELS, grown[1])), None, reduce=True
        )
    except (RuntimeError, ValueError):  # no gradient
        return centered()
    seen = np.abs(fields).max((0, 1)) > 0
    origin = []
    for i in (0, 1):
        on = np.flatnonzero(seen.any(1 - i))
        if not len(on) or on[0] == 0 or on[-1] == seen.shape[i] - 1:
            return centered()
        origin.append((on[0] + on[-1]) / 2 - step[i] * unit[i])
    return MapGrid((origin[0], origin[1]), (step[0], step[1]), (size[0], size[1]))
