"""Simulated nodes, as a program: many streams to a control plane, each on a connection of its own, all in one process.

A node takes snapshots and deltas into a table, holds their digest against it and acknowledges, as a data plane does; it
compiles nothing. Nodes that hold the same share the work: the first one to get a delta applies it, because it is the
control plane that is measured. Commands come as lines of JSON on stdin, each is answered by one line on stdout.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import time
from collections import Counter
from typing import Any

from grpc import aio

from shared.pb.discovery_pb2 import Ack, ControlMessage, Held, Hello, NodeHeartbeat, NodeMessage
from shared.table import Table

METHOD = "/flexgate.v1.ConfigDiscovery/Stream"
CONFIGURATION = frozenset({"snapshot", "delta"})
CHANNEL = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", 64 << 20)]
BEAT_SECONDS = 5.0
PATIENCE = 120.0

Json = dict[str, Any]
Read = tuple[ControlMessage, int]


class Fleet:
    """All nodes. `tables` are those that some node holds, by digest."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._nodes: list[Node] = []
        self.tables: dict[bytes, Table] = {}
        self.messages: Counter[str] = Counter()
        self.bytes = 0

    async def connect(self, count: int, held: Json | None) -> Json:
        """Connect so many at once; how long until each was answered with what it is to hold."""
        claim = (
            Held(revision=held["revision"], digest=bytes.fromhex(held["digest"]), store_epoch=held["epoch"])
            if held
            else None
        )
        self._nodes = [Node(self, self._target, f"simulated/{number}", claim) for number in range(count)]
        return await self._timed([node.settled for node in self._nodes])

    async def again(self) -> Json:
        """Break every stream, and connect all anew at once, with what they hold."""
        await self.drop()
        self._nodes = [node.reborn() for node in self._nodes]
        return await self._timed([node.settled for node in self._nodes])

    async def drop(self) -> Json:
        """End every stream."""
        await asyncio.gather(*(node.close() for node in self._nodes))
        return {}

    async def counted(self) -> Json:
        """Messages by kind, and bytes of configuration, since the last time."""
        told = {"messages": dict(self.messages), "bytes": self.bytes, "nodes": len(self._nodes)}
        self.messages.clear()
        self.bytes = 0
        return told

    async def _timed(self, settled: list[asyncio.Event]) -> Json:
        started = time.monotonic()
        for node in self._nodes:
            node.start()
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*(event.wait() for event in settled))
        return {"seconds": time.monotonic() - started} | await self.counted()


class Node:
    """One node and its stream."""

    def __init__(self, fleet: Fleet, target: str, name: str, held: Held | None) -> None:
        self.settled = asyncio.Event()
        self._fleet = fleet
        self._target = target
        self._name = name
        self._held = held
        self._chunks: list[Any] = []
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())
        self._task.add_done_callback(_ended)

    def reborn(self) -> Node:
        """The same node, not connected."""
        return Node(self._fleet, self._target, self._name, self._held)

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        async with aio.insecure_channel(self._target, options=CHANNEL) as channel:
            stream = channel.stream_stream(METHOD, NodeMessage.SerializeToString, _read)
            call: Any = stream()
            hello = Hello(node_id=self._name, instance_epoch="bench", version="0", held=self._held)
            await call.write(NodeMessage(hello=hello))
            beating = asyncio.create_task(self._beat(call))
            try:
                while (found := await call.read()) is not aio.EOF:
                    answer = self._heard(*found)
                    if answer is not None:
                        await call.write(NodeMessage(ack=answer))
            finally:
                beating.cancel()

    async def _beat(self, call: Any) -> None:
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            held = self._held or Held()
            await call.write(NodeMessage(heartbeat=NodeHeartbeat(revision=held.revision, digest=held.digest)))

    def _heard(self, message: ControlMessage, size: int) -> Ack | None:
        """What to answer, if anything."""
        kind = message.WhichOneof("message") or ""
        self._fleet.messages[kind] += 1
        if kind == "current":
            self.settled.set()
        if kind not in CONFIGURATION:
            return None
        self._fleet.bytes += size
        part: Any = message.snapshot if kind == "snapshot" else message.delta
        if kind == "snapshot":
            self._chunks.append(part)
            if not part.last:
                return None
        self._take(part, kind)
        self._chunks.clear()
        self._held = Held(revision=part.revision, digest=part.digest, store_epoch=part.store_epoch)
        self.settled.set()
        return Ack(nonce=part.nonce, revision=part.revision, digest=part.digest, apply_ms=1.0)

    def _take(self, part: Any, kind: str) -> None:
        """The table of this digest, made here unless another node has made it."""
        tables = self._fleet.tables
        if part.digest in tables:
            return
        if kind == "snapshot":
            table = Table(one for chunk in self._chunks for one in chunk.resources)
        else:
            base = tables[self._held.digest if self._held else b""]
            table = base.changed(part.upserts, [(key.kind, key.name) for key in part.removes])
        assert table.digest == part.digest, "the control plane sent something else than it says"
        tables[part.digest] = table
        if len(tables) > 4:  # nodes that lag hold one of these
            del tables[next(iter(tables))]


def _ended(task: asyncio.Task[None]) -> None:
    """A node that ends by itself ends the program: what remains would be measured as all."""
    if not task.cancelled():
        print(f"a node ended: {task.exception()!r}", file=sys.stderr, flush=True)
        os._exit(1)


def _read(raw: bytes) -> Read:
    return ControlMessage.FromString(raw), len(raw)


async def _serve(target: str) -> None:
    fleet = Fleet(target)
    while line := await asyncio.to_thread(sys.stdin.readline):
        command = json.loads(line)
        match command["do"]:
            case "connect":
                answer = await fleet.connect(command["nodes"], command.get("held"))
            case "again":
                answer = await fleet.again()
            case "drop":
                answer = await fleet.drop()
            case _:
                answer = await fleet.counted()
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(_serve(sys.argv[1]))
