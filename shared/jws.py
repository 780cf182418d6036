"""Signed tokens (JWS compact serialisation, RFC 7515): what one says, once a known key vouches for it. Pure.

A key vouches only by an algorithm that is made for its type: a public key is never the secret of an HMAC. What a token
itself says of keys (`jwk`, `jku`, `x5u`) is not looked at (RFC 8725 3.1). Whether the claims are any good is for the
caller to say.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Final

import jwt
import orjson

LONGEST: Final = 16 * 1024
"""Characters; providers that put hundreds of groups into a token stay below."""
PUBLIC_KEY_ALGORITHMS: Final = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), "RSA"),
    **dict.fromkeys(("ES256", "ES384", "ES512"), "EC"),
    "EdDSA": "OKP",
}
"""Each algorithm that verifies with a public key, and the type of key it is for."""
SECRET_ALGORITHMS: Final = dict.fromkeys(("HS256", "HS384", "HS512"), "oct")
"""Those whose key can sign as well as verify."""
_KEY_TYPES: Final = PUBLIC_KEY_ALGORITHMS | SECRET_ALGORITHMS
_JWS: Final = jwt.PyJWS(options={"enforce_minimum_key_length": True})

Claims = dict[str, Any]
Jwk = Mapping[str, Any]


class BadTokenError(Exception):
    """The token must not be believed. `reason`: one word, for metrics; the text says more, for the log."""

    def __init__(self, reason: str, detail: str) -> None:
        self.reason = reason
        super().__init__(detail)


class UnknownKeyError(BadTokenError):
    """It is signed by a key that is not among these; there may be a new one."""

    def __init__(self, detail: str) -> None:
        super().__init__("unknown_key", detail)


class KeySet:
    """Keys (RFC 7517, 5) that may vouch for tokens. Each is made ready when it is needed first."""

    def __init__(self, keys: Iterable[Jwk]) -> None:
        self._keys = tuple(keys)
        self._ready: dict[tuple[int, str], jwt.PyJWK] = {}

    def __repr__(self) -> str:
        return f"<KeySet {[key.get('kid') for key in self._keys]}>"

    def __len__(self) -> int:
        return len(self._keys)

    @cached_property
    def faults(self) -> Sequence[tuple[int, str]]:
        """(which, why) of the keys for signatures that no algorithm could use."""
        return [(at, why) for at, key in enumerate(self._keys) if _signs(key) and (why := self._fault(at, key))]

    def _fault(self, at: int, key: Jwk) -> str:
        suitable = [name for name in _KEY_TYPES if _fits(key, name)]
        if not suitable:
            return f"no algorithm is for a key of kty {key.get('kty')!r} and alg {key.get('alg')!r}"
        problem = ""
        for algorithm in suitable:
            try:
                self._made(at, algorithm)
                return ""
            except (jwt.PyJWTError, ValueError, TypeError) as error:
                problem = str(error) or type(error).__name__
        return f"the key cannot be read: {problem}"

    def one_for(self, algorithm: str, kid: object) -> jwt.PyJWK:
        """The one key that a token with this header is to be verified with; BadTokenError where it is not clear."""
        suitable = [
            at for at, key in enumerate(self._keys) if _fits(key, algorithm) and (kid is None or key.get("kid") == kid)
        ]
        if not suitable:
            raise UnknownKeyError("it is signed by a key that is not published")
        if len(suitable) > 1:
            raise BadTokenError("unknown_key", "it does not say which of the published keys signed it")
        return self._made(suitable[0], algorithm)

    def _made(self, at: int, algorithm: str) -> jwt.PyJWK:
        key = self._ready.get((at, algorithm))
        if key is None:
            try:
                key = jwt.PyJWK(dict(self._keys[at]), algorithm)
            except KeyError as error:  # the library takes a secret without its value for granted
                raise jwt.InvalidKeyError(f"it has no {error}") from error
            if problem := key.Algorithm.check_key_length(key.key):
                raise jwt.InvalidKeyError(problem)
            self._ready[at, algorithm] = key
        return key


def _signs(key: Jwk) -> bool:
    return bool(key.get("use", "sig") == "sig")


def _fits(key: Jwk, algorithm: str) -> bool:
    return key.get("kty") == _KEY_TYPES[algorithm] and key.get("alg", algorithm) == algorithm and _signs(key)


def _header(token: str) -> Mapping[str, Any]:
    """What a token says of its key, to find that; the library looks at all of it again when it verifies."""
    encoded = token.partition(".")[0]
    header = orjson.loads(urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
    if not isinstance(header, dict) or not isinstance(header.get("kid", ""), str):
        raise BadTokenError("malformed", "its header is no JSON object, or its kid no text")
    return header


def signed_claims(token: str, keys: KeySet, algorithms: Collection[str]) -> Claims:
    """What a token says, signed with one of these keys by one of these algorithms; BadTokenError else."""
    if len(token) > LONGEST:
        raise BadTokenError("malformed", "it is too long")
    try:
        header = _header(token)
        algorithm = header.get("alg")
        if not isinstance(algorithm, str) or algorithm not in algorithms:
            raise BadTokenError("algorithm", f"algorithm {str(algorithm)[:20]!r} is not taken")
        key = keys.one_for(algorithm, header.get("kid"))
        claims = orjson.loads(_JWS.decode(token, key, [algorithm]))
    except jwt.InvalidSignatureError as error:
        raise BadTokenError("signature", "Signature verification failed") from error
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        raise BadTokenError("malformed", f"{type(error).__name__}: {error}") from error
    if not isinstance(claims, dict):
        raise BadTokenError("malformed", "its content is no JSON object")
    return claims
