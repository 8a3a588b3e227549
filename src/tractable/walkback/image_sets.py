"""Image data ready to learn: named sets, folders of pictures, arrays in files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tractable.core.checks import check_choice, check_finite, check_range
from tractable.core.seeds import derive
from tractable.data import load_images
from tractable.walkback.pixels import PixelSpace, dequantize

__all__ = ["ImageSet", "load_image_set", "read_array", "read_image_folder"]

LEVELS = {"digits": 17, "mnist": 256, "cifar10": 256}
N_DIGITS_TEST = 500
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Training and test images in their `PixelSpace`, with labels where there are any.

    Parameters
    ----------
    train, test : ndarray of float64, shapes (m, n) and (l, n)
        Coordinates s of the space, which is made of the training images alone.
    space : PixelSpace
        The way back to pixels.
    train_labels, test_labels : ndarray of int64, shapes (m,) and (l,), optional
        Classes.
    n_classes : int
        Number of classes; 0 without labels.
    """

    train: np.ndarray
    test: np.ndarray
    space: PixelSpace
    train_labels: np.ndarray | None = None
    test_labels: np.ndarray | None = None
    n_classes: int = 0


def load_image_set(
    name: str, *, n_train: int = 0, n_test: int = 0, rotate: bool = True, seed: int = 0
) -> ImageSet:
    """Return a named image set, dequantized, standardized and rotated.

    MNIST and CIFAR-10 keep their parts. The 1,797 digits of scikit-learn are split at random,
    500 for testing: their file's end was written by other people, and here both parts must be of
    one law.

    Parameters
    ----------
    name : str
        ``"digits"`` (8 x 8, 17 levels), ``"mnist"`` (28 x 28) or ``"cifar10"`` (32 x 32 x 3).
    n_train, n_test : int
        Images to take from each part; 0: all.
    rotate : bool
        Whether to rotate to principal components.
    seed : int
        Decides split, order and dequantization.

    Raises
    ------
    DataNotFound
        MNIST or CIFAR-10 is not at hand.

    Examples
    --------
    >>> digits = load_image_set("digits")
    >>> digits.train.shape, digits.test.shape, round(float((digits.train**2).mean()), 3)
    ((1297, 64), (500, 64), 1.0)
    """
    check_choice("name", name, LEVELS)
    data = load_images(name)
    if name == "digits":
        order = np.random.default_rng(derive(seed, "split")).permutation(len(data))
        index = {"train": order[N_DIGITS_TEST:], "test": order[:N_DIGITS_TEST]}
    else:
        index = {}
        for part in ("train", "test"):
            inside = np.arange(len(data))[data.parts[part]]
            index[part] = np.random.default_rng(derive(seed, part)).permutation(inside)
    parts, labels = [], []
    for part, wanted in (("train", n_train), ("test", n_test)):
        check_range(f"n_{part}", wanted, 0, len(index[part]))
        chosen = index[part][: wanted or len(index[part])]
        levels = LEVELS[name]
        images = np.rint(data.images[chosen] * ((levels - 1) / 255)).astype(np.int64)
        channels_first = images.transpose(0, 3, 1, 2)
        parts.append(dequantize(channels_first, levels, seed=derive(seed, part)))
        labels.append(data.labels[chosen])
    space = PixelSpace.of(parts[0], rotate=rotate, levels=LEVELS[name])
    train, test = (space.forward(y) for y in parts)
    return ImageSet(train, test, space, labels[0], labels[1], len(data.classes))


def read_image_folder(path: str | Path, *, size: int = 32, color: bool = False) -> np.ndarray:
    """Read all pictures below a folder: cut to the central square and scaled to one size.

    Parameters
    ----------
    path : path
        Folder; subfolders are read, too, in alphabetical order.
    size : int
        Width and height after scaling, 4 .. 512 pixels.
    color : bool
        Three channels, else one of gray.

    Returns
    -------
    ndarray of uint8, shape (n, channels, size, size)
        Intensities 0 .. 255.

    Raises
    ------
    ValueError
        No picture, or one that cannot be read: the message names the file.
    """
    from PIL import Image, ImageOps

    folder = Path(path)
    check_range("size", size, 4, 512)
    if not folder.is_dir():
        raise ValueError(f"path must be a folder of pictures, got {str(path)!r}")
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES)
    if not files:
        raise ValueError(f"{folder} holds no picture ({', '.join(SUFFIXES)})")
    pictures = []
    for file in files:
        try:
            with Image.open(file) as image:
                cut = ImageOps.fit(image.convert("RGB" if color else "L"), (size, size))
        except OSError as error:
            raise ValueError(f"{file} is no picture that can be read: {error}") from error
        pictures.append(np.atleast_3d(np.asarray(cut)).transpose(2, 0, 1))
    return np.stack(pictures)


def read_array(path: str | Path) -> np.ndarray:
    """Read data points from ``.npy``, or from the first (or only) array of ``.npz``.

    Parameters
    ----------
    path : path
        File; in ``.npz`` an array named ``x``, ``data`` or ``images`` is preferred.

    Returns
    -------
    ndarray, shape (n_points, ...)
        As stored: integers stay integers. A vector is that many points of one number.

    Raises
    ------
    ValueError
        Not such a file, object arrays, fewer than 8 points, NaN or infinity.
    """
    file = Path(path)
    if file.suffix not in (".npy", ".npz") or not file.is_file():
        raise ValueError(f"data must be an existing .npy or .npz file, got {str(path)!r}")
    try:
        stored = np.load(file, allow_pickle=False)
        if file.suffix == ".npz":
            named = [key for key in ("x", "data", "images") if key in stored.files]
            if not stored.files:
                raise ValueError("it holds no array")
            stored = stored[(named or stored.files)[0]]
    except (OSError, ValueError) as error:
        raise ValueError(f"{file} cannot be read: {error}") from error
    if stored.ndim == 1:
        stored = stored[:, None]
    if stored.dtype.kind not in "uifb" or stored.ndim < 2 or stored.size == 0 or len(stored) < 8:
        turned = stored.ndim == 2 and stored.shape[1] >= 8
        hint = ": rows are points, is it transposed?" if turned else ""
        raise ValueError(
            f"{file} must hold numbers of shape (n_points, ...) with at least 8 points, got "
            f"{stored.dtype} of shape {stored.shape}{hint}"
        )
    check_finite("data", np.asarray(stored, dtype=np.float64))
    return stored
