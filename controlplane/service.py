"""The only way in for configuration: draft -> check -> plan -> commit -> poke.

Whatever brings a change, be it a file, REST, gRPC or the command line, comes through here. One write at a time; one
that another control plane overtook is drafted and checked anew on top of what that one committed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from controlplane.actor import SYSTEM, Actor
from controlplane.changes import ANY, Change, Changed, Delete, Json, Once, Put, etag_at
from controlplane.draft import Draft, draft, draft_of
from controlplane.events import Events
from controlplane.index import Candidate, Index
from controlplane.neighbourhood import MANY, Found, examine
from controlplane.plan import Plan, groups_of, guard, steps_of
from controlplane.publisher import Publisher
from controlplane.refusal import Busy, Guarded, Moved, ReadOnly, Referenced
from controlplane.snapshot import MESSAGE_BYTES, oversize
from controlplane.store import Committed, Outdated, Store, Write
from shared import log
from shared.check.required import REFERENCE
from shared.document import Document, read
from shared.faults import ConfigError, Fault
from shared.pb.rollout_pb2 import RolloutPlan
from shared.table import Key, Table, table_of, unpack

ATTEMPTS = 20
"""How often a write that others overtake is tried."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a document is worth: `faults` forbid it, `warnings` do not."""

    faults: list[Fault]
    warnings: list[Fault]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a write did. `asked`: the key of each change in its order, with the name that a route was given.

    `changes` is empty where all was so already: then `committed` is what it was. `answer` is that of the first request
    where an idempotency key came again; nothing was done then.
    """

    committed: Committed
    asked: tuple[Key, ...] = ()
    changes: tuple[Changed, ...] = ()
    warnings: tuple[Fault, ...] = ()
    answer: Json | None = None


@dataclass(frozen=True, slots=True)
class Drafted:
    """A draft, what it would be among, and what was found wrong with it."""

    draft: Draft
    candidate: Candidate
    found: Found


@dataclass(frozen=True, slots=True)
class Prepared:
    """A write that may be committed."""

    draft: Draft
    table: Table
    plan: Plan


Drafting = Callable[[Index, Committed | None], Drafted]


@dataclass(frozen=True, slots=True)
class Proposal:
    """How to draft a write, and about how many resources it touches."""

    drafting: Drafting
    size: int


Proposing = Callable[[Committed | None], Awaitable[Proposal]]
"""Asked anew for each attempt: what brings a past revision back depends on what is there."""


Advise = Callable[[Sequence[Changed]], Iterable[Fault]]
"""Warnings about changes that may be made: of what nodes cannot do, for one. Called on the event loop."""


class Service:
    """Validates and commits; reads go to `committed`. `read_only` says why nothing can be written, and what to do."""

    def __init__(
        self, store: Store, publisher: Publisher, *, events: Events | None = None, read_only: str = ""
    ) -> None:
        self._store = store
        self._publisher = publisher
        self._events = events or Events()
        self._writing = asyncio.Lock()
        self._index = Index()
        self.read_only = read_only
        self.advise: Advise = lambda changes: []

    @property
    def committed(self) -> Committed | None:
        """The newest revision that this control plane knows of; None before the first."""
        return self._store.newest

    async def refresh(self) -> Committed | None:
        """The newest revision, asked for; DatabaseGone."""
        return await self._store.read()

    async def warm(self) -> None:
        """Make ready for the first write, which would wait a quarter of a second for it with 10 000 routes."""
        async with self._writing:
            if self.committed is not None:
                await asyncio.to_thread(self._index.move, self.committed.table)

    async def commit(
        self,
        changes: Sequence[Change],
        actor: Actor,
        *,
        message: str = "",
        force: bool = False,
        once: Once | None = None,
        rollout: RolloutPlan | None = None,
        if_match: Sequence[str] = (),
    ) -> Outcome:
        """Make these changes together, or none of them. With a `rollout` they come to the nodes in its waves.

        `if_match`: etags of which the whole configuration must have one; ANY: there must be one at all.
        ConfigError with every fault; a Refusal (read-only, not found, exists already, stale, moved, referenced,
        guarded, key reused, busy); DatabaseGone.
        """
        write = Write((), Table(), actor, "write", message, once=once, force=force, plan=rollout)
        return await self._write(_always(changing(changes), len(changes)), write, if_match)

    async def recalled(self, once: Once) -> Outcome | None:
        """What the first request with this idempotency key was answered; None where there was none. KeyReused.

        A write asks this by itself; whoever looks at what is there before it, and may refuse for that, asks it first.
        """
        answer = await self._store.recall(once)
        return Outcome(_there(self.committed), answer=answer) if answer is not None else None

    async def plan(self, changes: Sequence[Change], if_match: Sequence[str] = ()) -> Plan:
        """What `commit` would do; raises what it would raise, but for the guard, which the plan tells."""
        return await self._plan(_always(changing(changes), len(changes)), if_match)

    async def replace(
        self,
        document: Document,
        actor: Actor,
        *,
        message: str = "",
        force: bool = False,
        once: Once | None = None,
        rollout: RolloutPlan | None = None,
        if_match: Sequence[str] = (),
    ) -> Outcome:
        """Make a checked document the whole configuration, in one revision; errors as for `commit`."""
        write = Write((), Table(), actor, "apply", message, once=once, force=force, plan=rollout)
        return await self._write(_always(becoming(document), MANY), write, if_match)

    async def plan_replace(self, document: Document, if_match: Sequence[str] = ()) -> Plan:
        """What `replace` would do."""
        return await self._plan(_always(becoming(document), MANY), if_match)

    async def rollback(
        self,
        revision: int,
        actor: Actor,
        *,
        message: str = "",
        force: bool = False,
        once: Once | None = None,
        rollout: RolloutPlan | None = None,
        if_match: Sequence[str] = (),
    ) -> Outcome:
        """Make the configuration what it was at a revision, as a new one; NoRevision, and errors as for `commit`."""
        message = message or f"back to revision {revision}"
        write = Write((), Table(), actor, "rollback", message, once=once, force=force, plan=rollout)
        return await self._write(self._returning(revision), write, if_match)

    async def plan_rollback(self, revision: int, if_match: Sequence[str] = ()) -> Plan:
        """What `rollback` would do."""
        return await self._plan(self._returning(revision), if_match)

    async def take_back(self, rollout: int, base: int, message: str) -> Outcome:
        """End a rollout: its base is what is committed from then on, as a new revision."""
        write = Write((), Table(), SYSTEM, "rollback", message, force=True, ends=rollout)
        return await self._write(self._returning(base), write)

    async def adopt(self, document: Document) -> Committed:
        """Take over what the file says that is the truth here; ConfigError, and nothing changed, where it cannot be.

        A document that makes the same table is the same revision.
        """
        async with self._writing:
            table = await asyncio.to_thread(_fitting, document)
            base = self.committed
            if base is not None:
                # Resources that did not change stay the same objects: memory, and a cheap comparison later.
                table = base.table.changed(*table.since(base.table))
            write = Write((), table, SYSTEM, "apply", config=document.config)
            committed = await self._store.commit(base, write)
            self._publisher.poke()
            return committed

    async def validate(self, text: str) -> Verdict:
        """All that is wrong with a YAML document; nothing is changed."""
        try:
            document = await asyncio.to_thread(read, text)
            await asyncio.to_thread(_fitting, document)
        except ConfigError as error:
            return Verdict(error.faults, [])
        return Verdict([], document.warnings)

    def _returning(self, revision: int) -> Proposing:
        async def proposing(base: Committed | None) -> Proposal:
            changed = await self._store.between(base.revision if base else 0, revision)
            changes = [_change(one) for one in changed]
            return Proposal(changing(changes), len(changes))

        return proposing

    async def _plan(self, proposing: Proposing, if_match: Sequence[str]) -> Plan:
        async with self._writing:
            base = await self._store.read()
            _expect(base, if_match)
            return (await self._prepare(await proposing(base), base)).plan

    async def _write(self, proposing: Proposing, write: Write, if_match: Sequence[str] = ()) -> Outcome:
        if self.read_only:
            raise ReadOnly(self.read_only)
        async with self._writing:
            for _ in range(ATTEMPTS):
                base = await self._store.read()
                if write.once is not None and (answer := await self._store.recall(write.once)) is not None:
                    return Outcome(_there(base), answer=answer)
                _expect(base, if_match)
                prepared = await self._prepare(await proposing(base), base)
                if prepared.plan.guard and not write.force:
                    raise Guarded(prepared.plan.guard)
                try:
                    return await self._commit(base, prepared, write)
                except Outdated:
                    continue
        raise Busy("other writers were faster, again and again; try later")

    async def _prepare(self, proposal: Proposal, base: Committed | None) -> Prepared:
        """Draft and check on top of `base`; what is large, or was far behind, off the event loop."""
        table = base.table if base else Table()
        behind = abs(len(table) - len(self._index.table))
        if max(proposal.size, behind) < MANY:
            prepared = self._prepared(proposal.drafting, base, table)
        else:
            prepared = await asyncio.to_thread(self._prepared, proposal.drafting, base, table)
        advice = self.advise(prepared.draft.changes())
        return replace(prepared, plan=replace(prepared.plan, warnings=(*prepared.plan.warnings, *advice)))

    def _prepared(self, drafting: Drafting, base: Committed | None, table: Table) -> Prepared:
        self._index.move(table)
        drafted = drafting(self._index, base)
        _refuse(drafted)
        changes, after = drafted.draft.changes(), drafted.draft.table()
        plan = Plan(
            base.revision if base else 0,
            steps_of(changes),
            tuple(drafted.found.warnings),
            groups_of(changes),
            guard(changes, self._index),
            after,
            tuple(changes),
            base.epoch if base else "",
        )
        return Prepared(drafted.draft, after, plan)

    async def _commit(self, base: Committed | None, prepared: Prepared, write: Write) -> Outcome:
        draft, table = prepared.draft, prepared.table
        changes, asked, warnings = draft.changes(), tuple(draft.asked), prepared.plan.warnings
        if not changes and base is not None:
            return Outcome(base, asked, (), warnings)
        answer = None
        if write.once is not None:
            # Kept in the same transaction, so it is made before: should another write come first, it is made anew.
            coming = Committed(base.epoch if base else "", (base.revision if base else 0) + 1, table, ids=draft.ids)
            answer = write.once.answer(Outcome(coming, asked, changes, warnings))
        ready = replace(write, changes=changes, table=table, ids=draft.ids, answer=answer)
        committed = await self._store.commit(base, ready)
        self._publisher.poke()
        told: Json = {"revision": committed.revision, "actor": write.actor.name, "action": write.action}
        log.info("config.committed", **told, changes=len(changes), correlationId=write.actor.correlation_id)
        self._events.saw("config.changed", **told, changes=len(changes), resources=len(table))
        return Outcome(committed, asked, changes, warnings)


def _always(drafting: Drafting, size: int) -> Proposing:
    async def proposing(_base: Committed | None) -> Proposal:
        return Proposal(drafting, size)

    return proposing


def _change(changed: Changed) -> Change:
    kind, name = changed.key
    return Delete(kind, name) if changed.after is None else Put(kind, name, unpack(changed.after))


def changing(changes: Sequence[Change]) -> Drafting:
    """Drafts a list of changes, and checks them with all that they touch."""

    def drafting(index: Index, base: Committed | None) -> Drafted:
        made = draft(changes, index, base.ids if base else {})
        candidate = Candidate(index, made.changed)
        return Drafted(made, candidate, examine(candidate, made.table()))

    return drafting


def becoming(document: Document) -> Drafting:
    """Drafts a whole document in the place of what there is; it was checked when it was read."""

    def drafting(index: Index, base: Committed | None) -> Drafted:
        made = draft_of(_fitting(document), index, base.ids if base else {})
        return Drafted(made, Candidate(index, made.changed), Found([], document.warnings))

    return drafting


def _expect(base: Committed | None, if_match: Sequence[str]) -> None:
    """Moved where the configuration is none of those that a write was made for."""
    etag = base.etag if base is not None else etag_at("", 0)
    if if_match and etag not in if_match and not (base is not None and ANY in if_match):
        raise Moved(base.revision if base is not None else 0, etag)


def _refuse(drafted: Drafted) -> None:
    """Raise what forbids the change: faults, or references to what it takes away."""
    gone = [key for key, resource in drafted.draft.changed.items() if resource is None]
    users = {key: by for key in gone if (by := sorted(drafted.candidate.users(key)))}
    using = {user for by in users.values() for user in by}
    faults = drafted.found.faults
    if any(fault.code != REFERENCE or (fault.kind, fault.name) not in using for fault in faults):
        raise ConfigError(faults)
    if users:
        raise Referenced(users)


def _there(committed: Committed | None) -> Committed:
    return committed or Committed("", 0, Table())


def _fitting(document: Document) -> Table:
    """The document's table; ConfigError where a resource fits no message to a node."""
    table = table_of(document.config)
    faults = [
        Fault("", f"{size} bytes when encoded; a node takes at most {MESSAGE_BYTES}", "too_large", kind, name)
        for (kind, name), size in oversize(table)
    ]
    if faults:
        raise ConfigError(faults)
    return table
