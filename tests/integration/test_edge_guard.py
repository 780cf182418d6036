"""Where the gateway may connect to: checked on the resolved address, whatever name leads there."""

from __future__ import annotations

import pytest

from shared.faults import ConfigError
from tests.support.client import get
from tests.support.gateway import document, proxied, running_gateway
from tests.support.origin import OK, answering, serving


@pytest.mark.parametrize("host", ["127.0.0.1", "[::ffff:127.0.0.1]", "127.1", "2130706433", "[::1]", "169.254.169.254"])
async def test_a_blocked_address_stops_the_start(host: str) -> None:
    """However it is spelled: an upstream that could never be reached is a fault of the configuration."""
    security = {"blockedIPs": ["127.0.0.0/8", "::1", "169.254.0.0/16"]}
    with pytest.raises(ConfigError) as refused:
        async with running_gateway(document(f"http://{host}:80", security=security)):
            pass
    assert [fault.path for fault in refused.value.faults] == ["upstreams[0].url"]


@pytest.mark.parametrize("host", ["localhost", "0x7f000001"])
async def test_a_name_that_leads_to_a_blocked_address_is_not_connected_to(host: str) -> None:
    """What the resolver makes of a name counts: the origin sees no connection, and the client no address."""
    security = {"blockedIPs": ["127.0.0.0/8", "::1"]}
    async with serving(answering(OK)) as origin:
        async with running_gateway(document(f"http://{host}:{origin.port}", security=security)) as gateway:
            answer = await gateway.ask(get())
            assert answer.status in (502, 503)
            assert host not in answer.body.decode()
            assert "127.0" not in answer.body.decode()
        assert origin.connections == 0


@pytest.mark.parametrize(("allowed", "status"), [(["127.0.0.1"], 200), (["other.example", "*.corp"], 502)])
async def test_only_allowed_hosts_are_connected_to(allowed: list[str], status: int) -> None:
    """`allowedHosts` names every host that an upstream may have."""
    async with proxied(answering(OK), security={"allowedHosts": allowed}) as (origin, gateway):
        assert (await gateway.ask(get())).status == status
        assert origin.connections == (status == 200)


async def test_metadata_addresses_are_blocked_without_configuration() -> None:
    """The cloud's credentials are out of reach by default."""
    with pytest.raises(ConfigError):
        async with running_gateway(document("http://169.254.169.254")):
            pass


async def test_a_block_takes_effect_for_kept_connections() -> None:
    """A connection that was opened before the edit does not carry requests after it."""
    async with serving(answering(OK)) as origin:
        url = f"http://localhost:{origin.port}"
        async with running_gateway(document(url)) as gateway:
            assert (await gateway.ask(get())).status == 200
            await gateway.reconfigure(document(url, security={"blockedIPs": ["127.0.0.0/8", "::1"]}))
            assert (await gateway.ask(get())).status in (502, 503)
        assert len(origin.received) == 1
