"""Authentication of type jwt: keys that could vouch, algorithms that fit them, headers that are there to be set."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct

from shared.authentication import effective
from shared.check.required import unique
from shared.check.values import address
from shared.faults import Fault
from shared.field_path import child, item
from shared.pb.resources_pb2 import Auth, Config
from shared.redact import PRIVATE_JWK

NO_EFFECT = "no_effect"
TRUSTING = "trusting"

_SECRETS = "HS"
"""How the algorithms begin whose key is a secret."""
_SAID_BY_THE_GATEWAY = frozenset({"authorization", "x-consumer-name", "x-correlation-id"})


def faults(auth: Auth, own: Auth, at: str) -> Iterator[Fault]:
    """Of the authentication that applies; `own` is what was written at `at`."""
    if bool(auth.jwks_url) == auth.HasField("jwks"):
        yield Fault(at, "type jwt needs exactly one of jwksUrl and jwks, to verify tokens with")
    if "@" in urlsplit(own.jwks_url).netloc:
        yield Fault(f"{at}.jwksUrl", "keys are fetched without credentials; remove the user from the URL")
    if own.HasField("jwks"):
        yield from _keys(own.jwks, f"{at}.jwks")
    for index, name in enumerate(auth.algorithms):
        if name.startswith(_SECRETS) and auth.jwks_url:
            message = f"{name} verifies with a secret, and what a URL publishes is none; use jwks, or another algorithm"
            yield Fault(item(f"{at}.algorithms", index), message)
    headers = sorted(own.forward_claims.items())
    yield from unique(
        ((child(f"{at}.forwardClaims", claim), header.lower()) for claim, header in headers), "a header for a claim"
    )
    for claim, header in headers:
        if header.lower() in _SAID_BY_THE_GATEWAY:
            yield Fault(child(f"{at}.forwardClaims", claim), f"{header} cannot tell a claim: it has a meaning here")
    if not auth.algorithms and auth.HasField("jwks") and _only_secrets(auth.jwks):
        yield Fault(f"{at}.algorithms", "these keys are secrets; say which of HS256, HS384 and HS512 they are for")


def ways(config: Config) -> Iterator[tuple[str, Auth]]:
    """(path, what was written there) of every way to authenticate with tokens."""
    if config.settings.security.auth.type == "jwt":
        yield "security.auth", config.settings.security.auth
    for index, route in enumerate(config.routes):
        if route.auth.type == "jwt":
            yield f"{item('routes', index)}.auth", route.auth


def advice(config: Config) -> Iterator[Fault]:
    """Tokens and limits that do less than they seem to."""
    yield from _trusting(config)
    yield from _without_claims(config)


def _trusting(config: Config) -> Iterator[Fault]:
    """Tokens that are believed though they may be for others, or keys that may be anybody's."""
    for at, own in ways(config):
        auth = effective(own, config.settings.security.auth)
        if not auth.audience:
            message = "every token that these keys sign is taken, also one that is for another service; set audience"
            yield Fault(at, message, TRUSTING)
        parts = urlsplit(own.jwks_url)
        if parts.scheme == "http" and not _on_this_machine(parts.hostname or ""):
            message = (
                "keys that come over plain http can be replaced on their way, and then tokens be forged; use https"
            )
            yield Fault(f"{at}.jwksUrl", message, TRUSTING)


def _on_this_machine(host: str) -> bool:
    ip = address(host)
    return host == "localhost" or (ip is not None and ip.is_loopback)


def _without_claims(config: Config) -> Iterator[Fault]:
    """Limits that count by a claim where nobody has claims."""
    shared, limits = config.settings.security.auth, config.settings.rate_limit
    rules: list[tuple[str, str]] = []
    if not any(ways(config)):
        rules = [("rateLimit", limits.key), ("rateLimit.global", getattr(limits, "global").key)]
        rules += [(item("rateLimit.perRoute", index), rule.key) for index, rule in enumerate(limits.per_route)]
    for index, route in enumerate(config.routes):
        if route.rate_limit.key and effective(route.auth, shared).type != "jwt":
            rules.append((f"{item('routes', index)}.rateLimit", route.rate_limit.key))
    for at, key in rules:
        if key.startswith("claim:"):
            message = (
                "only tokens have claims, and nothing here authenticates with type jwt; it counts as `consumer` does"
            )
            yield Fault(f"{at}.key", message, NO_EFFECT)


def _keys(jwks: Struct, at: str) -> Iterator[Fault]:
    keys = MessageToDict(jwks).get("keys")
    if not isinstance(keys, list) or not keys or not all(isinstance(key, dict) for key in keys):
        yield Fault(at, "is no set of keys; write {keys: [...]}, each a JSON Web Key (RFC 7517)")
        return
    private = False
    for index, key in enumerate(keys):
        found = sorted((PRIVATE_JWK - {"k"}) & key.keys())
        private = private or bool(found)
        if found:
            message = f"has the private part of a key ({', '.join(found)}), which only its owner may have; remove it"
            yield Fault(item(f"{at}.keys", index), message)
    from shared.jws import KeySet  # noqa: PLC0415  # 12 MB of cryptography, for those who use it

    for index, why in KeySet(keys).faults if not private else ():
        yield Fault(item(f"{at}.keys", index), f"cannot verify anything: {why}")


def _only_secrets(jwks: Struct) -> bool:
    keys = MessageToDict(jwks).get("keys")
    return isinstance(keys, list) and all(isinstance(key, dict) and key.get("kty") == "oct" for key in keys)
