"""In front of every gRPC method for operators, who need what REST asks of them too."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any
from uuid import uuid4

import grpc
from grpc import aio

from controlplane.actor import Actor
from controlplane.auth.authenticator import Identity, RefusedError
from controlplane.auth.credential import bearer
from controlplane.auth.parts import Auth
from controlplane.auth.roles import NODE, OPEN, covers, grpc_role
from controlplane.problem import CORRELATION
from controlplane.trust.callers import address_alone

Continuation = Callable[[grpc.HandlerCallDetails], Awaitable["grpc.RpcMethodHandler[Any, Any] | None"]]
CALLER: ContextVar[Identity] = ContextVar("caller")
"""Who makes the call that this code runs in."""
PEER: ContextVar[Callable[[str], str]] = ContextVar("peer", default=str)
"""The peer behind the one that gRPC sees: with TLS that is our own listener."""


def actor_of(context: aio.ServicerContext[Any, Any]) -> Actor:
    """Who asks; the correlation id is the client's, of its metadata `x-correlation-id`, or a new one."""
    caller = CALLER.get()
    metadata = {str(name): str(value) for name, value in context.invocation_metadata() or ()}
    given = metadata.get("x-correlation-id", "")
    correlation = given if CORRELATION.fullmatch(given) else f"req-{uuid4().hex}"
    return Actor(caller.name, caller.role, address_alone(PEER.get()(context.peer())), correlation)


class Gate(aio.ServerInterceptor):
    """Reads the tables of `roles`; a method that stands in none is nobody's.

    `auth` and `peer` are set before the server starts: its port is bound before there is a database.
    """

    def __init__(self) -> None:
        self.auth: Auth | None = None
        self.peer: Callable[[str], str] = str

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        least = grpc_role(handler_call_details.method)
        # Nodes are looked at where the certificate of their connection is at hand (trust/admission.py).
        if least in {OPEN, NODE}:
            return await continuation(handler_call_details)
        auth = self.auth
        assert auth is not None, "set before the server starts"
        try:
            identity = auth.authenticator.identify(_credential(handler_call_details))
        except RefusedError as refused:
            auth.failures.saw(refused.reason, "")
            return _refusing(grpc.StatusCode.UNAUTHENTICATED, str(refused))
        if least is None:
            # Clients try another version of a service after this code, such as v1alpha of reflection after v1.
            return _refusing(grpc.StatusCode.UNIMPLEMENTED, f"there is no method {handler_call_details.method}")
        if not covers(identity.role, least):
            auth.failures.saw("role", "", identity.name)
            reason = f"this needs the role {least}; {identity.name} is {identity.role}"
            return _refusing(grpc.StatusCode.PERMISSION_DENIED, reason)
        if wait := auth.allowance.take(identity.key):
            reason = f"more requests than this credential may make in a minute; wait {wait:.1f} s"
            return _refusing(grpc.StatusCode.RESOURCE_EXHAUSTED, reason)
        CALLER.set(identity)
        PEER.set(self.peer)
        return await continuation(handler_call_details)


def _credential(details: grpc.HandlerCallDetails) -> str:
    """The one bearer token; "" where there is none, or more than one."""
    values = [value for name, value in details.invocation_metadata or () if name == "authorization"]
    return bearer(values[0]) if len(values) == 1 and isinstance(values[0], str) else ""


def _refusing(code: grpc.StatusCode, reason: str) -> grpc.RpcMethodHandler[Any, Any]:
    async def refuse(_requests: object, context: aio.ServicerContext[Any, Any]) -> None:
        await context.abort(code, reason)

    # As a stream it fits calls of every kind, and need not wait for a message before it refuses.
    return grpc.stream_stream_rpc_method_handler(refuse)
