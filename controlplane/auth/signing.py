"""Access tokens as JWT: signed with HS256 and nothing else, by a key of the database that is changed in time.

A new key signs only after every replica has had the time to read it, and the one before verifies until what it signed
has expired. Pure: keys and time are handed in.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import jwt

ALGORITHM = "HS256"
ISSUER = "flexgate"
LONGEST = 4096
"""Characters of a token that is looked at."""
SIGNS = 30 * 86400.0
"""Seconds that a key signs, before the next one does."""
NOTICE = 300.0
"""Seconds between the making of a key and its first use; replicas read keys far more often."""

Claims = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Key:
    """Signs from `since` on, until a later one does. Epoch seconds."""

    id: str
    secret: bytes = field(repr=False)
    since: float


class BadTokenError(Exception):
    """Not one of ours, changed, or too old; the text says which, for the log."""


def new_key(since: float) -> Key:
    """A random key."""
    return Key(secrets.token_hex(8), secrets.token_bytes(32), since)


def due(keys: Iterable[Key], now: float) -> Key | None:
    """The key to add now: the first, at once, or the next, before the newest has signed long enough."""
    newest = max((key.since for key in keys), default=None)
    if newest is None:
        return new_key(now)
    return new_key(newest + SIGNS) if now >= newest + SIGNS - NOTICE else None


def spent(keys: Iterable[Key], now: float, lifetime: float) -> list[Key]:
    """Keys that a later one replaced so long ago that nothing they signed can still be good."""
    ordered = sorted(keys, key=lambda key: key.since)
    return [key for key, later in pairwise(ordered) if later.since + lifetime < now]


def signed(keys: Iterable[Key], now: float, lifetime: float, use: str, **claims: object) -> str:
    """A token for one use, good for so many seconds."""
    key = max((key for key in keys if key.since <= now), key=lambda key: key.since)
    payload = {"iss": ISSUER, "use": use, "iat": int(now), "exp": int(now + lifetime), **claims}
    return jwt.encode(payload, key.secret, ALGORITHM, {"kid": key.id})


def read(token: str, keys: Iterable[Key], now: float, use: str) -> Claims:
    """The claims of a token of ours that is good now, for this use; BadTokenError else."""
    if len(token) > LONGEST:
        raise BadTokenError("too long")
    try:
        kid = jwt.get_unverified_header(token).get("kid")
        key = next((key for key in keys if key.id == kid), None)
        if key is None:
            raise BadTokenError("signed by a key that is not known")
        # Expiry is looked at below, by the clock that was handed in.
        options: Any = {"require": ["iss", "iat", "exp", "use"], "verify_exp": False, "verify_iat": False}
        claims: Claims = jwt.decode(token, key.secret, [ALGORITHM], options, issuer=ISSUER)
    except (jwt.InvalidTokenError, ValueError) as error:
        raise BadTokenError(f"not a token of this control plane: {type(error).__name__}") from error
    if claims["use"] != use:
        raise BadTokenError("made for another use")
    if not isinstance(claims["exp"], int) or claims["exp"] <= now:
        raise BadTokenError("expired")
    return claims
