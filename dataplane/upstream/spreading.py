"""The endpoints that an upstream has now: each address of a name is an endpoint of its own.

They share what was configured (weight, base path, Host, the name that TLS asks for) and are told apart by their
address, so each has connections and health of its own, kept for as long as the name has that address.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from dataplane.live import Live
    from dataplane.runtime import Endpoint, Guard
    from dataplane.upstream.pool import Pool
    from dataplane.upstream.resolving import Name

_THIS_MACHINE: Final = ("127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Listed:
    """An endpoint as it is configured. `made_under`: connections are given up where an edit changes it."""

    upstream: str
    endpoint: Endpoint
    name: Name | None  # None: its host is an address
    made_under: Hashable


def spread(listed: Sequence[Listed], guard: Guard, live: Live) -> dict[Pool, Endpoint]:
    """What the balancer chooses from. A name that was not resolved yet has no endpoint."""
    endpoints: dict[Pool, Endpoint] = {}
    for one in listed:
        endpoint, name = one.endpoint, one.name
        # With the base path: one address may be two endpoints, each with turns of its own.
        url = f"{endpoint.scheme}://{endpoint.address}{endpoint.base}"
        if name is None:
            endpoints[live.pool((one.upstream, url, one.made_under), endpoint)] = endpoint
            continue
        for ips in _dialled(name.addresses, guard):
            addressed = replace(endpoint, ips=ips)
            endpoints[live.pool((one.upstream, f"{url} ({ips[0]})", one.made_under), addressed)] = addressed
    return endpoints


def _dialled(addresses: Sequence[str], guard: Guard) -> list[tuple[str, ...]]:
    """The addresses of one name, each alone; those the guard refuses only where no other is left, for their reason.

    What `localhost` has is one machine, and its server often listens on one of the two: they are tried in turn.
    """
    allowed = [address for address in addresses if not blocked(guard, address)] or list(addresses)
    if not set(_THIS_MACHINE) <= set(allowed):
        return [(address,) for address in allowed]
    return [_THIS_MACHINE, *((address,) for address in allowed if address not in _THIS_MACHINE)]


def blocked(guard: Guard, address: str) -> bool:
    """Whether an address lies in a blocked network, however it is written."""
    found = ip_address(address.partition("%")[0])
    mapped = getattr(found, "ipv4_mapped", None)
    candidates = (found, mapped) if mapped is not None else (found,)
    return any(ip.version == net.version and ip in net for ip in candidates for net in guard.blocked)
