"""Labelled images: read from the files they come in, refused when cut or of another set."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import struct
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tractable import data
from tractable.data.catalog import DATA_SETS
from tractable.data.images import CIFAR10, ImageData, read_digits

MNIST = {
    "train-images-idx3-ubyte": (6, 3),
    "train-labels-idx1-ubyte": (6, 1),
    "t10k-images-idx3-ubyte": (4, 3),
    "t10k-labels-idx1-ubyte": (4, 1),
}


@pytest.fixture
def own_folder(tmp_path, monkeypatch):
    """No test sees this machine's data, cache or network; the sets are small."""
    monkeypatch.setenv("TRACTABLE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("TRACTABLE_CACHE", str(tmp_path / "cache"))
    contents = {
        name: hashlib.md5(idx(*shape), usedforsecurity=False).hexdigest()
        for name, shape in MNIST.items()
    }
    counts = {"train": 6, "test": 4}
    for name, found in (("mnist", contents), ("cifar10", {})):
        small = replace(DATA_SETS[name], counts=counts, contents=found, remotes=())
        monkeypatch.setitem(DATA_SETS, name, small)
    return tmp_path / "data"


def idx(n: int, rank: int) -> bytes:
    sizes = (n, 28, 28)[:rank]
    random = np.random.default_rng(n + rank)
    values = random.integers(0, 10 if rank == 1 else 256, sizes, dtype=np.uint8)
    return b"\0\0\x08" + bytes([rank]) + struct.pack(f">{rank}I", *sizes) + values.tobytes()


def write_mnist(folder: Path, *, packed: bool = True, **change: bytes) -> None:
    folder.mkdir(parents=True)
    for name, shape in MNIST.items():
        raw = change.get(name.split("-idx")[0].replace("-", "_"), idx(*shape))
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(raw))
        else:
            (folder / name).write_bytes(raw)


def cifar_record(label: int, color: tuple[int, int, int]) -> bytes:
    return bytes([label]) + b"".join(bytes([value]) * 1024 for value in color)


def write_cifar_archive(folder: Path, n_train: int = 6, n_test: int = 4, cut: int = 0) -> None:
    folder.mkdir(parents=True)
    records = [cifar_record(i % 10, (10 * i, 1, 2)) for i in range(n_train + n_test)]
    parts = {f"data_batch_{i}.bin": b"" for i in range(1, 6)}
    parts["data_batch_1.bin"] = b"".join(records[:n_train])
    parts["test_batch.bin"] = b"".join(records[n_train:])[: -cut or None]
    with tarfile.open(folder / "cifar-10-binary.tar.gz", "w:gz") as archive:
        for name, content in parts.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def write_cifar_zips(folder: Path, kind: str = "bird", size: int = 32) -> None:
    from PIL import Image

    folder.mkdir(parents=True)
    for part, n in (("train", 6), ("test", 4)):
        with zipfile.ZipFile(folder / f"{part}-jpg.zip", "w") as archive:
            for i in range(n):
                content = io.BytesIO()
                color = (40 * i, 100, 200)
                Image.new("RGB", (size, size), color).save(content, "JPEG", quality=95)
                name = CIFAR10[i] if i else kind
                archive.writestr(f"{part}/{name}/{i:04}.jpg", content.getvalue())
            archive.writestr(f"__MACOSX/{part}/._x.jpg", b"junk")


def test_digits_need_no_file() -> None:
    digits = data.load_images("digits")
    assert digits.images.dtype == np.uint8
    assert [len(digits.part(name)) for name in ("train", "test")] == [1400, 397]
    assert sorted(set(digits.labels.tolist())) == list(range(10))


@pytest.mark.parametrize("packed", [True, False])
def test_mnist_is_read_from_idx_files(own_folder, packed) -> None:
    write_mnist(own_folder / "mnist", packed=packed)
    found = data.load_images("mnist")
    assert found.images.shape == (10, 28, 28, 1)
    expected = np.frombuffer(idx(4, 3)[16:], np.uint8).reshape(4, 28, 28)
    test = found.images[found.parts["test"]]
    assert np.array_equal(test[..., 0], expected)
    assert np.array_equal(found.labels[:6], np.frombuffer(idx(6, 1)[8:], np.uint8))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_images": idx(6, 3)[:-1]}, "damaged or another data set"),
        ({"t10k_labels": idx(5, 1)}, "damaged or another data set"),
    ],
)
def test_damaged_mnist_is_refused(own_folder, change, message) -> None:
    write_mnist(own_folder / "mnist", **change)
    with pytest.raises(ValueError, match=message):
        data.load_images("mnist")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_images": idx(6, 3)[:-1]}, "is cut or damaged: 4,719 bytes, not 4,720"),
        ({"train_images": b"PNG"}, "is no idx file"),
        ({"train_images": idx(6, 3)[:9]}, "do not hold its header"),
        ({"train_images": idx(5, 3)}, "must hold 6 images"),
        ({"train_labels": idx(6, 3)}, "must hold 6 labels"),
        ({"train_labels": idx(6, 1)[:-1] + b"\x0a"}, r"labels must be 0 \.\. 9"),
    ],
)
def test_cut_idx_files_are_refused(own_folder, monkeypatch, change, message) -> None:
    monkeypatch.setitem(DATA_SETS, "mnist", replace(DATA_SETS["mnist"], contents={}))
    write_mnist(own_folder / "mnist", **change)
    with pytest.raises(ValueError, match=message):
        data.load_images("mnist")


def test_a_damaged_gzip_is_refused(own_folder) -> None:
    write_mnist(own_folder / "mnist")
    path = own_folder / "mnist" / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match="not a whole gzip file"):
        data.load_images("mnist")


def test_cifar_is_read_from_the_binary_archive(own_folder) -> None:
    write_cifar_archive(own_folder / "cifar10")
    found = data.load_images("cifar10")
    assert found.images.shape == (10, 32, 32, 3)
    assert found.images[3, 5, 7].tolist() == [30, 1, 2]
    assert found.labels.tolist() == list(range(10))
    assert found.classes[3] == "cat"


def test_cifar_is_read_from_zips_of_jpeg(own_folder) -> None:
    write_cifar_zips(own_folder / "cifar10")
    found = data.load_images("cifar10")
    assert found.images.shape == (10, 32, 32, 3)
    assert sorted(found.labels[:6].tolist()) == [1, 2, 2, 3, 4, 5]
    first = found.images[found.labels == 3][0]
    assert np.abs(first.astype(int) - [120, 100, 200]).max() <= 4  # JPEG


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_train": 5, "n_test": 4}, "'train' must hold 6 images, got 5"),
        ({"cut": 10}, "are cut: .* no whole images"),
    ],
)
def test_a_cut_archive_is_refused(own_folder, settings, message) -> None:
    write_cifar_archive(own_folder / "cifar10", **settings)
    with pytest.raises(ValueError, match=message):
        data.load_images("cifar10")


def test_foreign_archives_are_refused(own_folder) -> None:
    folder = own_folder / "cifar10"
    write_cifar_zips(folder, kind="dragon")
    with pytest.raises(ValueError, match=r"lies in no folder of a class.*airplane"):
        data.load_images("cifar10")
    (folder / "train-jpg.zip").write_bytes(b"PK")
    with pytest.raises(ValueError, match="not a whole zip archive"):
        data.load_images("cifar10")
    (folder / "cifar-10-binary.tar.gz").write_bytes(b"no archive")
    with pytest.raises(ValueError, match=r"not a whole tar\.gz archive"):
        data.load_images("cifar10")


def test_images_of_another_size_are_refused(own_folder) -> None:
    write_cifar_zips(own_folder / "cifar10", size=16)
    with pytest.raises(ValueError, match="must be 32 x 32 in color"):
        data.load_images("cifar10")


def test_what_is_not_at_hand_says_which_file_goes_where(own_folder) -> None:
    with pytest.raises(data.DataNotFound, match="put train-images-idx3-ubyte"):
        data.load_images("mnist", download_missing=False)
    with pytest.raises(ValueError, match="did you mean 'mnist'"):
        data.load_images("mnst")
    with pytest.raises(ValueError, match="load_images reads it"):
        data.load("mnist")


def test_parts_are_shuffled_by_the_seed() -> None:
    digits = read_digits()
    one, same, other = (digits.part("train", 50, seed=s) for s in (0, 0, 1))
    assert np.array_equal(one.images, same.images)
    assert not np.array_equal(one.images, other.images)
    with pytest.raises(ValueError, match="n must be >= 0 and <= 1400"):
        digits.part("train", 2000)
    with pytest.raises(ValueError, match="part must be one of"):
        digits.part("valid")


def test_standardized_images_use_the_scale_of_the_training_set() -> None:
    images = np.zeros((2, 2, 1, 3), np.uint8)
    images[0, 0, 0] = (10, 20, 30)
    both = ImageData(images, np.zeros(2, np.int64), ("a",), {})
    rows = both.standardized()
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows.reshape(2, 3, 2).mean((0, 2)), 0, atol=1e-6)
    np.testing.assert_allclose(rows.reshape(2, 3, 2).var((0, 2)), 1, rtol=1e-5)
    brighter = replace(both, images=images + 10)
    assert float(brighter.standardized(like=both).mean()) > 1


@pytest.mark.data("mnist")
def test_the_real_mnist() -> None:
    found = data.load_images("mnist", download_missing=False)
    assert found.images.shape == (70_000, 28, 28, 1)
    counts = np.bincount(found.labels[found.parts["train"]])
    assert counts.tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]


@pytest.mark.slow
@pytest.mark.data("cifar10")
def test_the_real_cifar() -> None:
    assert os.environ["TRACTABLE_DATA"]
    found = data.load_images("cifar10", download_missing=False)
    assert found.images.shape == (60_000, 32, 32, 3)
    assert np.bincount(found.labels).tolist() == [6000] * 10
    mean = found.images[found.parts["train"]].mean(axis=(0, 1, 2)) / 255
    np.testing.assert_allclose(mean, [0.4914, 0.4822, 0.4465], atol=0.003)
