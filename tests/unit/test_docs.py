"""The documentation holds what it promises: links lead somewhere, configurations load, commands and flags exist."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
from typer.main import get_command

from controlplane.cli.table import COMMANDS
from dataplane.settings import OPTIONS
from shared.document import read

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)


def blocks(page: Path, *languages: str) -> list[str]:
    """The fenced blocks of a page in one of these languages; "" is none."""
    return [text for language, text in BLOCK.findall(page.read_text()) if language in languages]


def anchors(page: Path) -> set[str]:
    """The names that headings of a page have in links."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def words() -> set[str]:
    """Everything that stands as code on any page, split at blanks."""
    shown = (code.strip("`") for page in PAGES for code in CODE.findall(page.read_text()))
    return {word for code in shown for word in code.split()}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link names a file in the repository, and a heading of it where it names one."""
    for target in LINK.findall(CODE.sub("", page.read_text())):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), f"{page.name}: {target}"
        assert file.is_relative_to(ROOT), f"{page.name}: {target}"
        assert not anchor or anchor in anchors(file), f"{page.name}: {target}"


def test_every_page_can_be_found() -> None:
    """Each page under docs is linked from the index."""
    index = ROOT / "docs" / "README.md"
    linked = {(index.parent / target).resolve() for target in LINK.findall(index.read_text())}
    assert {page for page in PAGES if page.is_relative_to(index.parent)} - {index} <= linked


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "yaml")], ids=lambda page: page.name)
def test_configurations_load(page: Path) -> None:
    """A YAML block that has routes is a whole configuration; it loads without faults and warnings."""
    for text in blocks(page, "yaml"):
        if re.search("^routes:", text, re.MULTILINE):
            assert read(text).warnings == []


def test_make_targets_exist() -> None:
    """Every `make TARGET` of any page is a target."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    used = {name for page in PAGES for name in re.findall(r"(?:^|`)make ([a-z]+)", page.read_text(), re.MULTILINE)}
    assert {"run", "test", "bench", "lint"} <= used <= targets


def test_commands_exist() -> None:
    """Every `flexgate COMMAND` of any page is one of the program's, and every one of those is explained."""
    texts = [page.read_text().partition("\n## Results\n")[0] for page in PAGES]  # tables of figures name contestants
    code = "\n".join(found for text in texts for found in CODE.findall(text))
    used = set(re.findall(r"(?:^|[`/ ])flexgate ([a-z]+)\b", code, re.MULTILINE))
    assert used == set(COMMANDS)


def test_every_command_of_a_family_is_explained() -> None:
    """Whatever `flexgate FAMILY COMMAND` there is stands on the page of commands."""
    page = (ROOT / "docs" / "reference" / "cli.md").read_text()
    for name, entry in COMMANDS.items():
        found = get_command(importlib.import_module(f"controlplane.cli.{entry.module}").app)
        for command in getattr(found, "commands", {}):
            assert f"flexgate {name} {command}" in page


def test_every_event_is_explained() -> None:
    """Each name that the sources tell an event under stands on the page of events."""
    told = re.compile(r'\.(?:emit|often|saw)\(\s*"([a-z_.]+)"|"(circuit_breaker\.[a-z_]+)"')
    sources = [file.read_text() for plane in ("dataplane", "controlplane") for file in (ROOT / plane).rglob("*.py")]
    page = (ROOT / "docs" / "concepts" / "events.md").read_text()
    assert {name for text in sources for name in map("".join, told.findall(text)) if f"`{name}`" not in page} == set()


def test_files_exist() -> None:
    """Each file or folder of the source that a page names is there."""
    named = re.compile(r"(?:dataplane|controlplane|shared|tests|proto|docs)/[\w./-]*\w(?:\.\w+|/)")
    assert {word for word in words() if named.fullmatch(word) and not (ROOT / word).exists()} == set()


def test_flags_and_variables_exist() -> None:
    """Each --flag and FLEXGATE_VARIABLE that is shown on a page stands in the sources of the programs."""
    sources = "\n".join(
        file.read_text()
        for folder in ("dataplane", "controlplane", "tests/bench")
        for file in ROOT.glob(f"{folder}/**/*.py")
    )
    sources += (ROOT / "setup.py").read_text()
    known = sources + " ".join(f"--{option.name} {option.variable}" for option in OPTIONS)
    shown = {word for word in words() if re.fullmatch(r"--[a-z][a-z-]+", word)}
    others = {"--require-hashes", "--no-deps", "--no-build-isolation"}  # of pip
    for flag in shown - others:
        assert flag in known or flag.removeprefix("--").replace("-", "_") + ":" in known, flag
    for variable in {name for word in words() for name in re.findall(r"FLEXGATE_[A-Z_]+[A-Z]", word)} - {
        "FLEXGATE_FLAG"
    }:
        assert variable in known, variable
