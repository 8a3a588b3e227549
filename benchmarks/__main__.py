"""Run benchmarks, print their tables, and put them into ``benchmarks/RESULTS.md``."""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import time
from importlib.metadata import version
from pathlib import Path

import torch

HERE = Path(__file__).parent
RESULTS = HERE / "RESULTS.md"
INTRODUCTION = [
    "# Benchmarks",
    "",
    "Times are the least of several alternating runs; a ratio is ours over the peer for a bar "
    "`<=`, the peer over ours for `>=`. Repeat them with `make bench`.",
]
COLUMNS = ["what", "ours", "peer", "ratio", "bar", "verdict", "note"]
SCRIPTS = [
    "start",
    *sorted(path.stem for path in HERE.glob("[!_]*.py") if path.stem not in ("start", "timing")),
]


def main() -> None:
    """Run the named scripts, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(SCRIPTS)}; default all")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument(
        "--peer",
        action="append",
        default=[],
        metavar="SCRIPT=FOLDER",
        help="folder of a peer that is not on the package index; again for each script",
    )
    options = parser.parse_args()
    peers = dict(text.partition("=")[::2] for text in options.peer)
    unknown = set(options.names) - set(SCRIPTS)
    if unknown:
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}: {', '.join(SCRIPTS)}")
    unknown = set(peers) - set(SCRIPTS)
    if unknown or not all(peers.values()):
        parser.error(f"--peer must be SCRIPT=FOLDER, SCRIPT one of {', '.join(SCRIPTS)}")
    torch.set_num_threads(options.threads)
    machine = (
        f"{time.strftime('%Y-%m-%d')}, {platform.system()} {platform.machine()}, "
        f"{os.cpu_count()} cores, {options.threads} thread(s), device {options.device}, "
        f"Python {platform.python_version()}, torch {torch.__version__}, "
        f"numpy {version('numpy')}, tractable {version('tractable')}."
    )
    found = sections()
    for name in options.names or SCRIPTS:
        module = importlib.import_module(f"benchmarks.{name}")
        options.peer = peers.get(name)
        lines = [machine, "", "| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
        for row in module.rows(options):
            print(" | ".join(row.cells()), flush=True)
            lines.append("| " + " | ".join(row.cells()) + " |")
        found[name] = lines
        page = [*INTRODUCTION]
        for script in SCRIPTS:
            if script in found:
                page += ["", f"## {script}", "", *found[script]]
        RESULTS.write_text("\n".join(page) + "\n", encoding="utf-8")


def sections() -> dict[str, list[str]]:
    """Return the lines of each section of the page as it is."""
    text = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else ""
    parts = [part.partition("\n") for part in text.split("\n## ")[1:]]
    return {name: body.strip("\n").split("\n") for name, _, body in parts}


if __name__ == "__main__":
    main()
