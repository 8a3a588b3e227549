"""What a study says: the paper, the checks that can fail, tables, and the cost of a run."""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict, dataclass
from typing import Any, Literal

from tractable.core.checks import check_choice

__all__ = ["Check", "Cost", "Paper", "Table", "plain_answer", "read_answer"]


@dataclass(frozen=True)
class Paper:
    """The publication that a study reproduces."""

    authors: str
    year: int
    title: str = ""
    arxiv: str = ""
    doi: str = ""

    def __str__(self) -> str:
        where = f", arXiv:{self.arxiv}" if self.arxiv else f", doi:{self.doi}" if self.doi else ""
        return f"{self.authors} ({self.year}){', ' + self.title if self.title else ''}{where}"

    def bibtex(self) -> str:
        """Return a BibTeX entry."""
        key = re.sub(r"\W", "", self.authors.split(",")[0].split()[-1].lower()) + str(self.year)
        lines = [f"  author = {{{self.authors}}}", f"  year = {{{self.year}}}"]
        lines += [f"  title = {{{self.title}}}"] if self.title else []
        lines += [f"  eprint = {{{self.arxiv}}}"] if self.arxiv else []
        lines += [f"  doi = {{{self.doi}}}"] if self.doi else []
        return f"@misc{{{key},\n" + ",\n".join(lines) + "\n}"


@dataclass(frozen=True)
class Check:
    """A claim that can fail: a measured number, the expected one, and the tolerance.

    ``equal`` and ``slope`` hold when ``|measured - expected| <= atol + rtol * |expected|``;
    ``at_most`` and ``at_least`` when the bound is kept up to that tolerance. A measurement that
    is not finite never holds, and nothing equals an infinite expectation.

    Examples
    --------
    >>> Check("roots", 3, 3, source="Sussillo & Barak 2013").holds
    True
    >>> Check("PC1", 0.71, 0.85, kind="at_least", source="arXiv:1906.10720, Fig. 2c").holds
    False
    """

    name: str
    measured: float
    expected: float
    atol: float = 0.0
    rtol: float = 0.0
    kind: Literal["equal", "at_most", "at_least", "slope"] = "equal"
    source: str = ""

    def __post_init__(self) -> None:
        check_choice("kind", self.kind, ("equal", "at_most", "at_least", "slope"))
        if not self.source:
            raise ValueError(
                f"the check {self.name!r} needs a source: where its expected value comes from"
            )
        for side in ("measured", "expected"):
            value = getattr(self, side)
            try:
                object.__setattr__(self, side, float(value))
            except (TypeError, ValueError) as error:
                raise TypeError(
                    f"{side} of the check {self.name!r} must be one number, got {value!r}"
                ) from error

    @property
    def holds(self) -> bool:
        """Whether the claim holds."""
        if not math.isfinite(self.measured):
            return False
        slack = self.atol + self.rtol * abs(self.expected)
        if self.kind == "at_most":
            return self.measured <= self.expected + slack
        if self.kind == "at_least":
            return self.measured >= self.expected - slack
        # A relative tolerance of an infinite value would permit everything.
        return math.isfinite(self.expected) and abs(self.measured - self.expected) <= slack


@dataclass(frozen=True)
class Table:
    """An answer in rows: a title, column names, and rows of text or numbers."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True)
class Cost:
    """What a run will cost on this machine, from one step that was timed."""

    operations: float
    """Floating-point operations of the whole run."""
    memory_bytes: float
    """Peak memory of the arrays that the run holds."""
    seconds: float
    """Wall-clock seconds of the whole run here."""

    def __str__(self) -> str:
        seconds, hours = self.seconds, self.seconds / 3600
        time = f"{hours:.2g} hours" if hours > 1 else f"{max(round(seconds), 1)} s"
        memory = max(round(self.memory_bytes / 2**20), 1)
        return f"about {self.operations:.2g} operations, {memory} MiB, {time} on this machine"


def plain_answer(answer: str | Table) -> Any:
    """Return an answer as plain values for JSON."""
    if isinstance(answer, str):
        return answer
    return json.loads(json.dumps(asdict(answer), default=_number))


def read_answer(plain: Any) -> str | Table:
    """Return the answer that `plain_answer` made plain."""
    if isinstance(plain, str):
        return plain
    rows = tuple(tuple(row) for row in plain["rows"])
    return Table(plain["title"], tuple(plain["columns"]), rows)


def _number(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else str(value)
