"""The comparison page of `dynamics-architectures`: every published finding beside every network."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tractable.report import open_run, write
from tractable.studies import find
from tractable.studies.dynamics.dynamics_architectures import part
from tractable.study import Table


def test_published_findings_stand_beside_those_of_every_network(tmp_path: Path) -> None:
    study = find("dynamics-architectures").preset("smoke", cells=("ugrnn", "gru"), n_test=30)
    result = study.run(out=tmp_path, progress=False)
    table = next(a for a in result.answers if isinstance(a, Table) and "side by side" in a.title)
    assert table.columns == ("quantity", "published", "UGRNN", "GRU")
    rows = {row[0]: row[1:] for row in table.rows}
    for column, key in ((1, "synthetic_ugrnn_0"), (2, "synthetic_gru_0")):
        one, seen = part(result.theory, key), part(result.measured, key)
        tau = one.tau.values
        left = np.abs(one.left_input_match.values)
        weights = np.corrcoef(one.word_weight, seen.coefficient)[0, 1]
        expected = {
            "test accuracy": seen.test_accuracy,
            "accuracy of the bag of words": seen.bag_of_words_accuracy,
            "τ1 (words)": np.median(tau[:, 0]),
            "τ1 / τ2": np.median(tau[:, 0] / tau[:, 1]),
            "median text (words)": 15,
            "slow modes: slower than a median text, median": np.median((tau >= 15).sum(1)),
            "|cos| of its left vector and the valence direction": np.median(left),
            "word weights of one mode against bag of words, correlation": weights,
        }
        for quantity, value in expected.items():
            assert rows[quantity][column] == pytest.approx(float(value), nan_ok=True), quantity
    assert rows["one-step error, median"][0] == "about 0.1 (Fig. 5)"
    assert "signatures that hold" in rows


def test_a_page_is_written_again_where_the_texts_are_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACTABLE_DATA", str(tmp_path))
    monkeypatch.setenv("TRACTABLE_CACHE", str(tmp_path / "cache"))
    reviews = tmp_path / "yelp" / "yelp_academic_dataset_review.json"
    reviews.parent.mkdir()
    words = ("a dull flat tale", "a fine clear tale")
    rows = [{"text": f"{words[i % 2]} {i % 7}", "stars": 1.0 + 4 * (i % 2)} for i in range(200)]
    reviews.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    study = find("dynamics-architectures").preset(
        "smoke", data=("yelp",), cells=("gru",), n_test=30
    )
    result = study.run(out=tmp_path, progress=False)
    monkeypatch.setenv("TRACTABLE_DATA", str(tmp_path / "elsewhere"))
    page = write(open_run(result.folder))
    assert "yelp, gru: one step" in page.read_text(encoding="utf-8")
