"""Endpoints with names, over a real DNS server whose records change: which addresses are used, and what is kept."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import dns.rcode
import pytest

from tests.support.client import connected, get, post
from tests.support.deadline import eventually
from tests.support.dns import DnsServer, dns_server
from tests.support.gateway import Gateway, document, running_gateway
from tests.support.origin import OK, Origin, answering, echo, serving

QUICK = {"refresh": 100}


@asynccontextmanager
async def two_origins() -> AsyncIterator[tuple[Origin, Origin]]:
    """The same port of 127.0.0.1 and of 127.0.0.2."""
    async with serving(answering(OK)) as first, serving(answering(OK), "127.0.0.2", first.port) as second:
        yield first, second


@asynccontextmanager
async def resolving(
    server: DnsServer, port: int, *, upstream: dict[str, Any] | None = None, **sections: Any
) -> AsyncIterator[Gateway]:
    """A gateway whose upstream is http://api.test:PORT, asked of the server again every 0.1 s."""
    text = document(f"http://api.test:{port}", upstream={"dns": QUICK, **(upstream or {})}, **sections)
    async with running_gateway(text, dns_server=server.address) as gateway:
        yield gateway


async def endpoints(gateway: Gateway) -> set[str]:
    """The addresses of the upstream's endpoints, as /health/deep has them."""
    pools: dict[str, Any] = (await gateway.admin("/health/deep")).json["pools"].get("origin", {})
    return {address.rpartition("(")[2].rstrip(")") for address in pools}


async def until_endpoints(gateway: Gateway, *addresses: str) -> None:
    """Wait until the upstream has exactly these addresses."""
    await eventually(lambda: endpoints(gateway), lambda found: found == set(addresses))


async def ok(gateway: Gateway, count: int = 1) -> None:
    """That many requests, all answered with 200."""
    for _ in range(count):
        assert (await gateway.ask(get())).status == 200


async def test_a_name_is_asked_of_the_given_server() -> None:
    """The first request waits for the first answer; Host is the name."""
    async with dns_server(api=["127.0.0.1"]) as server, serving(echo) as origin:
        async with resolving(server, origin.port) as gateway:
            answer = await gateway.ask(get())
            assert answer.status == 200
            assert ["Host", f"api.test:{origin.port}"] in answer.json["headers"]
        assert {name for name, _ in server.asked} == {"api.test"}


async def test_each_address_is_an_endpoint() -> None:
    """Several records are several endpoints, and take turns."""
    async with dns_server(api=["127.0.0.1", "127.0.0.2"]) as server, two_origins() as (first, second):
        async with resolving(server, first.port) as gateway:
            await ok(gateway, 10)
            assert await endpoints(gateway) == {"127.0.0.1", "127.0.0.2"}
        assert len(first.received) == len(second.received) == 5


async def test_an_alias_is_followed() -> None:
    """A CNAME leads to the addresses of the other name."""
    async with dns_server(other=["127.0.0.1"]) as server, serving(answering(OK)) as origin:
        server.aliases["api.test"] = "other.test"
        async with resolving(server, origin.port) as gateway:
            await ok(gateway)


async def test_records_that_change_are_followed() -> None:
    """A new address is used once the name is asked about again, an old one no more; its idle connections end."""
    async with dns_server(api=["127.0.0.1"]) as server, two_origins() as (first, second):
        async with resolving(server, first.port) as gateway:
            await ok(gateway)
            server.records["api.test"] = ["127.0.0.2"]
            await until_endpoints(gateway, "127.0.0.2")
            await first.until(lambda: first.open == 0, "the idle connection closed")
            await ok(gateway, 3)
        assert (len(first.received), len(second.received)) == (1, 3)


async def test_an_address_that_stays_keeps_its_connections() -> None:
    """A second record comes and goes; the connection to the first lives on."""
    async with dns_server(api=["127.0.0.1"]) as server, two_origins() as (first, _):
        async with resolving(server, first.port) as gateway:
            await ok(gateway)
            server.records["api.test"] = ["127.0.0.2", "127.0.0.1"]
            await until_endpoints(gateway, "127.0.0.1", "127.0.0.2")
            server.records["api.test"] = ["127.0.0.1"]
            await until_endpoints(gateway, "127.0.0.1")
            await ok(gateway, 3)
        assert first.connections == 1


async def test_the_ttl_says_when_to_ask_again() -> None:
    """Without `dns.refresh`; an answer that may not be kept at all is kept for a second."""
    async with dns_server(api=["127.0.0.1"]) as server, two_origins() as (first, _):
        server.ttl = 0
        text = document(f"http://api.test:{first.port}")
        async with running_gateway(text, dns_server=server.address) as gateway:
            await ok(gateway)
            server.records["api.test"] = ["127.0.0.2"]
            await until_endpoints(gateway, "127.0.0.2")


async def test_refresh_does_not_wait_for_the_ttl() -> None:
    """`dns.refresh` asks the server, whatever the last answer said of its age."""
    async with dns_server(api=["127.0.0.1"]) as server, two_origins() as (first, _):
        server.ttl = 3600
        async with resolving(server, first.port) as gateway:
            await ok(gateway)
            server.records["api.test"] = ["127.0.0.2"]
            await until_endpoints(gateway, "127.0.0.2")


@pytest.mark.parametrize("trouble", ["servfail", "refused", "nxdomain", "no records", "silent"])
async def test_the_last_addresses_stay_while_look_ups_fail(trouble: str) -> None:
    """However they fail: requests are served, it is counted and told once; new records are followed afterwards."""
    async with dns_server(api=["127.0.0.1"]) as server, two_origins() as (first, second):
        async with resolving(server, first.port) as gateway:
            await ok(gateway)
            if trouble == "nxdomain":
                del server.records["api.test"]
            elif trouble == "no records":
                server.records["api.test"] = []
            elif trouble == "silent":
                server.silent = True
            else:
                server.rcode = dns.rcode.from_text(trouble)
            await eventually(gateway.metrics, lambda found: found.value("dns_errors_total", upstream="origin") >= 1)
            await ok(gateway, 3)
            assert await endpoints(gateway) == {"127.0.0.1"}
            shown = (await gateway.admin("/health/deep")).json["names"]["origin"]["api.test"]
            assert shown["addresses"] == ["127.0.0.1"]
            assert shown["failures"]
            assert shown["error"]
            server.silent, server.rcode, server.records = False, dns.rcode.NOERROR, {"api.test": ["127.0.0.2"]}
            await until_endpoints(gateway, "127.0.0.2")
            await ok(gateway)
            told = [event.name for event in gateway.plane.node.live.events.recent]
            assert told == ["upstream.failure", "upstream.recovered"]
        assert len(second.received) == 1


async def test_a_name_without_an_answer_is_504() -> None:
    """The first request waits for `timeout.dns`, and no longer."""
    async with dns_server() as server:
        server.silent = True
        async with resolving(server, 80, upstream={"timeout": {"dns": 50}}) as gateway:
            answer = await gateway.ask(get())
            assert answer.status == 504
            assert "api.test" not in answer.body.decode()


async def test_an_edit_while_a_request_waits_for_a_name_does_not_cost_it() -> None:
    """It is served under the configuration that it came under, once the name is answered."""
    async with dns_server(api=["127.0.0.1"]) as server, serving(answering(OK)) as origin:
        server.silent = True
        async with resolving(server, origin.port) as gateway, connected(gateway.port) as client:
            await client.send(get())
            await eventually(gateway.metrics, lambda seen: seen.value("http_requests_in_flight") == 1)
            edited = document(f"http://api.test:{origin.port}", upstream={"dns": QUICK, "retries": 1})
            await gateway.reconfigure(edited)
            server.speak()
            assert (await client.response()).status == 200
            await ok(gateway)


async def test_a_name_that_does_not_exist_is_502_until_it_does() -> None:
    """Requests fail at once while there is nothing to wait for; the record is found when it appears."""
    async with dns_server() as server, serving(answering(OK)) as origin, resolving(server, origin.port) as gateway:
        assert (await gateway.ask(get())).status == 502
        assert (await gateway.ask(get())).status == 502
        assert (await gateway.admin("/health/ready")).json["checks"]["upstreams"] == "DOWN"
        server.records["api.test"] = ["127.0.0.1"]
        await until_endpoints(gateway, "127.0.0.1")
        await ok(gateway)


async def test_one_endpoint_serves_while_the_name_of_another_is_unknown() -> None:
    """Requests wait for a name only where there is nothing else."""
    async with dns_server() as server, serving(answering(OK)) as origin:
        server.silent = True
        listed = [{"url": "http://api.test:1"}, {"url": origin.url}]
        text = document("", upstream={"url": "", "endpoints": listed})
        async with running_gateway(text, dns_server=server.address) as gateway:
            await ok(gateway, 4)
        assert len(origin.received) == 4


async def test_addresses_that_are_blocked_are_left_out() -> None:
    """The guard judges every address of a name: the others serve, and an upstream with none left answers 502."""
    async with dns_server(api=["127.0.0.1", "127.0.0.2"]) as server, two_origins() as (first, second):
        async with resolving(server, first.port, security={"blockedIPs": ["127.0.0.1"]}) as gateway:
            await ok(gateway, 4)
            server.records["api.test"] = ["127.0.0.1"]
            await until_endpoints(gateway, "127.0.0.1")
            assert (await gateway.ask(get())).status == 502
        assert (first.connections, len(second.received)) == (0, 4)


async def test_localhost_needs_no_server() -> None:
    """It is resolved without a question, and is one endpoint, whichever of its two addresses has the server."""
    async with dns_server() as server, serving(answering(OK)) as origin:
        server.silent = True
        text = document(f"http://localhost:{origin.port}")
        async with running_gateway(text, dns_server=server.address) as gateway:
            await ok(gateway, 4)
            assert await endpoints(gateway) == {"127.0.0.1"}
        assert server.asked == []


async def test_localhost_may_be_ipv6_only() -> None:
    """A server on [::1] alone is found under `localhost`, too."""
    if not socket.has_ipv6:
        pytest.skip("no IPv6")
    async with serving(answering(OK), "::1") as origin:
        async with running_gateway(document(f"http://localhost:{origin.port}")) as gateway:
            await ok(gateway, 4)
        assert len(origin.received) == 4


async def test_ipv6_addresses_are_endpoints() -> None:
    """AAAA records count like A records."""
    async with (
        dns_server(api=["::1"]) as server,
        serving(answering(OK), "::1") as origin,
        resolving(server, origin.port) as gateway,
    ):
        await ok(gateway)
        assert await endpoints(gateway) == {"::1"}


async def test_changing_records_lose_no_request() -> None:
    """Exchanges on an address that vanishes are finished; no request fails while records move back and forth."""
    async with dns_server(api=["127.0.0.1"]) as server, two_origins() as (first, second):
        async with resolving(server, first.port) as gateway:
            done = asyncio.Event()

            async def client() -> int:
                count = 0
                async with connected(gateway.port) as one:
                    while not done.is_set():
                        assert (await one.ask(get())).status == 200
                        count += 1
                return count

            async with asyncio.TaskGroup() as group:
                clients = [group.create_task(client()) for _ in range(8)]
                for index in range(6):
                    server.records["api.test"] = [f"127.0.0.{index % 2 + 1}"]
                    await until_endpoints(gateway, f"127.0.0.{index % 2 + 1}")
                done.set()
            assert all(task.result() for task in clients)
            assert (await gateway.settled()).value("upstream_errors_total") == 0
        assert first.received
        assert second.received


async def test_a_dead_address_costs_no_request() -> None:
    """A request that one address does not take goes to another, whatever its method."""
    async with dns_server(api=["127.0.0.1", "127.0.0.3"]) as server, serving(answering(OK)) as origin:
        async with resolving(server, origin.port) as gateway:
            await ok(gateway, 6)
            assert (await gateway.ask(post(b"x"))).status == 200
            assert await endpoints(gateway) == {"127.0.0.1", "127.0.0.3"}
        assert len(origin.received) == 7


async def test_an_edit_keeps_what_is_known() -> None:
    """A revision that does not touch the name neither asks anew nor loses a connection."""
    async with dns_server(api=["127.0.0.1"]) as server, serving(answering(OK)) as origin:
        server.ttl = 300
        url = f"http://api.test:{origin.port}"
        async with running_gateway(document(url), dns_server=server.address) as gateway:
            await ok(gateway)
            asked = len(server.asked)
            server.silent = True
            await gateway.reconfigure(document(url, upstream={"timeout": 1234}))
            await ok(gateway)
            assert len(server.asked) == asked
        assert origin.connections == 1
