"""Fields as controls and as the words of a link: for every study, there and back."""

from __future__ import annotations

import pytest

from tractable.explore import command, controls, link_words, read_study
from tractable.studies import find, index

NAMES = sorted(index())


@pytest.mark.parametrize("name", NAMES)
def test_controls_stand_at_the_study_and_lead_back_to_it(name: str) -> None:
    study = find(name)()
    found = controls(study)
    assert [control.name for control in found] == list(study.field_types())
    for control in found:
        assert control.help, control.name
        if control.kind in ("slider", "choice"):
            assert control.value in control.options
        if control.kind == "slider":
            assert list(control.options) == sorted(set(control.options))
            assert 2 <= len(control.options) <= 64
    assert read_study(type(study), {c.name: c.value for c in found}) == study


@pytest.mark.parametrize("name", NAMES)
def test_every_position_of_every_slider_is_permitted_or_refused_by_name(name: str) -> None:
    study = find(name)()
    for control in controls(study):
        for value in (control.options[0], control.options[-1]) if control.kind == "slider" else ():
            try:
                moved = read_study(type(study), {control.name: value})
            except ValueError as error:  # a rule between two fields
                said = str(error)
            else:
                said = f"{control.name}" if getattr(moved, control.name) == value else "lost"
            assert control.name in said


@pytest.mark.parametrize("name", NAMES)
def test_a_link_leads_back_to_every_preset(name: str) -> None:
    cls = find(name)
    for preset in cls.presets:
        study = cls.preset(preset)
        assert read_study(cls, link_words(study)) == study
        assert link_words(study, preset) == {}


def test_a_slider_reaches_where_somebody_would_move_it() -> None:
    cls = find("linear-modes")
    depth = next(c for c in controls(cls()) if c.name == "depth")
    assert depth.options[:2] == (1, 2) or depth.options[0] >= 1
    start = next(c for c in controls(cls()) if c.name == "init_strength")
    assert start.options[0] < cls().init_strength / 10  # in the logarithm


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"dpeth": "3"}, "dpeth.*did you mean 'depth'"),
        ({"depth": "three"}, "depth must be int, got 'three'"),
        ({"depth": "-1"}, "depth"),
        ({"strengths": "4"}, "strengths takes tuples"),
    ],
)
def test_a_link_that_does_not_fit_says_which_word(words: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_study(find("linear-modes"), words)


def test_the_command_line_of_a_study_in_a_file_names_the_file(tmp_path) -> None:
    from pathlib import Path

    from tractable.core.processes import load_file

    toy = load_file(Path(__file__).parent.parent / "toy_study.py").Toy()
    assert "toy_study.py" in command(toy)
