"""API keys: who is calling, by a secret in a header or a query parameter. Only SHA-256 hashes are ever held.

The hash of what was presented selects a candidate and is then compared with it in constant time, so neither a look-up
nor a comparison tells anything about a stored hash. A connection remembers the key that it presented last: it is only
ever compared with what the same client sends next.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Final
from urllib.parse import unquote_plus

from dataplane.errors import Unauthorized
from dataplane.exchange import Exchange
from dataplane.filters.context import Context, auth_of
from dataplane.http1.fields import value_of
from dataplane.runtime import RequestFilter
from shared import defaults
from shared.pb.resources_pb2 import Auth, Credential, Route

_CHALLENGE: Final = (b'WWW-Authenticate: ApiKey realm="flexgate"',)


@dataclass(frozen=True, slots=True)
class Known:
    """A key that is accepted until `expires` (epoch seconds)."""

    digest: bytes
    consumer: str
    scopes: frozenset[str]
    expires: float


def build(route: Route, context: Context) -> RequestFilter | None:
    auth = auth_of(route, context.settings)
    if auth.type != "apiKey" or auth.mode not in {"required", "optional"}:
        return None
    made_of = auth.SerializeToString(deterministic=True)
    known: Mapping[bytes, Known] | None = context.made.get(made_of)
    if known is None:
        known = context.made[made_of] = _known(auth, context.credentials.values())
    header = (auth.header or defaults.AUTH_HEADER).lower().encode()
    query = auth.query
    optional = auth.mode == "optional"
    hide, name = auth.hide_credentials, route.name or route.path
    hidden = frozenset({header})
    live, wall = context.live, context.live.wall

    def refuse(reason: str, message: str) -> Unauthorized:
        live.traffic.auth_failed(reason)
        live.events.often("auth.failure", reason, route=name)
        return Unauthorized(message, headers=_CHALLENGE)

    def authenticate(x: Exchange) -> None:
        presented = value_of(x.headers, header)
        if presented is None and query and x.query:
            presented = _query_value(x.query, query)
        if presented is None:
            if optional:
                return
            raise refuse("missing", "An API key is required")
        seen = x.connection.credential
        if seen is not None and seen[0] == presented and seen[1] is known:
            candidate: Known = seen[2]
        else:
            found = _find(known, presented)
            if found is None:
                raise refuse("unknown", "The API key is not valid")
            candidate = found
            x.connection.credential = (presented, known, candidate)
        if candidate.expires <= wall():
            raise refuse("expired", "The API key has expired")
        x.consumer = x.credential = candidate.consumer
        x.scopes = candidate.scopes
        if hide:
            x.hidden = hidden
            if query and x.query:
                x.query = _without(x.query, query)

    return authenticate


def _find(known: Mapping[bytes, Known], presented: bytes) -> Known | None:
    """The key that was presented, if it is one."""
    digest = sha256(presented).digest()
    candidate = known.get(digest[:8])
    return candidate if candidate is not None and hmac.compare_digest(candidate.digest, digest) else None


def _known(auth: Auth, credentials: Iterable[Credential]) -> Mapping[bytes, Known]:
    """All accepted keys, by the first bytes of their hash: from the auth object and from credential resources."""
    known: dict[bytes, Known] = {}
    for key in auth.keys:
        _add(known, key.key, key.name, key.scopes, key.expires_at)
    for credential in credentials:
        if credential.type == "apiKey" and (credential.enabled or not credential.HasField("enabled")):
            _add(known, credential.key, credential.consumer, credential.scopes, credential.expires_at)
    return known


def _add(known: dict[bytes, Known], key: str, consumer: str, scopes: Iterable[str], expires_at: str) -> None:
    digest = bytes.fromhex(key)
    expires = datetime.fromisoformat(expires_at).timestamp() if expires_at else float("inf")
    known[digest[:8]] = Known(digest, consumer, frozenset(scopes), expires)


def _query_value(query: str, name: str) -> bytes | None:
    """The first value of a query parameter."""
    for part in query.split("&"):
        key, equals, value = part.partition("=")
        if equals and unquote_plus(key) == name:
            return unquote_plus(value).encode()
    return None


def _without(query: str, name: str) -> str | None:
    """The query without a parameter, however often it stands there; None where nothing is left."""
    kept = [part for part in query.split("&") if unquote_plus(part.partition("=")[0]) != name]
    return "&".join(kept) or None
