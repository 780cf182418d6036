"""Active checks against real origins: which endpoints they take out and bring back, and what a probe looks like."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from tests.support.client import get
from tests.support.deadline import eventually
from tests.support.dns import dns_server
from tests.support.gateway import Gateway, document, running_gateway
from tests.support.origin import OK, Origin, Peer, Script, answering, serving

QUICK = {"path": "/health", "interval": 100, "timeout": 100, "unhealthyThreshold": 2, "healthyThreshold": 2}
UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"


class Patient:
    """A script whose answer to /health can be changed; everything else is answered with 200."""

    def __init__(self, answer: bytes | None = OK) -> None:
        self.answer = answer  # None: no answer
        self.probes = 0

    async def __call__(self, peer: Peer) -> None:
        while received := await peer.request():
            if received.target != "/health":
                await peer.send(OK)
                continue
            self.probes += 1
            if self.answer is None:
                await peer.gone()
                return
            await peer.send(self.answer)


async def checks(gateway: Gateway) -> dict[str, Any]:
    """What /health/deep says of the upstream's checks, by the endpoint's port."""
    found: dict[str, Any] = (await gateway.admin("/health/deep")).json["healthChecks"].get("origin", {})
    return {url.rpartition(":")[2]: check for url, check in found.items()}


async def until(gateway: Gateway, origin: Origin, *, up: bool) -> dict[str, Any]:
    """Wait until the checks say so; what they say."""
    port = str(origin.port)
    found = await eventually(lambda: checks(gateway), lambda all_of: all_of[port]["up"] is up and all_of[port]["at"])
    return dict(found[port])


def requests(origin: Origin) -> int:
    """How many requests of clients an origin got."""
    return sum(received.target == "/" for received in origin.received)


async def ok(gateway: Gateway, count: int) -> None:
    """That many requests, all answered with 200."""
    for _ in range(count):
        assert (await gateway.ask(get())).status == 200


def checked(*urls: str, check: Any = None, **sections: Any) -> str:
    """A configuration with these endpoints under checks, without other means of finding failures."""
    upstream = {"url": "", "endpoints": [{"url": url} for url in urls], "passiveHealth": {"enabled": False}}
    return document("", upstream=upstream | ({} if check == {} else {"healthCheck": check or QUICK}), **sections)


@asynccontextmanager
async def pair(script: Script, **options: Any) -> AsyncIterator[tuple[Origin, Origin, Gateway]]:
    """A gateway before a sound origin and one that follows the script."""
    async with AsyncExitStack() as stack:
        sound = await stack.enter_async_context(serving(Patient()))
        other = await stack.enter_async_context(serving(script))
        gateway = await stack.enter_async_context(running_gateway(checked(sound.url, other.url, **options)))
        yield sound, other, gateway


@pytest.mark.parametrize("answer", [UNAVAILABLE, None, b"nonsense\r\n\r\n", b"HTTP/1.1 404 Not Found\r\n\r\n"])
async def test_an_endpoint_that_fails_its_checks_is_left_out_until_it_passes_them(answer: bytes | None) -> None:
    """A bad status, no answer in time and no HTTP are failures alike; it is told, counted and shown."""
    patient = Patient(answer)
    async with pair(patient) as (sound, other, gateway):
        assert (await until(gateway, other, up=False))["error"]
        await ok(gateway, 6)
        assert (requests(sound), requests(other)) == (6, 0)
        patient.answer = OK
        shown = await until(gateway, other, up=True)
        assert (shown["status"], shown["error"]) == (200, None)
        await ok(gateway, 6)
        assert (requests(sound), requests(other)) == (9, 3)
        events = [event.name for event in gateway.plane.node.live.events.recent]
        assert events == ["upstream.failure", "upstream.recovered"]
        metrics = await gateway.metrics()
        assert metrics.value("health_checks_total", upstream="origin", result="failure") >= 2
        assert metrics.value("health_checks_total", upstream="origin", result="success") >= 2


async def test_an_origin_that_goes_down_and_comes_back_is_found() -> None:
    """Refused connections are failures; nobody needs to send a request for either to be noticed."""
    async with serving(Patient()) as sound:
        async with serving(Patient()) as other:
            pass
        async with running_gateway(checked(sound.url, other.url)) as gateway:
            await until(gateway, other, up=False)
            async with serving(Patient(), port=other.port) as again:
                await until(gateway, again, up=True)
                await ok(gateway, 2)
                assert requests(again) == 1


async def test_a_probe_goes_where_a_request_would_go() -> None:
    """To the endpoint's Host, with the path as it is written, on a connection of its own that ends with it."""
    async with serving(Patient()) as origin:
        text = document(f"{origin.url}/base", upstream={"healthCheck": {"path": "/health?deep=1", "interval": 100}})
        async with running_gateway(text) as gateway:
            probe = await origin.arrived()
            assert (probe.method, probe.target) == ("GET", "/health?deep=1")
            assert probe.value("host") == f"127.0.0.1:{origin.port}"
            assert (probe.value("user-agent") or "").startswith("FlexGate-health-check/")
            await origin.arrived(3)
            assert origin.connections >= 3
            await gateway.reconfigure(checked(origin.url, check={}))
            await origin.until(lambda: origin.open == 0, "the connections of probes closed")


async def test_redirects_are_not_followed() -> None:
    """A 3xx is an answer like others: good by default, and not where `expectedStatus` says otherwise."""
    moved = b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"
    async with serving(answering(moved)) as origin, running_gateway(checked(origin.url)) as gateway:
        await until(gateway, origin, up=True)
        await gateway.reconfigure(checked(origin.url, check=QUICK | {"expectedStatus": [200]}))
        assert (await until(gateway, origin, up=False))["error"] == "status 302"
        assert {received.target for received in origin.received} == {"/health"}


async def test_a_body_without_end_is_not_read() -> None:
    """The status is enough; the connection is closed at once."""

    async def endless(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            await peer.send(b"10000\r\n" + bytes(0x10000) + b"\r\n")

    async with serving(endless) as origin, running_gateway(checked(origin.url)) as gateway:
        assert (await until(gateway, origin, up=True))["status"] == 200
        await origin.until(lambda: bool(origin.peers) and origin.open < len(origin.peers), "a connection closed")
        assert max(peer.sent for peer in origin.peers) < 16 << 20


async def test_what_was_not_checked_yet_is_available() -> None:
    """A node that starts serves at once, also where the first probe is not answered for long."""
    patience = {"path": "/health", "interval": 60_000, "timeout": 60_000}
    async with pair(Patient(None), check=patience) as (sound, other, gateway):
        await other.arrived()
        await ok(gateway, 4)
        assert (requests(sound), requests(other)) == (2, 2)


async def test_checks_live_through_edits_of_other_things() -> None:
    """Neither is the verdict lost nor a probe sent for it; an edited check keeps the verdict until it has its own."""
    rarely = QUICK | {"interval": 60_000, "timeout": 1000, "unhealthyThreshold": 1}
    patient = Patient(UNAVAILABLE)
    async with pair(patient, check=rarely) as (sound, other, gateway):
        await until(gateway, other, up=False)
        assert patient.probes == 1
        urls = sound.url, other.url
        await gateway.reconfigure(checked(*urls, check=rarely, route={"timeout": 1234}))
        await ok(gateway, 3)
        patient.answer = None
        await gateway.reconfigure(checked(*urls, check=rarely | {"healthyThreshold": 5}))
        await eventually(checks_of(patient), lambda count: count == 2)
        await ok(gateway, 3)
        assert (requests(sound), requests(other)) == (6, 0)


def checks_of(patient: Patient) -> Any:
    """Asks a script how often it was probed."""

    async def ask() -> int:
        await asyncio.sleep(0)
        return patient.probes

    return ask


async def test_without_checks_nothing_is_down() -> None:
    """An edit that takes the checks away brings back what they took out; the probes end."""
    async with pair(Patient(UNAVAILABLE)) as (sound, other, gateway):
        await until(gateway, other, up=False)
        await gateway.reconfigure(checked(sound.url, other.url, check={}))
        await ok(gateway, 4)
        assert (requests(sound), requests(other)) == (2, 2)
        assert await checks(gateway) == {}


async def test_the_guard_is_asked_before_a_probe() -> None:
    """No probe reaches an address that requests must not reach."""
    async with serving(Patient()) as origin:
        text = document(
            f"http://localhost:{origin.port}",
            upstream={"healthCheck": QUICK},
            security={"blockedIPs": ["127.0.0.0/8", "::1"]},
        )
        async with running_gateway(text) as gateway:
            metrics = await eventually(gateway.metrics, lambda found: found.value("health_checks_total") >= 2)
            assert metrics.value("health_checks_total", result="success") == 0
        assert origin.connections == 0


async def test_each_address_of_a_name_is_checked() -> None:
    """And one that vanishes is not any more."""
    upstream = {"healthCheck": QUICK, "dns": {"refresh": 100}, "passiveHealth": {"enabled": False}}
    async with (
        dns_server(api=["127.0.0.1", "127.0.0.2"]) as server,
        serving(Patient()) as first,
        serving(Patient(UNAVAILABLE), "127.0.0.2", first.port) as second,
        running_gateway(
            document(f"http://api.test:{first.port}", upstream=upstream), dns_server=server.address
        ) as gateway,
    ):
        await eventually(
            lambda: checks(gateway), lambda found: sorted(check["up"] for check in found.values()) == [False, True]
        )
        await ok(gateway, 4)
        assert requests(second) == 0
        assert first.last.value("host") == f"api.test:{first.port}"
        server.records["api.test"] = ["127.0.0.1"]
        await eventually(lambda: checks(gateway), lambda found: len(found) == 1)
        await second.until(lambda: second.open == 0, "no more probes")


async def test_probes_end_with_the_gateway() -> None:
    """A drain does not wait for one that hangs."""
    slow = {"path": "/health", "interval": 60_000, "timeout": 60_000}
    async with serving(Patient(None)) as origin:
        async with running_gateway(checked(origin.url, check=slow)):
            await origin.arrived()
        await origin.until(lambda: origin.open == 0, "the probe's connection closed")
