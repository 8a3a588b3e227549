"""The documentation is true: its code runs, its links lead somewhere, its theory is named.

Every block of code in README, CONTRIBUTING and docs is of a kind listed in `LANGUAGES`:

- ``python`` runs, in one namespace for each page; a block that begins with ``# name.py`` is written
  to that file and can be imported and run by later blocks;
- ``bash`` is checked line by line. ``tractable`` commands that are cheap run in this process (own
  study files, the preset ``smoke``, ``--dry-run``, reports, lists); of others,
  every flag is parsed. Of all other commands the files, targets and options that they name must
  exist;
- ``text`` right after a block that ran is what it prints, with ``...`` for any text;
- ``toml`` is valid.
"""

from __future__ import annotations

import ast
import contextlib
import doctest
import importlib
import io
import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import tractable
from tractable import cli
from tractable.studies import find, index

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
GENERATED = (DOCS / "gallery", DOCS / "reference" / "generated")
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(
        path
        for path in DOCS.rglob("*.md")
        if not any(folder in path.parents for folder in GENERATED)
    ),
]
# Each system, with the letter of its equations.
SYSTEMS = {
    "dynamics": "D",
    "linear": "L",
    "spectra": "S",
    "spiking": "P",
    "tensors": "T",
    "vision.convrnn": "C",
    "vision.retina": "R",
    "walkback": "W",
}
SYSTEM_SOURCES = [
    path
    for system in SYSTEMS
    for path in sorted((ROOT / "src" / "tractable").joinpath(*system.split(".")).rglob("*.py"))
]
LANGUAGES = {"python", "bash", "text", "toml", "{toctree}", "{eval-rst}", "{include}", "{image}"}
THEORY = "\n".join(path.read_text(encoding="utf-8") for path in (DOCS / "theory").glob("*.md"))
EQUATIONS = re.findall(r"\\tag\{([A-Z]+\d+)\}", THEORY)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    language: str
    text: str
    line: int


def page_id(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(page: Path) -> Iterator[Block]:
    lines = page.read_text(encoding="utf-8").splitlines()
    start = None
    for number, line in enumerate(lines, 1):
        fence = re.match(r"```(\S*)", line)
        if fence and start is None:
            start, language = number, fence[1]
        elif fence:
            assert line == "```", f"{page.name}:{number}: a fence inside a fence"
            yield Block(language, "\n".join(lines[start : number - 1]) + "\n", start + 1)
            start = None
    assert start is None, f"{page.name}:{start}: the fence is not closed"


# --- code ------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_code_of_the_page(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("TRACTABLE_DATA", raising=False)
    monkeypatch.setenv("TRACTABLE_CACHE", str(tmp_path / "cache"))
    before = set(sys.modules)
    namespace: dict[str, object] = {"__name__": "__page__"}
    printed: str | None = None
    for block in blocks(page):
        where = f"{page.relative_to(ROOT)}:{block.line}"
        assert block.language in LANGUAGES, f"{where}: {block.language or 'no language'}"
        if block.language == "python":
            printed = run_python(block, where, namespace)
        elif block.language == "bash":
            printed = "".join(run_line(line, where) for line in shell_lines(block.text))
        elif block.language == "toml":
            assert tomllib.loads(block.text), where
        elif block.language == "text" and printed:
            assert_prints(block.text, printed, where)
            printed = None
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None) or ""
        if file.startswith(str(tmp_path)):
            del sys.modules[name]


def run_python(block: Block, where: str, namespace: dict[str, object]) -> str:
    named = re.match(r"# (\w+)\.py\n", block.text)
    if named:
        Path(f"{named[1]}.py").write_text(block.text, encoding="utf-8")
        importlib.invalidate_caches()
        importlib.import_module(named[1])
        return ""
    code = compile("\n" * (block.line - 1) + block.text, where, "exec")
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(code, namespace)
    return out.getvalue()


def shell_lines(text: str) -> Iterator[str]:
    for line in text.replace("\\\n", " ").splitlines():
        if words := shlex.split(line, comments=True):
            yield shlex.join(words)


def run_line(line: str, where: str) -> str:
    """Run a command, or check that it could run; return what it prints."""
    words = [word for part in shlex.split(line) for word in expand(part)]
    while "=" in words[0]:  # VARIABLE=value command
        words.pop(0)
    command, rest = words[0].removeprefix(".venv/bin/"), words[1:]
    if command == "tractable":
        return run_tractable(rest, where)
    named = [word for word in rest if re.fullmatch(r"[\w./]+\.(py|txt|toml|cff)", word)]
    missing = [word for word in named if not (ROOT / word).exists()]
    assert not missing, f"{where}: there is no {missing} ({line})"
    if command == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert set(rest) <= set(targets), f"{where}: {line}"
    elif command in ("pip", "python", "python3", "pytest"):
        if "install" in rest:
            assert "constraints.txt" in rest, f"{where}: installs without the constraints"
        if "-m" in rest and "pytest" not in rest:
            assert rest[rest.index("-m") + 1] in ("pip", "venv", "benchmarks"), where
    else:
        known = ("cd", "git", "source", "export", ".ci/run", "pre-commit", "dask")
        assert command in known, f"{where}: nothing is known of {command}"
        assert not command.startswith(".ci") or (ROOT / command).exists()
    return ""


def expand(word: str) -> list[str]:
    return sorted(map(str, Path().glob(word))) if "*" in word else [word]


def run_tractable(words: list[str], where: str) -> str:
    assert words, where
    cheap = {"--help", "--dry-run", "--version", "smoke"} & set(words)
    own_file = len(words) > 1 and words[1].endswith(".py")
    studied = words[0] in ("run", "sweep", "search", "explore")
    parse_only = studied and not cheap and not own_file and not finished(words)
    parse_only |= words[0] in ("search", "explore") and "--help" not in words
    with (
        contextlib.redirect_stdout(io.StringIO()) as out,
        contextlib.redirect_stderr(io.StringIO()) as err,
    ):
        code = 0
        try:
            if parse_only:
                cli._parse(find(words[1]), words[1], words[2:], words[0])
            else:
                code = cli.main(words)
        except SystemExit as stop:
            code = int(stop.code or 0)
    assert code == 0, f"{where}: tractable {shlex.join(words)}: {err.getvalue()}{out.getvalue()}"
    return out.getvalue()


def finished(words: list[str]) -> bool:
    """Whether a command repeats a run that an earlier line of the page has made."""
    return "--from" in words and Path(words[words.index("--from") + 1]).is_file()


def assert_prints(expected: str, printed: str, where: str) -> None:
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    same = doctest.OutputChecker().check_output(expected, printed, flags)
    assert same, f"{where} says\n{expected}\nbut the code prints\n{printed}"


# --- links -----------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_and_names_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)", text):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), f"{page_id(page)}: {target}"
    for name in re.findall(r"\{(?:func|class|meth|mod|attr|exc)\}`~?(tractable[\w.]*)`", text):
        assert resolve(name) is not None, f"{page_id(page)}: {name}"


def resolve(name: str) -> object:
    parts = name.split(".")
    for split in range(len(parts), 0, -1):
        try:
            value: object = importlib.import_module(".".join(parts[:split]))
        except ModuleNotFoundError:
            continue
        for part in parts[split:]:
            fields = getattr(value, "__dataclass_fields__", {})
            value = fields.get(part) or getattr(value, part, None)
        return value
    return None


def page_name(system: str) -> str:
    return f"{system.rsplit('.', 1)[-1]}.md"


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_reference_lists_every_public_name(system: str) -> None:
    text = (DOCS / "reference" / page_name(system)).read_text(encoding="utf-8")
    entries = re.findall(r"^   ~?([\w.]+)$", text, re.MULTILINE)
    listed = [entry.rsplit(".", 1)[-1] for entry in entries]
    assert len(listed) == len(set(listed))
    assert set(importlib.import_module(f"tractable.{system}").__all__) <= set(listed)
    assert set(importlib.import_module(f"tractable.{system}.plots").__all__) <= set(listed)


def test_every_study_is_named_in_the_docs() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert [name for name in index() if name not in text] == []


def test_versions_agree() -> None:
    version = tractable.__version__
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text()


def test_pictures_are_small_and_described() -> None:
    for picture in (DOCS / "images").iterdir():
        assert picture.stat().st_size < 100_000, picture.name
    for page in PAGES:
        for alt in re.findall(r"!\[([^]]*)\]", page.read_text(encoding="utf-8")):
            assert len(alt) > 20, f"{page_id(page)}: {alt!r}"


def test_gallery_scripts_say_what_they_show() -> None:
    scripts = sorted((ROOT / "examples").rglob("*.py"))
    assert scripts
    for script in scripts:
        assert script.name.startswith("plot_")
        tree = ast.parse(script.read_text(encoding="utf-8"))
        title = (ast.get_docstring(tree) or "").splitlines()
        assert len(title) > 3, script.name
        assert set(title[1]) == {"="}, script.name


# --- theory ----------------------------------------------------------------------------------


def public_docstrings(path: Path) -> Iterator[tuple[str, str]]:
    """Yield (name, docstring) of a module and of its public classes, functions and methods."""

    def walk(node: ast.AST, name: str) -> Iterator[tuple[str, str]]:
        doc = ast.get_docstring(node)  # type: ignore[arg-type]  # a module, class or function
        if doc:
            yield name, doc
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.ClassDef) and not child.name.startswith("_"):
                yield from walk(child, f"{name}.{child.name}")

    yield from walk(ast.parse(path.read_text(encoding="utf-8")), path.stem)


@pytest.mark.parametrize("path", SYSTEM_SOURCES, ids=page_id)
def test_references_can_be_found_and_equations_exist(path: Path) -> None:
    for name, doc in public_docstrings(path):
        section = re.search(r"^References\n-+\n(.*?)(\n\n\w+\n-+\n|\Z)", doc, re.DOTALL | re.M)
        if section:
            found = re.search(r"arXiv[: ]\d{4}\.\d{4,5}|doi:10\.\d{4,9}/\S+", section[1])
            assert found, f"{name}: References without an arXiv id or DOI"
        for label in re.findall(r"\(([A-Z]{1,2}\d{1,2})\)", doc):
            assert label in EQUATIONS, f"{name}: there is no equation ({label}) in docs/theory"


@pytest.mark.parametrize("system", SYSTEMS)
def test_equations_are_numbered_in_order_and_name_their_function(system: str) -> None:
    text = (DOCS / "theory" / page_name(system)).read_text(encoding="utf-8")
    labels = re.findall(r"\\tag\{([A-Z]+\d+)\}", text)
    assert labels == [f"{SYSTEMS[system]}{i}" for i in range(1, len(labels) + 1)]
    # Between an equation and the next one stands the function that evaluates it.
    for label, after in zip(labels, re.split(r"\\tag\{[A-Z]+\d+\}", text)[1:], strict=True):
        named = re.search(rf"`~?tractable\.{re.escape(system)}\.\w+", after)
        assert named, f"({label}) names no function"
