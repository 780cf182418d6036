"""An issuer of tokens: its keys, as it publishes them, and tokens that it signs."""

from __future__ import annotations

import base64
import json
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

Json = dict[str, Any]
AUDIENCE = "orders"
ISSUER = "https://login.example"
_RSA = [rsa.generate_private_key(65537, 2048) for _ in range(2)]
"""Made once: they take a second."""


class Issuer:
    """Signs with an RSA key "r", an elliptic curve key "e" and an Edwards curve key "d".

    `now`: epoch seconds that tokens are made at; `lifetime`: seconds that they are good; `strange`: has another RSA
    key, of the same name.
    """

    def __init__(self, now: float, *, lifetime: float = 300.0, strange: bool = False) -> None:
        self.now = now
        self.lifetime = lifetime
        self.keys: dict[str, tuple[str, Any]] = {
            "r": ("RS256", _RSA[strange]),
            "e": ("ES256", ec.generate_private_key(ec.SECP256R1())),
            "d": ("EdDSA", ed25519.Ed25519PrivateKey.generate()),
        }

    def jwks(self, *names: str) -> Json:
        """The public keys: all, or those named."""
        return {"keys": [self._public(name) for name in names or self.keys]}

    def _public(self, name: str) -> Json:
        key = self.keys[name][1].public_key()
        if isinstance(key, rsa.RSAPublicKey):
            return {**RSAAlgorithm.to_jwk(key, as_dict=True), "kid": name, "use": "sig"}
        if isinstance(key, ec.EllipticCurvePublicKey):
            return {**ECAlgorithm.to_jwk(key, as_dict=True), "kid": name, "alg": "ES256"}
        return {**OKPAlgorithm.to_jwk(key, as_dict=True), "kid": name}

    def token(self, key: str = "r", kid: str | None = "", **claims: Any) -> str:
        """A token; a claim of None is left out. `kid`: None for none, "" for the key's own."""
        said = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "anna",
            "iat": self.now,
            "exp": self.now + self.lifetime,
        } | claims
        algorithm, private = self.keys[key]
        header = {} if kid is None else {"kid": kid or key}
        content = json.dumps({name: value for name, value in said.items() if value is not None})
        return jwt.PyJWS().encode(content.encode(), private, algorithm, {"typ": "JWT", **header})


def bearer(token: str) -> tuple[str, str]:
    """The header that carries a token."""
    return "Authorization", f"Bearer {token}"


def by_token(**more: Any) -> Json:
    """The section `security` for tokens of ISSUER."""
    return {"security": {"auth": {"type": "jwt", "issuer": ISSUER, "audience": AUDIENCE, **more}}}


def part(content: object) -> str:
    """A part of a token, as it would be if it were signed."""
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")
