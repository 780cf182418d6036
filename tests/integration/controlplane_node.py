"""A data plane as the control plane sees it: speaks the stream raw over a real channel, and keeps a table."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager

import grpc
from grpc import aio

from controlplane.discovery import Discovery
from controlplane.events import Events
from controlplane.nodes import Nodes
from controlplane.publisher import Publisher
from controlplane.store import Committed
from shared.pb.discovery_pb2 import (
    Ack,
    ControlMessage,
    Delta,
    Held,
    Hello,
    Nack,
    NodeHeartbeat,
    NodeMessage,
    ResourceError,
    Resync,
)
from shared.pb.discovery_pb2_grpc import ConfigDiscoveryStub
from shared.pb.resources_pb2 import Resource, Route
from shared.table import Table, pack

DEADLINE = 20.0
"""Seconds after which a test that waits for an event fails."""


def route(name: str, path: str = "/") -> Resource:
    """A route as it travels."""
    return pack("route", name, Route(name=name, path=path))


def routes(count: int) -> Table:
    """A table of so many routes."""
    return Table(route(f"r{number}", f"/{number}") for number in range(count))


class MemoryStore:
    """A store that is told what is committed."""

    def __init__(self) -> None:
        self.committed: Committed | None = None

    async def read(self) -> Committed | None:
        return self.committed


class Server:
    """Discovery on a real port, over a store that the test writes."""

    def __init__(self, interval: float) -> None:
        self.store = MemoryStore()
        self.publisher = Publisher(self.store)
        self.nodes = Nodes()
        self.events = Events()
        self.discovery = Discovery(self.publisher, self.nodes, self.events, interval=interval)
        self.target = ""

    async def publish(self, table: Table, *, revision: int | None = None, epoch: str = "e") -> None:
        """Commit a table as the next revision (or that one) and publish it."""
        revision = self.publisher.revision + 1 if revision is None else revision
        self.store.committed = Committed(epoch, revision, table)
        await self.publisher.refresh()


@asynccontextmanager
async def serving(interval: float = 5.0) -> AsyncIterator[Server]:
    """A server for the length of the block."""
    served = Server(interval)
    server = aio.server()
    server.add_generic_rpc_handlers((served.discovery.handler(),))
    served.target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    beating = asyncio.create_task(served.discovery.run())
    try:
        yield served
    finally:
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)
        await server.stop(0)


class NodeClient:
    """One stream of one node. Heartbeats from the control plane are noted, not returned."""

    def __init__(
        self, channel: aio.Channel, name: str = "n/0", epoch: str = "a", labels: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.labels = {"zone": "a"} if labels is None else labels
        self.epoch = epoch
        self.table = Table()
        self.held: Held | None = None
        self.capabilities: list[str] = []
        self.live = 0
        self.received = 0  # bytes of configuration messages
        self._stub = ConfigDiscoveryStub(channel)
        self._call: aio.StreamStreamCall[NodeMessage, ControlMessage] | None = None

    @property
    def call(self) -> aio.StreamStreamCall[NodeMessage, ControlMessage]:
        assert self._call is not None
        return self._call

    async def connect(self, metadata: Iterable[tuple[str, str]] = ()) -> None:
        """Open a stream and say Hello with what is held."""
        self._call = self._stub.Stream(metadata=tuple(metadata))
        hello = Hello(
            node_id=self.name,
            instance_epoch=self.epoch,
            version="1.2.3",
            labels=self.labels,
            held=self.held,
            capabilities=self.capabilities,
        )
        await self.say(NodeMessage(hello=hello))

    async def say(self, message: NodeMessage) -> None:
        await self.call.write(message)

    async def next(self) -> ControlMessage:
        """The next message that is no heartbeat; fails the test when none comes in time."""
        async with asyncio.timeout(DEADLINE):
            while True:
                message = await self.call.read()
                assert isinstance(message, ControlMessage), "the stream ended"
                if message.WhichOneof("message") != "heartbeat":
                    self.received += message.ByteSize()
                    return message
                self.live = message.heartbeat.live_nodes

    async def until_live(self, count: int) -> None:
        """Read heartbeats until the control plane counts so many nodes."""
        async with asyncio.timeout(DEADLINE):
            while self.live != count:
                message = await self.call.read()
                assert isinstance(message, ControlMessage), "the stream ended"
                assert message.WhichOneof("message") == "heartbeat"
                self.live = message.heartbeat.live_nodes

    async def snapshot(self) -> list[ControlMessage]:
        """All chunks of a snapshot, taken into the table but not answered."""
        chunks = [await self.next()]
        while not chunks[-1].snapshot.last:
            chunks.append(await self.next())
        assert [chunk.snapshot.chunk for chunk in chunks] == list(range(len(chunks)))
        self.table = Table(resource for chunk in chunks for resource in chunk.snapshot.resources)
        return chunks

    async def delta(self) -> Delta:
        """The next message, a delta, taken into the table but not answered."""
        message = await self.next()
        assert message.WhichOneof("message") == "delta", message
        delta = message.delta
        self.table = self.table.changed(delta.upserts, [(key.kind, key.name) for key in delta.removes])
        return delta

    async def ack(self, nonce: str, revision: int, epoch: str = "e") -> None:
        """Say that the table, as it is, is served."""
        self.held = Held(revision=revision, digest=self.table.digest, store_epoch=epoch)
        await self.say(NodeMessage(ack=Ack(nonce=nonce, revision=revision, digest=self.table.digest, apply_ms=1.5)))

    async def nack(self, nonce: str, revision: int, kept: int, *errors: ResourceError) -> None:
        await self.say(NodeMessage(nack=Nack(nonce=nonce, revision=revision, kept_revision=kept, errors=errors)))

    async def resync(self, nonce: str, revision: int) -> None:
        await self.say(NodeMessage(resync=Resync(nonce=nonce, revision=revision, reason="digest mismatch")))

    async def beat(self) -> None:
        """Say what is served."""
        held = self.held or Held()
        await self.say(NodeMessage(heartbeat=NodeHeartbeat(revision=held.revision, digest=held.digest)))

    async def accept(self) -> None:
        """Take and acknowledge a snapshot."""
        last = (await self.snapshot())[-1].snapshot
        assert self.table.digest == last.digest
        await self.ack(last.nonce, last.revision, last.store_epoch)

    async def end(self) -> tuple[grpc.StatusCode, str]:
        """Read until the stream ends; its status and reason."""
        async with asyncio.timeout(DEADLINE):
            try:
                while await self.call.read() is not aio.EOF:
                    pass
            except aio.AioRpcError:
                pass
            return await self.call.code(), str(await self.call.details())

    def kill(self) -> None:
        self.call.cancel()


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until the condition holds; fails the test when it does not in time."""
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110 - a registry has no event for what it will say
            await asyncio.sleep(0.001)  # the loop's turn, and the network's
