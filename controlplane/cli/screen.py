"""How a command shows what it found: a table to read, or JSON and YAML as the API gives it. Nothing typed is markup."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from typing import TextIO

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from controlplane.cli.failure import Code, Failure
from shared.yaml_dump import dump

PIPE_WIDTH = 200
"""Columns where the output is not a terminal, so that nothing is cut in scripts."""
Cell = str | Text
Shown = RenderableType


class Output(StrEnum):
    """How a command shows what it found."""

    table = "table"
    json = "json"
    yaml = "yaml"


class Screen:
    """Where a command writes; `lines` of people go there only where no program reads along."""

    def __init__(self, output: Output = Output.table, file: TextIO | None = None) -> None:
        self.output = output
        self._file = file or sys.stdout

    @property
    def is_plain(self) -> bool:
        """Whether people read it, not programs."""
        return self.output is Output.table

    def show(self, data: object, told: Callable[[], Iterable[Shown]]) -> None:
        """The data for programs, or what is told to people."""
        match self.output:
            case Output.json:
                print(json.dumps(data, indent=2, ensure_ascii=False), file=self._file)
            case Output.yaml:
                print(dump(data), end="", file=self._file)
            case Output.table:
                self.tell(told())

    def tell(self, told: Iterable[Shown]) -> None:
        """To people, whatever the output."""
        console = self._console()
        for part in told:
            # Lines stay lines, so that a command that is shown can be copied; only tables are fitted to the screen.
            console.print(Text(part) if isinstance(part, str) else part, soft_wrap=not isinstance(part, Table))

    def watch(self, frames: Iterable[Callable[[], Sequence[Shown]]]) -> None:
        """One frame after the other in the same place; below each other where this is no terminal."""
        from rich.console import Group  # noqa: PLC0415 - only who watches pays for it
        from rich.live import Live  # noqa: PLC0415 - as above

        console = self._console()
        if not console.is_terminal:
            for frame in frames:
                self.tell([*frame(), ""])
            return
        with Live(console=console, auto_refresh=False) as live:
            for frame in frames:
                live.update(Group(*(Text(part) if isinstance(part, str) else part for part in frame())), refresh=True)

    def _console(self) -> Console:
        plain = Console(file=self._file, markup=False, highlight=False, emoji=False, soft_wrap=False)
        if plain.is_terminal:
            return plain
        return Console(file=self._file, markup=False, highlight=False, emoji=False, width=PIPE_WIDTH)


def table(headings: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Table:
    """Columns without lines between them; what does not fit goes on below."""
    made = Table(box=None, pad_edge=False)
    for heading in headings:
        made.add_column(heading, overflow="fold")
    for row in rows:
        made.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in row))
    return made


def confirm(question: str, yes: bool) -> None:
    """Asks, unless it was answered by --yes; Failure where nobody is there to ask, or the answer is no."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise Failure(f"{question} Nobody is here to ask: repeat it with --yes", Code.USAGE)
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise Failure("nothing was changed")


def age(seconds: float) -> str:
    """A duration in one unit: 12s, 3m, 5h, 2d."""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{int(seconds // length)}{unit}"
    return f"{int(seconds)}s"


def clock(text: str | None) -> str:
    """A time of the API without its fractions; a dash where there is none."""
    return f"{text[:19].replace('T', ' ')}" if text else "-"
