"""The report in a browser: it opens from disk alone, and everybody can read it."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from tractable.core.processes import load_file
from tractable.report import write
from tractable.study import Result, Study, Table

pytestmark = pytest.mark.page

HERE = Path(__file__).parent
hard = load_file(HERE / "hard_study.py")

# Pairs (text, contrast) of all text that is below the WCAG AA ratio; 3 instead of 4.5 for large
# text (24 px, or 18.66 px in bold). Backgrounds are composited from the root of the page.
LOW_CONTRAST = """() => {
  const parse = color => {
    const [r, g, b, a = 1] = color.match(/[\\d.]+/g).map(Number);
    return {rgb: [r, g, b], a};
  };
  const over = (top, below) => top.rgb.map((c, i) => top.a * c + (1 - top.a) * below[i]);
  const luminance = rgb => {
    const linear = c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    const [r, g, b] = rgb.map(c => linear(c / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const background = element => {
    const below = element ? background(element.parentElement) : [255, 255, 255];
    return element ? over(parse(getComputedStyle(element).backgroundColor), below) : below;
  };
  const low = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let seen = 0;
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim(), element = walker.currentNode.parentElement;
    if (!text) continue;
    seen += 1;
    const style = getComputedStyle(element), below = background(element);
    const [a, b] = [luminance(over(parse(style.color), below)), luminance(below)];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const size = parseFloat(style.fontSize), bold = parseInt(style.fontWeight) >= 700;
    if (ratio < (size >= 24 || (bold && size >= 18.66) ? 3 : 4.5)) low.push([text, ratio]);
  }
  return {low, seen};
}"""

# Texts that a reader cannot see: hidden, without a size, or outside of the page's width.
UNSEEN = """() => {
  const unseen = [], width = document.documentElement.clientWidth;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim(), element = walker.currentNode.parentElement;
    if (!text) continue;
    const range = document.createRange();
    range.selectNodeContents(walker.currentNode);
    const box = range.getBoundingClientRect();
    const inside = box.width > 0 && box.height > 0 && box.left >= 0 && box.right <= width + 1;
    const shown = element.checkVisibility({opacityProperty: true, visibilityProperty: true});
    if (!inside || !shown) unseen.push(text);
  }
  return unseen;
}"""


@dataclass(frozen=True)
class Report:
    """A finished run and its page."""

    result: Result
    path: Path


@pytest.fixture(scope="module", params=["toy", "hard", "dynamics-rank-one"])
def report(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Report:
    folder = tmp_path_factory.mktemp(request.param)
    study: Study
    if request.param == "hard":
        study = hard.Hard()
    elif request.param == "toy":
        study = load_file(HERE.parent / "toy_study.py").Toy(note="generated <data> & more")
    else:
        from tractable.studies import find

        study = find(request.param).preset("smoke")
    os.environ["TOY_COUNTER"] = str(folder / "counter.txt")
    try:
        result = study.run(out=folder, progress=False)
    finally:
        del os.environ["TOY_COUNTER"]
    return Report(result, write(result))


@dataclass
class Opened:
    """An open page with what it asked for and complained of."""

    page: Any
    requests: list[str]
    complaints: list[str]


@pytest.fixture(scope="module")
def opened(browser: Any, report: Report) -> Iterator[Opened]:
    context = browser.new_context(offline=True)
    opened = Opened(context.new_page(), [], [])
    opened.page.on("request", lambda request: opened.requests.append(request.url))
    opened.page.on("pageerror", lambda error: opened.complaints.append(str(error)))
    opened.page.on("console", lambda message: opened.complaints.append(message.text))
    opened.page.goto(report.path.as_uri())
    yield opened
    context.close()


@pytest.fixture
def page(opened: Opened) -> Any:
    opened.page.set_viewport_size({"width": 1280, "height": 800})
    opened.page.emulate_media(media="screen", color_scheme="light")
    return opened.page


def texts(page: Any, selector: str) -> list[str]:
    return [" ".join(text.split()) for text in page.locator(selector).all_text_contents()]


def one_line(text: str) -> str:
    return " ".join(text.split())


def test_it_opens_from_disk_and_loads_nothing_else(opened: Opened, report: Report) -> None:
    assert [url for url in opened.requests if not url.startswith("data:")] == [report.path.as_uri()]
    assert not opened.complaints
    assert opened.page.locator("script, link:not([rel=icon]), iframe, object").count() == 0
    assert report.path.stat().st_size <= 3_000_000


def test_its_links_lead_somewhere(page: Any, report: Report) -> None:
    links = page.eval_on_selector_all("a", "all => all.map(a => a.getAttribute('href'))")
    figures = len(report.result.figures)
    assert links.count("result.nc") == figures + 1
    for link in links:
        parts = urlsplit(link)
        if parts.scheme:
            assert link.startswith(("https://arxiv.org/abs/", "https://doi.org/"))
        elif parts.path:
            assert (report.path.parent / unquote(parts.path)).is_file(), link
        else:
            assert page.locator(f"[id='{parts.fragment}']").count() == 1, link


def test_identifiers_are_unique_and_references_resolve(page: Any, report: Report) -> None:
    ids = page.eval_on_selector_all("[id]", "all => all.map(e => e.id)")
    assert len(ids) == len(set(ids))
    used = page.eval_on_selector_all("use", "all => all.map(e => e.href.baseVal.slice(1))")
    assert used
    assert set(used) <= set(ids)


def test_every_figure_is_named_by_its_caption(page: Any, report: Report) -> None:
    for figure in report.result.figures.values():
        name = one_line(figure.get_label())
        assert page.get_by_role("img", name=name, exact=True).count() == 1
        assert any(name in caption for caption in texts(page, "figcaption"))
    assert page.get_by_role("img").count() == len(report.result.figures)
    assert page.locator("svg text").count() == 0, "letters are outlines: no font is needed"


def test_headings_are_in_order(page: Any, report: Report) -> None:
    levels = page.eval_on_selector_all("h1,h2,h3,h4,h5,h6", "all => all.map(h => +h.tagName[1])")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert texts(page, "h2") == ["Answers", "Figures", "Checks", "The run", "Citation"]
    assert texts(page, "h1") == [report.result.study.title().rstrip(".")]


def test_tables_have_headers_with_a_scope_and_a_name(page: Any) -> None:
    for table in page.locator("table").all():
        assert table.locator("th").count() > 0
    assert page.locator("th:not([scope=col]):not([scope=row])").count() == 0
    groups = page.locator(".scroll")
    assert groups.count() == page.locator("table").count()
    assert page.get_by_role("group").and_(groups).count() == groups.count()
    assert page.locator(".scroll[aria-label=''], .scroll:not([tabindex='0'])").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_has_contrast(page: Any, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)
    found = page.evaluate(LOW_CONTRAST)
    assert found["seen"] > 50
    assert found["low"] == []
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(21, 24, 28)"
    assert dark is (scheme == "dark")


@pytest.mark.parametrize("width", [375, 768, 1280])
def test_the_page_is_not_wider_than_the_screen(page: Any, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    # What is wider scrolls by itself: tables and wide figures. All else fits.
    outside = """all => all.filter(e => !e.closest('.scroll, .plot'))
        .filter(e => e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML)"""
    assert page.eval_on_selector_all("main *", outside) == []
    small = "all => all.map(e => e.getBoundingClientRect().width).filter(w => w < 250)"
    assert page.eval_on_selector_all("figure svg, figure img", small) == []


def test_print_shows_everything_on_white(page: Any) -> None:
    page.set_viewport_size({"width": 673, "height": 1000})  # A4 less margins of 16 mm
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate(UNSEEN) == []
    assert page.evaluate(LOW_CONTRAST)["low"] == []
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    clipped = "all => all.filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.className)"
    assert page.eval_on_selector_all(".scroll, .plot", clipped) == []


def test_notes_answers_and_checks_stand_as_given(page: Any, report: Report) -> None:
    result = report.result
    assert texts(page, "header > p.note") == [one_line(note) for note in result.notes]
    sentences = [one_line(a) for a in result.answers if isinstance(a, str)]
    assert texts(page, ".answers > p") == sentences
    tables = [answer for answer in result.answers if isinstance(answer, Table)]
    assert texts(page, ".answers caption") == [one_line(table.title) for table in tables]
    columns = [one_line(column) for table in tables for column in table.columns]
    assert texts(page, ".answers thead th") == columns
    cells = {one_line(c) for t in tables for row in t.rows for c in row if isinstance(c, str)}
    assert cells <= set(texts(page, ".answers tbody td, .answers tbody th"))
    rows = page.locator("section[aria-labelledby=checks] tbody tr").all()
    assert len(rows) == len(result.checks)
    for row, check in zip(rows, result.checks, strict=True):
        shown = one_line(row.text_content())
        assert one_line(check.name) in shown
        assert check.source in shown
        assert shown.startswith("holds" if check.holds else "fails")


def test_failing_checks_are_said_on_the_first_screen(page: Any, report: Report) -> None:
    failing = [check.name for check in report.result.checks if not check.holds]
    said = page.locator(".note.failing")
    assert said.count() == bool(failing)
    assert page.get_by_text(report.result.summary()).first.bounding_box()["y"] < 400
    if failing:
        shown = texts(page, ".note.failing li")
        assert len(shown) == len(failing)
        assert all(one_line(name) in line for name, line in zip(failing, shown, strict=True))
        assert said.bounding_box()["y"] < 400


def test_the_run_can_be_repeated_from_the_page(page: Any, report: Report) -> None:
    record = json.loads((report.path.parent / "params.json").read_text())
    run = texts(page, "section[aria-labelledby=run]")[0]
    for value in record["environment"].values():
        assert value in run
    for name, value in record["parameters"].items():
        assert name in run
        if isinstance(value, str):
            assert value in run
    assert f"Seed {record['seed']}" in run
    assert "It took" in run


# --- the instruments see what they should ----------------------------------------------------


def test_the_contrast_test_can_fail(browser: Any) -> None:
    page = browser.new_page()
    page.set_content(
        "<body style='background:#fff'><p style='color:#777'>4.48</p><p style='color:#767676'>"
        "4.54</p><p style='font-size:24px;color:#777'>large</p><div style='background:#000c'>"
        "<p style='color:#000'>dark on dark</p></div>"
    )
    found = page.evaluate(LOW_CONTRAST)
    page.close()
    assert [text for text, _ in found["low"]] == ["4.48", "dark on dark"]
    assert found["low"][0][1] == pytest.approx(4.478, abs=2e-3)


def test_the_visibility_test_can_fail(browser: Any) -> None:
    page = browser.new_page()
    page.set_content(
        "<p>seen</p><p style='display:none'>a</p><p style='visibility:hidden'>b</p>"
        "<p style='position:absolute;left:-900px'>c</p><p style='opacity:0'>d</p>"
    )
    unseen = page.evaluate(UNSEEN)
    page.close()
    assert unseen == ["a", "b", "c", "d"]
