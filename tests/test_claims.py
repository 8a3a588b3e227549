"""The page of all claims: nothing is left out, and a failure is shown as one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tractable.core.claims import Check, Paper
from tractable.core.processes import load_file

ROOT = Path(__file__).parent.parent
claims = load_file(ROOT / "docs" / "claims.py")
PAPER = Paper("A, B", 2020, "On things", arxiv="2001.00001")


def outcome(seed: int, measured: float, **more) -> object:
    checks = (
        Check("largest | error", measured, 0.03, kind="at_most", source="(S1)"),
        Check("slope", -0.5, -0.5, atol=0.1, kind="slope", source="Fig. 2"),
    )
    return claims.Outcome("toy", seed, checks, seconds=30.0, **more)


def test_each_seed_and_each_verdict_is_shown() -> None:
    text = claims.page({"toy": PAPER}, [outcome(0, 0.02), outcome(1, 0.05)])
    assert "## A, B (2020), On things, arXiv:2001.00001" in text
    assert "**3 of 4 checks hold** in 2 runs of 1 studies" in text
    assert r"| largest \| error | ≤ 0.03 | 0.02, 0.05 |  | **1 of 2** | (S1) |" in text
    assert "| slope | -0.5 | -0.5, -0.5 | ± 0.1 | 2 of 2 | Fig. 2 |" in text
    assert "`tractable run toy`, seed 0, 1; 0.5 min a run." in text


@pytest.mark.parametrize(("measured", "verdict"), [(0.02, "yes"), (0.05, "**no**")])
def test_one_seed_says_yes_or_no(measured: float, verdict: str) -> None:
    assert f"| {verdict} | (S1) |" in claims.page({"toy": PAPER}, [outcome(0, measured)])


def test_a_run_without_a_result_is_listed_with_what_it_said() -> None:
    lost = claims.Outcome("toy", 0, failure="tractable: no room | left")
    text = claims.page({"toy": None}, [lost])
    assert "## Without a paper" in text
    assert r"Seed 0 has no result: tractable: no room \| left" in text
    assert "**0 of 0 checks hold** in 0 runs" in text


def test_a_page_goes_on_with_what_it_holds() -> None:
    other = [claims.Outcome("other", 0, outcome(0, 0.05).checks)]
    whole = claims.page({"other": PAPER, "toy": None}, [*other, outcome(0, 0.02), outcome(1, 0.05)])
    kept = claims.parts(whole)
    assert set(kept) == {"other", "toy"}
    assert "**4 of 6 checks hold** in 3 runs of 2 studies" in whole
    again = claims.page({"other": PAPER, "toy": None}, other, kept)
    assert again == whole
    better = [claims.Outcome("other", 0, outcome(0, 0.02).checks)]
    text = claims.page({"other": PAPER, "toy": None}, better, kept)
    assert "**5 of 6 checks hold** in 3 runs of 2 studies" in text
    assert claims.parts(text)["toy"] == kept["toy"]
    assert "`late`" not in text
    assert "hold earlier runs): `late`." in claims.page({"toy": None}, [], kept, ["late"])


def test_a_study_is_run_once_and_read_again(tmp_path: Path, monkeypatch) -> None:
    # The default preset of this study takes a second.
    found = claims.run("spectra-qstar", 0, tmp_path, 0.01)
    assert found.failure == "not finished within 0.01 s"
    from tractable.studies import find

    small = find("dynamics-rank-one")(n_units=8, n_gains=3, n_starts=16)
    small.run(out=tmp_path, progress=False)
    monkeypatch.setattr(claims, "find", lambda name: lambda: small)
    again = claims.run("dynamics-rank-one", 0, tmp_path, 0.01)
    assert not again.failure
    assert len(again.checks) >= 2
