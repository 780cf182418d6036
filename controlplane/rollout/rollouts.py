"""Drives the rollout that runs, tells the publisher whom it has come to, and takes operators' words for it.

Of several control planes one drives. It writes down every step, so the row's version goes up as long as it lives; where
another one sees it stand still for the length of the lease, by its own clock, it takes over where the row says.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any
from uuid import uuid4

from controlplane.actor import Actor
from controlplane.events import Events
from controlplane.nodes import Nodes
from controlplane.publisher import Hold, Publisher
from controlplane.refusal import Refusal
from controlplane.rollout import machine
from controlplane.rollout.gates import failing
from controlplane.rollout.machine import State
from controlplane.rollout.records import HELD, Record, Records
from controlplane.rollout.sample import figures_of, sample_of
from controlplane.rollout.sight import Sight, own, read, together, told
from controlplane.rollout.tally import Tally, usual
from controlplane.service import Service
from controlplane.store import Committed
from controlplane.store.database import DatabaseGone
from shared import log
from shared.faults import ConfigError
from shared.pb.rollout_pb2 import Rollout

TICK = 1.0
"""Seconds between two steps."""
MOST_TICKS = 5
"""Of time that one step may count."""
LEASE_TICKS = 5
"""Ticks after which a driver that writes nothing counts as gone."""
IDLE = 5.0
"""Seconds between two looks while no rollout is known to run; the publisher's pokes come sooner."""
ATTEMPTS = 10
VERBS = {
    "pause": machine.paused,
    "resume": lambda state, _: machine.resumed(state),
    "promote": machine.promoted,
    "abort": machine.aborted,
}


class NotPossible(Refusal):
    """The rollout is not in a state for that."""

    code = "rollout_state"


class NoRollout(Refusal):
    """There is no such rollout."""

    status = 404
    code = "not_found"


class Rollouts:
    """The rollouts of a database, and the one that this process may drive."""

    def __init__(
        self,
        records: Records,
        service: Service,
        publisher: Publisher,
        nodes: Nodes,
        events: Events,
        *,
        name: str = "",
        tick: float = TICK,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.records = records
        self._service = service
        self._publisher = publisher
        self._nodes = nodes
        self._events = events
        self._name = name or uuid4().hex
        self._tick, self._clock = tick, clock
        self._wake = asyncio.Event()
        self._stopping = False
        self._beat = 0
        self._seen: dict[
            str, tuple[int, float]
        ] = {}  # of others: what counts up while they live, and since when it is so
        self._stepped: float | None = None  # when this process last drove
        self._tally: tuple[int, Tally] | None = None
        self._told: Rollout | None = None

    def attached(self) -> Callable[[], Coroutine[Any, Any, None]]:
        """What is to run: from now on the publisher asks here whom a revision has come to."""
        self._publisher.holding = self.holding
        return self.run

    # ---- for the publisher

    async def holding(self, committed: Committed) -> Hold | None:
        """Whether a revision is held back from some nodes: also after its rollout failed, until it is taken back."""
        rollout = await self.records.of(committed)
        if rollout is None or rollout.state in {"succeeded", "superseded"}:
            return None
        state = state_of(rollout)
        if self._told is None or self._told.id != rollout.id:
            self._wake.set()  # it has just begun
        return Hold(
            rollout.revision, rollout.base_revision, state.admits, lambda: self.records.base(rollout, committed)
        )

    # ---- for operators

    async def ask(self, id_: int, verb: str, actor: Actor) -> Rollout:
        """Pause, resume, promote or abort; a Refusal where that is not possible."""
        for _ in range(ATTEMPTS):
            record = await self.records.get(id_)
            if record is None:
                raise NoRollout(f"there is no rollout {id_}")
            rollout = record.rollout
            try:
                state = VERBS[verb](state_of(rollout), actor.name)
            except machine.NotNowError as error:
                raise NotPossible(f"cannot {verb} rollout {id_}: {error}") from error
            if verb in {"promote", "abort"}:
                rollout.ended_by = actor.name
            _enter(rollout, state, self.records.milliseconds())
            if await self.records.save(record, rollout, record.driver, loud=True, actor=actor):
                self._publisher.poke()
                self._wake.set()
                return rollout
        raise NotPossible(f"rollout {id_} changes too fast; try again")

    # ---- driving

    def stop(self) -> None:
        """Drive no further: nodes are being sent away, and what can be seen of them means nothing."""
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Drive what is to be driven, until stopped."""
        gone = ""
        while not self._stopping:
            self._wake.clear()
            busy = False
            try:
                busy = await self.turn()
                gone = ""
            except (DatabaseGone, Refusal, ConfigError) as error:
                if not gone:
                    log.error("rollout.stuck", reason=str(error))
                gone, busy = str(error), True
            with suppress(TimeoutError):
                async with asyncio.timeout(self._tick if busy else IDLE):
                    await self._wake.wait()

    async def turn(self) -> bool:
        """One look, and one step where this process drives; whether a rollout runs."""
        epoch = self._publisher.newest.epoch if self._publisher.newest else ""
        record = await self.records.active(epoch)
        if record is None:
            await self._over()
            return False
        self._tell(record.rollout)
        tally = self._tally_of(record.rollout)
        tally.look(self._nodes.all())
        mine = own(self._nodes.all(), record.rollout.revision, tally)
        if record.driver != self._name and not self._may_take(record):
            self._stepped = None
            self._beat += 1
            await self.records.look(self._name, record.rollout.id, self._beat, told(mine))
            return True
        await self._drive(record, mine)
        return True

    def _may_take(self, record: Record) -> bool:
        """Whether nobody drives: never anybody did, or who did has not written for the length of the lease."""
        return not record.driver or not self._alive(f"driver of {record.rollout.id}", record.version)

    def _alive(self, name: str, count: int) -> bool:
        """Whether this count went up within the lease; by our own clock, since others' may be wrong."""
        now = self._clock()
        known, since = self._seen.get(name, (-1, now))
        if known != count:
            since = now
        self._seen[name] = count, since
        return now - since < LEASE_TICKS * self._tick

    async def _sight(self, rollout: Rollout, mine: Sight) -> Sight:
        """What all control planes see."""
        looks = await self.records.looks(rollout.id, self._name)
        return together(mine, [read(view) for name, beat, view in looks if self._alive(name, beat)])

    async def _drive(self, record: Record, mine: Sight) -> None:
        rollout, now = record.rollout, self._clock()
        # Time in which nobody could look, as while the database was gone, does not count as served well.
        passed = min(now - self._stepped, MOST_TICKS * self._tick) if self._stepped is not None else 0.0
        self._stepped = now
        before = state_of(rollout)
        if before.status == "rolling_back":
            await self._take_back(rollout)
            return
        sight = await self._sight(rollout, mine)
        failure = failing(rollout.plan.gates, sight.candidate, sight.others, sample_of(rollout.before))
        after = machine.step(rollout.plan, before, passed, sight.nodes.values(), failure)
        rollout.candidate.CopyFrom(figures_of(sight.candidate))
        rollout.others.CopyFrom(figures_of(sight.others))
        _enter(rollout, after, self.records.milliseconds())
        reaches = (after.chosen, after.everyone, after.status) != (before.chosen, before.everyone, before.status)
        if await self.records.save(record, rollout, self._name, loud=reaches):
            self._tell(rollout)
            if reaches:
                self._publisher.poke()

    async def _take_back(self, rollout: Rollout) -> None:
        await self._service.take_back(rollout.id, rollout.base_revision, f"rollout {rollout.id}: {rollout.reason}")

    async def _over(self) -> None:
        """No rollout runs: tell how the one that did came to its end."""
        self._stepped = self._tally = None
        self._seen.clear()
        last = self._told
        if last is not None and last.state in HELD:
            record = await self.records.get(last.id)
            if record is not None:
                self._tell(record.rollout)
        self._told = None

    def _tally_of(self, rollout: Rollout) -> Tally:
        if self._tally is None or self._tally[0] != rollout.id:
            if not rollout.HasField("before"):
                rollout.before.CopyFrom(figures_of(usual(self._nodes.all())))
            self._tally = rollout.id, Tally(rollout.revision)
        return self._tally[1]

    def _tell(self, rollout: Rollout) -> None:
        """An event for whatever is new about it."""
        last, self._told = self._told, Rollout()
        self._told.CopyFrom(rollout)
        about: dict[str, Any] = {"rollout": rollout.id, "revision": rollout.revision}
        if last is None or last.id != rollout.id:
            self._events.saw("config.rollout.started", **about, waves=len(rollout.plan.waves), by=rollout.started_by)
            log.info("rollout.started", **about)
        elif last.state != rollout.state:
            self._tell_state(rollout, about)
        elif len(rollout.nodes) > len(last.nodes):
            self._events.saw("config.rollout.wave", **about, wave=rollout.wave + 1, nodes=len(rollout.nodes))

    def _tell_state(self, rollout: Rollout, about: dict[str, Any]) -> None:
        why: dict[str, Any] = {"reason": rollout.reason} if rollout.reason else {}
        log.info(f"rollout.{rollout.state}", **about, **why)
        match rollout.state:
            case "paused":
                self._events.saw("config.rollout.paused", **about, **why)
            case "running":
                self._events.saw("config.rollout.resumed", **about)
            case "rolling_back":
                self._events.saw("config.rollout.failed", **about, **why)
            case "succeeded":
                self._events.saw("config.rollout.succeeded", **about, **why)
            case "superseded":
                self._events.saw("config.rollout.superseded", **about, **why)
            case _:
                more = {"by": rollout.ended_by} if rollout.ended_by else {}
                back = rollout.rollback_revision
                self._events.saw("config.rollout.rolled_back", **about, now=back, **why, **more)


def state_of(rollout: Rollout) -> State:
    """Where it stands."""
    return State(
        status=rollout.state,  # type: ignore[arg-type]  # the row holds nothing else
        wave=rollout.wave,
        phase=rollout.phase,  # type: ignore[arg-type]  # the same
        seconds=rollout.seconds,
        chosen=frozenset(rollout.nodes),
        everyone=rollout.everyone,
        reason=rollout.reason,
    )


def _enter(rollout: Rollout, state: State, now: int) -> None:
    """Write a state down; `now` is in epoch milliseconds."""
    rollout.state, rollout.wave, rollout.phase = state.status, state.wave, state.phase
    rollout.seconds, rollout.everyone, rollout.reason = state.seconds, state.everyone, state.reason
    del rollout.nodes[:]
    rollout.nodes.extend(sorted(state.chosen))
    if state.over:
        rollout.ended_at = now
