"""Atomic files, hashes, locks."""

from __future__ import annotations

from pathlib import Path

import pytest

from tractable.core import folder


def test_hash_of_a_file_is_of_its_content(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("same")
    two.write_text("same")
    assert folder.hash_file(one) == folder.hash_file(two)
    two.write_text("other")
    assert folder.hash_file(one) != folder.hash_file(two)


def test_canonical_text_ignores_the_order_of_keys() -> None:
    assert folder.digest({"a": 1, "b": (2, 3)}) == folder.digest({"b": [2, 3], "a": 1})
    assert folder.digest({"a": 1}) != folder.digest({"a": 2})


def test_a_lock_is_held_once_and_removed(tmp_path: Path) -> None:
    with folder.lock(tmp_path):
        assert (tmp_path / "lock.json").exists()
    assert not (tmp_path / "lock.json").exists()


def test_a_half_written_lock_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / "lock.json").write_text("")
    with folder.lock(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    folder.write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        folder.write_json(path, {"a": object()})
    assert path.read_text() == '{\n "a": 1\n}\n'
