"""The step of a route whose clients authenticate with a bearer token (RFC 6750).

What a connection presented last is remembered with it, so a client that keeps its connection and its token costs one
comparison a request. Headers that tell claims are the gateway's to say: what clients send under their names is dropped.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Final

from dataplane.errors import GatewayError, KeysUnavailable, Unauthorized
from dataplane.exchange import Exchange
from dataplane.http1.chunks import NOTHING
from dataplane.live import Live
from dataplane.tokens.challenge import challenge
from dataplane.tokens.claims import BadClaimError
from dataplane.tokens.later import admitted_later
from dataplane.tokens.verifier import Bearer, NoKeysError, Verifier
from shared.jws import BadTokenError, UnknownKeyError

_AUTHORIZATION: Final = b"authorization"
_RETRY_SECONDS: Final = 5
_MESSAGES: Final = {
    "malformed": "The token is malformed",
    "algorithm": "The token is signed by an algorithm that is not taken",
    "signature": "The token's signature is wrong",
    "unknown_key": "The token is signed by an unknown key",
}


class BearerTokens:
    """Finds out who sent a request, by the token in Authorization."""

    def __init__(
        self, route: str, verifier: Verifier, live: Live, reserved: frozenset[bytes], *, optional: bool, hide: bool
    ) -> None:
        self.route = route
        self.verifier = verifier
        self.live = live
        self.optional = optional
        # `reserved` are the names of headers that tell claims.
        self.hidden = reserved | {_AUTHORIZATION} if hide else reserved

    def __call__(self, x: Exchange) -> Awaitable[None] | None:
        """Say who it is; raise a GatewayError, or return what becomes one of the two."""
        x.hidden = self._unwanted(x)
        token = self._presented(x)
        if token is None:
            if self.optional:
                return None
            raise self._refusal("missing", "A bearer token is required")
        verifier = self.verifier
        seen, known = x.connection.credential, verifier.known()
        if seen is not None and seen[0] == token and seen[1] is known:
            self._admit(x, seen[2])
            return None
        bearer: Bearer | None = verifier.recall(token)
        if bearer is None:
            try:
                bearer = verifier.verify(token, self.live.wall())
            except (UnknownKeyError, NoKeysError) as error:
                waiting = verifier.source.missed(self.live.loop)
                if waiting is None:
                    raise self.refused(error) from error
                return admitted_later(self, x, token, waiting)
            except (BadTokenError, BadClaimError) as error:
                raise self.refused(error) from error
        self.remember(x, token, bearer)
        return None

    def remember(self, x: Exchange, token: bytes, bearer: Bearer) -> None:
        """Admit the request, and know its token when the connection presents it again."""
        x.connection.credential = (token, self.verifier.known(), bearer)
        self._admit(x, bearer)

    def _admit(self, x: Exchange, bearer: Bearer) -> None:
        if bearer.expires <= self.live.wall():
            raise self._refusal("expired", "The token has expired", "invalid_token")
        x.consumer = x.credential = bearer.name
        x.scopes = bearer.scopes
        x.claims = bearer.claims
        x.identity_lines = bearer.lines

    def _presented(self, x: Exchange) -> bytes | None:
        """The token; None where there is none. Another scheme is somebody else's."""
        found: bytes | None = None
        for field, value in x.headers:
            if field.name == _AUTHORIZATION:
                if found is not None:
                    raise self._refusal("malformed", "There is more than one Authorization header", "invalid_request")
                found = value
        if found is None:
            return None
        scheme, _, token = found.strip(b" \t").partition(b" ")
        return token.lstrip(b" ") if scheme.lower() == b"bearer" else None

    def _unwanted(self, x: Exchange) -> frozenset[bytes]:
        """The names of what is here, or may still come, and must not reach the upstream."""
        return self.hidden if self.hidden and _any_of(x, self.hidden) else NOTHING

    def refused(self, error: Exception) -> GatewayError:
        """The answer to a token that is not good, or cannot be verified."""
        if isinstance(error, BadClaimError):
            return self._refusal(error.reason, str(error), "invalid_token")
        if isinstance(error, BadTokenError):
            return self._refusal(error.reason, _MESSAGES[error.reason], "invalid_token")
        self._tell("keys_unavailable")
        return KeysUnavailable(detail=str(error), retry_after=_RETRY_SECONDS)

    def _refusal(self, reason: str, message: str, error: str = "") -> Unauthorized:
        self._tell(reason)
        line = challenge(error, error_description=message) if error else challenge()
        return Unauthorized(message, headers=(line,))

    def _tell(self, reason: str) -> None:
        self.live.traffic.auth_failed(reason)
        self.live.events.often("auth.failure", reason, route=self.route)


class ClaimHeadersDropped:
    """On routes that look at no token: nobody else tells claims to their upstreams either."""

    def __init__(self, reserved: frozenset[bytes]) -> None:
        self.reserved = reserved

    def __call__(self, x: Exchange) -> None:
        if _any_of(x, self.reserved):
            x.hidden = self.reserved


def _any_of(x: Exchange, names: frozenset[bytes]) -> bool:
    """Whether a header has one of these names, or a trailer may. Most requests have none: their head is not edited."""
    return x.body.length is None or any(field.name in names for field, _ in x.headers)
