"""What an OpenID Connect provider says about who logged in, checked (OpenID Connect Core 1.0, 3.1.3.7). Pure.

Only signatures with a public key of the provider count: not `none`, and not HMAC, where the provider's public key or a
leaked client secret would do as the key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import jwt

from controlplane.auth.credential import same

LONGEST = 16 * 1024
"""Characters; providers that put hundreds of groups into it stay below."""
LEEWAY = 60.0
"""Seconds that the provider's clock may be off."""
KEY_TYPES = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), "RSA"),
    **dict.fromkeys(("ES256", "ES384", "ES512"), "EC"),
    "EdDSA": "OKP",
}
"""Each algorithm that is taken, and the type of key it is for."""

Claims = dict[str, Any]
Jwk = Mapping[str, Any]


class BadIdTokenError(Exception):
    """It must not be believed; the text says why, for the log."""


class UnknownKeyError(BadIdTokenError):
    """It is signed by a key that is not among these; the provider may have a new one."""


def verified(token: str, keys: Iterable[Jwk], *, issuer: str, client_id: str, nonce: str, now: float) -> Claims:
    """The claims of an ID token for us, made for this login; BadIdTokenError else."""
    if len(token) > LONGEST:
        raise BadIdTokenError("it is too long")
    try:
        header = jwt.get_unverified_header(token)
        algorithm = header.get("alg")
        if not isinstance(algorithm, str) or algorithm not in KEY_TYPES:
            raise BadIdTokenError(f"algorithm {str(algorithm)[:20]!r} is not taken")
        key = jwt.PyJWK(dict(_key(keys, header.get("kid"), algorithm)), algorithm)
        # All claims are looked at below: by the clock that was handed in, and by the stricter rules of OpenID Connect.
        unchecked: Any = {f"verify_{claim}": False for claim in ("exp", "nbf", "iat", "aud", "iss", "sub", "jti")}
        claims: Claims = jwt.decode(token, key, [algorithm], unchecked)
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        raise BadIdTokenError(f"{type(error).__name__}: {error}") from error
    _check(claims, issuer, client_id, nonce, now)
    return claims


def _key(keys: Iterable[Jwk], kid: object, algorithm: str) -> Jwk:
    suitable = [
        key
        for key in keys
        if key.get("kty") == KEY_TYPES[algorithm]
        and key.get("use", "sig") == "sig"
        and key.get("alg", algorithm) == algorithm
        and (kid is None or key.get("kid") == kid)
    ]
    if not suitable:
        raise UnknownKeyError("it is signed by a key that the provider does not publish")
    if len(suitable) > 1:
        raise BadIdTokenError("it does not say which of the provider's keys signed it")
    return suitable[0]


def _check(claims: Claims, issuer: str, client_id: str, nonce: str, now: float) -> None:
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    expires, issued, subject = claims.get("exp"), claims.get("iat"), claims.get("sub")
    given = claims.get("nonce")
    if claims.get("iss") != issuer:
        raise BadIdTokenError("it is of another issuer")
    if client_id not in audiences:
        raise BadIdTokenError("it is for another client")
    if claims.get("azp", None if len(audiences) > 1 else client_id) != client_id:
        raise BadIdTokenError("it was given to another client")
    if not isinstance(expires, int | float) or expires + LEEWAY <= now:
        raise BadIdTokenError("it has expired")
    if not isinstance(issued, int | float) or issued - LEEWAY > now:
        raise BadIdTokenError("it says that it was made in the future, or not when")
    if not isinstance(given, str) or not same(given, nonce):
        raise BadIdTokenError("it was made for another login")
    if not isinstance(subject, str) or not 0 < len(subject) <= 255:
        raise BadIdTokenError("it names nobody")
