"""Authentication: `security.auth`, the `auth` of routes, API keys and credentials.

Whatever cannot be enforced as written is refused: a route must never be open because a word was missing.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from shared.authentication import effective
from shared.check import limits, tokens
from shared.check.required import names, reference, required, unique
from shared.check.values import sha256_hex
from shared.faults import Fault
from shared.field_path import item
from shared.pb.resources_pb2 import Auth, Config, Credential, Route

_PARAMETER = re.compile(r"[A-Za-z0-9\-._~]{1,128}")

FIELDS: dict[str, frozenset[str]] = {
    "apiKey": frozenset({"header", "query", "keys", "hide_credentials"}),
    "hmac": frozenset({"clock_skew"}),
    "jwt": frozenset(
        {
            *("issuer", "audience", "jwks_url", "jwks", "algorithms", "required_claims", "forward_claims"),
            *("clock_skew", "hide_credentials"),
        }
    ),
    "introspection": frozenset({"introspection_url", "client_id", "client_secret"}),
    "basic": frozenset({"realm"}),
    "mtls": frozenset(),
}
"""The fields that count for each type, besides `mode` and `type`."""


def settings(auth: Auth) -> Iterator[Fault]:
    """`security.auth`: how clients authenticate where a route asks for it."""
    at = "security.auth"
    yield from required(f"{at}.type", auth.type, "one of apiKey, hmac, jwt, introspection, basic and mtls")
    if auth.mode:
        yield Fault(f"{at}.mode", "says nothing here; set `auth: required` on the routes that need it")
    yield from _fields(auth, at, auth)


def of_route(route: Route, at: str, shared: Auth, has_credentials: bool) -> Iterator[Fault]:
    """A route's own `auth` and `scopes`. A type makes the mode required where none is given."""
    auth = route.auth
    at_auth = f"{at}.auth"
    if route.HasField("auth"):
        if not auth.mode and not auth.type:
            yield Fault(at_auth, "says neither mode nor type; write required, optional or none")
        if auth.type:
            yield from _fields(auth, at_auth, effective(auth, shared))
        else:
            yield from _needs_type(auth, at_auth)
            if auth.mode in ("required", "optional") and not shared.type:
                hint = "; the credentials in this document need it too" if has_credentials else ""
                yield Fault(at_auth, f"nothing says how clients authenticate; set security.auth, with a type{hint}")
    if route.scopes and (not route.HasField("auth") or auth.mode in ("none", "optional")):
        yield Fault(f"{at}.scopes", "scopes are checked on authenticated requests only; set `auth: required`")


def consumers(config: Config, known: Collection[str]) -> Iterator[Fault]:
    """Consumers and credentials: names, owners, and keys that belong to one only. `known` are names of consumers."""
    yield from names("consumers", config.consumers)
    yield from names("credentials", config.credentials)
    for index, consumer in enumerate(config.consumers):
        if consumer.HasField("rate_limit"):
            yield from limits.of_consumer(consumer, item("consumers", index))
    for index, credential in enumerate(config.credentials):
        at = item("credentials", index)
        yield from required(f"{at}.consumer", credential.consumer, "the name of the consumer it belongs to")
        yield from reference(f"{at}.consumer", credential.consumer, known, "consumer")
        yield from required(f"{at}.type", credential.type, "one of apiKey, hmac, basic and mtls")
        yield from required(f"{at}.key", credential.key, "for apiKey the sha256 of the key, else the id or user")
        if credential.type == "apiKey" and credential.key and (problem := sha256_hex(credential.key)):
            yield Fault(f"{at}.key", problem)
        if credential.type in ("hmac", "basic"):
            yield from required(f"{at}.secret", credential.secret, f"{credential.type} verifies with it")
        elif credential.type and credential.secret:
            yield Fault(f"{at}.secret", f"{credential.type} has no secret; remove it")
    yield from unique(_keys(config), "a key")


def _keys(config: Config) -> Iterator[tuple[str, tuple[str, str] | None]]:
    """(path, (type, key)) of every key by which a client of the whole gateway is found."""
    for index, key in enumerate(config.settings.security.auth.keys):
        yield f"{item('security.auth.keys', index)}.key", ("apiKey", key.key.lower()) if key.key else None
    for index, credential in enumerate(config.credentials):
        yield f"{item('credentials', index)}.key", identity(credential)


def identity(credential: Credential) -> tuple[str, str] | None:
    """What a client is found by: no two credentials have the same. None where the key is missing."""
    key = credential.key.lower() if credential.type == "apiKey" else credential.key
    return (credential.type, key) if key else None


def _fields(auth: Auth, at: str, applied: Auth) -> Iterator[Fault]:
    """The fields that a type needs are there, and none that it does not know. `applied`: with the shared ones."""
    yield from _foreign(auth, at)
    if auth.query and not _PARAMETER.fullmatch(auth.query):
        yield Fault(f"{at}.query", f"{auth.query!r} is no parameter name: letters, digits and -._~")
    for index, key in enumerate(auth.keys):
        where = item(f"{at}.keys", index)
        yield from required(f"{where}.key", key.key, "the sha256 of the key")
        yield from required(f"{where}.name", key.name, "the name of the client, for logs and limits")
    if at != "security.auth":
        yield from unique(
            ((f"{item(f'{at}.keys', i)}.key", key.key.lower()) for i, key in enumerate(auth.keys)), "a key"
        )
    if auth.type == "jwt":
        yield from tokens.faults(applied, auth, at)
    if auth.type == "introspection":
        yield from required(f"{at}.introspectionUrl", auth.introspection_url, "where to ask about tokens")


def _foreign(auth: Auth, at: str) -> Iterator[Fault]:
    known = FIELDS.get(auth.type)
    if known is None:
        return
    for field, _ in auth.ListFields():
        if field.name not in known and field.name not in ("mode", "type"):
            yield Fault(f"{at}.{field.json_name}", f"has no meaning for type {auth.type}; remove it")


def _needs_type(auth: Auth, at: str) -> Iterator[Fault]:
    for field, _ in auth.ListFields():
        if field.name != "mode":
            yield Fault(f"{at}.{field.json_name}", "counts only beside a type; add type, or remove it")
