"""Retries before real origins: what is sent again, how often, where to, and above all what never is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from dataplane.http1.body import KEPT
from tests.support.client import chunked, connected, get, post
from tests.support.gateway import Gateway, document, running_gateway
from tests.support.origin import OK, Peer, Script, answering, serving

BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy"
QUICK = {"backoff": {"initialDelay": 1, "maxDelay": 1}}
ASKED = {"retry": {"maxAttempts": 3, **QUICK}, "circuitBreaker": False}


@asynccontextmanager
async def several(*scripts: Script, upstream: dict[str, Any] | None = None, **options: Any) -> AsyncIterator[Any]:
    """(origins, gateway): one upstream with an endpoint for each script."""
    async with AsyncExitStack() as stack:
        origins = [await stack.enter_async_context(serving(script)) for script in scripts]
        text = json.loads(document(origins[0].url, upstream=ASKED if upstream is None else upstream, **options))
        if len(origins) > 1:
            del text["upstreams"][0]["url"]
            text["upstreams"][0]["endpoints"] = [{"url": origin.url} for origin in origins]
        gateway = await stack.enter_async_context(running_gateway(json.dumps(text)))
        yield origins, gateway


def then(*answers: bytes) -> Script:
    """Answers the requests of all connections in that order; the last answer stays."""
    left = list(answers)

    async def script(peer: Peer) -> None:
        while await peer.request():
            await peer.send(left.pop(0) if len(left) > 1 else left[0])

    return script


async def lose(peer: Peer) -> None:
    """Takes the whole request and closes."""
    await peer.request()
    peer.close()


async def refused_url() -> str:
    """Where nothing listens any more."""
    async with serving(answering(OK)) as origin:
        return origin.url


KEY = "Idempotency-Key: k-1"
SAFE = {
    "GET": get(),
    "HEAD": get("/", method="HEAD"),
    "OPTIONS": get("/", method="OPTIONS"),
    "PUT": get("/", "Content-Length: 3", method="PUT") + b"put",
    "DELETE": get("/", method="DELETE"),
    "POST with a key": post(b"once", "/", KEY),
    "PATCH with a key": get("/", "Content-Length: 1", KEY, method="PATCH") + b"x",
}
UNSAFE = {"POST": post(b"pay"), "PATCH": get("/", "Content-Length: 1", method="PATCH") + b"x"}


@pytest.mark.parametrize("data", SAFE.values(), ids=SAFE)
@pytest.mark.parametrize("status", [502, 503, 504])
async def test_a_failed_answer_is_asked_for_again(data: bytes, status: int) -> None:
    """What is idempotent, or says that it is; the client sees the last answer only, and nothing of the others."""
    bad = BUSY.replace(b"503 Service Unavailable", b"%d Bad" % status)
    head = data.startswith(b"HEAD")
    async with several(then(bad[:-4] if head else bad, OK[:-2] if head else OK)) as ([origin], gateway):
        answer = await gateway.ask(data)
        assert (answer.status, answer.body) == (200, b"" if head else b"ok")
        assert len(origin.received) == 2
        assert len({(one.method, one.target, one.body, one.value("idempotency-key")) for one in origin.received}) == 1
        assert (await gateway.metrics()).value("retry_attempts_total", upstream="origin") == 1


@pytest.mark.parametrize("data", UNSAFE.values(), ids=UNSAFE)
@pytest.mark.parametrize("script", [answering(BUSY), lose], ids=["503", "lost"])
async def test_what_may_not_happen_twice_is_sent_once(data: bytes, script: Script) -> None:
    """POST and PATCH without a key, whatever became of them."""
    async with several(script) as ([origin], gateway):
        assert (await gateway.ask(data)).status in {502, 503}
        assert len(origin.received) == 1


@pytest.mark.parametrize("data", SAFE.values(), ids=SAFE)
async def test_a_lost_connection_is_repaired(data: bytes) -> None:
    """The endpoint took the request and closed; an idempotent one goes out again."""
    served: list[Peer] = []

    async def script(peer: Peer) -> None:
        served.append(peer)
        if len(served) == 1:
            await lose(peer)
        else:
            await answering(OK[:-2] if data.startswith(b"HEAD") else OK)(peer)

    async with several(script) as ([origin], gateway):
        assert (await gateway.ask(data)).status == 200
        assert len(origin.received) == 2


async def test_without_a_word_about_retries_only_what_was_not_sent_goes_out_again() -> None:
    """A 503 and a lost connection reach the client; a refused connection leads to the other endpoint at once."""
    for script in (answering(BUSY), lose):
        async with several(script, upstream={}) as ([origin], gateway):
            assert (await gateway.ask(get())).status in {502, 503}
            assert len(origin.received) == 1
    async with serving(answering(OK)) as origin:
        text = json.loads(document(await refused_url()))
        text["upstreams"][0] |= {"endpoints": [{"url": text["upstreams"][0].pop("url")}, {"url": origin.url}]}
        async with running_gateway(json.dumps(text)) as gateway:
            assert [(await gateway.ask(post(b"pay"))).status for _ in range(12)] == [200] * 12
            assert len(origin.received) == 12
            assert (await gateway.metrics()).value("circuit_breaker_opened_total") == 0


@pytest.mark.parametrize(("keys", "attempts"), [({"retries": 2}, 3), ({"retry": {"maxAttempts": 2, **QUICK}}, 2)])
async def test_attempts_are_bounded(keys: dict[str, Any], attempts: int) -> None:
    """`retries` come after the first, `maxAttempts` counts all; the last answer is the client's."""
    quick = {"retry": QUICK} if "retries" in keys else {}
    async with several(answering(BUSY), upstream={**quick, **keys}) as ([origin], gateway):
        answer = await gateway.ask(get())
        assert (answer.status, answer.body, len(origin.received)) == (503, b"busy", attempts)


@pytest.mark.parametrize("upstream", [{"retries": 0}, {"retry": {"enabled": False}}, {"retry": False}])
async def test_switched_off_nothing_is_repeated(upstream: dict[str, Any]) -> None:
    """Not even a connection that was refused."""
    text = document(await refused_url(), upstream=upstream)
    async with running_gateway(text) as gateway:
        assert (await gateway.ask(get())).status == 502
        metrics = await gateway.metrics()
        assert (metrics.value("upstream_requests_total"), metrics.value("retry_attempts_total")) == (1, 0)


async def test_a_read_timeout_and_a_429_are_never_repeated() -> None:
    """The one may still be working on it; the other asks for less, whatever is configured."""
    many = b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n"
    codes = {"retry": {"retryableStatusCodes": [429, 503], **QUICK}}
    async with several(answering(many), upstream=codes) as ([origin], gateway):
        assert (await gateway.ask(get())).status == 429
        assert len(origin.received) == 1

    async def hang(peer: Peer) -> None:
        await peer.request()
        await peer.gone()

    async with several(hang, upstream={**ASKED, "timeout": {"response": 50}}) as ([origin], gateway):
        assert (await gateway.ask(get())).status == 504
        assert len(origin.received) == 1


async def test_methods_and_codes_are_the_operators() -> None:
    """Those that are listed, and no others; POST needs its key even then."""
    listed = {"retry": {"methods": ["GET", "POST"], "retryableStatusCodes": [500], **QUICK}, "circuitBreaker": False}
    bad = BUSY.replace(b"503", b"500")
    async with several(answering(bad), upstream=listed) as ([origin], gateway):
        for data, attempts in ((get(), 3), (post(b"x"), 1), (post(b"x", "/", KEY), 3), (SAFE["PUT"], 1)):
            before = len(origin.received)
            assert (await gateway.ask(data)).status == 500
            assert len(origin.received) - before == attempts
    async with several(answering(BUSY), upstream=listed) as ([origin], gateway):
        assert (await gateway.ask(get())).status == 503
        assert len(origin.received) == 1


async def test_the_next_attempt_goes_to_another_endpoint() -> None:
    """While there is one that was not tried."""
    async with several(answering(BUSY), answering(BUSY), answering(OK)) as (origins, gateway):
        assert [(await gateway.ask(get())).status for _ in range(6)] == [200] * 6
        assert len(origins[2].received) == 6


async def test_an_answer_that_is_dropped_costs_its_connection_only_if_it_must() -> None:
    """Read whole already, it leaves a connection to go on with; else that is closed."""
    async with several(then(BUSY, OK)) as ([origin], gateway):
        assert (await gateway.ask(get())).status == 200
        assert origin.connections == 1
    endless = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 1000000\r\n\r\nbusy"
    async with several(then(endless, OK)) as ([origin], gateway):
        assert (await gateway.ask(get())).body == b"ok"
        await origin.until(lambda: origin.open == 1, "the end of the answer that nobody reads")


async def test_an_upstream_that_asks_for_time_gets_it() -> None:
    """A Retry-After beyond the wait is passed on, with its answer."""
    later = BUSY.replace(b"\r\n\r\n", b"\r\nRetry-After: 5\r\n\r\n")
    async with several(then(later, OK)) as ([origin], gateway):
        answer = await gateway.ask(get())
        assert (answer.status, answer.value("retry-after"), len(origin.received)) == (503, "5", 1)


async def test_no_wait_outlives_the_request() -> None:
    """Where the pause would end after the request's time, the client gets what there is at once."""
    slow = {"retry": {"backoff": {"initialDelay": 5000, "maxDelay": 5000, "jitter": False}}}
    async with several(then(BUSY, OK), upstream=slow, route={"timeout": 3000}) as ([origin], gateway):
        answer = await gateway.ask(get())
        assert (answer.status, answer.body, len(origin.received)) == (503, b"busy", 1)


async def test_the_budget_is_shared_by_all_routes() -> None:
    """Spent by one, there is nothing left for the other; the first attempts go on."""
    budget = {
        "retry": {"maxAttempts": 2, "budget": {"percent": 0, "minPerSecond": 0}, **QUICK},
        "circuitBreaker": False,
    }
    async with several(answering(BUSY), upstream=budget, routes=[{"path": "/a"}, {"path": "/b"}]) as (
        [origin],
        gateway,
    ):
        assert [(await gateway.ask(get(path))).status for path in ("/a", "/b")] == [503, 503]
        assert len(origin.received) == 2
        metrics = await gateway.metrics()
        assert metrics.value("retry_budget_exhausted_total", upstream="origin") == 2
        assert metrics.value("retry_attempts_total") == 0


async def test_an_open_breaker_ends_retries() -> None:
    """The failure that opens it is the last attempt, though others were left."""
    upstream = {"retry": {"maxAttempts": 10, **QUICK}, "circuitBreaker": {"failureThreshold": 3}}
    async with several(answering(BUSY), upstream=upstream) as ([origin], gateway):
        assert (await gateway.ask(get())).status == 503
        assert len(origin.received) == 3


# ---- bodies


async def test_a_streamed_body_is_sent_again() -> None:
    """Chunked and slow, with trailers, up to 64 KiB: the second attempt gets all of it, in the same order."""
    parts = [b"a" * 1000, b"b" * 2000, b"c" * 3000]

    async def script(peer: Peer) -> None:
        received = await peer.head()
        assert received is not None
        if peer.number == 1:
            await peer.send(BUSY)  # early: the body is still on its way
            await peer.gone()
        else:
            await peer.body(received)
            await peer.send(OK)

    async with several(script) as ([origin], gateway), connected(gateway.port) as client:
        await client.send(get("/", "Transfer-Encoding: chunked", method="PUT") + b"3e8\r\n" + parts[0] + b"\r\n")
        await origin.arrived(2)
        await client.send(chunked(*parts[1:], trailers=("X-End: yes",)))
        assert (await client.response("PUT")).status == 200
        assert origin.last.body == b"".join(parts)
        assert origin.last.trailers == [(b"X-End", b"yes")]
        assert (await client.ask(get())).status == 200


async def test_a_body_beyond_the_cap_is_not_sent_again() -> None:
    """What was let go cannot be had back: the failure is the client's."""
    body = b"x" * (KEPT * 4)
    served: list[int] = []

    async def script(peer: Peer) -> None:
        while await peer.request():
            served.append(peer.number)
            await peer.send(BUSY if len(served) == 1 else OK)

    async with several(script) as ([origin], gateway), connected(gateway.port) as client:
        await client.send(get("/", f"Content-Length: {len(body)}", method="PUT") + body[:10])
        await origin.arrived()
        await client.send(body[10:])
        assert (await client.response("PUT")).status == 503
        assert len(origin.received) == 1


async def test_a_client_that_waits_to_be_asked_is_asked_once() -> None:
    """Expect: 100-continue, a first attempt that is lost: one 100, one answer."""

    async def script(peer: Peer) -> None:
        received = await peer.head()
        assert received is not None
        if peer.number == 1:
            await first_gone.wait()
            peer.close()
        else:
            await peer.body(received)
            await peer.send(OK)

    first_gone = asyncio.Event()
    async with several(script) as ([origin], gateway), connected(gateway.port) as client:
        await client.send(get("/", "Content-Length: 4", "Expect: 100-continue", method="PUT"))
        assert b" 100 " in (await client.head()).start
        first_gone.set()
        await origin.arrived(2)
        await client.send(b"body")
        answer = await client.response("PUT")
        assert (answer.status, answer.interim, origin.last.body) == (200, [], b"body")


async def test_a_client_that_leaves_during_the_wait_ends_it() -> None:
    """No further attempt, and nothing left behind."""
    slow = {"retry": {"backoff": {"initialDelay": 10_000, "maxDelay": 10_000, "jitter": False}}}
    async with several(answering(BUSY), upstream=slow) as ([origin], gateway):
        async with connected(gateway.port) as client:
            await client.send(get())
            await origin.arrived()
        metrics = await gateway.settled()
        assert metrics.value("http_requests_total", status="499") == 1
        assert metrics.value("upstream_connections", state="busy") == 0
        assert len(origin.received) == 1


async def test_the_log_tells_the_attempts(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """All of them, with the status of the last."""
    async with several(then(BUSY, BUSY, OK), logging={"sampling": {"successRate": 1}}) as (_, gateway):
        assert (await gateway.ask(get())).status == 200
    lines = [json.loads(line) for line in capsysbinary.readouterr().out.splitlines() if b"request.completed" in line]
    told = next(line["upstream"] for line in lines if line["http"]["path"] == "/")
    assert (told["attempts"], told["statusCode"]) == (3, 200)


# ---- fallbacks


def with_fallbacks(url: str, *others: str, **first: Any) -> str:
    """A document whose upstreams fall back one to the next: origin, second, third."""
    text = json.loads(document(url, upstream=first, logging={"sampling": {"successRate": 1}}))
    names = ["origin", "second", "third"]
    for number, other in enumerate(others, 1):
        text["upstreams"].append({"name": names[number], "url": other})
        text["upstreams"][number - 1]["fallback"] = names[number]
    return json.dumps(text)


async def fallen(gateway: Gateway, upstream: str, to: str) -> float:
    return (await gateway.metrics()).value("upstream_fallback_total", upstream=upstream, fallback=to)


async def test_a_fallback_serves_what_cannot_be_reached(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """A POST too: nothing of it was sent. The log says who served instead."""
    async with serving(answering(OK)) as other:
        text = with_fallbacks(await refused_url(), other.url, retry=QUICK)
        async with running_gateway(text) as gateway:
            assert (await gateway.ask(post(b"pay once"))).status == 200
            assert other.last.body == b"pay once"
            assert await fallen(gateway, "origin", "second") == 1
    lines = [json.loads(line) for line in capsysbinary.readouterr().out.splitlines() if b"request.completed" in line]
    told = next(line["upstream"] for line in lines if line["http"]["method"] == "POST")
    assert (told["fallback"], told["host"], told["attempts"]) == ("second", f"127.0.0.1:{other.port}", 4)


async def test_a_fallback_serves_while_the_breaker_is_open() -> None:
    """The failures that opened it were the clients'; from then on nobody notices."""
    policy = {"circuitBreaker": {"failureThreshold": 2}}
    async with (
        serving(answering(BUSY)) as origin,
        serving(answering(OK)) as other,
        running_gateway(with_fallbacks(origin.url, other.url, **policy)) as gateway,
    ):
        assert [(await gateway.ask(post(b"x"))).status for _ in range(4)] == [503, 503, 200, 200]
        assert (len(origin.received), len(other.received)) == (2, 2)


async def test_fallbacks_may_have_fallbacks() -> None:
    """The chain is followed to its end, and an error there is the answer."""
    gone = await refused_url()
    async with (
        serving(answering(OK)) as third,
        running_gateway(with_fallbacks(gone, gone, third.url, retry=False)) as gateway,
    ):
        assert (await gateway.ask(get())).status == 200
        assert await fallen(gateway, "origin", "second") == 1
        assert await fallen(gateway, "second", "third") == 1
    async with running_gateway(with_fallbacks(gone, gone, retry=False)) as gateway:
        assert (await gateway.ask(get())).status == 502


async def test_a_request_that_was_sent_does_not_fall_back() -> None:
    """The upstream may have done it already: a lost connection is the client's to know of."""
    async with (
        serving(lose) as origin,
        serving(answering(OK)) as other,
        running_gateway(with_fallbacks(origin.url, other.url)) as gateway,
    ):
        assert (await gateway.ask(post(b"pay"))).status == 502
        assert (await gateway.ask(get())).status == 502
        assert other.received == []


async def test_a_stream_falls_back_whole() -> None:
    """A body that is still on its way when the first upstream cannot be reached goes to the second."""
    async with serving(answering(OK)) as other:
        text = with_fallbacks(await refused_url(), other.url, retry=False)
        async with running_gateway(text) as gateway, connected(gateway.port) as client:
            await client.send(get("/", "Content-Length: 8", method="POST") + b"half")
            await other.until(lambda: other.connections == 1)
            await client.send(b"half")
            assert (await client.response("POST")).status == 200
            assert other.last.body == b"halfhalf"
