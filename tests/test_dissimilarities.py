"""The 92-object set: its published numbers, and files that are not it."""

from __future__ import annotations

import os

import numpy as np
import pytest

from tractable import data

REAL = os.environ.get("TRACTABLE_DATA")


@pytest.mark.data("it92")
def test_monkey_and_man_agree_as_published(monkeypatch: pytest.MonkeyPatch) -> None:
    # PUBLISHED: r = 0.49, Kriegeskorte et al. 2008
    monkeypatch.setenv("TRACTABLE_DATA", str(REAL))
    found = data.load_dissimilarities("it92")
    upper = np.triu_indices(92, 1)
    r = np.corrcoef(found.monkey[upper], found.human_mean[upper])[0, 1]
    assert r == pytest.approx(0.49, abs=0.005)
    mean = found.human.mean((0, 1))
    assert np.corrcoef(mean[upper], found.human_mean[upper])[0, 1] == pytest.approx(1.0, abs=1e-6)
    assert found.categories["animate"].sum() == 48
    assert found.images.shape == (92, 175, 175, 3)


def test_where_it_is_not_at_hand_the_files_are_named(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("TRACTABLE_DATA", str(tmp_path))
    monkeypatch.setenv("TRACTABLE_CACHE", str(tmp_path))
    with pytest.raises(data.DataNotFound, match=r"92_brainRDMs\.mat"):
        data.load_dissimilarities()
    with pytest.raises(ValueError, match="name must be"):
        data.load_dissimilarities("it93")


@pytest.mark.parametrize("content", [b"no matrices", None])
def test_other_files_are_refused(tmp_path, monkeypatch, content) -> None:
    from scipy.io import savemat

    folder = tmp_path / "it92"
    folder.mkdir()
    for name in ("92_brainRDMs.mat", "Kriegeskorte_Neuron2008_supplementalData.mat"):
        if content is None:
            savemat(folder / name, {"RDMs": np.ones((1, 2))})
        else:
            (folder / name).write_bytes(content)
    monkeypatch.setenv("TRACTABLE_DATA", str(tmp_path))
    with pytest.raises(ValueError, match=r"not a whole MATLAB file|4 people in 2 sessions"):
        data.load_dissimilarities()
