"""What the control plane asks of this node besides holding a configuration: taken in, worked off, answered.

Two questions there are. Explain is answered at once. A dry run compiles a table beside what is served and never serves
it: in a thread of its own, one at a time, so that requests go on meanwhile. Questions and answers belong to one stream:
when it ends nobody waits for them any more.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from dataplane.config_source import Held, Target, on_wire
from shared import log
from shared.faults import ConfigError, Fault
from shared.pb import discovery_pb2 as pb
from shared.table import Table

CAPABILITY = "ask"
MOST_WAITING = 8
"""Dry runs that wait for the one before; more are refused."""


@dataclass(slots=True)
class Trial:
    """A table to compile, of which more chunks may be to come."""

    id: str
    table: Table
    chunks: int = 0


class Answering:
    """The questions of a node's stream. `ready` is called whenever there is an answer to send."""

    def __init__(
        self, target: Target, held: Callable[[], Held | None], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._target = target
        self._held = held
        self._clock = clock
        # One thread for the life of the process: a trial of a stream that ended may still be running.
        self._thread = ThreadPoolExecutor(1, "dry-run")
        self._assembly: Trial | None = None
        self._trials: deque[Trial] = deque()
        self._answers: deque[pb.Answer] = deque()
        self._wake = asyncio.Event()
        self.ready: Callable[[], None] = _nobody

    def begin(self, ready: Callable[[], None]) -> None:
        """A stream begins: what was asked on the one before is forgotten."""
        self._assembly = None
        self._trials.clear()
        self._answers.clear()
        self.ready = ready

    def take(self, ask: pb.Ask) -> None:
        """The control plane asks this."""
        match ask.WhichOneof("question"):
            case "explain":
                self._say(self._explain(ask))
            case "dry_run":
                self._assemble(ask.id, ask.dry_run)
            case _:
                self._refuse(ask.id, "this version does not know the question; upgrade the node")

    def next(self) -> pb.NodeMessage | None:
        """An answer to send."""
        return pb.NodeMessage(answer=self._answers.popleft()) if self._answers else None

    async def run(self) -> None:
        """Work off the dry runs until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            self._wake.clear()
            while self._trials:
                trial = self._trials.popleft()
                result = await loop.run_in_executor(self._thread, self._try, trial.table)
                self._say(pb.Answer(id=trial.id, dry_run=result))
            await self._wake.wait()

    def _explain(self, ask: pb.Ask) -> pb.Answer:
        try:
            return pb.Answer(id=ask.id, explain=self._target.explain(ask.explain))
        except Exception as error:  # a fault in the program must not end the stream
            log.failure("ask.failed")
            return pb.Answer(id=ask.id, refused=f"explaining failed: {type(error).__name__}: {error}")

    def _assemble(self, id_: str, part: pb.DryRun) -> None:
        """Take one chunk; the last one makes it a trial."""
        trial = self._assembly if part.chunk else self._start(id_, part)
        if trial is None or trial.id != id_:
            return  # refused with an earlier chunk
        self._assembly = None
        if trial.chunks != part.chunk:
            self._refuse(id_, f"chunk {part.chunk} does not follow the one before")
            return
        trial.table = trial.table.changed(part.upserts, [(key.kind, key.name) for key in part.removes])
        trial.chunks += 1
        if not part.last:
            self._assembly = trial
        elif trial.table.digest != part.digest:
            self._refuse(id_, "the table does not have the digest that was promised")
        elif len(self._trials) >= MOST_WAITING:
            self._refuse(id_, f"{MOST_WAITING} dry runs wait already")
        else:
            self._trials.append(trial)
            self._wake.set()

    def _start(self, id_: str, part: pb.DryRun) -> Trial | None:
        held = self._held()
        self._assembly = None
        if not part.base_revision:
            return Trial(id_, Table())
        if held is None or (held.revision, held.epoch) != (part.base_revision, part.store_epoch):
            self._refuse(id_, f"the change starts from revision {part.base_revision}, and this node serves {held}")
            return None
        return Trial(id_, held.table)

    def _try(self, table: Table) -> pb.DryRunResult:
        """In the thread: compile, and tell how it went."""
        started = self._clock()
        faults: list[Fault] = []
        try:
            self._target.compiles(table)
        except ConfigError as error:
            faults = error.faults
        except Exception as error:  # as above
            log.failure("dry_run.failed")
            faults = [Fault("", f"compiling it failed: {type(error).__name__}: {error}", "internal")]
        return pb.DryRunResult(errors=map(on_wire, faults), compile_ms=(self._clock() - started) * 1000)

    def _refuse(self, id_: str, reason: str) -> None:
        self._say(pb.Answer(id=id_, refused=reason))

    def _say(self, answer: pb.Answer) -> None:
        self._answers.append(answer)
        self.ready()


def _nobody() -> None:
    """No stream is there."""
