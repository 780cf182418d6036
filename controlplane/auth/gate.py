"""In front of every REST handler: who asks, whether the verb is theirs, and whether they ask too often.

Top to bottom: where from, the least role, who, cookies' defence, the role, the allowance. Handlers read `actor_of`.
"""

from __future__ import annotations

import math

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from controlplane.actor import VIEWER, Actor
from controlplane.auth.address import client_address, neighbourhood
from controlplane.auth.authenticator import Identity, RefusedError
from controlplane.auth.credential import bearer
from controlplane.auth.errors import AccessError
from controlplane.auth.parts import Auth
from controlplane.auth.roles import OPEN, covers, rest_role
from controlplane.problem import CORRELATION_KEY, Problem
from controlplane.store.database import DatabaseGone
from shared import log

LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
ACTOR_KEY = web.RequestKey("actor", Actor)
IDENTITY_KEY = web.RequestKey("identity", Identity)


def actor_of(request: web.Request) -> Actor:
    """Who asks; where nobody has to say who it is, an actor with an address alone."""
    return request[ACTOR_KEY]


def gate(auth: Auth) -> Middleware:
    """The layer in front of the handlers."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        address = client_address(
            request.remote or "", ",".join(request.headers.getall("X-Forwarded-For", ())), auth.settings.trusted_proxies
        )
        least = _least(request)
        if least == OPEN:
            name, role, key = "", "", f"address/{neighbourhood(address)}"
            if request.path.startswith("/api/"):
                _refuse_rebound(auth, request)
        else:
            identity = _identified(auth, request, address, least)
            name, role, key = identity.name, identity.role, identity.key
            request[IDENTITY_KEY] = identity
        request[ACTOR_KEY] = Actor(name, role, address, request[CORRELATION_KEY])
        if request.path.startswith("/api/") and (wait := auth.allowance.take(key)):
            raise _problem(AccessError(429, "more requests than this credential may make in a minute", wait=wait))
        try:
            return await handler(request)
        except AccessError as error:
            raise _problem(error) from error
        except DatabaseGone as error:
            raise Problem(503, f"{error}; data planes are not affected", Retry_After="5") from error

    return check


def _least(request: web.Request) -> str:
    """The least role; a path that does not exist is told to those who may read, and to nobody else."""
    resource = request.match_info.route.resource
    if resource is None:
        return VIEWER
    least = rest_role(request.method, resource.canonical)
    if least is None:
        log.error("verb.unlisted", method=request.method, path=resource.canonical)
        raise Problem(403, "nobody may use this verb")
    return least


def _identified(auth: Auth, request: web.Request, address: str, least: str) -> Identity:
    """Who asks, and may use the verb; Problem(401) or (403) else."""
    headers = request.headers.getall("Authorization", ())
    cookie = request.cookies.get(auth.cookies.access, "") if not headers else ""
    if cookie or not headers:
        _refuse_rebound(auth, request)
    try:
        if len(headers) > 1:
            raise RefusedError("unknown", "one Authorization header is enough")
        identity = auth.authenticator.identify(cookie or bearer(headers[0] if headers else ""))
    except RefusedError as refused:
        auth.failures.saw(refused.reason, address)
        raise Problem(401, str(refused), WWW_Authenticate='Bearer realm="flexgate"') from refused
    if cookie and (fault := auth.cookies.fault(request, identity)):
        auth.failures.saw("csrf", address, identity.name)
        raise Problem(403, fault)
    if not covers(identity.role, least):
        auth.failures.saw("role", address, identity.name)
        raise Problem(403, f"this needs the role {least}; {identity.name} is {identity.role}")
    return identity


def _refuse_rebound(auth: Auth, request: web.Request) -> None:
    """A page of another site that points a name of its own at this machine (DNS rebinding) gets nothing.

    Only where nobody else can reach us, and never with a bearer token: such a page has none.
    """
    if not auth.settings.loopback:
        return
    host = request.host.lower()
    if {host, host.rpartition(":")[0]}.isdisjoint(LOCAL_NAMES) and host != auth.cookies.origin.partition("://")[2]:
        raise Problem(403, f"{request.host[:256]} is not a name of this machine; use localhost, or set --public-url")


def _problem(error: AccessError) -> Problem:
    retry = {"Retry_After": str(max(1, math.ceil(error.wait)))} if error.wait else {}
    return Problem(error.status, error.message, error.details, **retry)
