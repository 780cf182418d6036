"""Rollouts with real data planes: a revision that serves badly is taken back by itself, and most never saw it."""

from __future__ import annotations

import asyncio
import json
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from controlplane.actor import SYSTEM
from controlplane.publisher import Publisher
from controlplane.service import Service
from controlplane.store.audit import Audit
from controlplane.store.migrate import opened
from controlplane.store.sql import SqlStore
from shared.document import read
from tests.e2e.control_plane import HEARTBEAT, TOKEN
from tests.e2e.data_plane import DataPlane, data_plane
from tests.e2e.process import DEADLINE, Process, running
from tests.support.client import ask as ask_once
from tests.support.client import connected, get, post
from tests.support.deadline import Bell
from tests.support.origin import answering, serving

GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood"
BAD = b"HTTP/1.1 500 Oops\r\nContent-Length: 3\r\n\r\nbad"
_PAUSE = 0.05
"""Seconds between two questions to another process."""


async def eventually(question: Callable[[], Awaitable[Any]], accept: Callable[[Any], bool]) -> Any:
    """Ask another process until the answer is accepted; an AssertionError with the last one where it never is."""
    answer: Any = None
    try:
        async with asyncio.timeout(2 * DEADLINE):
            while not accept(answer := await question()):  # noqa: ASYNC110 - another process rings no bell
                await asyncio.sleep(_PAUSE)
    except TimeoutError:
        raise AssertionError(f"still {answer}") from None
    return answer


class ControlPlane:
    """A control plane over a database; killed and started again on the same ports."""

    def __init__(self, directory: Path, processes: AsyncExitStack) -> None:
        self._directory = directory
        self._processes = processes
        self.port = self.grpc_port = 0
        self.process: Process

    async def start(self) -> None:
        flags: list[str | Path | float] = ["--state-dir", self._directory / "cp", "--heartbeat", HEARTBEAT]
        flags += ["--port", self.port, "--grpc-port", self.grpc_port, "--admin-token", TOKEN, "--api-rate-limit", 0]
        self.process = await self._processes.enter_async_context(running("controlplane", *flags))
        listening = await self.process.event("listening")
        self.port, self.grpc_port = listening["port"], listening["grpcPort"]

    async def get(self, path: str) -> Any:
        answer = await ask_once(self.port, get(path, *self._lines(), host="127.0.0.1"))
        assert answer.status == 200, (path, answer.status, answer.body)
        return answer.json

    async def begin(self, document: dict[str, Any], plan: dict[str, Any]) -> Any:
        """Roll a document out."""
        body = json.dumps({"document": json.dumps(document), "plan": plan}).encode()
        lines = *self._lines(), "Content-Type: application/json"
        answer = await ask_once(self.port, post(body, "/api/rollouts", *lines))
        assert answer.status == 201, (answer.status, answer.body)
        return answer.json

    async def steer(self, id_: int, verb: str) -> Any:
        answer = await ask_once(self.port, post(b"", f"/api/rollouts/{id_}/{verb}", *self._lines()))
        assert answer.status == 200, (answer.status, answer.body)
        return answer.json

    async def until(self, *states: str, id_: int = 1) -> Any:
        """The rollout once it is in one of these states."""
        return await eventually(lambda: self.get(f"/api/rollouts/{id_}"), lambda shown: shown["state"] in states)

    @staticmethod
    def _lines() -> tuple[str, str]:
        return "Connection: close", f"Authorization: Bearer {TOKEN}"


@asynccontextmanager
async def planes(
    directory: Path, first: dict[str, Any], count: int
) -> AsyncIterator[tuple[ControlPlane, list[DataPlane]]]:
    """A control plane with this document, and so many data planes that serve it."""
    async with AsyncExitStack() as processes:
        (directory / "cp").mkdir()
        async with opened(f"sqlite:///{directory / 'cp' / 'flexgate.db'}") as database:
            store = SqlStore(database, Audit(database))
            await Service(store, Publisher(store)).replace(read(json.dumps(first)), SYSTEM)
        control = ControlPlane(directory, processes)
        await control.start()
        address = f"127.0.0.1:{control.grpc_port}"
        made = [
            await processes.enter_async_context(data_plane(address, directory, f"n{number}")) for number in range(count)
        ]
        for plane in made:
            await plane.serves(1)
        yield control, made


class Users:
    """Clients of every data plane: what each was answered, by plane, revision and status."""

    def __init__(self, planes: list[DataPlane]) -> None:
        self.seen: Counter[tuple[int, int, int]] = Counter()
        self._planes = planes
        self._bell = Bell()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Users:
        self._tasks = [asyncio.create_task(self._ask(index)) for index in range(len(self._planes))]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _ask(self, index: int) -> None:
        async with connected(self._planes[index].port) as connection:
            while True:
                answer = await connection.ask(get("/x"))
                self.seen[index, int(answer.value("x-config-version") or 0), answer.status] += 1
                self._bell.ring()
                await asyncio.sleep(0.002)  # the processor is for what is tested

    async def until(self, condition: Callable[[], bool]) -> None:
        await self._bell.until(condition, "answers", seconds=DEADLINE)


def document(url: str) -> dict[str, Any]:
    """One route to one upstream, without a breaker or retries that would hide what it answers."""
    upstream = {"name": "u", "url": url, "circuitBreaker": {"enabled": False}, "retries": 0}
    upstream["passiveHealth"] = {"enabled": False}
    return {"upstreams": [upstream], "routes": [{"path": "/*", "upstream": "u"}], "proxy": {"drainTimeout": 500}}


async def test_a_bad_revision_is_taken_back(tmp_path: Path) -> None:
    """An upstream that answers 500: one of three data planes gets it, and goes back by itself within seconds."""
    async with (
        serving(answering(GOOD)) as good,
        serving(answering(BAD)) as bad,
        planes(tmp_path, document(good.url), 3) as (control, nodes),
        Users(nodes) as users,
    ):
        waves = {"waves": [{"percent": 30}], "bake": "10m", "gates": {"minRequests": 50}}
        await control.begin(document(bad.url), waves)
        rollout = await control.until("rolled_back")
        assert rollout["reason"].startswith("error rate: ")
        assert (rollout["revision"], rollout["rollbackRevision"]) == (2, 3)
        assert rollout["candidate"]["errors"] > 0
        assert rollout["others"]["errors"] == 0
        for node in nodes:
            await node.serves(3)
        [chosen] = [index for index, node in enumerate(nodes) if node.nodes[0] in rollout["nodes"]]
        before = users.seen.total()
        await users.until(lambda: users.seen.total() >= before + 100)
        saw = {(plane, revision, status) for plane, revision, status in users.seen if revision == 2 or status != 200}
        assert saw == {(chosen, 2, 500)}
        names = [f"config.rollout.{name}" for name in ("started", "wave", "failed", "rolled_back")]
        await eventually(
            lambda: control.get("/api/events"),
            lambda found: [one["event"] for one in found["events"] if "rollout" in one["event"]][::-1] == names,
        )


async def test_a_killed_control_plane_goes_on(tmp_path: Path) -> None:
    """SIGKILL in mid-rollout: nodes keep what they have, no request fails, and the new process finishes."""
    async with (
        serving(answering(GOOD)) as first,
        serving(answering(GOOD)) as second,
        planes(tmp_path, document(first.url), 3) as (control, nodes),
        Users(nodes) as users,
    ):
        await control.begin(document(second.url), {"waves": [{"percent": 30}], "bake": "10m"})
        await users.until(lambda: any(revision == 2 for _, revision, _ in users.seen))
        control.process.signal(signal.SIGKILL)
        await control.process.ended()
        await control.start()
        rollout = await control.until("running")
        [chosen] = rollout["nodes"]
        listed = await eventually(
            lambda: control.get("/api/nodes"),
            lambda found: [node["state"] for node in found["nodes"]] == ["current"] * 3,
        )
        shown = {node["id"]: node["ackedRevision"] for node in listed["nodes"]}
        assert shown == {node.nodes[0]: 2 if node.nodes[0] == chosen else 1 for node in nodes}
        assert (await control.steer(1, "promote"))["state"] == "succeeded"
        for node in nodes:
            await node.serves(2)
        assert {status for _, _, status in users.seen} == {200}
