"""The store of a control plane whose truth is a YAML file: the file has the configuration, this its revision."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

from controlplane.changes import Changed, Json, Once
from controlplane.state import State, StateFile
from controlplane.store import Committed, Write
from controlplane.store.history import NoRevision
from shared.faults import ConfigError, Fault


class FileStore:
    """The configuration in memory (a file is its source), its revision on disk."""

    def __init__(self, state: StateFile, new_epoch: Callable[[], str] = lambda: uuid4().hex) -> None:
        self._file = state
        self._new_epoch = new_epoch
        self._state: State | None = None
        self._committed: Committed | None = None

    @property
    def newest(self) -> Committed | None:
        return self._committed

    async def read(self) -> Committed | None:
        return self._committed

    async def commit(self, base: Committed | None, write: Write) -> Committed:
        """The revision goes up by one unless the table is what it was, now or when the last process stopped."""
        state, digest = self._state or self._file.read(), write.table.digest.hex()
        if state is None:
            state = self._write(State(self._new_epoch(), 1, digest))
        elif state.digest != digest:
            state = self._write(State(state.epoch, state.revision + 1, digest))
        self._state = state
        self._committed = Committed(state.epoch, state.revision, write.table, write.config)
        return self._committed

    async def recall(self, once: Once) -> Json | None:
        return None  # nothing is written here on request

    async def forget(self) -> None:
        """There is nothing to forget."""

    async def between(self, first: int, second: int) -> tuple[Changed, ...]:
        raise NoRevision(second)  # the file's own history is in its repository

    def _write(self, state: State) -> State:
        try:
            self._file.write(state)
        except OSError as error:
            reason = f"cannot keep revision {state.revision} in {self._file.path}: {error.strerror}"
            raise ConfigError([Fault("", reason, "not_stored")]) from error
        return state
