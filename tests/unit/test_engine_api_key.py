"""Authentication by API key: who gets in, as whom, and what of the credential goes further."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import pytest

from dataplane.errors import Forbidden, Unauthorized, Unavailable
from dataplane.headers import request_head
from tests.unit.engine_bench import EPOCH, Bench, bench, routed

Json = dict[str, Any]


@pytest.fixture
def worker() -> Iterator[Bench]:
    """A worker that serves nothing yet."""
    with bench() as made:
        yield made


def key(text: str, name: str = "", **more: Any) -> Json:
    """An entry of `keys`."""
    return {"key": sha256(text.encode()).hexdigest(), "name": name or text, **more}


def auth(*keys: Json, **more: Any) -> Json:
    """The section `security` for these keys."""
    return {"security": {"auth": {"type": "apiKey", "keys": list(keys or [key("one")]), **more}}}


def at(seconds: float) -> str:
    """A time of the worker's wall clock, as configurations write it."""
    return datetime.fromtimestamp(EPOCH + seconds, UTC).isoformat()


def sent(worker: Bench, *fields: tuple[str, str], **request: Any) -> bytes:
    """The head that goes to the upstream."""
    x = worker.filter(*fields, **request)
    assert worker.compiled is not None
    assert x.route is not None
    endpoint = next(iter(worker.compiled.runtime.upstreams["origin"].balancer.endpoints.values()))
    target = x.path if x.query is None else f"{x.path}?{x.query}"
    return request_head(x, endpoint, target, x.route)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [([], "missing"), ([("X-API-Key", "two")], "unknown"), ([("X-API-Key", "")], "unknown")],
)
@pytest.mark.parametrize("mode", ["required", "optional"])
def test_who_is_not_let_in(worker: Bench, mode: str, fields: list[tuple[str, str]], reason: str) -> None:
    """401 with a challenge, counted by reason; where a key is optional, only none at all is let through."""
    worker.serve(routed(auth=mode) | auth())
    if mode == "optional" and reason == "missing":
        assert worker.filter(*fields).consumer is None
        return
    with pytest.raises(Unauthorized) as refused:
        worker.filter(*fields)
    assert any(line.startswith(b"WWW-Authenticate: ") for line in refused.value.headers)
    assert worker.traffic.auth_failures == {reason: 1}


def test_none_looks_at_no_key(worker: Bench) -> None:
    """A wrong key on an open route is the origin's business."""
    worker.serve(routed(auth="none") | auth())
    assert worker.filter(("X-API-Key", "wrong")).consumer is None
    assert b"X-API-Key: wrong" in sent(worker, ("X-API-Key", "wrong"))


def test_a_good_key_has_a_name(worker: Bench) -> None:
    """The consumer is known to filters, to the log, and to the upstream; nobody else can say it."""
    worker.serve(routed(auth="required") | auth(key("one", "Client A"), key("two", "Client B")))
    assert worker.filter(("X-API-Key", "two")).consumer == "Client B"
    head = sent(worker, ("X-API-Key", "one"), ("X-Consumer-Name", "root"))
    assert head.count(b"X-Consumer-Name: ") == 1
    assert b"X-Consumer-Name: Client A\r\n" in head


def test_the_header_has_the_name_that_is_configured(worker: Bench) -> None:
    """In any case; the usual one then says nothing."""
    worker.serve(routed(auth="required") | auth(header="X-Token"))
    assert worker.filter(("x-toKEN", "one")).consumer == "one"
    with pytest.raises(Unauthorized):
        worker.filter(("X-API-Key", "one"))


@pytest.mark.parametrize(
    ("query", "good"),
    [("api=one", True), ("a=1&api=one&b=2", True), ("%61pi=%6fne", True), ("api=two", False), ("api", False)],
)
def test_a_key_in_the_query(worker: Bench, query: str, good: bool) -> None:
    """By its decoded name and value, where the configuration names a parameter."""
    worker.serve(routed(auth="required") | auth(query="api"))
    if good:
        assert worker.filter(query=query).consumer == "one"
    else:
        with pytest.raises(Unauthorized):
            worker.filter(query=query)


def test_credentials_go_on_by_default(worker: Bench) -> None:
    """An origin that checks the key as well still gets it."""
    worker.serve(routed(auth="required") | auth(query="api"))
    assert b"\r\nX-API-Key: one\r\n" in sent(worker, ("X-API-Key", "one"))
    assert sent(worker, query="api=one&x=1").startswith(b"GET /?api=one&x=1 ")


def test_hidden_credentials_go_no_further(worker: Bench) -> None:
    """Neither in the header nor in the query, however often they stand there; everything else does."""
    worker.serve(routed(auth="required") | auth(query="api", hideCredentials=True))
    head = sent(worker, ("X-API-Key", "one"), ("X-Other", "1"), ("x-api-key", "two"), query="api=one&x=1&%61pi=two")
    assert head.startswith(b"GET /?x=1 ")
    assert b"X-Other: 1" in head
    assert b"api-key" not in head.lower()
    assert sent(worker, query="a=%20&api=one").startswith(b"GET /?a=%20 ")
    assert sent(worker, query="api=one").startswith(b"GET / ")


def test_a_key_expires_to_the_second(worker: Bench) -> None:
    """Until its time it is good, from then on it is refused, and counted as expired."""
    worker.serve(routed(auth="required") | auth(key("one", expiresAt=at(100))))
    worker.now = 99.9
    assert worker.filter(("X-API-Key", "one")).consumer == "one"
    worker.now = 100.0
    with pytest.raises(Unauthorized, match="expired"):
        worker.filter(("X-API-Key", "one"))
    assert worker.traffic.auth_failures == {"expired": 1}


def test_credentials_of_consumers(worker: Bench) -> None:
    """Resources of their own: they name their consumer, can be switched off, expire, and only API keys count."""
    consumers = [{"name": "shop"}]
    listed: list[Json] = [
        {"name": "a", "type": "apiKey", "key": sha256(b"a").hexdigest(), "scopes": ["read"]},
        {"name": "b", "type": "apiKey", "key": sha256(b"b").hexdigest(), "enabled": False},
        {"name": "c", "type": "apiKey", "key": sha256(b"c").hexdigest(), "expiresAt": at(-1)},
        {"name": "d", "type": "basic", "key": "d", "secret": "d"},
    ]
    credentials = [{"consumer": "shop", **one} for one in listed]
    worker.serve(routed(auth="required") | auth() | {"consumers": consumers, "credentials": credentials})
    x = worker.filter(("X-API-Key", "a"))
    assert (x.consumer, x.scopes) == ("shop", frozenset({"read"}))
    assert worker.filter(("X-API-Key", "one")).consumer == "one"
    for bad in "bcd":
        with pytest.raises(Unauthorized):
            worker.filter(("X-API-Key", bad))


def test_a_withdrawn_credential_is_refused_at_once(worker: Bench) -> None:
    """An edit of the credentials alone reaches every route."""
    consumers = [{"name": "shop"}]
    one = {"name": "a", "type": "apiKey", "key": sha256(b"a").hexdigest(), "consumer": "shop"}
    document = routed(auth="required") | auth() | {"consumers": consumers}
    worker.serve(document | {"credentials": [one]})
    worker.filter(("X-API-Key", "a"))
    worker.serve(document)
    with pytest.raises(Unauthorized):
        worker.filter(("X-API-Key", "a"))


def test_a_route_s_own_keys_stand_for_themselves(worker: Bench) -> None:
    """Its `auth` object replaces the shared keys; what it leaves out is that of the section."""
    own = {"type": "apiKey", "keys": [key("mine")]}
    routes = [
        {"path": "/own", "upstream": "origin", "auth": own},
        {"path": "/", "upstream": "origin", "auth": "required"},
    ]
    worker.serve({"routes": routes} | auth(header="X-Token"))
    assert worker.filter(("X-Token", "mine"), path="/own").consumer == "mine"
    for text, path in (("one", "/own"), ("mine", "/")):
        with pytest.raises(Unauthorized):
            worker.filter(("X-Token", text), path=path)


def test_a_route_s_own_type_is_required_without_a_word(worker: Bench) -> None:
    """A route that brings its keys and no mode, under no section at all, is never open."""
    worker.serve(routed(auth={"type": "apiKey", "keys": [key("mine")]}))
    with pytest.raises(Unauthorized):
        worker.filter()
    assert worker.filter(("X-API-Key", "mine")).consumer == "mine"


@pytest.mark.parametrize("mode", [{}, {"mode": "required"}, {"mode": "optional"}])
def test_a_type_that_is_not_enforced_yet_is_closed(worker: Bench, mode: Json) -> None:
    """503, never open; with `none` the route is open as written."""
    worker.serve(routed(auth={"type": "hmac", **mode}) | auth())
    with pytest.raises(Unavailable):
        worker.filter(("X-API-Key", "one"))
    worker.serve(routed(auth="required") | {"security": {"auth": {"type": "basic"}}})
    with pytest.raises(Unavailable):
        worker.filter()
    worker.serve(routed(auth={"type": "hmac", "mode": "none"}))
    worker.filter()


@pytest.mark.parametrize(("scopes", "let_in"), [(["read", "write"], True), (["read"], False), ([], False)])
def test_scopes(worker: Bench, scopes: list[str], let_in: bool) -> None:
    """All that the route needs; 403 and a count of its own otherwise."""
    worker.serve(routed(auth="required", scopes=["write", "read"]) | auth(key("one", scopes=scopes)))
    if let_in:
        worker.filter(("X-API-Key", "one"))
        return
    with pytest.raises(Forbidden):
        worker.filter(("X-API-Key", "one"))
    assert worker.traffic.auth_failures == {"scope": 1}


def test_who_has_no_key_uses_up_no_limit(worker: Bench) -> None:
    """Authentication stands before the limits."""
    worker.serve(routed(auth="required", rateLimit={"max": 1, "windowMs": 60_000, "key": "route"}) | auth())
    for _ in range(3):
        with pytest.raises(Unauthorized):
            worker.filter()
    worker.filter(("X-API-Key", "one"))
