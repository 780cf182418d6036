"""Where the first admin token lies, and who may find it: `flexgate` on the machine that the control plane runs on.

Light to import: the command line reads it before anything else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

FILE = "admin-token"
STATE_DIR = "FLEXGATE_CP_STATE_DIR"


def is_here(url: str) -> bool:
    """Whether a URL leads to this machine."""
    return (urlsplit(url).hostname or "") in {"localhost", "127.0.0.1", "::1"}


def places(environ: Mapping[str, str], directories: Iterable[Path]) -> list[Path]:
    """The state directories that a control plane on this machine may have: the named one alone, else the usual ones."""
    named = environ.get(STATE_DIR)
    return [Path(named)] if named else list(directories)


def found(url: str, environ: Mapping[str, str], directories: Iterable[Path]) -> str:
    """The token of a control plane on this machine, from the first of its possible state directories that has one.

    "" for a control plane elsewhere: what is lying about here must not be sent there.
    """
    return first(FILE, places(environ, directories)) if is_here(url) else ""


def first(name: str, directories: Iterable[Path]) -> str:
    """What a small file of that name says, in the first directory that has one; "" where none has."""
    for directory in directories:
        try:
            return (directory / name).read_text().strip()
        except (OSError, UnicodeDecodeError):
            continue
    return ""
