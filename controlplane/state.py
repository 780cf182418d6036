"""What a control plane without a database remembers across restarts: which revision its file was, on which line.

A node that holds (epoch, revision, digest) is current after a restart only if the same file is the same revision again.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from controlplane.start_error import StartError
from shared.faults import ConfigError, Fault


@dataclass(frozen=True, slots=True)
class State:
    """`epoch` tells this line of revisions from any other; `digest` is the hex digest of the table at `revision`."""

    epoch: str
    revision: int
    digest: str


class StateFile:
    """`state.json` in a directory of its own, written whole or not at all."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "state.json"

    def read(self) -> State | None:
        """The state; None where there is none, or where it cannot be trusted: then a new epoch is due.

        ConfigError where it is there and cannot be read: to start a new epoch then would lose the line for nothing.
        """
        try:
            found = orjson.loads(self.path.read_bytes())
        except (FileNotFoundError, orjson.JSONDecodeError):
            return None
        except OSError as error:
            raise ConfigError([Fault("", f"cannot read {self.path}: {error.strerror}", "not_stored")]) from error
        match found:
            case {"epoch": str(epoch), "revision": int(revision), "digest": str(digest)} if epoch and revision > 0:
                return State(epoch, revision, digest)
        return None

    def write(self, state: State) -> None:
        """Replace the state; OSError where the disk refuses, and then the old one stands."""
        temporary = self.path.with_suffix(".tmp")
        with temporary.open("wb") as file:
            file.write(orjson.dumps(asdict(state)))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.path)
        directory = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)  # the rename itself must survive a power cut
        finally:
            os.close(directory)


@contextmanager
def locked(directory: Path) -> Iterator[StateFile]:
    """The state file, for this process alone: two control planes on one directory would count revisions twice.

    The directory is made if need be. StartError where it cannot be written or another process has it.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = (directory / "lock").open("w")
    except OSError as error:
        raise StartError(f"state directory {directory} cannot be written: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StartError(f"state directory {directory} is in use by another control plane") from error
        yield StateFile(directory)
