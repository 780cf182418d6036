"""Rules of the source tree that no linter knows: registries are complete, files are short and say what they do."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

from typer import Typer

from controlplane.cli.table import COMMANDS
from dataplane.filters import FILTERS

ROOT = Path(__file__).parents[2]
PLANES = ("dataplane", "controlplane", "shared")
SOURCES = [path for plane in PLANES for path in sorted((ROOT / plane).rglob("*.py")) if path.parent.name != "pb"]
TESTS = sorted((ROOT / "tests").rglob("*.py"))
MOST_LINES = 400
VAGUE = {"utils", "util", "helpers", "helper", "common", "manager", "base", "misc"}


def test_every_filter_is_in_the_table() -> None:
    """A file in dataplane/filters with a `build` is one line of FILTERS, and stands there once."""
    folder = ROOT / "dataplane" / "filters"
    modules = [importlib.import_module(f"dataplane.filters.{file.stem}") for file in folder.glob("[a-z]*.py")]
    builds = [module.build for module in modules if hasattr(module, "build")]
    assert len(builds) == len(FILTERS)
    assert set(builds) == {build for _, build in FILTERS}
    assert len({name for name, _ in FILTERS}) == len(FILTERS)


def test_every_command_is_in_the_table() -> None:
    """A file in controlplane/cli that makes commands has a line in the table, and is there."""
    folder = ROOT / "controlplane" / "cli"
    modules = {file.stem: importlib.import_module(f"controlplane.cli.{file.stem}") for file in folder.glob("[a-z]*.py")}
    made = {name for name, module in modules.items() if isinstance(getattr(module, "app", None), Typer)}
    assert made == {entry.module for entry in COMMANDS.values()}


def test_modules_are_short_and_say_what_they_do() -> None:
    """At most 400 lines, a docstring at the top unless empty, and a name that is a noun of the field."""
    texts = {str(path.relative_to(ROOT)): path.read_text() for path in SOURCES}
    lengths = {name: text.count("\n") for name, text in texts.items()}
    assert {name: length for name, length in lengths.items() if length > MOST_LINES} == {}
    assert [name for name, text in texts.items() if text and not ast.get_docstring(ast.parse(text))] == []
    assert [name for name in texts if Path(name).stem in VAGUE] == []


def test_compiled_modules_hold_no_coroutines() -> None:
    """What setup.py compiles exists and never awaits (docs/decisions/0007)."""
    setup = ast.parse((ROOT / "setup.py").read_text())
    listed = next(
        [ast.literal_eval(item) for item in node.value.elts]
        for node in ast.walk(setup)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.List)
    )
    trees = {name: ast.parse((ROOT / name).read_text()) for name in listed}
    waiting = ast.AsyncFunctionDef | ast.Await
    assert [name for name, tree in trees.items() if any(isinstance(node, waiting) for node in ast.walk(tree))] == []


def test_no_pattern_repeats_a_group_possessively() -> None:
    """CPython 3.11.0 to 3.11.4 mismatch `(...)*+` (gh-100061, gh-106052); of single characters it is sound."""
    possessive = re.compile(r"(?<!\()\)[*+?]\+")  # `()*+` stands in classes of characters
    assert [path.name for path in SOURCES if possessive.search(path.read_text())] == []


def test_every_test_tells_a_behaviour() -> None:
    """Each test function has a docstring."""
    silent = [
        f"{path.name}: {node.name}"
        for path in TESTS
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not ast.get_docstring(node)
    ]
    assert silent == []


def test_a_worker_loads_no_second_http_library() -> None:
    """aiohttp is a fifth of a worker's memory and gRPC as much: each is loaded where it is used, not at the start."""
    program = "import sys, dataplane.app; print(sorted({'aiohttp', 'grpc'} & set(sys.modules)))"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
