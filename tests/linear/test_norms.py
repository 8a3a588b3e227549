"""Feature norms: read from small files of the same form, and from the real ones where they are."""

from __future__ import annotations

import numpy as np
import pytest

from tractable import data

CONTENT = {
    "animal_exemplar_features_sum.csv": (
        'exemplar,can fly,"lives in water, mostly"\nduck,4,2\neel,0,4\n'
    ),
    "artifact_exemplar_features_sum.csv": "exemplar,cuts,rings\naxe,12,0\nbell,0,3\n",
    "bird_typicality_ratings.csv": "exemplar,respondent 0,mean,std\nduck,15,14.5,1\n",
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACTABLE_DATA", str(tmp_path))
    monkeypatch.setenv("TRACTABLE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "leuven").mkdir()
    for name, text in CONTENT.items():
        (tmp_path / "leuven" / name).write_text(text)
    return tmp_path


def test_leuven(folder):
    norms = data.load_norms("leuven")
    assert norms.items == ("duck", "eel")
    assert norms.features == ("can fly", "lives in water, mostly")
    np.testing.assert_array_equal(norms.values, [[1, 0.5], [0, 1]])
    assert norms.typicality == {"bird": {"duck": 14.5}}
    things = data.load_norms("leuven-artifacts")
    np.testing.assert_array_equal(things.values, [[1, 0], [0, 0.75]])  # a misprint is cut to four
    assert things.typicality == {}


def test_awa(folder):
    place = folder / "awa"
    place.mkdir()
    (place / "classes.txt").write_text("     1\tgrizzly+bear\n     2\tseal\n")
    (place / "predicates.txt").write_text("     1\tblack\n     2\tswims\n     3\tbig\n")
    (place / "predicate-matrix-binary.txt").write_text("1 0 1\n0 1 0\n")
    norms = data.load_norms("awa")
    assert norms.items == ("grizzly bear", "seal")
    np.testing.assert_array_equal(norms.values, [[1, 0, 1], [0, 1, 0]])
    (place / "predicate-matrix-binary.txt").write_text("1 0 1\n0 1\n")
    with pytest.raises(ValueError, match=r"row 2: must be 3 zeros and ones, got 2"):
        data.load_norms("awa")


def test_what_cannot_be_read_is_named(folder):
    path = folder / "leuven" / "animal_exemplar_features_sum.csv"
    path.write_text("exemplar,a,b\nduck,1,x\n")
    with pytest.raises(ValueError, match=r"animal_exemplar_features_sum.csv, row 2.*x"):
        data.load_norms("leuven")
    path.write_text("exemplar,a,b\nduck,1\n")
    with pytest.raises(ValueError, match=r"row 2: 2 columns, the first row has 3"):
        data.load_norms("leuven")
    with pytest.raises(data.DataNotFound, match="awa is not at hand"):
        data.load_norms("awa")
    with pytest.raises(ValueError, match="did you mean 'leuven'"):
        data.load_norms("leuvn")


@pytest.mark.data("leuven")
def test_the_real_norms():
    norms = data.load_norms("leuven")
    assert norms.values.shape == (129, 764)
    assert sorted(norms.typicality) == ["bird", "fish", "insect", "mammal", "reptile"]
    for members in norms.typicality.values():
        assert set(members) <= set(norms.items)
    assert data.load_norms("leuven-artifacts").values.shape == (166, 1295)


@pytest.mark.data("awa")
def test_the_real_animals():
    norms = data.load_norms("awa")
    assert norms.values.shape == (50, 85)
    assert "killer whale" in norms.items
