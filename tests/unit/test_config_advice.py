"""What is written well and means nothing: warnings, with their paths."""

from __future__ import annotations

import pytest

from shared.document import read


def warned(text: str) -> list[str]:
    """The paths of the warnings about a text."""
    return [warning.path for warning in read(text).warnings]


LOW = "backpressure: {maxQueueSize: 9, thresholds: [{queueSize: %d, action: %s}]}\n"


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (LOW % (10, "reject_all"), "backpressure.thresholds[0].queueSize"),
        (LOW % (9, "reject_low_priority"), "backpressure.thresholds[0].action"),
        (
            LOW % (9, "reject_low_priority") + "priorities: [{name: default, weight: 5}]\n",
            "backpressure.thresholds[0].action",
        ),
    ],
)
def test_thresholds_without_effect_are_told(text: str, path: str) -> None:
    """One that lies beyond the queue, and one that would refuse a lower class where there is only one."""
    assert warned(text) == [path]


def test_thresholds_with_an_effect_are_not_told() -> None:
    """Two priorities are two classes: the default counts."""
    assert warned(LOW % (9, "reject_low_priority") + "priorities: [{name: high, weight: 5}]\n") == []


JWT = "security: {auth: {type: jwt, %s}}\n"


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (JWT % "jwksUrl: 'https://x/keys'", "security.auth"),
        (JWT % "audience: a, jwksUrl: 'http://x/keys'", "security.auth.jwksUrl"),
        ("rateLimit: {key: 'claim:sub'}\n", "rateLimit.key"),
        ("rateLimit: {global: {max: 1, windowMs: 1000, key: 'claim:sub'}}\n", "rateLimit.global.key"),
        ("rateLimit: {perRoute: [{path: /a, max: 1, windowMs: 1000, key: 'claim:x'}]}\n", "rateLimit.perRoute[0].key"),
        (
            JWT % "audience: a, jwksUrl: 'https://x/keys'" + "upstreams: [{name: u, url: 'http://u'}]\nroutes:\n"
            "  - {path: /a, upstream: u, auth: {type: apiKey}, rateLimit: {max: 1, windowMs: 1000, key: 'claim:x'}}\n",
            "routes[0].rateLimit.key",
        ),
        (
            "security: {allowedHosts: [u], auth: {type: jwt, audience: a, jwksUrl: 'https://x/keys'}}\n",
            "security.auth.jwksUrl",
        ),
    ],
)
def test_tokens_that_prove_little_are_told(text: str, path: str) -> None:
    """Tokens for anybody, keys from anybody, a source that cannot be reached, and limits by claims that nobody has."""
    assert warned(text) == [path]


@pytest.mark.parametrize("url", ["https://x/keys?v=1", "http://localhost:8080/keys", "http://127.0.0.1/keys"])
def test_tokens_that_prove_something_are_not_told(url: str) -> None:
    """With an audience, and keys that come over TLS or from this machine."""
    assert warned(JWT % f"audience: a, jwksUrl: '{url}'" + "rateLimit: {key: 'claim:sub'}\n") == []


ROUTE = "{name: %s, path: /a, upstream: u, %s}"


@pytest.mark.parametrize(
    ("low", "high", "told"),
    [
        ("methods: [GET]", "methods: [GET, POST], priority: 1", True),
        ("hosts: [a.com]", "hosts: [A.com, b.com], priority: 1", True),
        ("methods: [GET, PUT]", "methods: [GET], priority: 1", False),  # PUT is its own
        ("methods: [GET]", "priority: 1", False),  # listed methods come before any
        ("hosts: [a.com]", "priority: 1", False),  # an exact host comes before any
        ("methods: [GET]", "methods: [GET], priority: 1, enabled: false", False),
        ("headers: {X-A: b}", "priority: 1", False),
    ],
)
def test_a_route_that_never_serves_is_told(low: str, high: str, told: bool) -> None:
    """Where routes of a higher priority take every request that it matches; otherwise it is not."""
    routes = f"routes:\n  - {ROUTE % ('low', low)}\n  - {ROUTE % ('high', high)}\n"
    text = f"upstreams: [{{name: u, url: 'http://u'}}]\n{routes}"
    assert warned(text) == (["routes[0]"] if told else [])


WINDOWS = {
    "rateLimit.global": "rateLimit: {global: {max: 5, windowMs: %s}}",
    "rateLimit.perRoute[0]": "rateLimit: {perRoute: [{path: /a, max: 5, windowMs: %s}]}",
    "routes[0].rateLimit": "upstreams: [{name: u, url: 'http://u'}]\n"
    "routes: [{path: /a, upstream: u, rateLimit: {max: 5, windowMs: %s}}]",
    "consumers[0].rateLimit": "consumers: [{name: c, rateLimit: {max: 5, windowMs: %s}}]",
}


@pytest.mark.parametrize("place", WINDOWS)
def test_a_window_that_was_meant_in_seconds_is_told(place: str) -> None:
    """`windowMs: 60` is 0.06 s, in which nobody sends six requests: told, wherever a limit stands."""
    assert warned(WINDOWS[place] % 60) == [f"{place}.windowMs"]
    assert warned(WINDOWS[place] % "60s") == []
    assert warned(WINDOWS[place] % 250) == []


def test_a_status_that_is_never_retried_is_told() -> None:
    """429, for all upstreams and for one."""
    assert warned("retry: {retryableStatusCodes: [503, 429]}") == ["retry.retryableStatusCodes[1]"]
    text = "upstreams: [{name: u, url: 'http://u', retry: {retryableStatusCodes: [429]}}]"
    assert warned(text) == ["upstreams[0].retry.retryableStatusCodes[0]"]
