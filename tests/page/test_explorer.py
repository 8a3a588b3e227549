"""The explorer in a browser: sliders move the curve, and nothing leaves the machine."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

pytestmark = pytest.mark.page

WAIT = 60_000  # ms; a loaded machine starts slowly
CURVE = "#theory-curve"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port, out = free_port(), tmp_path_factory.mktemp("runs")
    words = ["explore", "--no-browser", "--port", str(port), "--out", str(out)]
    server = subprocess.Popen(
        [sys.executable, "-m", "tractable", *words],
        stdout=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        for _ in range(300):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert server.poll() is None
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/"
    finally:
        server.send_signal(signal.SIGINT)
        assert server.wait(20) == 0  # Ctrl-C is how it ends


class Visit:
    """A page with what it asked for and complained of."""

    def __init__(self, browser: Any, link: str) -> None:
        self.page = browser.new_page(viewport={"width": 1200, "height": 1400})
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on(
            "console",
            lambda said: self.complaints.append(said.text) if said.type == "error" else None,
        )
        self.page.goto(link)
        self.page.wait_for_selector(f"{CURVE} svg", timeout=WAIT)

    @property
    def curve(self) -> str:
        return self.page.locator(CURVE).inner_html()

    @property
    def words(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.page.url).query)

    def until(self, question: Any) -> None:
        """Wait until something is so."""
        for _ in range(WAIT // 50):
            if question():
                return
            self.page.wait_for_timeout(50)
        raise AssertionError("it did not happen in time")

    def at_peace(self) -> None:
        asked = [r for r in self.requests if not r.startswith(("data:", "blob:"))]
        assert asked
        assert all(urlsplit(request).hostname == "127.0.0.1" for request in asked)
        assert self.complaints == []
        self.page.close()


@pytest.fixture(scope="module")
def visit(browser: Any, address: str) -> Iterator[Visit]:
    visit = Visit(browser, f"{address}?study=linear-modes&depth=3")
    yield visit
    visit.at_peace()


def test_a_slider_moves_the_curve_and_the_link_follows(visit: Visit) -> None:
    before = visit.curve
    assert visit.words["depth"] == ["3"]
    # In the order of the fields: strengths is a text, then init_strength and depth.
    slider = visit.page.locator("[role=slider]").nth(1)
    slider.focus()
    visit.page.keyboard.press("ArrowRight")
    visit.until(lambda: visit.curve != before)
    visit.until(lambda: visit.words.get("depth") == ["4"])


def test_the_link_and_the_command_reproduce_the_state(
    visit: Visit, browser: Any, address: str
) -> None:
    other = Visit(browser, visit.page.url)
    assert other.words == visit.words
    line = other.page.frame_locator("iframe").first.locator("input").input_value()
    assert line == "tractable run linear-modes --depth 4"
    paths = "svg path"
    assert other.page.locator(f"{CURVE} {paths}").first.get_attribute("d") == visit.page.locator(
        f"{CURVE} {paths}"
    ).first.get_attribute("d")
    other.at_peace()


def test_a_link_that_does_not_fit_is_said(browser: Any, address: str) -> None:
    visit = Visit(browser, f"{address}?study=linear-modes&dpeth=3")
    visit.page.get_by_text("did you mean 'depth'").wait_for(timeout=WAIT)
    visit.at_peace()


def test_the_button_runs_the_simulation_and_shows_its_report(browser: Any, address: str) -> None:
    visit = Visit(browser, f"{address}?study=dynamics-rank-one&preset=smoke")
    visit.page.get_by_text("run the simulation").click()
    visit.page.get_by_text("checks hold").first.wait_for(timeout=WAIT)
    report = visit.page.frame_locator("iframe").last
    report.get_by_role("heading", name="Answers").wait_for(timeout=WAIT)
    visit.at_peace()


def test_a_rule_between_two_fields_is_said_beside_the_sliders(browser: Any, address: str) -> None:
    visit = Visit(browser, f"{address}?study=dynamics-rank-one")
    high = visit.page.locator("[role=slider]").nth(2)
    high.focus()
    visit.page.keyboard.press("Home")
    visit.page.get_by_text("gain_low must be below gain_high").wait_for(timeout=WAIT)
    visit.at_peace()


def test_pictures_of_the_page_can_be_made(visit: Visit, tmp_path: Path) -> None:
    picture = tmp_path / "page.png"
    visit.page.screenshot(path=picture)
    assert picture.stat().st_size > 20_000
