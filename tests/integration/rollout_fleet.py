"""Nodes that follow the stream by themselves, serve made-up traffic and tell of it: a fleet for rollouts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from grpc import aio
from grpc._cython.cygrpc import ExecuteBatchError  # type: ignore[import-not-found]  # a write raises it as a stream dies

from controlplane.app import ControlPlane, running
from controlplane.settings import Settings
from shared.histogram import bucket_of
from shared.pb.discovery_pb2 import ControlMessage, NodeHeartbeat, NodeMessage, ResourceError
from shared.pb.rollout_pb2 import Figures, Rollout, RolloutPlan
from shared.pb.telemetry_pb2 import Histogram
from tests.integration.controlplane_node import DEADLINE, NodeClient, until
from tests.integration.test_controlplane_app import BOSS
from tests.support.configuration import ALICE, route, upstream
from tests.support.deadline import Bell

BEAT = 0.1
REQUESTS = 50
"""That a node serves between two beats."""


class Follower(NodeClient):
    """Runs what it is sent. A table with a route "refused" it refuses; one with "failing" makes half its answers fail,
    one with "slow" makes all of them take two seconds; with "silent" it never answers the revision."""

    def __init__(self, channel: aio.Channel, name: str, labels: dict[str, str] | None = None) -> None:
        super().__init__(channel, name, labels=labels or {})
        self.ran: list[int] = []  # revisions, in order
        self.bell = Bell()
        self._drained = False
        self._served = self._failed = 0
        self._task: asyncio.Task[None] | None = None

    @property
    def revision(self) -> int:
        return self.held.revision if self.held is not None else 0

    async def start(self) -> None:
        """Connect, and follow until stopped."""
        await self.connect()
        self._task = asyncio.create_task(self._follow())

    async def stop(self) -> None:
        """Vanish."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self.kill()

    async def runs(self, revision: int) -> None:
        """Wait until it runs this revision."""
        await self.bell.until(
            lambda: self.revision == revision, f"{self.name} at revision {revision}", seconds=DEADLINE
        )

    async def _follow(self) -> None:
        broken = aio.AioRpcError, asyncio.InvalidStateError, ExecuteBatchError
        while True:
            with suppress(*broken):
                while isinstance(message := await self.call.read(), ControlMessage):
                    await self._hear(message)
            if self._drained:
                return
            # Of a machine that is too busy to beat in time; a data plane comes back, too.
            with suppress(*broken):
                await self.connect()

    async def _hear(self, message: ControlMessage) -> None:
        match message.WhichOneof("message"):
            case "snapshot":
                part = message.snapshot
                self.table = self.table.changed(part.resources, () if part.chunk else list(self.table))
                if part.last:
                    await self._answer(part.nonce, part.revision, part.store_epoch)
            case "delta":
                delta, before = message.delta, self.table
                self.table = before.changed(delta.upserts, [(key.kind, key.name) for key in delta.removes])
                if not await self._answer(delta.nonce, delta.revision, delta.store_epoch):
                    self.table = before
            case "current":
                self._took(message.current.revision)
            case "drain":
                self._drained = True
                self.kill()
            case "heartbeat":
                self._serve()
                held = self.held
                if held is not None:
                    beat = NodeHeartbeat(revision=held.revision, digest=held.digest, figures=self._figures())
                    await self.say(NodeMessage(heartbeat=beat))

    async def _answer(self, nonce: str, revision: int, epoch: str) -> bool:
        if ("route", "silent") in self.table:
            return True
        if ("route", "refused") in self.table:
            error = ResourceError(kind="route", name="refused", path="upstream", message="not on this node")
            await self.nack(nonce, revision, self.revision, error)
            return False
        await self.ack(nonce, revision, epoch)
        self._served = self._failed = 0
        self._took(revision)
        return True

    def _took(self, revision: int) -> None:
        if self.ran[-1:] != [revision]:
            self.ran.append(revision)
        self.bell.ring()

    def _serve(self) -> None:
        self._served += REQUESTS
        if ("route", "failing") in self.table:
            self._failed += REQUESTS // 2

    def _figures(self) -> Figures:
        bucket = bucket_of(2000.0 if ("route", "slow") in self.table else 10.0)
        latency = Histogram(bucket=[bucket], count=[self._served])
        return Figures(revision=self.revision, requests=self._served, errors=self._failed, latency=latency)


@dataclass(slots=True)
class Fleet:
    """A control plane over a database, and the nodes on it."""

    control: ControlPlane
    nodes: list[Follower]

    async def begin(self, name: str, plan: RolloutPlan) -> Rollout:
        """Commit a new route as a rollout."""
        service, records = self.control.plane.service, self.control.plane.rollouts.records
        outcome = await service.commit([route(name)], ALICE, rollout=plan)
        rollout = await records.of(outcome.committed)
        assert rollout is not None
        return rollout

    async def rollout(self, id_: int = 1) -> Rollout:
        record = await self.control.plane.rollouts.records.get(id_)
        assert record is not None
        return record.rollout

    async def until_state(self, *states: str, id_: int = 1) -> Rollout:
        """Wait until a rollout is in one of these states."""
        found = await self.rollout(id_)
        async with asyncio.timeout(DEADLINE):
            while found.state not in states:
                await asyncio.sleep(BEAT / 2)  # a row of a database rings no bell
                found = await self.rollout(id_)
        return found

    def told(self) -> list[str]:
        """The events of rollouts, oldest first."""
        events = [event.name for event in self.control.plane.events.newest()][::-1]
        return [name.removeprefix("config.rollout.") for name in events if name.startswith("config.rollout.")]

    def chosen(self, rollout: Rollout) -> tuple[list[Follower], list[Follower]]:
        """The nodes that a rollout has come to, and the others."""
        names = set(rollout.nodes)
        return [n for n in self.nodes if n.name in names], [n for n in self.nodes if n.name not in names]


@asynccontextmanager
async def control_plane(
    url: str, directory: Path, beat: float = BEAT
) -> AsyncIterator[tuple[ControlPlane, aio.Channel]]:
    """A control plane over this database that beats fast, and a channel to it."""
    settings = Settings(
        database=url,
        state_dir=directory,
        port=0,
        grpc_port=0,
        heartbeat=beat,
        admin_token=BOSS,
        api_rate_limit=0,
    )
    async with (
        asyncio.timeout(120),
        running(settings) as control,
        aio.insecure_channel(f"127.0.0.1:{control.grpc_port}") as channel,
    ):
        yield control, channel


@asynccontextmanager
async def fleet(url: str, directory: Path, count: int, labels: Iterable[dict[str, str]] = ()) -> AsyncIterator[Fleet]:
    """So many nodes that run revision 1: an upstream and the route "first"."""
    each = [*labels, *({} for _ in range(count))][:count]
    async with control_plane(url, directory) as (control, channel):
        await control.plane.service.commit([upstream("u"), route("first")], ALICE)
        nodes = [Follower(channel, f"n/{number}", each[number]) for number in range(count)]
        try:
            for node in nodes:
                await node.start()
                await node.runs(1)
            await until(lambda: all(node.figures is not None for node in control.plane.nodes.connected()))
            yield Fleet(control, nodes)
        finally:
            for node in nodes:
                await node.stop()
