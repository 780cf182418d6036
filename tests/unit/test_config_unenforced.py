"""Warnings about what is accepted and not done yet."""

from __future__ import annotations

import pytest

from shared.document import read
from shared.unenforced import LATER

UPSTREAM = "upstreams: [{name: a, url: 'http://a'%s}]\n"
ROUTE = "upstreams: [{name: a, url: 'http://a'}, {name: b, url: 'http://b'}]\nroutes: [{path: /a%s}]\n"
RATES = "rateLimit: {%s}\n"


def warned(text: str) -> list[str]:
    """The paths of the warnings about what is not done."""
    warnings = [warning for warning in read(text).warnings if warning.code == "not_enforced"]
    assert all(warning.message.startswith("accepted, not enforced yet: ") for warning in warnings)
    return [warning.path for warning in warnings]


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("security: {ipFilter: {deny: [10.0.0.1]}}\n", "security.ipFilter"),
        ("security: {cors: {origins: ['*']}}\n", "security.cors"),
        ("security: {auth: {type: hmac}}\n", "security.auth.type"),
        ("tracing: {otlp: 'http://x'}\n", "tracing"),
        (UPSTREAM % ", http2: true", "upstreams[0].http2"),
        (ROUTE % ", split: [{upstream: a, weight: 1}]", "routes[0].split"),
        (ROUTE % ", upstream: a, cors: {origins: [x]}", "routes[0].cors"),
        (ROUTE % ", upstream: a, bodySchema: {type: object}", "routes[0].bodySchema"),
        (ROUTE % ", upstream: a, cache: {ttl: 5s}", "routes[0].cache"),
        (ROUTE % ", upstream: a, mirror: {upstream: b}", "routes[0].mirror"),
        (ROUTE % ", upstream: a, fault: {delay: 5s}", "routes[0].fault"),
        (ROUTE % ", upstream: a, auth: {type: basic}", "routes[0].auth.type"),
    ],
)
def test_what_is_not_done_is_told(text: str, path: str) -> None:
    """Asking for it gives one warning where it was written."""
    assert warned(text) == [path]


@pytest.mark.parametrize(
    "text",
    [
        "security: {auth: {type: apiKey}, ipFilter: {}}\n",
        "security: {auth: {type: jwt, jwksUrl: 'https://x/keys'}}\n" + RATES % "key: 'claim:sub'",
        RATES % "backend: local, mode: exact, algorithm: token-bucket, key: ip, onStoreError: local",
        "circuitBreaker: false\nretry: {enabled: false, maxAttempts: 3}\ntracing: false\nbackpressure: false\n",
        UPSTREAM % ", retries: 0, circuitBreaker: false, loadBalancer: round-robin, http2: false",
        UPSTREAM % ", dns: 30s, healthCheck: /health",
        ROUTE % ", upstream: a, cache: false, bodySchema: {}",
        "metrics: true\nlogging: {level: debug}\n",
    ],
)
def test_what_doing_nothing_honours_is_not_told(text: str) -> None:
    """Switching something off that is not there is no reason for a warning."""
    assert warned(text) == []


def test_entries_say_what_happens_instead() -> None:
    """Each entry has the work that brings it and what an operator gets until then."""
    assert all(later.work and later.instead for later in LATER.values())
