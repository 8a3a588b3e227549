"""The button's simulation is the run of the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tractable.explore import serve, simulate
from tractable.studies import find


def test_the_run_is_the_same_as_from_python_and_tells_how_it_goes(tmp_path: Path) -> None:
    study = find("dynamics-rank-one").preset("smoke")
    told: list[str] = []
    result = simulate(study, seed=2, out=tmp_path / "page", tell=told.append)
    direct = study.run(seed=2, out=tmp_path / "python", progress=False)
    assert result.measured.identical(direct.measured)
    assert result.folder.name == direct.folder.name
    assert told


def test_a_run_that_fails_says_what_it_said_last(tmp_path: Path) -> None:
    study = find("dynamics-rank-one").preset("smoke")
    blocked = tmp_path / "file"
    blocked.write_text("here stands a file")
    with pytest.raises(RuntimeError, match=r"the run did not end: .*file"):
        simulate(study, out=blocked)


def test_bad_ports_are_refused() -> None:
    with pytest.raises(ValueError, match="port"):
        serve(port=0)


def test_without_marimo_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"tractable\[explore\]"):
        serve()
