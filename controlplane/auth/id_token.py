"""What an OpenID Connect provider says about who logged in, checked (OpenID Connect Core 1.0, 3.1.3.7). Pure.

Only signatures with a public key of the provider count: not `none`, and not HMAC, where the provider's public key or a
leaked client secret would do as the key.
"""

from __future__ import annotations

from collections.abc import Iterable

from controlplane.auth.credential import same
from shared.jws import PUBLIC_KEY_ALGORITHMS, BadTokenError, Claims, Jwk, KeySet, signed_claims

LEEWAY = 60.0
"""Seconds that the provider's clock may be off."""


def verified(token: str, keys: Iterable[Jwk], *, issuer: str, client_id: str, nonce: str, now: float) -> Claims:
    """The claims of an ID token for us, made for this login; BadTokenError else, UnknownKeyError for a foreign key."""
    claims = signed_claims(token, KeySet(keys), PUBLIC_KEY_ALGORITHMS)
    # All claims are looked at here: by the clock that was handed in, and by the stricter rules of OpenID Connect.
    _check(claims, issuer, client_id, nonce, now)
    return claims


def _check(claims: Claims, issuer: str, client_id: str, nonce: str, now: float) -> None:
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    expires, issued, subject = claims.get("exp"), claims.get("iat"), claims.get("sub")
    given = claims.get("nonce")
    if claims.get("iss") != issuer:
        raise BadTokenError("claims", "it is of another issuer")
    if client_id not in audiences:
        raise BadTokenError("claims", "it is for another client")
    if claims.get("azp", None if len(audiences) > 1 else client_id) != client_id:
        raise BadTokenError("claims", "it was given to another client")
    if not isinstance(expires, int | float) or expires + LEEWAY <= now:
        raise BadTokenError("claims", "it has expired")
    if not isinstance(issued, int | float) or issued - LEEWAY > now:
        raise BadTokenError("claims", "it says that it was made in the future, or not when")
    if not isinstance(given, str) or not same(given, nonce):
        raise BadTokenError("claims", "it was made for another login")
    if not isinstance(subject, str) or not 0 < len(subject) <= 255:
        raise BadTokenError("claims", "it names nobody")
