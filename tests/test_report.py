"""The report without a browser: the command line, figures in the page, errors, unfinished runs."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal
from xml.etree import ElementTree

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from tractable import plot, report
from tractable.core.processes import load_file
from tractable.flags import parse_run
from tractable.study import Check, Range, Result, Run, Study

TOY = Path(__file__).with_name("toy_study.py")
Toy = load_file(TOY).Toy


@dataclass(frozen=True)
class Odd(Study):
    """Parameters of every kind."""

    count: Annotated[int | None, Range(-9, 9)] = 3
    """Three."""
    rate: Annotated[float, Range(-9, 9)] = 1.0
    """One."""
    note: str = "a"
    """Text."""
    use_bias: bool = True
    """Yes."""
    quick: bool = False
    """No."""
    maybe: bool | None = None
    """Perhaps."""
    sizes: Annotated[tuple[int, ...], Range(-9, 9)] = (1, 2)
    """Numbers."""
    names: tuple[str, ...] = field(default_factory=tuple)
    """Texts."""
    kind: Literal["plain", "sweet"] | None = "plain"
    """One of two."""


@dataclass(frozen=True)
class Drawn(Study):
    """A study that draws what a test gives it."""

    pictures: ClassVar[Any] = None

    def measure(self, run: Run) -> xr.Dataset:
        return xr.Dataset({"y": ("x", np.arange(3.0))})

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        return xr.Dataset({"y": ("x", np.arange(3.0))})

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        return type(self).pictures()


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Result:
    monkeypatch.setenv("TOY_COUNTER", str(tmp_path / "counter.txt"))
    return Toy(note='bring <b> & "quotes"').run(out=tmp_path / "runs", progress=False)


# --- the command line ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"count": None, "rate": -1e-05},
        {"count": -9, "note": ""},
        {"note": "-a b"},
        {"note": "--seed"},
        {"note": "two\nlines, 'quotes' & \"more\" $HOME `x` ü"},
        {"use_bias": False, "quick": True},
        {"maybe": True},
        {"maybe": False},
        {"sizes": ()},
        {"sizes": (-1, -2), "rate": 0.1 + 0.2},
        {"sizes": (7,), "names": ("one two", "", "drei")},
        {"kind": None},
        {"kind": "sweet", "names": ("x",)},
    ],
)
def test_the_command_line_gives_the_study_back(values: dict[str, Any]) -> None:
    study = Odd(**values)
    line = report.command(study, seed=0)
    head, words = shlex.split(line)[:3], shlex.split(line)[3:]
    assert head == ["tractable", "run", "odd"]
    start = {"study": Odd(), "preset": "default", "from_": None, "seed": 0}
    parsed = parse_run(Odd, "tractable run odd", "", words, **start)
    assert parsed.study == study
    assert bool(words) is bool(values), "only what differs from the defaults is written"


def test_the_command_line_names_seed_and_file() -> None:
    line = report.command(Odd(count=4), seed=7, file="/a b/odd.py")
    assert shlex.split(line) == [
        "tractable",
        "run",
        "/a b/odd.py",
        *["--count", "4", "--seed", "7"],
    ]


# --- figures in the page ---------------------------------------------------------------------


def small() -> Figure:
    figure, ax = plot.new()
    plot.theory(ax, [0, 1], [0, 1])
    ax.set(xlabel="x & <y>", title=r"$\kappa^2$", ylim=(0.2, 0.8))
    figure.set_label('A "caption" & <more>.')
    return figure


def cloud(points: int) -> Figure:
    figure, ax = plot.new()
    ax.scatter(np.arange(points), np.arange(points), s=1)
    figure.set_label('A "caption" & <more>.')
    return figure


def identifiers(markup: str) -> tuple[set[str], set[str]]:
    ids = re.findall(r'\bid="([^"]+)"', markup)
    assert len(ids) == len(set(ids))
    return set(ids), set(re.findall(r'(?:href="|url\()#([^")]+)', markup))


def markup(figure: Figure, prefix: str, caption: str) -> str:
    return report.markup(figure, prefix, caption)


def test_two_figures_share_no_identifier() -> None:
    first, second = (markup(small(), f"figure-{i}", "c") for i in (1, 2))
    for text in (first, second):
        ids, used = identifiers(text)
        assert any("clip" in name or re.search(r"-p[0-9a-f]{10}", name) for name in used)
        assert used <= ids
    assert not identifiers(first)[0] & identifiers(second)[0]


def test_a_figure_is_well_formed_and_named_by_its_caption() -> None:
    text = markup(small(), "figure-1", 'A "caption" & <more>.')
    root = ElementTree.fromstring(text)
    assert root.get("aria-label") == 'A "caption" & <more>.'
    assert root.get("role") == "img"
    tags = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert not tags & {"style", "script", "text", "metadata"}, "nothing leaks into the page"


def test_many_points_make_an_image_with_the_caption_as_text() -> None:
    assert markup(cloud(200), "f", "c").startswith("<svg")
    image = markup(cloud(20_001), "f", 'A "caption" & <more>.')
    assert image.startswith('<img alt="A &#34;caption&#34; &amp; &lt;more&gt;."')
    assert 'src="data:image/png;base64,iVBOR' in image
    assert len(image) < 400_000


def test_a_heavy_figure_of_few_points_is_an_image_too() -> None:
    figure = cloud(19_000)
    assert report._points(figure) == 19_000
    assert markup(figure, "f", "c").startswith("<img"), "it would take 1.4 MB as SVG"


def many(draw: str) -> Figure:
    figure, ax = plot.new()
    values = np.zeros((150, 160))
    if draw == "lines":
        ax.plot(values)
    elif draw == "error bars":
        ax.errorbar(np.arange(8_000), np.zeros(8_000), yerr=1.0)
    elif draw == "image":
        ax.imshow(values)
    elif draw == "color image":
        ax.imshow(np.zeros((150, 160, 3)))
    elif draw == "mesh":
        ax.pcolormesh(values)
    elif draw == "band":
        ax.fill_between(np.arange(12_000), np.zeros(12_000), 1.0)
    elif draw == "second axes":
        figure.add_axes((0.5, 0.5, 0.2, 0.2)).imshow(values)
    return figure


KINDS = ["lines", "error bars", "image", "color image", "mesh", "band", "second axes"]


@pytest.mark.parametrize("draw", KINDS)
def test_points_are_counted_in_every_kind_of_artist(draw: str) -> None:
    assert 24_000 <= report._points(many(draw)) <= 25_000


def test_what_is_drawn_as_an_image_anyway_does_not_count() -> None:
    figure, ax = plot.new()
    ax.scatter(np.arange(30_000), np.arange(30_000), s=1, rasterized=True)
    assert report._points(figure) == 0
    assert markup(figure, "f", "c").startswith("<svg")


# --- the page --------------------------------------------------------------------------------


def test_notes_come_first_and_text_is_escaped(toy: Result) -> None:
    page = report.write(toy).read_text(encoding="utf-8")
    note = "bring &lt;b&gt; &amp; &#34;quotes&#34;"
    assert page.index(note) < page.index("<h2")
    assert "<b>" not in page


def test_the_page_is_the_same_each_time(toy: Result) -> None:
    first = report.write(toy).read_bytes()
    again = report.write(report.open_run(toy.folder)).read_bytes()
    assert first == again


@pytest.mark.parametrize("suffix", ["svg", "pdf", "png"])
def test_figure_files_have_the_format_that_was_asked_for(toy: Result, suffix: str) -> None:
    page = report.write(toy, figures=suffix).read_text(encoding="utf-8")
    assert (toy.folder / "figures" / f"squares.{suffix}").stat().st_size > 1000
    assert f'href="figures/squares.{suffix}"' in page


def test_an_unknown_format_is_refused(toy: Result) -> None:
    with pytest.raises(ValueError, match="did you mean 'svg'"):
        report.write(toy, figures="svgz")


def failing_study() -> dict[str, Figure]:
    raise KeyError("overlap")


def unknown_mathematics() -> dict[str, Figure]:
    figure = small()
    figure.axes[0].set_title(r"$\nonsense$")
    return {"fine": small(), "pitch": figure}


@pytest.mark.parametrize(
    ("pictures", "message"),
    [
        (failing_study, r"drawn: Drawn\.figures\(\) fails: KeyError: 'overlap'\. The numbers"),
        (unknown_mathematics, r"drawn: 'pitch' of Drawn\.figures\(\) cannot be drawn: ValueError"),
    ],
)
def test_an_error_in_a_figure_names_it_and_says_what_to_do(
    pictures: Any, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Drawn, "pictures", pictures)
    result = Drawn().run(out=tmp_path, progress=False)
    with pytest.raises(report.FigureError, match=message) as caught:
        report.write(result)
    assert caught.value.__cause__ is not None
    assert f"tractable report {result.folder}" in str(caught.value)
    assert not (result.folder / "report.html").exists()


def test_a_run_without_figures_checks_and_paper_has_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Drawn, "pictures", dict)
    page = report.write(Drawn().run(out=tmp_path, progress=False)).read_text(encoding="utf-8")
    assert re.findall(r"<h2[^>]*>([^<]+)", page) == ["The run"]
    assert "checks hold" not in page


# --- numbers ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *[(0.0, "0"), (-0.0, "0"), (3.0, "3"), (-12, "−12"), (32768.0, "32768")],
        *[(999_999.6, "10⁶"), (1e6, "10⁶"), (1_500_000, "1500000"), (12345.67, "12346")],
        *[(0.00012345, "0.0001234"), (1.2e-05, "1.2×10⁻⁵"), (-1e-7, "−10⁻⁷"), (1e300, "10³⁰⁰")],
        *[(float("nan"), "nan"), (float("inf"), "∞"), (-float("inf"), "−∞")],
        *[(True, "yes"), (False, "no"), (None, "–"), ("1e-9", "1e-9")],
    ],
)
def test_numbers_are_printed_as_in_a_paper(value: Any, text: str) -> None:
    assert report._number(value) == text


@pytest.mark.parametrize(
    ("column", "texts"),
    [
        ([2.133, -0.06068, 0.5], ["2.133", "−0.061", "0.500"]),
        ([0.5, 12.25, 0.0], ["0.50", "12.25", "0.00"]),
        ([1.0, 2.0, float("nan"), 3], ["1", "2", "nan", "3"]),
        ([1e-7, 0.5, float("inf")], ["10⁻⁷", "0.5", "∞"]),
        ([1234.5, 20.25], ["1234", "20"]),  # half to even
        (["over 1,000", 0.125, None, True], ["over 1,000", "0.125", "–", "yes"]),
    ],
)
def test_the_numbers_of_a_column_share_their_decimals(column: list[Any], texts: list[str]) -> None:
    rows = report._cells([("name", value) for value in column])
    assert [row[1].text for row in rows] == texts
    kinds = ["number" if type(value) in (int, float) else "" for value in column]
    assert [row[1].kind for row in rows] == kinds
    assert report._cells([]) == []


@pytest.mark.parametrize(
    ("check", "measured", "expected"),
    [
        (Check("x", 0.95750402, 0.957504, source="s", atol=1e-9), "0.95750402", "0.957504"),
        (Check("x", 0.95750402, 0.957504, source="s", atol=1e-6), "0.9575", "0.9575"),
        (Check("x", 1.00004, 1.0, source="s", kind="at_most"), "1.00004", "1"),
        (Check("x", 1.0000000000000002, 1.0, source="s"), "1.0000000000000002", "1"),
        (Check("x", float("nan"), 1.0, source="s"), "nan", "1"),
    ],
)
def test_the_printed_numbers_give_the_verdict(check: Check, measured: str, expected: str) -> None:
    digits = report._digits(check)
    assert report._number(check.measured, digits) == measured
    assert report._number(check.expected, digits) == expected


@pytest.mark.parametrize(
    ("tolerance", "text"),
    [
        *[({}, "exact"), ({"atol": 1e-12}, "± 10⁻¹²"), ({"rtol": 0.025}, "± 2.5 %")],
        ({"atol": 0.1, "rtol": 0.02, "kind": "slope"}, "± 0.1 + 2 %"),
        *[({"kind": "at_most"}, ""), ({"kind": "at_least", "atol": 0.01}, "0.01")],
    ],
)
def test_tolerances(tolerance: dict[str, Any], text: str) -> None:
    assert report._tolerance(Check("x", 1.0, 1.0, source="s", **tolerance)) == text


# --- runs that are not there -----------------------------------------------------------------


def test_a_file_of_the_run_names_the_run_too(toy: Result) -> None:
    page = report.write(toy)
    assert report.open_run(page).folder == toy.folder


def test_an_interrupted_run_is_said_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_COUNTER", str(tmp_path / "counter.txt"))
    (tmp_path / "counter.stop").touch()
    study = Toy()
    with pytest.raises(KeyboardInterrupt):
        study.run(out=tmp_path, progress=False)
    final = study.folder(out=tmp_path)
    for folder in (final, f"{final}.partial"):
        with pytest.raises(ValueError, match="the run stopped before its end") as caught:
            report.open_run(folder)
        message = str(caught.value)
        assert "interrupted; the same command goes on from here" in message
        assert message.endswith(f"the finished run will be {final}")


def test_a_run_in_progress_is_said_to_be_computed(tmp_path: Path) -> None:
    partial = tmp_path / "abc.partial"
    partial.mkdir()
    (partial / "lock.json").write_text(json.dumps({"host": "here", "process": 1}))
    with pytest.raises(ValueError, match=r"being computed \(last sign of life 0 s ago\)"):
        report.open_run(partial)


def test_a_folder_of_runs_names_the_newest(toy: Result, tmp_path: Path) -> None:
    for folder in (tmp_path / "runs", tmp_path / "runs" / "toy"):
        with pytest.raises(ValueError, match="holds 1, the newest in") as caught:
            report.open_run(folder)
        assert str(toy.folder) in str(caught.value)


def test_no_folder_and_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no such folder"):
        report.open_run(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"no checks\.json"):
        report.open_run(tmp_path)


def test_a_study_that_is_gone_is_named(toy: Result) -> None:
    params = toy.folder / "params.json"
    record = json.loads(params.read_text())
    params.write_text(json.dumps({**record, "study_file": "/nowhere/mine.py"}))
    with pytest.raises(ValueError, match=r"run of /nowhere/mine\.py.*no file /nowhere/mine\.py"):
        report.open_run(toy.folder)
