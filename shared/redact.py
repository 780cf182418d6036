"""Takes secrets out of a configuration before anyone is shown it: pure, and always on a copy."""

from __future__ import annotations

import re

from shared.pb.resources_pb2 import Auth, Config, HeaderRules

HIDDEN = "[redacted]"
SECRET_HEADERS = re.compile(r"authorization|cookie|token|secret|password|api-?key", re.IGNORECASE)
URL_PASSWORD = re.compile(r"(://[^/@:]*:)[^/@]*@")


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
        limits.redis.url = URL_PASSWORD.sub(rf"\g<1>{HIDDEN}@", limits.redis.url)
    for route in copy.routes:
        if route.HasField("auth"):
            _redact_auth(route.auth)
        for rules in (route.request_headers, route.response_headers):
            _redact_headers(rules)
    return copy


def _redact_auth(auth: Auth) -> None:
    auth.client_secret = _hide(auth.client_secret)
    for key in auth.keys:
        key.key = _hide(key.key)


def _redact_headers(rules: HeaderRules) -> None:
    for values in (rules.set, rules.add):
        for name in values:
            if SECRET_HEADERS.search(name):
                values[name] = HIDDEN


def _hide(secret: str) -> str:
    return HIDDEN if secret else ""
