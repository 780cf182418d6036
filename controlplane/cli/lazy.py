"""A group of commands that imports a command when it is typed, so that `flexgate --help` and completion stay fast."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import typer.core
import typer.main

from controlplane.cli.table import COMMANDS


class LazyGroup(typer.core.TyperGroup):
    """In the overview commands are only names with a line of help."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = {
            name: typer.core.TyperCommand(name=name, help=entry.says, rich_markup_mode=None)
            for name, entry in COMMANDS.items()
        }

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The command itself, in the place of its name."""
        if args and args[0] in COMMANDS:
            self.commands[args[0]] = _loaded(args[0])
        return super().resolve_command(ctx, args)


def _loaded(name: str) -> Any:
    app = import_module(f"controlplane.cli.{COMMANDS[name].module}").app
    command = typer.main.get_command(app)
    command.name = name
    return command
