"""Takes secrets out of a configuration before anyone is shown it: pure, and always on a copy."""

from __future__ import annotations

import re

from google.protobuf.struct_pb2 import Struct

from shared.pb.resources_pb2 import Auth, Config, HeaderRules

HIDDEN = "[redacted]"
SECRET_HEADERS = re.compile(r"authorization|cookie|token|secret|password|api-?key", re.IGNORECASE)
URL_PASSWORD = re.compile(r"(://[^/@:]*:).*@")  # up to the last "@": a password may hold "/" and "@"
PRIVATE_JWK = frozenset({"k", "d", "p", "q", "dp", "dq", "qi", "oth"})
"""RFC 7518 6.2.2, 6.3.2, 6.4.1: the members of a JSON Web Key that only its owner may know."""


def redacted(config: Config) -> Config:
    """The same configuration without keys, their hashes (a short key can be guessed from its hash) and passwords."""
    copy = Config()
    copy.CopyFrom(config)
    for credential in copy.credentials:
        credential.secret = _hide(credential.secret)
        if credential.type in {"", "apiKey"}:
            credential.key = _hide(credential.key)
    security, limits = copy.settings.security, copy.settings.rate_limit
    if security.HasField("auth"):
        _redact_auth(security.auth)
    if limits.redis.url:
        limits.redis.url = _without_password(limits.redis.url)
    tracing = copy.settings.tracing
    if tracing.otlp.endpoint:
        tracing.otlp.endpoint = _without_password(tracing.otlp.endpoint)
    for route in copy.routes:
        if route.HasField("auth"):
            _redact_auth(route.auth)
        for rules in (route.request_headers, route.response_headers):
            _redact_headers(rules)
    return copy


def _redact_auth(auth: Auth) -> None:
    auth.client_secret = _hide(auth.client_secret)
    for name in ("jwks_url", "introspection_url"):
        setattr(auth, name, _without_password(getattr(auth, name)))
    if auth.HasField("jwks"):
        _redact_jwks(auth.jwks)
    for key in auth.keys:
        key.key = _hide(key.key)


def _redact_jwks(jwks: Struct) -> None:
    """Of a set of keys, or one key by itself: what is public stays."""
    listed = jwks.fields["keys"].list_value.values if "keys" in jwks.fields else ()
    for key in (jwks, *(value.struct_value for value in listed)):
        for name in PRIVATE_JWK & set(key.fields):
            key.fields[name].string_value = HIDDEN


def _redact_headers(rules: HeaderRules) -> None:
    for values in (rules.set, rules.add):
        for name in list(values):  # a map that is changed while it is walked leaves some out
            if SECRET_HEADERS.search(name):
                values[name] = HIDDEN


def _hide(secret: str) -> str:
    return HIDDEN if secret else ""


def _without_password(url: str) -> str:
    return URL_PASSWORD.sub(rf"\g<1>{HIDDEN}@", url)
