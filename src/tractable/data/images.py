"""Labelled images: scikit-learn's digits, MNIST and CIFAR-10 from the files they come in.

Every reader refuses files that are cut or of another data set, and names file and reason.
"""

from __future__ import annotations

import hashlib
import io
import struct
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import numpy as np

from tractable.core.checks import check_choice, check_range
from tractable.core.seeds import derive
from tractable.data.tables import read_bytes

__all__ = ["ImageData", "read_cifar10", "read_digits", "read_mnist"]

DIGITS = tuple("0123456789")
CIFAR10 = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
N_DIGITS_TEST = 397
_IDX_TYPES: dict[int, np.dtype] = {
    0x08: np.dtype("u1"),
    0x0D: np.dtype(">f4"),
    0x0C: np.dtype(">i4"),
}
_RECORD = 1 + 3 * 32 * 32  # bytes of one image of the binary CIFAR-10: label, red, green, blue


@dataclass(frozen=True, eq=False)
class ImageData:
    """Images with labels, in the order of their files.

    Parameters
    ----------
    images : ndarray of uint8, shape (n, height, width, channels)
        Intensities, 0 .. 255.
    labels : ndarray of int64, shape (n,)
        Class of each image, 0 .. K-1.
    classes : tuple of str
        Names of the K classes, in the order of the labels.
    parts : mapping of str to slice
        ``"train"`` and ``"test"``.
    """

    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    parts: Mapping[str, slice] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.images)

    def part(self, name: str, n: int = 0, *, seed: int = 0) -> ImageData:
        """Return a part in random order, since files may be sorted by class.

        Parameters
        ----------
        name : str
            ``"train"`` or ``"test"``.
        n : int
            Images to take; 0: all.
        seed : int
            Decides the order.

        Examples
        --------
        >>> data = read_digits()
        >>> len(data.part("train")), len(data.part("test", 100))
        (1400, 100)
        """
        check_choice("part", name, self.parts)
        index = np.arange(len(self))[self.parts[name]]
        check_range("n", n, 0, len(index))
        order = np.random.default_rng(derive(seed, "images", name)).permutation(index)
        chosen = order[: n or len(index)]
        return replace(self, images=self.images[chosen], labels=self.labels[chosen], parts={})

    def standardized(self, like: ImageData | None = None) -> np.ndarray:
        """Return the images as float32 rows of mean 0 and variance 1 over all pixels.

        Parameters
        ----------
        like : ImageData, optional
            Whose mean and variance are used, by channel; by default its own.

        Returns
        -------
        ndarray of float32, shape (n, channels * height * width)
            The channel is the slowest index, as torch wants it.

        Examples
        --------
        >>> rows = read_digits().standardized()
        >>> rows.shape, round(float(rows.mean()), 4), round(float(rows.var()), 4)
        ((1797, 64), 0.0, 1.0)
        """
        source = (self if like is None else like).images
        mean = source.mean(axis=(0, 1, 2), dtype=np.float64)
        scale = np.maximum(source.std(axis=(0, 1, 2), dtype=np.float64), 1e-12)
        scaled = (self.images - mean.astype(np.float32)) / scale.astype(np.float32)
        return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2)).reshape(len(self), -1)


def read_digits() -> ImageData:
    """Return scikit-learn's 1,797 digits, 8 x 8: the first 1,400 for training, 397 for testing.

    The 17 intensities of the file are spread over 0 .. 255. The order of the file is kept: its end
    was written by other people than its beginning, so the test is one of generalization.

    References
    ----------
    Alpaydin, Kaynak 1998, doi:10.24432/C50P49 (UCI, set 80).

    Examples
    --------
    >>> data = read_digits()
    >>> data.images.shape, data.images.max(), data.parts["test"]
    ((1797, 8, 8, 1), np.uint8(255), slice(1400, 1797, None))
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[..., None]
    n_train = len(images) - N_DIGITS_TEST
    parts = {"train": slice(0, n_train), "test": slice(n_train, len(images))}
    return ImageData(images, bunch.target.astype(np.int64), DIGITS, parts)


def read_mnist(
    paths: Sequence[Path], counts: Mapping[str, int], contents: Mapping[str, str]
) -> ImageData:
    """Read MNIST from its four idx files, gzipped or not.

    Parameters
    ----------
    paths : sequence of Path
        Train images, train labels, test images, test labels.
    counts : mapping of str to int
        Images of ``"train"`` and ``"test"``.
    contents : mapping of str to str
        MD5 of the unpacked files by their bare names; the packed ones differ from copy to copy.

    Raises
    ------
    ValueError
        A file is cut, damaged, or of another data set.
    """
    images: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    for path in paths:
        raw = read_bytes(path)
        name = path.name.removesuffix(".gz")
        expected = contents.get(name)
        if expected and (found := hashlib.md5(raw, usedforsecurity=False).hexdigest()) != expected:
            raise ValueError(
                f"{path} is damaged or another data set: its content has the MD5 {found}, "
                f"not {expected}; download it again"
            )
        part = "train" if name.startswith("train") else "test"
        array = _idx(raw, path)
        wanted = 3 if "images" in name else 1
        if array.ndim != wanted or len(array) != counts[part]:
            raise ValueError(
                f"{path} must hold {counts[part]:,} {'images' if wanted == 3 else 'labels'}, got "
                f"an array of shape {array.shape}"
            )
        (images if wanted == 3 else labels).append(array)
    return _joined([image[..., None] for image in images], labels, DIGITS, paths[0])


def read_cifar10(
    paths: Sequence[Path], counts: Mapping[str, int], contents: Mapping[str, str]
) -> ImageData:
    """Read CIFAR-10 from the official binary archive, or from zips of class folders of JPEG.

    The zips are ``train-jpg.zip`` and ``test-jpg.zip``, with one folder per class; their images
    lie in the order of the classes, and JPEG changes them slightly.

    Parameters
    ----------
    paths : sequence of Path
        The archive, or the two zips.
    counts, contents
        As for `read_mnist`; the archive's own checksum is checked at its download.

    Raises
    ------
    ValueError
        A file is cut, damaged, or of another data set.
    """
    if paths[0].suffix == ".zip":
        parts = [_jpeg_zip(path) for path in paths]
    else:
        parts = _cifar_archive(paths[0])
    for part, (array, _) in zip(("train", "test"), parts, strict=True):
        if len(array) != counts[part]:
            raise ValueError(
                f"{paths[0].parent}: the part {part!r} must hold {counts[part]:,} images, "
                f"got {len(array):,}; download the files again"
            )
    return _joined(
        [images for images, _ in parts], [labels for _, labels in parts], CIFAR10, paths[0]
    )


def _joined(
    images: list[np.ndarray], labels: list[np.ndarray], classes: tuple[str, ...], path: Path
) -> ImageData:
    n_train, n_all = len(images[0]), len(images[0]) + len(images[1])
    whole = np.concatenate(labels).astype(np.int64)
    if len(whole) and not 0 <= whole.min() <= whole.max() < len(classes):
        raise ValueError(
            f"{path.parent}: labels must be 0 .. {len(classes) - 1}, got {whole.min()} .. "
            f"{whole.max()}"
        )
    parts = {"train": slice(0, n_train), "test": slice(n_train, n_all)}
    return ImageData(np.concatenate(images), whole, classes, parts)


def _idx(raw: bytes, path: Path) -> np.ndarray:
    """Return the array of an idx file: two zeros, type, rank, sizes (big-endian), data."""
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] not in _IDX_TYPES:
        raise ValueError(f"{path} is no idx file: it begins with {raw[:4]!r}")
    kind, rank = _IDX_TYPES[raw[2]], raw[3]
    header = 4 + 4 * rank
    if len(raw) < header:
        raise ValueError(f"{path} is cut: {len(raw)} bytes do not hold its header")
    sizes = struct.unpack(f">{rank}I", raw[4:header])
    expected = header + int(np.prod(sizes, dtype=np.int64)) * kind.itemsize
    if len(raw) != expected:
        raise ValueError(f"{path} is cut or damaged: {len(raw):,} bytes, not {expected:,}")
    return np.frombuffer(raw, kind, offset=header).reshape(sizes)


def _cifar_archive(path: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Read data_batch_1..5.bin and test_batch.bin from a tar.gz archive."""
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                content = archive.extractfile(member) if member.name.endswith(".bin") else None
                if content is not None:
                    found[PurePosixPath(member.name).name] = content.read()
    except (tarfile.TarError, OSError, EOFError) as error:
        raise ValueError(f"{path} is not a whole tar.gz archive: {error}") from error
    names = [[f"data_batch_{i}.bin" for i in range(1, 6)], ["test_batch.bin"]]
    if missing := sorted({name for part in names for name in part} - found.keys()):
        raise ValueError(f"{path} must hold data_batch_1..5.bin and test_batch.bin; no {missing}")
    parts = []
    for part in names:
        raw = b"".join(found[name] for name in part)
        if len(raw) % _RECORD:
            raise ValueError(f"{path}: {part} are cut: {len(raw):,} bytes are no whole images")
        records = np.frombuffer(raw, np.uint8).reshape(-1, _RECORD)
        images = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        parts.append((np.ascontiguousarray(images), records[:, 0]))
    return parts


def _jpeg_zip(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read ``part/class/number.jpg`` from a zip archive."""
    from PIL import Image

    images, labels = [], []
    try:
        with zipfile.ZipFile(path) as archive:
            for name in sorted(archive.namelist()):
                inner = PurePosixPath(name)
                if inner.suffix.lower() not in (".jpg", ".jpeg") or "__MACOSX" in inner.parts:
                    continue
                if inner.parent.name not in CIFAR10:
                    raise ValueError(
                        f"{path}: {name} lies in no folder of a class; these are allowed: "
                        f"{', '.join(CIFAR10)}"
                    )
                with Image.open(io.BytesIO(archive.read(name))) as image:
                    images.append(np.asarray(image.convert("RGB")))
                labels.append(CIFAR10.index(inner.parent.name))
    except (zipfile.BadZipFile, OSError) as error:
        raise ValueError(f"{path} is not a whole zip archive of images: {error}") from error
    if sizes := {image.shape for image in images} - {(32, 32, 3)}:
        raise ValueError(f"{path}: images must be 32 x 32 in color, got {sizes.pop()}")
    if not images:
        raise ValueError(f"{path} holds no .jpg image")
    return np.stack(images), np.array(labels)
