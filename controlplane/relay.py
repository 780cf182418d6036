"""Replicas ask each other about their nodes: a question is a row in PostgreSQL, its answer is written into it.

The database is what replicas have in common anyway; none needs an address, a port or a certificate for the others.
LISTEN/NOTIFY wakes who is concerned, and each looks now and then by itself, so that a lost word only delays. Who asks
waits no longer than it says, whatever becomes of the database or of the other replica; who answers has a little less.
Only the database's clock is read. Docs: docs/operations/replicas.md, and docs/decisions/0024 for why it is so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import uuid4

from sqlalchemy import delete, extract, func, insert, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.store.database import Database, DatabaseGone
from controlplane.tables_relay import QUESTIONS
from shared import log
from shared.pb.discovery_pb2 import Answer
from shared.pb.replica_pb2 import ReplicaAnswer, ReplicaQuestion

CHANNEL = "flexgate_relay"
"""PostgreSQL's channel on which a question, or an answer, is told."""
LOOK = 1.0
"""Seconds between looks without being told."""
SHARE = 0.8
"""Of the time that is left when a question is heard, what the nodes get: the rest is the way back."""
FORGET = timedelta(minutes=1)
"""After their end, rows of a replica that died while it waited are deleted."""

Answering = Callable[[ReplicaQuestion, float], Awaitable[ReplicaAnswer]]
"""Asks this replica's nodes, for at most so many seconds."""


@dataclass(slots=True)
class Asked:
    """A question that waits for its answers, by replica."""

    questions: Mapping[str, ReplicaQuestion]
    seconds: float
    answers: dict[str, asyncio.Future[ReplicaAnswer | str]]
    sent: bool = False

    def end(self, reason: str) -> None:
        """Nobody will answer any more."""
        for answer in self.answers.values():
            if not answer.done():
                answer.set_result(reason)


@dataclass(slots=True)
class Outbox:
    """What the next exchange writes; it stays here until that has worked."""

    over: set[str] = field(default_factory=set)  # questions of ours for whose answers nobody waits any more
    answers: dict[str, tuple[str, bytes]] = field(default_factory=dict)  # by question: (who asked, the answer)


class Relay:
    """One replica's side of it. `name` is the one that presence knows it by."""

    def __init__(self, database: Database, name: str, answering: Answering) -> None:
        self.name = name
        self._database = database
        self._answering = answering
        self._poked = asyncio.Event()
        self._asked: dict[str, Asked] = {}
        self._begun: set[str] = set()  # questions of others that are being answered
        self._outbox = Outbox()

    def __repr__(self) -> str:
        return f"<Relay {self.name}: asks {len(self._asked)}, answers {len(self._begun)}>"

    def poke(self) -> None:
        """Look at the database now."""
        self._poked.set()

    async def ask(self, questions: Mapping[str, ReplicaQuestion], seconds: float) -> Mapping[str, ReplicaAnswer | str]:
        """By replica: its answer, or why there is none; never later than after so many seconds."""
        loop, id_ = asyncio.get_running_loop(), uuid4().hex
        asked = self._asked[id_] = Asked(questions, seconds, {name: loop.create_future() for name in questions})
        self.poke()
        try:
            await asyncio.wait(asked.answers.values(), timeout=seconds)
        finally:
            del self._asked[id_]
            self._outbox.over.add(id_)
            self.poke()
        asked.end(f"did not answer within {seconds:g} s")
        return {name: answer.result() for name, answer in asked.answers.items()}

    async def run(self) -> None:
        """Ask, hear and answer until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._poked.clear()
                try:
                    for id_, asker, question, seconds in await self._exchange():
                        self._begun.add(id_)
                        tasks.create_task(self._answer(id_, asker, question, seconds))
                except DatabaseGone as error:
                    # What is on its way may still arrive; what is not will not. Presence logs it.
                    for asked in self._asked.values():
                        if not asked.sent:
                            asked.end(f"cannot be asked: {error}")
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK):
                        await self._poked.wait()

    async def _answer(self, id_: str, asker: str, question: ReplicaQuestion, seconds: float) -> None:
        try:
            answer = await self._answering(question, seconds)
        except Exception as error:  # a bug must end a question, not this control plane
            log.error("relay.failed", asker=asker, error=f"{type(error).__name__}: {error}")
            reason = f"control plane {self.name} failed: {type(error).__name__}"
            answer = ReplicaAnswer(replies={node: Answer(refused=reason) for node in question.nodes})
        self._outbox.answers[id_] = asker, answer.SerializeToString()
        self.poke()

    # ---- the database

    async def _exchange(self) -> list[tuple[str, str, ReplicaQuestion, float]]:
        """Tell what is to be told, and hear. The questions for us that are new: (id, who asks, it, seconds for it)."""
        answers, over = dict(self._outbox.answers), set(self._outbox.over)
        unsent = {id_: asked for id_, asked in self._asked.items() if not asked.sent}
        async with self._database.transaction() as connection:
            await self._clear(connection, over)
            for id_, asked in unsent.items():
                await self._put(connection, id_, asked)
            for id_, (_, body) in answers.items():
                mine = QUESTIONS.c.id == id_, QUESTIONS.c.replica == self.name
                await connection.execute(update(QUESTIONS).where(*mine).values(answer=body))
            if unsent or answers:
                await connection.execute(text("SELECT pg_notify(:channel, '')"), {"channel": CHANNEL})
            await self._hear(connection)
            found = await self._questions(connection)
        for asked in unsent.values():
            asked.sent = True
        for id_ in answers:
            del self._outbox.answers[id_]
            self._begun.discard(id_)
        self._outbox.over -= over
        return found

    async def _clear(self, connection: AsyncConnection, over: set[str]) -> None:
        """Take away what nobody waits for."""
        forgotten = QUESTIONS.c.expires < func.clock_timestamp() - FORGET
        await connection.execute(delete(QUESTIONS).where(or_(QUESTIONS.c.id.in_(list(over)), forgotten)))

    async def _put(self, connection: AsyncConnection, id_: str, asked: Asked) -> None:
        expires = func.clock_timestamp() + timedelta(seconds=asked.seconds)
        for replica, question in asked.questions.items():
            row = {"id": id_, "replica": replica, "asker": self.name, "question": question.SerializeToString()}
            await connection.execute(insert(QUESTIONS).values(**row, expires=expires))

    async def _hear(self, connection: AsyncConnection) -> None:
        """Take over the answers to what is asked here."""
        if not self._asked:
            return
        columns = QUESTIONS.c.id, QUESTIONS.c.replica, QUESTIONS.c.answer
        query = select(*columns).where(QUESTIONS.c.id.in_(list(self._asked)), QUESTIONS.c.answer.is_not(None))
        for id_, replica, body in await connection.execute(query):
            asked = self._asked.get(id_)
            answer = asked.answers.get(replica) if asked is not None else None
            if answer is not None and not answer.done():
                answer.set_result(ReplicaAnswer.FromString(body))

    async def _questions(self, connection: AsyncConnection) -> list[tuple[str, str, ReplicaQuestion, float]]:
        left = extract("epoch", QUESTIONS.c.expires - func.clock_timestamp())
        query = select(QUESTIONS.c.id, QUESTIONS.c.asker, QUESTIONS.c.question, left).where(
            QUESTIONS.c.replica == self.name,
            QUESTIONS.c.answer.is_(None),
            QUESTIONS.c.id.not_in(list(self._begun)),
            QUESTIONS.c.expires > func.clock_timestamp(),
        )
        return [
            (id_, asker, ReplicaQuestion.FromString(body), float(seconds) * SHARE)
            for id_, asker, body, seconds in await connection.execute(query)
        ]
