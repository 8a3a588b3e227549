"""A run as one self-contained HTML page: answers first, then figures, checks, the run itself.

The page opens from disk without a network: figures are inline SVG (PNG where a figure draws more
than 20 000 points), the style is in the page, and nothing is loaded.
"""

from __future__ import annotations

import base64
import contextlib
import io
import itertools
import math
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tractable.core import folder as store
from tractable.core.checks import check_choice
from tractable.core.claims import Check
from tractable.core.fields import field_docs
from tractable.plot import style
from tractable.result import Result, read_json
from tractable.studies import find

if TYPE_CHECKING:
    from jinja2 import Environment
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure

    from tractable.study import Study

__all__ = [
    "FigureError",
    "Picture",
    "command",
    "environment",
    "markup",
    "open_run",
    "paper_url",
    "picture",
    "write",
]

LARGE_POINTS = 20_000
LARGE_BYTES = 600_000  # a page with several figures stays below 3 MB
WIDE_INCHES = 7.5
LONG_TEXT = 24  # letters of a cell from which it may break anywhere
PIXELS_PER_INCH = 96  # of CSS: a figure is shown at the size it was drawn for
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


class FigureError(Exception):
    """A study's figure cannot be drawn; the numbers of the run are safe."""


@dataclass(frozen=True)
class Picture:
    """A figure as a part of a page."""

    markup: str
    caption: str
    file: str
    wide: bool


# --- reading a run ---------------------------------------------------------------------------


def open_run(folder: str | Path) -> Result:
    """Read a finished run from its folder, with the study that made it.

    Raises
    ------
    ValueError
        When the folder holds no finished run (the message says how far the run is), or its study
        cannot be found any more.
    """
    path = Path(folder)
    if path.is_file():  # its report.html, say
        path = path.parent
    if not (path / "checks.json").is_file():
        raise ValueError(f"{path} does not hold a finished run: {_whereabouts(path)}")
    record = read_json(path / "params.json")
    name = record.get("study_file") or record["study"]
    try:
        study = find(name).from_parameters(record["parameters"])
    except ValueError as error:
        raise ValueError(
            f"{path} holds a run of {name}, which cannot be read any more: {error}"
        ) from error
    return Result.open(path, study)


def _whereabouts(path: Path) -> str:
    """Say why a folder holds no finished run, and what to do."""
    final = str(path).removesuffix(".partial")
    partial = Path(f"{final}.partial")
    if not partial.is_dir():
        runs = [*path.glob("*/checks.json"), *path.glob("*/*/checks.json")]
        if runs:
            newest = max(runs, key=lambda file: file.stat().st_mtime).parent
            return f"it holds {len(runs)}, the newest in {newest}"
        return "there is no checks.json in it" if path.is_dir() else "there is no such folder"
    log, lock = partial / "log.txt", partial / "lock.json"
    if lock.exists():
        age = time.time() - lock.stat().st_mtime
        if age < store.STALE_SECONDS:
            return f"it is being computed (last sign of life {age:.0f} s ago); wait for it"
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    last = f", after {lines[-1].strip()!r} in {log}" if lines else ""
    return (
        f"the run stopped before its end{last}; the command that started it goes on from there, "
        f"and the finished run will be {final}"
    )


# --- writing the page ------------------------------------------------------------------------


def write(result: Result, *, figures: str = "svg") -> Path:
    """Draw the figures of a run and write ``report.html`` beside its data; nothing is computed.

    Parameters
    ----------
    result : Result
        A finished run.
    figures : {"svg", "pdf", "png"}
        Format of the files in ``figures/``; the page itself always holds SVG or PNG.

    Returns
    -------
    Path
        Of ``report.html``.

    Raises
    ------
    FigureError
        A figure cannot be drawn; the message names the study and the figure.
    """
    check_choice("figures", figures, ("svg", "pdf", "png"))
    study, record = result.study, result.record
    page = (
        environment()
        .get_template("report.html.j2")
        .render(
            result=result,
            study=study,
            paper_url=paper_url(type(study)),
            figures=_pictures(result, figures),
            command=command(study, record["seed"], record.get("study_file")),
            record=record,
            parameters=_parameters(study),
        )
    )
    path = result.folder / "report.html"
    store.write_text(path, page)
    return path


def command(study: Study, seed: int, file: str | None = None) -> str:
    """Return the command line that repeats a run."""
    return study.command(seed, file)


def environment() -> Environment:
    """Return the templates, with the filters that set numbers in them."""
    from jinja2 import Environment, PackageLoader

    templates = Environment(
        loader=PackageLoader("tractable", "."), autoescape=True, trim_blocks=True
    )
    for filter_ in (_cells, _digits, _duration, _number, _tolerance):
        templates.filters[filter_.__name__.removeprefix("_")] = filter_
    return templates


def paper_url(study: type[Study]) -> str:
    """Return where the paper of a study is, or an empty text."""
    if study.paper is None:
        return ""
    if study.paper.arxiv:
        return f"https://arxiv.org/abs/{study.paper.arxiv}"
    return f"https://doi.org/{study.paper.doi}" if study.paper.doi else ""


def _parameters(study: Study) -> list[tuple[str, str, str]]:
    meaning = field_docs(type(study))
    values = {item.name: getattr(study, item.name) for item in fields(study)}
    return [
        (name, '""' if value == "" else str(value), meaning.get(name, ""))
        for name, value in values.items()
    ]


# --- figures ---------------------------------------------------------------------------------


def _pictures(result: Result, suffix: str) -> list[Picture]:
    study = result.study
    _ = result.theory, result.measured  # a missing file is not the fault of the figures
    with _named(f"{type(study).__name__}.figures() fails", result), style():
        figures = result.figures
    pictures = []
    for number, (name, figure) in enumerate(figures.items(), 1):
        with _named(f"{name!r} of {type(study).__name__}.figures() cannot be drawn", result):
            pictures.append(picture(figure, name, result.folder, suffix, number))
    return pictures


def picture(figure: Figure, name: str, folder: Path, suffix: str, number: int) -> Picture:
    """Draw a figure into ``folder/figures`` and return it as a part of a page."""
    path = folder / "figures" / f"{name}.{suffix}"
    path.parent.mkdir(exist_ok=True)
    svg = _svg(figure)
    if suffix == "svg":  # drawn once: laying out twelve figures takes seconds
        path.write_text(svg, encoding="utf-8")
    else:
        with style():
            figure.savefig(path)
    caption = str(figure.get_label() or name.replace("_", " "))
    inline = markup(figure, f"figure-{number}", caption, svg=svg)
    return Picture(inline, caption, f"figures/{path.name}", figure.get_figwidth() > WIDE_INCHES)


@contextlib.contextmanager
def _named(what: str, result: Result) -> Iterator[None]:
    """Turn an error of the study's drawing into one that says whose it is and what to do."""
    try:
        yield
    except Exception as error:
        raise FigureError(
            f"{result.study.name()}: {what}: {type(error).__name__}: {error}. The numbers of the "
            f"run are safe; when it is mended: tractable report {result.folder}"
        ) from error


def _svg(figure: Figure) -> str:
    """Draw a figure as SVG, and keep its layout for further drawing."""
    from matplotlib import rc_context

    # Letters as outlines: the reader's machine may lack the fonts that the layout was made for.
    with style(), rc_context({"svg.fonttype": "path"}), io.StringIO() as text:
        figure.savefig(text, format="svg", metadata={"Date": None})
        figure.set_layout_engine("none")
        return text.getvalue()


def markup(figure: Figure, prefix: str, caption: str, *, svg: str | None = None) -> str:
    """Return a figure as markup of a page, with its caption as the accessible name.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    prefix : str
        Of all identifiers in the markup: another one for every figure of a page.
    caption : str
        What the figure shows.
    svg : str, optional
        The figure drawn already.
    """
    from markupsafe import escape

    svg = _svg(figure) if svg is None else svg
    if _points(figure) <= LARGE_POINTS:
        inline = _inline_svg(svg, prefix, caption)
        if len(inline) <= LARGE_BYTES:
            return inline
    with style(), io.BytesIO() as data:
        figure.savefig(data, format="png")
        png = base64.b64encode(data.getvalue()).decode()
    width, height = (round(PIXELS_PER_INCH * inches) for inches in figure.get_size_inches())
    return (
        f'<img alt="{escape(caption)}" width="{width}" height="{height}" '
        f'src="data:image/png;base64,{png}">'
    )


def _inline_svg(text: str, prefix: str, caption: str) -> str:
    """Make an SVG file part of a page: no prologue, identifiers of its own, an accessible name."""
    from markupsafe import escape

    text = text[text.index("<svg") :]
    # Its style would hold for the whole page; the page has the same rule for its figures.
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", text, flags=re.S)
    text = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', text)
    text = re.sub(r'(xlink:href|href)="#([^"]+)"', rf'\1="#{prefix}-\2"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", text)
    text = re.sub(r"\n\s*", "\n", text)
    return text.replace("<svg", f'<svg role="img" aria-label="{escape(caption)}"', 1)


def _points(figure: Figure) -> int:
    """Count the points that a figure draws in lines, collections and images."""
    return sum(_points_of(artist) for ax in figure.axes for artist in ax.get_children())


def _points_of(artist: Artist) -> int:
    from matplotlib.collections import Collection, QuadMesh
    from matplotlib.image import AxesImage
    from matplotlib.lines import Line2D

    if artist.get_rasterized():  # drawn as an image already
        return 0
    if isinstance(artist, Line2D):
        return np.size(artist.get_xdata())
    if isinstance(artist, AxesImage | QuadMesh):
        values = artist.get_array()
        return 0 if values is None else math.prod(values.shape[:2])
    if isinstance(artist, Collection):
        vertices = sum(np.shape(path.vertices)[0] for path in artist.get_paths())
        return max(np.shape(artist.get_offsets())[0], vertices)
    return 0


# --- tables and numbers ----------------------------------------------------------------------


@dataclass(frozen=True)
class _Cell:
    text: str
    is_text: bool
    kind: Literal["", "number", "long"]


def _cells(rows: Sequence[Sequence[Any]]) -> list[tuple[_Cell, ...]]:
    """Return the cells of a table as text; the numbers of a column share their decimals."""
    columns = list(itertools.zip_longest(*rows, fillvalue=""))
    return list(zip(*map(_column, columns), strict=True))


def _column(values: Sequence[Any]) -> list[_Cell]:
    decimals = _decimals(values)
    cells = []
    for value in values:
        text = _number(value)
        if decimals is not None and isinstance(value, float) and math.isfinite(value):
            text = f"{value:.{decimals}f}".replace("-", "−")
        is_text = isinstance(value, str)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        long = is_text and len(text) > LONG_TEXT
        cells.append(_Cell(text, is_text, "number" if is_number else "long" if long else ""))
    return cells


def _decimals(values: Sequence[Any]) -> int | None:
    """Return the decimals at which the largest float has 4 digits and the smallest at least 2.

    None where no number of decimals does: the magnitudes differ too much.

    Examples
    --------
    >>> _decimals([2.133, -0.06068, 0.5]), _decimals([0.5, 0.25]), _decimals([1e-9, 1.0])
    (3, 2, None)
    """
    floats = [value for value in values if isinstance(value, float) and math.isfinite(value)]
    sizes = [abs(value) for value in floats if value]
    if not sizes or max(sizes) > 100 * min(sizes) or not 1e-3 <= max(sizes) < 1e5:
        return None
    decimals = max(0, 3 - math.floor(math.log10(max(sizes))))
    while decimals and all(f"{value:.{decimals}f}".endswith("0") for value in floats):
        decimals -= 1
    return decimals


def _number(value: Any, digits: int = 4) -> str:
    """Return a cell as text: numbers to ``digits`` significant digits, anything else as it is.

    Examples
    --------
    >>> [_number(x) for x in (32768.0, 0.951234, 1e-9, -2.5e-7, 1234567.0, 3, True, None, "<p>")]
    ['32768', '0.9512', '10⁻⁹', '−2.5×10⁻⁷', '1.235×10⁶', '3', 'yes', '–', '<p>']
    """
    if value is None or isinstance(value, bool):
        return {None: "–", True: "yes", False: "no"}[value]
    if not isinstance(value, int | float):
        return str(value)
    if not math.isfinite(value):
        return f"{value}".replace("-", "−").replace("inf", "∞")
    if isinstance(value, int) or (value == int(value) and abs(value) < 1e6):
        return f"{int(value)}".replace("-", "−")
    if 1 <= abs(value) < 1e6:
        digits = max(digits, len(str(int(abs(value)))))
    mantissa, _, exponent = f"{value:.{digits}g}".partition("e")
    sign, mantissa = ("−", mantissa[1:]) if mantissa.startswith("-") else ("", mantissa)
    if not exponent:
        return sign + mantissa
    factor = "" if mantissa == "1" else f"{mantissa}×"
    return f"{sign}{factor}10{str(int(exponent)).translate(SUPERSCRIPTS)}"


def _digits(check: Check) -> int:
    """Return the digits, at least 4, at which the printed numbers give the check's verdict."""
    for digits in range(4, 17):
        measured, expected = (
            float(f"{value:.{digits}g}") for value in (check.measured, check.expected)
        )
        if replace(check, measured=measured, expected=expected).holds == check.holds:
            return digits
    return 17


def _tolerance(check: Check) -> str:
    parts = [_number(check.atol, 3)] if check.atol else []
    parts += [f"{_number(100 * check.rtol, 3)} %"] if check.rtol else []
    if check.kind in ("at_most", "at_least"):
        return " + ".join(parts)
    return "± " + " + ".join(parts) if parts else "exact"


def _duration(seconds: float) -> str:
    """Return a time in the units that a person would say.

    Examples
    --------
    >>> [_duration(s) for s in (0.042, 9.66, 75.2, 4000.0)]
    ['0.04 s', '9.7 s', '1 min 15 s', '1 h 6 min']
    """
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
