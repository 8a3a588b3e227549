"""A user's arrays, images and networks from files, for the studies of their own data."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

SUFFIXES = (".npy", ".npz", ".nc")
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
COLORS = (1, 3)
BRIGHT = 2.0  # floats of one sign above it are no intensities in [0, 1], nor an overshoot of them


def read(name: str, path: str) -> Any:
    """Return the array of ``file.npy``, ``file.npz:key`` or netCDF ``file.nc:variable``.

    Raises
    ------
    ValueError
        No such file, another kind of file, or several arrays and none named.
    """
    file, _, key = path.rpartition(":") if ":" in Path(path).name else (path, "", "")
    where = Path(file)
    if where.suffix not in SUFFIXES:
        raise ValueError(f"{name} must be a file {', '.join(SUFFIXES)}, got {path!r}")
    if not where.is_file():
        raise ValueError(f"{name}: there is no file {file!r}")
    if where.suffix == ".npy":
        try:
            return np.load(where, allow_pickle=False)
        except ValueError as error:
            raise ValueError(f"{name}: {file} is not a plain .npy array ({error})") from error
    if where.suffix == ".npz":
        with np.load(where, allow_pickle=False) as arrays:
            return arrays[_chosen(name, key, list(arrays.files), file)]
    import xarray as xr

    with xr.open_dataset(where, engine="h5netcdf") as dataset:
        return dataset[_chosen(name, key, [str(k) for k in dataset.data_vars], file)].load()


def _chosen(name: str, key: str, keys: list[str], file: str) -> str:
    if key in keys:
        return key
    if not key and len(keys) == 1:
        return keys[0]
    raise ValueError(f"{name}: {file} holds {', '.join(keys)}; name one, as {file}:{keys[0]}")


def read_images(path: str) -> Tensor:
    """Return images (n, C, H, W), floats, from an array file or a folder of pictures of one size.

    Arrays are (n, H, W), (n, C, H, W) or, with colors last, (n, H, W, 3); bytes are over 255.

    Raises
    ------
    ValueError
        No such file, no numbers, another order of the axes, a channel of transparency, floats of
        0 .. 255, pictures of several sizes, NaN.
    """
    import torch

    name = re.sub(r":\w+$", "", Path(path).name)
    if Path(path).is_dir():
        array = _pictures(Path(path))
    elif name.endswith(SUFFIXES):
        array = np.asarray(read("images", path))
    else:
        raise ValueError(
            f"images must be a folder of pictures or a file {', '.join(SUFFIXES)}, got {path!r}"
        )
    if array.dtype.kind not in "fiub" or array.ndim not in (3, 4) or 0 in array.shape:
        raise ValueError(
            "images must be numbers of shape (n, H, W), (n, C, H, W) or (n, H, W, 3), got "
            f"{array.dtype} {array.shape}"
        )
    array = _channels_first(array)
    largest = {"uint8": 255.0, "uint16": 65535.0}.get(array.dtype.name, 1.0)
    if array.dtype.kind in "iu" and largest == 1.0 and array.max() > 1:
        raise ValueError(
            f"images must be bytes, 16-bit numbers or floats in [0, 1], got {array.dtype} up to "
            f"{array.max()}"
        )
    values = array.astype(np.float32) / np.float32(largest)
    if not np.isfinite(values).all():
        raise ValueError(f"images must be finite, got {(~np.isfinite(values)).sum()} bad pixels")
    if values.min() >= 0 and values.max() > BRIGHT:
        raise ValueError(
            f"images must be floats in [0, 1], got {array.dtype} up to {values.max():g}; save them "
            "as bytes (uint8), or divide by their largest value"
        )
    return torch.from_numpy(np.ascontiguousarray(values))


def _channels_first(array: np.ndarray) -> np.ndarray:
    """Return (n, C, H, W); refuse an order of the axes that would be misread."""
    shape, hint = array.shape, ""
    if array.ndim == 3:
        if shape[2] not in (*COLORS, 4):
            return array[:, None]
        hint = f"one image with its colors? Save it as {(1, *shape)}"
    elif shape[1] in COLORS:
        return array
    elif shape[3] in COLORS:
        return array.transpose(0, 3, 1, 2)
    elif 4 in (shape[1], shape[3]):
        hint = "four channels are colors and transparency? Leave the fourth one out"
    elif shape[1] > min(shape[2:]):
        first = " (H, W, C, n)?" if shape[2] in COLORS else "?"
        hint = f"are the axes in another order{first} Images come first, then channels"
    else:
        return array  # a network of its own number of channels
    raise ValueError(
        f"images must have shape (n, H, W), (n, C, H, W) or (n, H, W, 3), got {shape}: {hint}"
    )


def _pictures(folder: Path) -> np.ndarray:
    from PIL import Image

    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURES)
    if not files:
        raise ValueError(f"images: {folder} holds no picture ({', '.join(PICTURES)})")
    found: list[np.ndarray] = []
    for file in files:
        try:
            with Image.open(file) as picture:
                picture.load()
        except (OSError, SyntaxError) as error:  # what PIL says of a damaged file
            raise ValueError(f"images: {file} is no picture, or damaged ({error})") from error
        found.append(_pixels(picture, file))
        if found[-1].shape != found[0].shape:
            raise ValueError(
                f"images must be pictures of one size and kind, got {found[0].shape} of "
                f"{files[0].name} and {found[-1].shape} of {file.name}"
            )
    return np.stack(found)


def _pixels(picture: Any, file: Path) -> np.ndarray:
    """Return gray (H, W) of bytes, 16 bits or floats, or colors (H, W, 3) of bytes."""
    if picture.mode == "F":
        return np.asarray(picture)
    if picture.mode.startswith("I"):
        deep = np.asarray(picture)
        if deep.min() < 0 or deep.max() > 65535:
            raise ValueError(
                f"images must be pictures of 8 or 16 bits, or floats, got {file} with values "
                f"{deep.min()} to {deep.max()}"
            )
        return deep.astype(np.uint16)
    if picture.mode in ("LA", "RGBA", "PA") and picture.getchannel("A").getextrema()[0] < 255:
        raise ValueError(f"images must not be transparent, got {file}; put it on a background")
    return np.asarray(picture.convert("L" if picture.mode in ("L", "1", "LA") else "RGB"))
