"""Run every study's default preset and write ``docs/results/claims.md``: every claim, held or not.

``make studies`` does it for all of them; a run that is finished is not repeated, so that a second
call goes on where the first was stopped, and ``--seeds 3`` adds seeds to what is there. Where
studies are named, only their part of the page is written anew; every part says when it ran. A
study that does not end is listed with what it said last. Nothing is left out because it fails.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from tractable.core.claims import Check, Paper
from tractable.studies import find, index

PAGE = Path(__file__).parent / "results" / "claims.md"
SIGNS = {"equal": "", "slope": "", "at_most": "≤ ", "at_least": "≥ "}


@dataclass(frozen=True)
class Outcome:
    """One study at one seed: its checks, or why there are none."""

    study: str
    seed: int
    checks: tuple[Check, ...] = ()
    seconds: float = 0.0
    failure: str = ""
    day: str = ""


def main() -> int:
    """Run what is asked for, and write the page of all runs that are there."""
    parser = argparse.ArgumentParser(prog="python docs/claims.py", description=__doc__)
    parser.add_argument("names", nargs="*", help="studies; default all")
    parser.add_argument("--seeds", type=int, default=1, help="seeds 0, 1, ... of every study")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder of the run folders")
    parser.add_argument("--limit", type=float, default=3600.0, help="seconds for one run")
    parser.add_argument("--show", action="store_true", help="run nothing; write what is there")
    options = parser.parse_args()
    names = options.names or sorted(index())
    outcomes = []
    for number, name in enumerate(names, 1):
        for seed in range(options.seeds):
            outcome = run(name, seed, options.out, options.limit, options.show)
            outcomes.append(outcome)
            held = f"{sum(c.holds for c in outcome.checks)} of {len(outcome.checks)} hold"
            said = outcome.failure or held
            print(f"{number}/{len(names)} {name} seed {seed}: {said}", flush=True)
    written = PAGE.read_text(encoding="utf-8") if options.names and PAGE.exists() else ""
    kept = {name: part for name, part in parts(written).items() if name in index()}
    papers = {name: find(name).paper for name in sorted({*names, *kept})}
    waiting = sorted(set(index()) - set(papers))
    PAGE.write_text(page(papers, outcomes, kept, waiting), encoding="utf-8")
    print(PAGE)
    return 0 if all(o.checks and all(c.holds for c in o.checks) for o in outcomes) else 1


def run(name: str, seed: int, out: Path, limit: float, show: bool = False) -> Outcome:
    """Run a study in a process of its own, as a user would, and read what it found."""
    folder = find(name)().folder(seed=seed, out=out)
    said = "not run"
    if not show and not (folder / "checks.json").exists():
        words = ["run", name, "--seed", str(seed), "--out", str(out)]
        try:
            done = subprocess.run(
                [sys.executable, "-m", "tractable", *words],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=limit,
                text=True,
                encoding="utf-8",
            )
            lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
            said = lines[-1] if lines else f"ended with code {done.returncode}"
        except subprocess.TimeoutExpired:
            said = f"not finished within {limit:g} s"
    if not (folder / "checks.json").exists():
        return Outcome(name, seed, failure=said)
    checks = json.loads((folder / "checks.json").read_text(encoding="utf-8"))
    record = json.loads((folder / "params.json").read_text(encoding="utf-8"))
    day = time.strftime("%Y-%m-%d", time.gmtime((folder / "checks.json").stat().st_mtime))
    seconds = record.get("seconds", 0.0)
    return Outcome(name, seed, tuple(Check(**c) for c in checks), seconds, day=day)


def parts(text: str) -> dict[str, str]:
    """Return the part of a page that belongs to each study, by its name."""
    found = re.findall(r"^### `(.+?)`\n(.*?)(?=^#|\Z)", text, re.MULTILINE | re.DOTALL)
    return {name: f"### `{name}`\n{body}".rstrip() for name, body in found}


def page(
    papers: dict[str, Paper | None],
    outcomes: Sequence[Outcome],
    kept: dict[str, str] | None = None,
    waiting: Sequence[str] = (),
) -> str:
    """Return the page: paper by paper, study by study, claim by claim.

    ``kept`` holds the parts of an earlier page, for the studies that have no outcome here;
    ``waiting`` names the studies that the page has no run of.
    """
    ran = {o.study for o in outcomes}
    written = {
        name: "\n".join(study_lines(name, [o for o in outcomes if o.study == name]))
        if name in ran
        else (kept or {})[name]
        for name in papers
    }
    counts = [tally(part) for part in written.values()]
    held, total, runs = (sum(column) for column in zip(*counts, strict=True))
    lines = [
        "# All claims",
        "",
        "Every check of every study at its default size: what the paper says or the theory "
        "demands, what came out, and whether it holds. A measured value stands for each seed. "
        "Where a claim does not hold, the study's own page under [results](index.md) says what "
        "was found. `make studies` writes this page.",
        "",
        f"{time.strftime('%Y-%m-%d')}, {platform.system()} {platform.machine()}, "
        f"{os.cpu_count()} cores, torch {version('torch')}, tractable {version('tractable')}. "
        f"**{held} of {total} checks hold** in {runs} runs of {len(papers)} studies.",
    ]
    if waiting:
        listed = ", ".join(f"`{name}`" for name in waiting)
        lines += ["", f"Not run for this table yet (their pages hold earlier runs): {listed}."]
    for paper in dict.fromkeys(papers.values()):
        lines += ["", f"## {paper or 'Without a paper'}"]
        for name in [name for name, of in papers.items() if of == paper]:
            lines += ["", written[name].rstrip()]
    return "\n".join(lines) + "\n"


def tally(part: str) -> tuple[int, int, int]:
    """Return how many checks of a study's part hold, how many there are, and how many runs."""
    held = total = 0
    for line in part.splitlines():
        cells = re.split(r"(?<!\\)\|", line)
        if len(cells) != 8 or cells[5].strip() in ("holds", "---"):
            continue
        verdict = cells[5].strip().strip("*")
        n, m = verdict.split(" of ") if " of " in verdict else (verdict == "yes", 1)
        held, total = held + int(n), total + int(m)
    seeds = re.search(r"^`tractable run .*?`, seed ([\d, ]+);", part, re.MULTILINE)
    return held, total, len(seeds[1].split(",")) if seeds else 0


def study_lines(name: str, outcomes: Sequence[Outcome]) -> Iterable[str]:
    """Yield the heading and the table of one study."""
    ended = [o for o in outcomes if not o.failure]
    yield f"### `{name}`"
    yield ""
    for outcome in outcomes:
        if outcome.failure:
            yield f"Seed {outcome.seed} has no result: {cell(outcome.failure)}"
            yield ""
    if not ended:
        return
    seeds = ", ".join(str(o.seed) for o in ended)
    minutes = sum(o.seconds for o in ended) / 60 / len(ended)
    day = "".join(f" {day}." for day in sorted({o.day for o in ended if o.day})[-1:])
    yield f"`tractable run {name}`, seed {seeds}; {minutes:.1f} min a run.{day}"
    yield ""
    yield "| claim | expected | measured | tolerance | holds | source |"
    yield "|---|---|---|---|---|---|"
    for claim in dict.fromkeys(c.name for o in ended for c in o.checks):
        found = [c for o in ended for c in o.checks if c.name == claim]
        first = found[0]
        # A bound may depend on the seed: then each is shown.
        expected = ", ".join(dict.fromkeys(number(c.expected) for c in found))
        measured = ", ".join(number(c.measured) for c in found)
        n = sum(c.holds for c in found)
        verdict = ("yes" if n else "**no**") if len(found) == 1 else f"{n} of {len(found)}"
        verdict = verdict if n == len(found) else f"**{verdict.strip('*')}**"
        yield (
            f"| {cell(claim)} | {SIGNS[first.kind]}{expected} | {measured} | {tolerance(first)} "
            f"| {verdict} | {cell(first.source)} |"
        )


def number(value: float) -> str:
    """Return a number to four digits."""
    return f"{value:.4g}"


def tolerance(check: Check) -> str:
    """Return how far a measurement may be from what is expected."""
    parts = [number(check.atol)] if check.atol else []
    parts += [f"{number(100 * check.rtol)} %"] if check.rtol else []
    if check.kind in ("at_most", "at_least"):
        return " + ".join(parts)
    return "± " + " + ".join(parts) if parts else "exact"


def cell(text: str) -> str:
    """Return a text that does not end a cell of a table."""
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "\\<")


if __name__ == "__main__":
    sys.exit(main())
