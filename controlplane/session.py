"""One node's stream while it lasts: reads what the node says, writes what the conversation decides.

A session ends by raising Over, from whichever of its tasks finds out first; it never outlives its stream.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import grpc
from grpc import aio

from controlplane.asking import Questions
from controlplane.conversation import Conversation, Outcome, describe
from controlplane.events import Events
from controlplane.nodes import Node, Nodes
from controlplane.publisher import Publisher
from controlplane.pulse import Pulse
from controlplane.snapshot import Snapshot
from shared import log
from shared.pb.discovery_pb2 import ControlMessage, Drain, NodeMessage

MISSED_BEATS = 3
"""Intervals of silence after which a peer counts as dead."""
ANSWER_SECONDS = 120.0
"""A node that beats but does not answer a revision for this long has lost it: the stream is ended, to start afresh."""

Context = aio.ServicerContext[NodeMessage, bytes]
DRAIN = ControlMessage(drain=Drain(reason="this control plane is shutting down")).SerializeToString()


class Over(Exception):
    """The stream is to end, with this status and reason."""

    def __init__(self, code: grpc.StatusCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


async def hear(context: Context, seconds: float) -> NodeMessage:
    """The node's next message; Over when it closes the stream or says nothing for so long."""
    try:
        async with asyncio.timeout(seconds):
            message = await context.read()
    except TimeoutError:
        raise Over(grpc.StatusCode.DEADLINE_EXCEEDED, f"nothing heard for {seconds:g} s") from None
    if not isinstance(message, NodeMessage):  # aio.EOF
        raise Over(grpc.StatusCode.OK, "the node closed the stream")
    return message


class Session:
    """The two directions of one stream; `ending` is how others put an end to it, even while a write is stuck."""

    def __init__(
        self,
        node: Node,
        conversation: Conversation,
        context: Context,
        ending: asyncio.Future[Over],
        *,
        nodes: Nodes,
        events: Events,
        publisher: Publisher,
        pulse: Pulse,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._node = node
        self._conversation = conversation
        self._context = context
        self._nodes = nodes
        self._events = events
        self._publisher = publisher
        self._pulse = pulse
        self._clock = clock
        self._sent_at = 0.0
        self._beat = 0
        self._draining = self._drained = False
        self._ahead = conversation.held.version if conversation.held is not None else None  # until that is looked at
        self._ending = ending
        self.wake = asyncio.Event()
        self._questions = node.questions = Questions(self.wake.set)

    def drain(self) -> None:
        """Ask the node to go elsewhere."""
        self._draining = True
        self.wake.set()

    def end(self, code: grpc.StatusCode, reason: str) -> None:
        """End the stream from outside."""
        if not self._ending.done():
            self._ending.set_result(Over(code, reason))

    async def run(self) -> Over:
        """Talk until the stream is over; why it was."""
        over = Over(grpc.StatusCode.OK, "")
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._write())
                tasks.create_task(self._read())
                raise await self._ending
        except* Over as group:
            over = next(error for error in group.exceptions if isinstance(error, Over))
        except* aio.UsageError as group:  # the stream ended under a write
            over = Over(grpc.StatusCode.UNAVAILABLE, str(group.exceptions[0]))
        return over

    async def _read(self) -> None:
        while True:
            message = await hear(self._context, MISSED_BEATS * self._pulse.interval)
            self._nodes.seen(self._node)
            outcome = self._understand(message)
            if not outcome.stale:
                self._nodes.learn(self._node, outcome)
                self._node.refused = self._conversation.refused
            self._report(outcome)
            self.wake.set()

    def _understand(self, message: NodeMessage) -> Outcome:
        match message.WhichOneof("message"):
            case "ack":
                return self._conversation.ack(message.ack)
            case "nack":
                return self._conversation.nack(message.nack)
            case "resync":
                return self._conversation.resync(message.resync)
            case "heartbeat":
                if message.heartbeat.HasField("figures"):
                    self._node.figures = message.heartbeat.figures
                return self._conversation.heartbeat(message.heartbeat)
            case "answer":
                self._questions.answered(message.answer)
                return Outcome(stale=True)  # it says nothing of what the node holds
            case "hello":
                raise Over(grpc.StatusCode.INVALID_ARGUMENT, "Hello is the first message of a stream, and only that")
            case _:
                return Outcome()  # a message that a newer node knows

    async def _write(self) -> None:
        while True:
            self.wake.clear()
            await self._write_config()
            if self._beat != self._pulse.number:
                self._beat = self._pulse.number
                self._check_answer()
                await self._send(self._pulse.message)
            if self._draining and not self._drained:
                self._drained = True
                await self._send(DRAIN)
            if self._questions.outbox:
                await self._send(self._questions.outbox.popleft())  # one, and then what is newer goes first
            else:
                await self.wake.wait()

    async def _write_config(self) -> None:
        """Send what the node should run, if it is due."""
        newest = self._publisher.for_node(self._node)
        if newest is None or self._is_behind(newest):
            return
        before = self._conversation.superseded
        parts = self._conversation.next(newest)
        if parts is None:
            return
        if self._conversation.unanswered is None:
            self._node.acked = newest.revision  # it was current when it came
            self._nodes.changed(self._node)
        else:
            if self._conversation.held is None or self._conversation.held.version[0] != newest.epoch:
                self._node.acked = 0  # what it answered was of another line of revisions, or is in doubt
            self._node.sent, self._sent_at = newest.revision, self._clock()
            self._supersede(self._conversation.superseded - before, newest.revision)
        for message in parts.messages:
            await self._send(message)

    def _is_behind(self, newest: Snapshot) -> bool:
        """Whether the node came with a newer revision than we know of: then the store is looked at first, once."""
        held, self._ahead = self._ahead, None
        if held is None or held[0] != newest.epoch or held[1] <= newest.revision:
            return False
        self._publisher.poke()
        return True

    async def _send(self, message: bytes) -> None:
        await self._context.write(message)
        self._node.bytes_sent += len(message)

    def _supersede(self, skipped: int, revision: int) -> None:
        if skipped:
            self._node.superseded += skipped
            self._nodes.superseded += skipped
            log.info("config.superseded", node=self._node.id, revisions=skipped, by=revision)

    def _check_answer(self) -> None:
        sent = self._conversation.unanswered
        if sent is not None and self._clock() - self._sent_at > ANSWER_SECONDS:
            reason = f"revision {sent.snapshot.revision} was not answered within {ANSWER_SECONDS:g} s"
            raise Over(grpc.StatusCode.DEADLINE_EXCEEDED, reason)

    def _report(self, outcome: Outcome) -> None:
        if outcome.drift:
            log.warn("node.drift", node=self._node.id, reason=outcome.drift)
        if outcome.nacked is not None:
            errors = describe(outcome.errors)
            log.warn("config.nacked", node=self._node.id, revision=outcome.nacked, errors=errors)
            self._events.saw("config.rejected", node=self._node.id, revision=outcome.nacked, errors=errors)
