"""Receptive fields: the gradient of a unit with respect to the image.

A ReLU hides gradients: a unit below its threshold at the base image has none. So the base is an
argument, the default is an average over images, silent units are NaN, and they are counted.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from tractable.core.checks import TractableWarning
from tractable.vision.retina.errors import check_images
from tractable.vision.retina.field_sets import SILENT, RFSet
from tractable.vision.retina.gradients import base_images, gradients, without_colors
from tractable.vision.retina.layers import Model
from tractable.vision.retina.model import RetinaVVS

__all__ = ["receptive_fields", "rf_ensemble", "rf_mosaic"]


def receptive_fields(
    model: Model,
    layer: str | None = None,
    *,
    images: Tensor | None = None,
    base: str | Tensor | np.ndarray = "images",
    through: str = "pre",
    position: str | tuple[int, int] = "center",
    units: Sequence[int] | None = None,
    n_images: int = 64,
    shape: tuple[int, int, int] | None = None,
    pad: str | None = None,
    progress: bool = False,
) -> RFSet:
    r"""Return the receptive fields :math:`\partial u_c / \partial x` of a layer, equation (R5).

    Parameters
    ----------
    model : nn.Module or callable
        Any network, or a function of images (B, C, H, W).
    layer : str, optional
        Name of a submodule; None takes the model's own output.
    images : tensor, shape (n, C, H, W)
        Needed by the bases ``"images"`` and ``"mean"``.
    base : str or tensor
        Where the gradient is taken: ``"images"``, the mean of the gradients at the first
        ``n_images`` images; ``"mean"``, at the mean image; ``"black"``, at 0 (as published);
        ``"gray"``, at 0.5; or a tensor or array (C, H, W).
    through : str
        ``"pre"``: of the pre-activation, nonlinearities below it kept. ``"post"``: of the
        activation (as published). ``"linear"``: without any nonlinearity.
    position : "center" or (row, column)
        Of the unit in the layer's map.
    units : sequence of int, optional
        Channels; all by default.
    n_images : int
        Images that are averaged over.
    shape : (C, H, W), optional
        Of the image, where neither ``images`` nor the model's ``in_shape`` says it.
    pad : None, "zeros", "reflect" or "circular"
        Another padding of the convolutions while looking.
    progress : bool
        Show a bar.

    Returns
    -------
    RFSet
        A unit whose largest gradient is below 1e-9 is NaN and counted.

    Warns
    -----
    TractableWarning
        The fields of a `RetinaVVS` are wider than the image; with ``through="linear"`` the network
        is not linear: layer normalization, abs, maximum and products stay as they are.

    Raises
    ------
    ValueError
        Unknown layer, or one that is called twice (say ``"name@2"``), or is detached; position
        outside the map; missing images; NaN, of the images or of the network.

    Notes
    -----
    All channels come out of one forward pass and one batched backward pass; where torch cannot
    batch an operation, out of one backward pass over a copy of the image for each channel.

    References
    ----------
    Lindsey, Ocko, Ganguli, Deny 2019, arXiv:1901.00945.

    Examples
    --------
    >>> import torch
    >>> conv = torch.nn.Conv2d(1, 3, 3, padding=1)
    >>> rf = receptive_fields(conv, shape=(1, 9, 9), base="gray")
    >>> bool(np.allclose(rf.rf[0, 3:6, 3:6], conv.weight[0, 0].detach()))
    True
    """
    bases, name = base_images(model, images, base, n_images, shape)
    if isinstance(model, RetinaVVS) and layer in model.stages:
        sides = model.support(layer)
        if max(sides) > min(bases.shape[2:]):
            warnings.warn(
                f"the fields of {layer} are {sides[0]} pixels wide, more than the image of "
                f"{bases.shape[2]} x {bases.shape[3]}: its edges cut them off",
                TractableWarning,
                stacklevel=2,
            )
    total, unit = gradients(
        model, layer, bases, through, position, units, pad, reduce=True, progress=progress
    )
    rf = total / len(bases)
    silent = np.abs(rf).reshape(len(rf), -1).max(1) < SILENT
    rf[silent] = np.nan
    return RFSet(without_colors(rf), unit, layer or "output", name, through, len(bases))


def rf_ensemble(
    model: Model,
    layer: str | None,
    images: Tensor,
    *,
    through: str = "pre",
    position: str | tuple[int, int] = "center",
    units: Sequence[int] | None = None,
    pad: str | None = None,
) -> np.ndarray:
    """Return the gradient of every unit at every image: how a field depends on its background.

    Parameters
    ----------
    model, layer, through, position, units, pad
        As for `receptive_fields`.
    images : tensor, shape (m, C, H, W)
        Natural images, or random initial ones.

    Returns
    -------
    ndarray of float64, shape (channels, m, H, W)
        With a fifth axis of colors before H for color images. A gradient that is zero stays zero.

    Examples
    --------
    >>> import torch
    >>> conv = torch.nn.Conv2d(1, 2, 3, padding=1)
    >>> rf_ensemble(conv, None, torch.rand(5, 1, 8, 8)).shape
    (2, 5, 8, 8)
    """
    check_images("images", images, finite=True)
    rf, _ = gradients(model, layer, images, through, position, units, pad, reduce=False)
    return rf[:, :, 0] if rf.shape[2] == 1 else rf


def rf_mosaic(
    model: Model,
    layer: str | None,
    positions: Sequence[tuple[int, int]],
    *,
    images: Tensor | None = None,
    base: str | Tensor | np.ndarray = "images",
    through: str = "pre",
    units: Sequence[int] | None = None,
    n_images: int = 64,
    shape: tuple[int, int, int] | None = None,
    pad: str | None = None,
) -> RFSet:
    """Return the receptive fields of a layer at several positions, as one set.

    Parameters
    ----------
    positions : sequence of (row, column)
        In the layer's map; the units of the first position come first.
    model, layer, images, base, through, units, n_images, shape, pad
        As for `receptive_fields`.

    Examples
    --------
    >>> import torch
    >>> conv = torch.nn.Conv2d(1, 2, 3, padding=1)
    >>> mosaic = rf_mosaic(conv, None, [(2, 2), (4, 6)], base="gray", shape=(1, 9, 9))
    >>> mosaic.unit.tolist()
    [[0, 2, 2], [1, 2, 2], [0, 4, 6], [1, 4, 6]]
    """
    if not len(positions):
        raise ValueError("positions must name one (row, column) or more, got none")
    sets = [
        receptive_fields(
            model,
            layer,
            images=images,
            base=base,
            through=through,
            position=place,
            units=units,
            n_images=n_images,
            shape=shape,
            pad=pad,
        )
        for place in positions
    ]
    one = sets[0]
    return RFSet(
        np.concatenate([part.rf for part in sets]),
        np.concatenate([part.unit for part in sets]),
        one.layer,
        one.base,
        one.through,
        one.n_images,
    )


def support(layers: int, kernel: int) -> int:
    """Return the side of the field of a unit behind this many stacked convolutions: 1 + l (k - 1).

    Examples
    --------
    >>> [support(layers, 9) for layers in (1, 2, 3, 4)]
    [9, 17, 25, 33]
    """
    return 1 + layers * (kernel - 1)
