"""A run as one self-contained HTML page: answers first, then figures, checks, the run itself.

The page opens from disk without a network: figures are inline SVG (PNG where a figure draws more
than 20 000 points), the style is in the page, and nothing is loaded.
"""

from __future__ import annotations

import base64
import io
import json
import re
import shlex
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tractable.core.claims import Check
from tractable.core.fields import field_docs
from tractable.core.folder import write_text
from tractable.plot import style
from tractable.result import Result
from tractable.studies import find

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tractable.study import Study

__all__ = ["open_run", "write"]

LARGE_POINTS = 20_000
WIDE_INCHES = 7.5


@dataclass(frozen=True)
class _Picture:
    name: str
    markup: str
    caption: str
    wide: bool


def open_run(folder: str | Path) -> Result:
    """Read a finished run from its folder, with the study that made it.

    Raises
    ------
    ValueError
        When the folder holds no finished run, or its study cannot be found any more.
    """
    path = Path(folder)
    try:
        record = json.loads((path / "params.json").read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} does not hold a finished run: {error}") from error
    source = record.get("study_file")
    study = find(source or record["study"]).from_parameters(record["parameters"])
    return Result.open(path, study)


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
    """
    from jinja2 import Environment, PackageLoader

    environment = Environment(
        loader=PackageLoader("tractable", "."), autoescape=True, trim_blocks=True
    )
    study, record = result.study, result.record
    pictures = []
    for name, figure in result.figures.items():
        _save(figure, result.folder / "figures" / f"{name}.{figures}")
        pictures.append(_picture(name, figure))
    page = environment.get_template("report.html.j2").render(
        name=study.name(),
        title=study.title(),
        paper=str(study.paper) if study.paper else "",
        paper_url=_url(study),
        summary=result.summary(),
        holds=result.holds,
        notes=result.notes,
        answers=result.answers,
        figures=pictures,
        checks=result.checks,
        command=command(study, record["seed"], record.get("study_file")),
        seconds=record["seconds"],
        parameters=_parameters(study),
        environment=tuple(record["environment"].items()),
        citation=result.citation,
        number=_number,
        tolerance=_tolerance,
    )
    path = result.folder / "report.html"
    write_text(path, page)
    return path


def command(study: Study, seed: int, file: str | None = None) -> str:
    """Return the command line that repeats a run: every field that differs from its default."""
    words = ["tractable", "run", file or study.name()]
    for item in fields(study):
        value = getattr(study, item.name)
        default = None if item.default is MISSING else item.default
        if value == default:
            continue
        flag = "--" + item.name.replace("_", "-")
        if isinstance(value, bool):
            words.append(flag if value else f"--no-{item.name.replace('_', '-')}")
        elif isinstance(value, tuple):
            words += [flag, *map(str, value)]
        else:
            words += [flag, str(value)]
    if seed:
        words += ["--seed", str(seed)]
    return shlex.join(words)


def _url(study: Study) -> str:
    if study.paper is None:
        return ""
    if study.paper.arxiv:
        return f"https://arxiv.org/abs/{study.paper.arxiv}"
    return f"https://doi.org/{study.paper.doi}" if study.paper.doi else ""


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    with style():
        metadata = {"Date": None} if path.suffix == ".svg" else None
        figure.savefig(path, metadata=metadata)


def _picture(name: str, figure: Figure) -> _Picture:
    caption = str(figure.get_label() or name.replace("_", " "))
    wide = figure.get_figwidth() > WIDE_INCHES
    buffer = io.BytesIO()
    with style():
        if _points(figure) > LARGE_POINTS:
            figure.savefig(buffer, format="png", dpi=160)
            data = base64.b64encode(buffer.getvalue()).decode()
            alt = caption.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
            return _Picture(
                name, f'<img alt="{alt}" src="data:image/png;base64,{data}">', caption, wide
            )
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return _Picture(name, _inline_svg(buffer.getvalue().decode(), name, caption), caption, wide)


def _inline_svg(text: str, name: str, caption: str) -> str:
    """Make an SVG file part of a page: no prologue, identifiers of its own, an accessible name."""
    from markupsafe import escape

    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', text)
    text = re.sub(r'(xlink:href|href)="#([^"]+)"', rf'\1="#{name}-\2"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", text)
    label = f'<svg role="img" aria-label="{escape(caption)}"'
    return text.replace("<svg", label, 1)


def _points(figure: Figure) -> int:
    """Count the points that a figure draws in lines, collections and images."""
    total = 0
    for ax in figure.axes:
        total += sum(np.size(line.get_xdata()) for line in ax.lines)
        for collection in ax.collections:
            total += max(np.shape(collection.get_offsets())[0], len(collection.get_paths()))
    return total


def _parameters(study: Study) -> list[tuple[str, str, str]]:
    meaning = field_docs(type(study))
    return [
        (item.name, str(getattr(study, item.name)), meaning.get(item.name, ""))
        for item in fields(study)
    ]


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, float):
        return value
    return f"{value:.4g}"


def _tolerance(check: Check) -> str:
    parts = [f"{check.atol:.3g}"] if check.atol else []
    parts += [f"{100 * check.rtol:.3g} %"] if check.rtol else []
    return " + ".join(parts) or "exact" if check.kind == "equal" else " + ".join(parts)
