"""Images in folders, one for each class, as ImageNet comes: read when a batch needs them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tractable.core.checks import check_choice, check_range
from tractable.core.seeds import derive, generator

__all__ = ["ImageFolder", "image_folder"]

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
PARTS = {"train": ("train",), "test": ("val", "test", "validation")}


@dataclass(frozen=True, eq=False)
class ImageFolder:
    """Paths and labels of one part; the pixels stay on the disk.

    Parameters
    ----------
    paths : tuple of Path
        Of the images, class after class.
    labels : ndarray of int64, shape (n,)
        Class of each, in the order of ``classes``.
    classes : tuple of str
        Names of the classes' folders, sorted.
    size : int
        Side to which images are cut and resized, in pixels.
    """

    paths: tuple[Path, ...]
    labels: np.ndarray
    classes: tuple[str, ...]
    size: int

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, index: int, random: torch.Generator | None = None) -> Tensor:
        """Return one image (3, size, size) in [0, 1].

        Without ``random`` the middle square, 7/8 of the shorter side; with it, a random part of
        8 to 100 % of the area whose sides differ by up to 4/3, mirrored or not.
        """
        from PIL import Image

        path = self.paths[index]
        try:
            with Image.open(path) as file:
                image = file.convert("RGB")
        except OSError as error:
            raise ValueError(f"{path} is no image that can be read: {error}") from error
        box = _middle(*image.size) if random is None else _part(*image.size, random)
        image = image.resize((self.size, self.size), Image.Resampling.BILINEAR, box=box)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
        mirrored = random is not None and bool(torch.rand((), generator=random) < 0.5)
        return pixels.flip(-1) if mirrored else pixels

    def batches(
        self, *, batch_size: int, seed: int, rank: int = 0, n_ranks: int = 1
    ) -> Callable[[int], Iterator[tuple[Tensor, Tensor]]]:
        """Return what `tractable.train.fit` takes as data: random parts of all images, each once.

        Parameters
        ----------
        batch_size : int
            Of this process, >= 1.
        seed : int
            Decides order and parts, together with the epoch.
        rank, n_ranks : int
            Of this process, where several share the work.
        """
        check_range("batch_size", batch_size, 1, len(self) // n_ranks)
        labels = torch.from_numpy(self.labels)

        def epoch(number: int) -> Iterator[tuple[Tensor, Tensor]]:
            order = torch.randperm(len(self), generator=generator(derive(seed, "order", number)))
            random = generator(derive(seed, "parts", number, rank))
            own = order[rank::n_ranks][: len(self) // n_ranks]
            for rows in own.split(batch_size)[: len(own) // batch_size]:
                yield torch.stack([self.read(int(i), random) for i in rows]), labels[rows]

        return epoch

    def first(self, n: int, *, seed: int = 0) -> tuple[Tensor, Tensor]:
        """Return up to n images, drawn at random but always the same, and their labels."""
        order = torch.randperm(len(self), generator=generator(derive(seed, "first")))[:n]
        images = torch.stack([self.read(int(i)) for i in order])
        return images, torch.from_numpy(self.labels)[order]


def image_folder(folder: str | Path, part: str, *, size: int = 224) -> ImageFolder:
    """Find the images of a part.

    Parameters
    ----------
    folder : path
        Holds ``train/<class>/*.jpg`` and ``val/<class>/*.jpg`` (or ``test``).
    part : {"train", "test"}
        Which part.
    size : int
        Side in pixels, >= 1.

    Raises
    ------
    ValueError
        The folder, its part, or images in it are missing; the message says what is expected.
    """
    check_choice("part", part, PARTS)
    check_range("size", size, 1)
    root = Path(folder)
    found = next((root / name for name in PARTS[part] if (root / name).is_dir()), None)
    expected = "expected are train/<class>/*.jpg and val/<class>/*.jpg"
    if not str(folder) or found is None:
        raise ValueError(f"folder {str(folder)!r} holds no part {part!r}: {expected}")
    classes = sorted(path.name for path in found.iterdir() if path.is_dir())
    paths: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        images = sorted(p for p in (found / name).iterdir() if p.suffix.lower() in SUFFIXES)
        paths += images
        labels += [label] * len(images)
    if not paths:
        raise ValueError(f"{found} holds no images: {expected}")
    return ImageFolder(tuple(paths), np.array(labels, dtype=np.int64), tuple(classes), size)


def _middle(width: int, height: int) -> tuple[float, float, float, float]:
    side = min(width, height) * 7 / 8
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side


def _part(width: int, height: int, random: torch.Generator) -> tuple[float, float, float, float]:
    share, tilt, x, y = torch.rand(4, generator=random).tolist()
    area = (0.08 + 0.92 * share) * width * height
    ratio = (3 / 4) ** (1 - 2 * tilt)
    w, h = min((area * ratio) ** 0.5, width), min((area / ratio) ** 0.5, height)
    left, top = x * (width - w), y * (height - h)
    return left, top, left + w, top + h
