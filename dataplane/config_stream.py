"""One configuration stream while it lasts: says hello, listens, answers what was proposed, beats.

Two tasks: one only listens, so that a newer revision overtakes an older one that waits; the other is the only one that
writes. A stream ends by raising Ended, from whichever of them finds out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from grpc import aio

from dataplane.answering import Answering
from dataplane.intake import Intake, Proposal
from dataplane.together import together
from shared.pb.discovery_pb2 import ControlMessage, Hello, NodeHeartbeat, NodeMessage, Resync

MISSED_BEATS = 3
"""Intervals of silence after which a peer counts as dead."""
INTERVAL = 5.0
"""Seconds between heartbeats until the control plane tells its own."""

Call = aio.StreamStreamCall[NodeMessage, ControlMessage]


class Ended(Exception):
    """The stream is over. `drained`: the control plane asked us to go elsewhere."""

    def __init__(self, reason: str, *, drained: bool = False) -> None:
        super().__init__(reason)
        self.drained = drained


class Node(Protocol):
    """What a stream needs of the node it talks for."""

    def hello(self) -> Hello: ...
    async def expect(self, proposal: Proposal) -> None: ...
    def answer(self, proposal: Proposal) -> NodeMessage: ...
    def heartbeat(self) -> NodeHeartbeat: ...
    def doubted(self, resync: Resync) -> None: ...
    def heard(self, message: ControlMessage) -> None: ...


class ConfigStream:
    """The conversation over one call."""

    def __init__(
        self, call: Call, node: Node, intake: Intake, answering: Answering, *, interval: float = INTERVAL
    ) -> None:
        self._call = call
        self._node = node
        self._intake = intake
        self._answering = answering
        self._interval = interval
        self._wake = asyncio.Event()
        self._spoke = asyncio.get_running_loop().time()
        self._take: dict[str, Callable[[ControlMessage], None]] = {
            "snapshot": lambda message: intake.snapshot(message.snapshot),
            "delta": lambda message: intake.delta(message.delta),
            "current": lambda message: intake.current(message.current),
            "heartbeat": self._beat,
            "drain": self._drain,
            "ask": lambda message: answering.take(message.ask),
        }
        answering.begin(self._wake.set)

    async def run(self) -> None:
        """Talk until the stream is over, which raises: Ended, or the error of the call."""
        await together(self._listen(), self._speak(), self._answering.run())

    async def _listen(self) -> None:
        while True:
            try:
                async with asyncio.timeout(MISSED_BEATS * self._interval):
                    message = await self._call.read()
            except TimeoutError:
                raise Ended(f"nothing heard for {MISSED_BEATS * self._interval:g} s") from None
            if not isinstance(message, ControlMessage):  # aio.EOF
                raise Ended("the control plane closed the stream")
            take = self._take.get(message.WhichOneof("message") or "")
            if take is not None:  # else a message that only a newer control plane knows
                take(message)
            self._node.heard(message)
            self._wake.set()

    async def _speak(self) -> None:
        # A call that ended under a write is the listener's to tell: it knows why.
        with suppress(asyncio.InvalidStateError):
            await self._call.write(NodeMessage(hello=self._node.hello()))
            while True:
                message = await self._next()
                if message is not None:
                    await self._call.write(message)
                    self._spoke = asyncio.get_running_loop().time()

    async def _next(self) -> NodeMessage | None:
        """What to say: an answer as soon as there is one, a heartbeat when nothing was said for an interval."""
        try:
            async with asyncio.timeout_at(self._spoke + self._interval):
                await self._wake.wait()
        except TimeoutError:
            return NodeMessage(heartbeat=self._node.heartbeat())
        self._wake.clear()
        expected = None
        while (waiting := self._intake.proposal) is not expected and waiting is not None:
            await self._node.expect(waiting)
            expected = waiting
        taken = self._intake.take()  # and applied in the same turn: what is held is always what deltas are put onto
        if taken is None:
            answer = self._answering.next()
            if answer is not None:
                self._wake.set()  # there may be more
            return answer
        self._wake.set()  # answers may wait
        if isinstance(taken, Proposal):
            return self._node.answer(taken)
        self._node.doubted(taken)
        return NodeMessage(resync=taken)

    def _beat(self, message: ControlMessage) -> None:
        if message.heartbeat.interval_ms:
            self._interval = message.heartbeat.interval_ms / 1000

    def _drain(self, message: ControlMessage) -> None:
        raise Ended(message.drain.reason or "the control plane sends its nodes elsewhere", drained=True)
