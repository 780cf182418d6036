"""Who may talk to the control plane: bearer tokens, one for operators and one for nodes, compared in constant time."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from grpc import aio

from controlplane.problem import Problem

OPEN_PATHS = frozenset({"/health", "/health/live", "/health/ready"})
"""Probes have no token, and learn nothing but whether it runs."""
LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
NODE_SERVICES = ("/flexgate.v1.ConfigDiscovery/", "/flexgate.v1.Telemetry/")
OPEN_SERVICES = ("/grpc.health.v1.Health/",)


def bears(header: str, token: str) -> bool:
    """Whether an Authorization header carries this token."""
    scheme, _, given = header.partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode())


def operators_only(token: str) -> Middleware:
    """REST: all but the probes need the token. Without one, only requests to this machine by its own name are
    answered, so that a web page cannot reach the API by pointing a name of its own at 127.0.0.1 (DNS rebinding).
    """

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path in OPEN_PATHS:
            return await handler(request)
        if not token:
            if request.host.rpartition(":")[0] not in LOCAL_NAMES and request.host not in LOCAL_NAMES:
                raise Problem(403, f"{request.host} is not a name of this machine; use localhost, or set --admin-token")
        elif not bears(request.headers.get("Authorization", ""), token):
            raise Problem(401, "this needs the admin token as a bearer token", WWW_Authenticate="Bearer")
        return await handler(request)

    return check


class TokenGate(aio.ServerInterceptor):
    """gRPC: nodes need the node token for the stream and telemetry, operators the admin token for all the rest."""

    def __init__(self, admin_token: str, node_token: str) -> None:
        self._admin_token = admin_token
        self._node_token = node_token

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        method = handler_call_details.method
        token = self._node_token if method.startswith(NODE_SERVICES) else self._admin_token
        if not token or method.startswith(OPEN_SERVICES) or self._borne(handler_call_details, token):
            return await continuation(handler_call_details)
        return _REFUSED[method.startswith(NODE_SERVICES)]

    @staticmethod
    def _borne(details: grpc.HandlerCallDetails, token: str) -> bool:
        values = [value for name, value in details.invocation_metadata or () if name == "authorization"]
        return len(values) == 1 and isinstance(values[0], str) and bears(values[0], token)


def _refusing(reason: str) -> grpc.RpcMethodHandler[Any, Any]:
    async def refuse(_requests: object, context: aio.ServicerContext[Any, Any]) -> None:
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, reason)

    # As a stream it fits calls of every kind, and need not wait for a message before it refuses.
    return grpc.stream_stream_rpc_method_handler(refuse)


_REFUSED = {
    True: _refusing("this needs the node token as a bearer token (data plane: --node-token)"),
    False: _refusing("this needs the admin token as a bearer token"),
}
