"""Contexts: the control planes that somebody works with, by name, and what opens each. One file for its owner alone.

A token is only ever sent to the URL that it was given for.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from controlplane.cli.failure import Code, Failure


@dataclass(slots=True)
class Login:
    """What a login gave. `expires` is epoch seconds by this machine's clock: only a hint, the API decides."""

    user: str
    access: str = field(repr=False)
    refresh: str = field(repr=False)
    expires: float


@dataclass(slots=True)
class Context:
    """A control plane, with a token or a login; neither: a control plane on this machine has a file with one.

    `ca_file` has the authorities that its certificate may be of; "": those of this machine.
    """

    url: str
    token: str = field(default="", repr=False)
    login: Login | None = None
    ca_file: str = ""


@dataclass(slots=True)
class Contexts:
    """All of them; `current` is the one that is meant where none is named."""

    current: str = ""
    known: dict[str, Context] = field(default_factory=dict)

    def named(self, name: str) -> Context:
        """One of them; Failure where there is none of that name."""
        if name not in self.known:
            there = ", ".join(sorted(self.known)) or "none yet; `flexgate context add` makes one"
            raise Failure(f"there is no context {name!r}; there are: {there}", Code.USAGE)
        return self.known[name]


def place(environ: Mapping[str, str]) -> Path:
    """The file, by the XDG base directories."""
    home = environ.get("XDG_CONFIG_HOME") or Path(environ.get("HOME") or Path.home(), ".config")
    return Path(home, "flexgate", "contexts.json")


def read(file: Path) -> Contexts:
    """What the file says; nothing where there is none. Failure where it cannot be read."""
    try:
        found = json.loads(file.read_text())
        known = {name: _context(body) for name, body in found["contexts"].items()}
        return Contexts(found.get("current", ""), known)
    except FileNotFoundError:
        return Contexts()
    except OSError as error:
        raise Failure(f"cannot read {file}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Failure(f"{file} is not what flexgate writes: mend it, or delete it and add the contexts anew") from error


@contextmanager
def changing(file: Path) -> Iterator[Contexts]:
    """The contexts, to be changed within the block and written after it; one program at a time."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(os.open(file.with_suffix(".lock"), os.O_CREAT | os.O_RDWR, 0o600), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            contexts = read(file)
            yield contexts
            _write(file, contexts)
    except OSError as error:
        raise Failure(f"cannot write {file}: {error.strerror}") from error


def _write(file: Path, contexts: Contexts) -> None:
    known = {name: asdict(context) for name, context in contexts.known.items()}
    temporary = file.with_suffix(".new")
    temporary.unlink(missing_ok=True)
    with open(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as opened:
        json.dump({"current": contexts.current, "contexts": known}, opened, indent=2)
    temporary.replace(file)


def _context(body: Mapping[str, Any]) -> Context:
    login = body.get("login")
    texts = {name: str(body.get(name) or "") for name in ("token", "ca_file")}
    return Context(str(body["url"]), login=Login(**login) if login else None, **texts)
