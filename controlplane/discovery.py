"""The server of ConfigDiscovery.Stream: who may talk, from Hello to the end of the stream.

Served as bytes: what a revision encodes to is the same for every node, so gRPC is given what was encoded once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import grpc

from controlplane.conversation import Conversation, Outcome
from controlplane.events import Events
from controlplane.nodes import DisplacedError, Node, Nodes
from controlplane.publisher import Publisher
from controlplane.pulse import Pulse
from controlplane.session import MISSED_BEATS, Context, Over, Session, hear
from controlplane.trust.admission import Admission, Admitted, NotAdmitted
from controlplane.trust.callers import Callers
from shared import log
from shared.pb.discovery_pb2 import Hello, NodeMessage

SERVICE = "flexgate.v1.ConfigDiscovery"
NAME_LIMIT = 256  # characters of a node id or an instance epoch

_EMPTY = (
    "there is no configuration here, and the node serves one: is this the right --database or --state-dir? "
    "It serves on, and the first write here replaces all that it has"
)


class Discovery:
    """All streams of this control plane."""

    def __init__(
        self,
        publisher: Publisher,
        nodes: Nodes,
        events: Events,
        *,
        admission: Admission | None = None,
        interval: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._publisher = publisher
        self._nodes = nodes
        self._events = events
        self._admission = admission or Admission(Callers(tls=False))
        self._clock = clock
        self._sessions: set[Session] = set()
        self._draining = False
        self._empty = asyncio.Event()
        self._empty.set()
        self._pulse = Pulse(lambda: nodes.live, self._wake_all, interval=interval)

    def handler(self) -> grpc.GenericRpcHandler:
        """What to add to a gRPC server."""
        method: grpc.RpcMethodHandler[NodeMessage, bytes] = grpc.stream_stream_rpc_method_handler(
            self._stream, NodeMessage.FromString, None
        )
        return grpc.method_handlers_generic_handler(SERVICE, {"Stream": method})

    async def run(self) -> None:
        """Beat until cancelled."""
        await self._pulse.run()

    async def drain(self, grace: float) -> None:
        """Send every node elsewhere; those that have not gone after `grace` seconds are cut off."""
        self._draining = True
        for session in self._sessions:
            session.drain()
        try:
            async with asyncio.timeout(grace):
                await self._empty.wait()
        except TimeoutError:
            log.info("drain.timeout", streams=len(self._sessions))
            for session in self._sessions:
                session.end(grpc.StatusCode.UNAVAILABLE, "this control plane is shutting down")
            await self._empty.wait()

    async def _stream(self, _requests: object, context: Context) -> None:
        """One stream, from its Hello to its end."""
        try:
            over = await self._serve(await self._hello(context), context)
        except Over as error:
            over = error
        if over.code is not grpc.StatusCode.OK:
            await context.abort(over.code, over.reason)

    async def _hello(self, context: Context) -> Hello:
        if self._draining:
            raise Over(grpc.StatusCode.UNAVAILABLE, "this control plane is shutting down")
        self._admit(context, None)  # who may not talk at all is not listened to
        message = await hear(context, MISSED_BEATS * self._pulse.interval)
        hello = message.hello
        if message.WhichOneof("message") != "hello" or not hello.node_id or not hello.instance_epoch:
            raise Over(grpc.StatusCode.INVALID_ARGUMENT, "a stream begins with Hello{node_id, instance_epoch}")
        if max(len(hello.node_id), len(hello.instance_epoch)) > NAME_LIMIT:
            raise Over(grpc.StatusCode.INVALID_ARGUMENT, f"node_id and instance_epoch: {NAME_LIMIT} characters at most")
        return hello

    async def _serve(self, hello: Hello, context: Context) -> Over:
        ending: asyncio.Future[Over] = asyncio.get_running_loop().create_future()

        def close(reason: str) -> None:
            if not ending.done():
                ending.set_result(Over(grpc.StatusCode.ABORTED, reason))

        try:
            admitted = self._admit(context, hello.node_id)
            node = self._nodes.connect(hello, close, admitted)
        except DisplacedError as error:
            log.warn("node.refused", node=hello.node_id, peer=context.peer(), reason=str(error))
            raise Over(grpc.StatusCode.ALREADY_EXISTS, str(error)) from error
        if admitted.labels is not None and dict(hello.labels) not in ({}, dict(admitted.labels)):
            log.info("node.labels_ignored", node=node.id, claimed=dict(hello.labels), certified=dict(admitted.labels))
        session = self._session(node, hello, context, ending)
        log.info("node.connected", node=node.id, peer=admitted.address, version=node.version, held=hello.held.revision)
        self._events.saw("node.connected", node=node.id, version=node.version, revision=hello.held.revision)
        if hello.held.revision and not self._publisher.revision:
            log.warn("node.ahead_of_nothing", node=node.id, held=hello.held.revision, reason=_EMPTY)
        reason = "the stream broke"
        try:
            with self._publisher.subscribed(session.wake):
                over = await session.run()
            reason = over.reason
        finally:
            self._leave(session, node, reason)
        return over

    def _admit(self, context: Context, node_id: str | None) -> Admitted:
        """What is true of the caller; Over where it is not let in."""
        try:
            return self._admission.admit(context, node_id)
        except NotAdmitted as refusal:
            log.warn("node.refused", node=node_id or "", peer=context.peer(), reason=str(refusal))
            raise Over(refusal.code, str(refusal)) from refusal

    def _session(self, node: Node, hello: Hello, context: Context, ending: asyncio.Future[Over]) -> Session:
        conversation = Conversation(hello, node.refused)
        newest = self._publisher.for_node(node)
        if newest is not None:
            held = conversation.held
            moved = held is not None and self._publisher.published(held.version[1], held.digest)
            outcome = Outcome() if moved else conversation.greet(newest)
            self._nodes.learn(node, outcome)
            if outcome.drift:
                log.warn("node.drift", node=node.id, reason=outcome.drift)
            if conversation.held is not None and conversation.held.version[0] == newest.epoch:
                node.acked = conversation.held.version[1]
                self._nodes.changed(node)
        session = Session(
            node,
            conversation,
            context,
            ending,
            nodes=self._nodes,
            events=self._events,
            publisher=self._publisher,
            pulse=self._pulse,
            clock=self._clock,
        )
        self._sessions.add(session)
        self._empty.clear()
        self._pulse.membership_changed()
        return session

    def _leave(self, session: Session, node: Node, reason: str) -> None:
        self._sessions.discard(session)
        if not self._sessions:
            self._empty.set()
        if self._nodes.disconnect(node):
            self._events.saw("node.disconnected", node=node.id, reason=reason)
            self._pulse.membership_changed()
        log.info("node.disconnected", node=node.id, reason=reason)

    def _wake_all(self) -> None:
        for session in self._sessions:
            session.wake.set()
