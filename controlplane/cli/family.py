"""How a file of this package becomes commands: a family of them, or one alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer


def family(says: str) -> typer.Typer:
    """A family, such as `flexgate tokens`; what it holds is added with `.command(...)`."""
    app = typer.Typer(
        help=says, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None
    )

    @app.callback()
    def _family() -> None:
        pass  # so that a family with one command is a family, too

    _family.__doc__ = says
    return app


def alone(function: Callable[..., Any]) -> typer.Typer:
    """One command without others beside it, such as `flexgate status`."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command()(function)
    return app
