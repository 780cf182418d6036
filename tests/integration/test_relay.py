"""What replicas ask each other through a real PostgreSQL: who answers, who does not, and what stays in the database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
from sqlalchemy import func, select

from controlplane.relay import CHANNEL, Relay
from controlplane.store.database import Database
from controlplane.store.migrate import opened
from controlplane.store.notify import follow
from controlplane.tables_relay import QUESTIONS
from shared.pb.discovery_pb2 import Answer
from shared.pb.explain_pb2 import Explanation, SampleRequest
from shared.pb.replica_pb2 import ReplicaAnswer, ReplicaQuestion
from tests.support.deadline import DEADLINE, Bell, eventually
from tests.support.postgres import Postgres, running_postgres, started, stopped


class Side:
    """One replica: what it was asked, and a relay that answers each node with the path that it was asked about."""

    def __init__(self, database: Database, name: str) -> None:
        self.relay = Relay(database, name, self.answer)
        self.asked: list[tuple[str, float]] = []
        self.bell = Bell()
        self.answers = asyncio.Event()
        self.answers.set()
        self._jobs = [
            asyncio.create_task(self.relay.run()),
            asyncio.create_task(follow(database, {CHANNEL: self.relay.poke})),
        ]

    async def answer(self, question: ReplicaQuestion, seconds: float) -> ReplicaAnswer:
        """Every node would take the route that is called as the path."""
        self.asked.append((question.explain.path, seconds))
        self.bell.ring()
        await self.answers.wait()
        if question.explain.path == "/bug":
            raise ZeroDivisionError("a bug")
        told = Answer(explain=Explanation(matched=True, route=question.explain.path))
        return ReplicaAnswer(replies=dict.fromkeys(question.nodes, told))

    async def kill(self) -> None:
        """End without a word."""
        for job in self._jobs:
            job.cancel()
        await asyncio.gather(*self._jobs, return_exceptions=True)


def about(path: str, *nodes: str) -> ReplicaQuestion:
    """A question about a request."""
    return ReplicaQuestion(nodes=nodes, explain=SampleRequest(path=path))


@asynccontextmanager
async def sides(server: Postgres, *names: str) -> AsyncIterator[tuple[Database, dict[str, Side]]]:
    """So many replicas over a new database."""
    async with opened(await server.create()) as database:
        found = {name: Side(database, name) for name in names}
        try:
            yield database, found
        finally:
            for side in found.values():
                await side.kill()


async def rows(database: Database) -> int:
    """How many questions the database holds."""
    async with database.reading() as connection:
        return (await connection.execute(select(func.count()).select_from(QUESTIONS))).scalar_one()


async def test_all_replicas_answer_at_once(postgres: Postgres) -> None:
    """Each its own question, many questions beside each other; nothing of them stays in the database."""
    async with sides(postgres, "one", "two", "three") as (database, found):
        one = found["one"].relay
        asks = [
            one.ask({"two": about(f"/{number}", "b"), "three": about(f"/{number}", "c", "d")}, DEADLINE)
            for number in range(20)
        ]
        for number, answers in enumerate(await asyncio.gather(*asks)):
            told = {replica: answer for replica, answer in answers.items() if isinstance(answer, ReplicaAnswer)}
            assert {replica: sorted(answer.replies) for replica, answer in told.items()} == {
                "two": ["b"],
                "three": ["c", "d"],
            }
            assert told["two"].replies["b"].explain.route == f"/{number}"
        await eventually(partial(rows, database), lambda count: count == 0)


async def test_who_answers_has_less_time_than_who_asks(postgres: Postgres) -> None:
    """So that what the nodes said in time still finds its way back."""
    async with sides(postgres, "one", "two") as (_, found):
        await found["one"].relay.ask({"two": about("/a", "b")}, 4.0)
        [(_, seconds)] = found["two"].asked
        assert 2.0 < seconds < 4.0


async def test_a_replica_that_is_gone_is_told_by_name(postgres: Postgres) -> None:
    """It is waited for until the deadline, never longer; what the others answered is there."""
    async with sides(postgres, "one", "two", "three") as (database, found):
        found["three"].answers.clear()
        asked = asyncio.create_task(
            found["one"].relay.ask({"two": about("/a", "b"), "three": about("/a", "c")}, seconds := 1.0)
        )
        await found["three"].bell.until(lambda: bool(found["three"].asked), "the question")
        await found["three"].kill()
        async with asyncio.timeout(seconds + DEADLINE):
            answers = await asked
        assert isinstance(answers["two"], ReplicaAnswer)
        assert answers["three"] == "did not answer within 1 s"
        await eventually(partial(rows, database), lambda count: count == 0)


async def test_a_question_that_is_given_up_is_forgotten(postgres: Postgres) -> None:
    """Who asked went away: its row goes, and the late answer is for nobody."""
    async with sides(postgres, "one", "two") as (database, found):
        found["two"].answers.clear()
        asked = asyncio.create_task(found["one"].relay.ask({"two": about("/a", "b")}, DEADLINE))
        await found["two"].bell.until(lambda: bool(found["two"].asked), "the question")
        asked.cancel()
        await eventually(partial(rows, database), lambda count: count == 0)
        found["two"].answers.set()
        assert isinstance((await found["one"].relay.ask({"two": about("/b", "b")}, DEADLINE))["two"], ReplicaAnswer)


async def test_a_bug_ends_the_question_alone(postgres: Postgres) -> None:
    """The reason names the replica, and it goes on answering."""
    async with sides(postgres, "one", "two") as (_, found):
        answers = await found["one"].relay.ask({"two": about("/bug", "b")}, DEADLINE)
        assert isinstance(answers["two"], ReplicaAnswer)
        assert answers["two"].replies["b"].refused == "control plane two failed: ZeroDivisionError"
        assert isinstance((await found["one"].relay.ask({"two": about("/b", "b")}, DEADLINE))["two"], ReplicaAnswer)


@pytest.mark.long
async def test_a_database_that_is_gone_is_the_reason() -> None:
    """Nobody waits for the deadline; once it is back, so are the answers."""
    with running_postgres() as server:
        async with sides(server, "one", "two") as (_, found):
            await stopped(server)
            async with asyncio.timeout(DEADLINE):
                answers = await found["one"].relay.ask({"two": about("/a", "b")}, 60.0)
            assert str(answers["two"]).startswith("cannot be asked: the database ")
            await started(server)

            async def ask() -> ReplicaAnswer | str:
                return (await found["one"].relay.ask({"two": about("/a", "b")}, DEADLINE))["two"]

            await eventually(ask, lambda answer: isinstance(answer, ReplicaAnswer))
