"""What it costs that clients authenticate by token (JWT, RS256) instead of by API key.

With one token, which is verified once; and with more tokens than a worker remembers, so that each request verifies one.
Both contestants are sent the same bytes.
"""

from __future__ import annotations

import json
import time
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from dataplane.tokens.verifier import MOST_KNOWN
from tests.bench import compare
from tests.bench.load import Load
from tests.bench.origin import SMALL
from tests.bench.outcome import Outcome, joined
from tests.bench.race import race
from tests.bench.stage import Stage

CONNECTIONS = 64
_KEY_BITS = 2048
_LIFETIME = 3600
_AUDIENCE = "bench"


def run(stage: Stage) -> Outcome:
    """FlexGate with tokens against FlexGate with keys."""
    private = rsa.generate_private_key(65537, _KEY_BITS)
    tokens = tuple(_token(private, number) for number in range(MOST_KNOWN + MOST_KNOWN // 2))
    known = Load(SMALL, connections=CONNECTIONS, bearers=tokens[:1])
    new = Load(SMALL, connections=CONNECTIONS, bearers=tokens)
    published = json.loads(RSAAlgorithm.to_jwk(private.public_key())) | {"kid": "bench"}
    auth: dict[str, Any] = {"type": "jwt", "audience": _AUDIENCE, "jwks": {"keys": [published]}}
    proxies = [stage.flexgate(name="key"), stage.flexgate(name="token", auth=auth, load=known)]
    found = []
    for load, at in ((known, " one token"), (new, " new tokens")):
        samples = race(stage, proxies, load)
        cost = compare.ratio(samples, "cpu_us", "token", "key", name=f"CPU of token / key,{at}")
        found.append(Outcome(compare.rows(samples, at), [cost], compare.notes(samples, at)))
    return joined(found)


def _token(private: rsa.RSAPrivateKey, number: int) -> str:
    claims = {"sub": f"client-{number}", "aud": _AUDIENCE, "exp": int(time.time()) + _LIFETIME, "scope": "read write"}
    return jwt.encode(claims, private, "RS256", {"kid": "bench"})
