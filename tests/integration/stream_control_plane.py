"""A scripted control plane: the test sees each stream that a node opens, and says what is sent on it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import grpc
from grpc import aio

from dataplane.discovery import Discovery
from dataplane.settings import Settings
from shared.pb.discovery_pb2 import (
    ControlHeartbeat,
    ControlMessage,
    Current,
    Delta,
    Drain,
    Hello,
    NodeMessage,
    ResourceKey,
    Snapshot,
)
from shared.pb.discovery_pb2_grpc import ConfigDiscoveryServicer, add_ConfigDiscoveryServicer_to_server
from shared.table import Table
from tests.integration.stream_target import NotingTarget
from tests.support.deadline import DEADLINE, Bell

Context = aio.ServicerContext[NodeMessage, ControlMessage]


class NodeStream:
    """One stream as the control plane sees it. Ends when the test says so, or the node."""

    def __init__(self, context: Context, hello: Hello) -> None:
        self.hello = hello
        self.metadata = dict(context.invocation_metadata() or ())
        self.over = asyncio.Event()
        self.refusal = ""
        self._context = context

    async def send(self, *messages: ControlMessage) -> None:
        for message in messages:
            await self._context.write(message)

    async def snapshot(self, table: Table, revision: int, *, epoch: str = "e", digest: bytes | None = None) -> None:
        """The whole table in two chunks."""
        resources = list(table.values())
        half = len(resources) // 2
        for number, batch in enumerate((resources[:half], resources[half:])):
            chunk = Snapshot(
                revision=revision,
                nonce=f"s{revision}",
                digest=digest or table.digest,
                resources=batch,
                chunk=number,
                last=number == 1,
                store_epoch=epoch,
            )
            await self.send(ControlMessage(snapshot=chunk))

    async def delta(self, old: Table, new: Table, base: int, revision: int, *, digest: bytes | None = None) -> None:
        upserts, removes = new.since(old)
        change = Delta(
            base_revision=base,
            revision=revision,
            nonce=f"d{revision}",
            upserts=upserts,
            removes=[ResourceKey(kind=kind, name=name) for kind, name in removes],
            digest=digest or new.digest,
            store_epoch="e",
        )
        await self.send(ControlMessage(delta=change))

    async def current(self, revision: int) -> None:
        await self.send(ControlMessage(current=Current(revision=revision, store_epoch="e")))

    async def beat(self, live: int = 1, interval_ms: int = 5000) -> None:
        await self.send(ControlMessage(heartbeat=ControlHeartbeat(live_nodes=live, interval_ms=interval_ms)))

    async def drain(self) -> None:
        await self.send(ControlMessage(drain=Drain(reason="a new version comes")))

    def refuse(self, reason: str) -> None:
        """End the stream with a status."""
        self.refusal = reason
        self.over.set()

    async def answer(self) -> NodeMessage:
        """What the node says next, heartbeats left out."""
        while (message := await self.said()).WhichOneof("message") == "heartbeat":
            pass
        return message

    async def said(self) -> NodeMessage:
        """What the node says next; fails the test when that is nothing."""
        async with asyncio.timeout(DEADLINE):
            message = await self._context.read()
        assert isinstance(message, NodeMessage), "the node ended the stream"
        return message


class ControlPlane(ConfigDiscoveryServicer):
    """Takes every stream; the test talks on it."""

    def __init__(self) -> None:
        self.address = ""
        self.streams_seen = 0
        self._streams: asyncio.Queue[NodeStream] = asyncio.Queue()

    async def Stream(  # type: ignore[override]  # noqa: N802 - gRPC's name; the stub knows only the synchronous context
        self, _requests: object, context: Context
    ) -> None:
        message = await context.read()
        assert isinstance(message, NodeMessage)
        stream = NodeStream(context, message.hello)
        self.streams_seen += 1
        self._streams.put_nowait(stream)
        await stream.over.wait()
        if stream.refusal:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, stream.refusal)

    async def stream(self) -> NodeStream:
        """The next stream that a node opens."""
        async with asyncio.timeout(DEADLINE):
            return await self._streams.get()


@asynccontextmanager
async def control_plane(*, credentials: grpc.ServerCredentials | None = None) -> AsyncIterator[ControlPlane]:
    """A control plane for the length of the block; with credentials it speaks TLS, as localhost."""
    served = ControlPlane()
    server = aio.server(options=(("grpc.so_reuseport", 0),))
    add_ConfigDiscoveryServicer_to_server(served, server)
    if credentials is None:
        served.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    else:
        served.address = f"localhost:{server.add_secure_port('127.0.0.1:0', credentials)}"
    await server.start()
    try:
        yield served
    finally:
        await server.stop(0)


class Pauses:
    """Stands in for sleep between attempts: notes how long each was to be, and waits no longer than a turn."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self.bell = Bell()

    async def __call__(self, seconds: float) -> None:
        self.asked.append(seconds)
        self.bell.ring()
        await asyncio.sleep(0.001)


class DataPlaneNode:
    """A node's Discovery, running, with what it was told to serve and how long it paused between attempts."""

    def __init__(self, cache_dir: Path, addresses: Iterable[str], **changes: object) -> None:
        settings = Settings(
            control_plane=tuple(addresses),
            node_id="n/0",
            labels={"zone": "a"},
            cache_dir=cache_dir,
            cache_key=bytes(32),
            trust_after=3600.0,
        )
        self.target = NotingTarget()
        self.pauses = Pauses()
        self.settings = replace(settings, **changes)  # type: ignore[arg-type]  # fields by name
        self.discovery = Discovery(
            self.settings,
            self.target,
            "instance",
            jitter=lambda: 1.0,
            sleep=self.pauses,
        )
        self._running: asyncio.Task[None] | None = None

    def start(self) -> None:
        self.discovery.boot()
        self._running = asyncio.create_task(self.discovery.run())

    async def kill(self) -> None:
        """End without a word."""
        assert self._running is not None
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)
        assert self._running.cancelled(), self._running.exception()

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for something that applying a table or a heartbeat brings."""
        await self.target.bell.until(condition, what)


@asynccontextmanager
async def node(cache_dir: Path, *addresses: str, **changes: object) -> AsyncIterator[DataPlaneNode]:
    """A running node for the length of the block."""
    made = DataPlaneNode(cache_dir, addresses, **changes)
    made.start()
    try:
        yield made
    finally:
        await made.kill()
