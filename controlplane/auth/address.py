"""Where a request comes from: the peer, or whom a trusted proxy says it is for."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
MOST_HOPS = 20


def networks(text: str) -> tuple[Network, ...]:
    """`10.0.0.0/8, ::1` as networks; ValueError where one is none."""
    return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())


def client_address(peer: str, forwarded_for: str, trusted: Sequence[Network]) -> str:
    """The last address that is not a trusted proxy's. What X-Forwarded-For has before it, anybody may have written."""
    address = peer
    for hop in reversed(forwarded_for.split(",")[-MOST_HOPS:]):
        if not _within(address, trusted) or _parsed(hop) is None:
            break
        address = str(_parsed(hop))
    return address


def neighbourhood(address: str) -> str:
    """What tries are counted by: an IPv4 address, or an IPv6 /64, which one customer has to himself."""
    parsed = _parsed(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return address


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _within(address: str, trusted: Sequence[Network]) -> bool:
    parsed = _parsed(address)
    return parsed is not None and any(parsed in network for network in trusted)


def _parsed(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text.strip())
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
