"""One look-up of a name: its addresses, and for how long they may be believed. The seam to c-ares (aiodns).

c-ares reads /etc/resolv.conf (servers, search domains, ndots) and /etc/hosts, knows `localhost` without asking anyone,
asks for A and AAAA at once and falls back to TCP.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

import aiodns
from pycares import AresError
from pycares.errno import errorcode

LOOK_UP_SECONDS: Final = 5.0
"""A look-up takes no longer, whatever resolv.conf says of servers and tries."""
MOST_ADDRESSES: Final = 256
"""Of one name: an answer over TCP could hold thousands, and each is an endpoint."""
_TRY_SECONDS: Final = 1.0
_TRIES: Final = 2
# Where the system has no inotify left it warns, and goes on with the event loop: as good for one look-up.
logging.getLogger("aiodns").setLevel(logging.ERROR)
_KINDS: Final = {"ARES_ENOTFOUND": "not_found", "ARES_ENODATA": "no_address", "ARES_ETIMEOUT": "timeout"}


@dataclass(frozen=True, slots=True)
class Answer:
    """`addresses`: text, at least one, in an order that does not depend on the server's. `ttl`: seconds."""

    addresses: tuple[str, ...]
    ttl: float  # 0: of /etc/hosts, or not to be kept


class LookUpFailed(Exception):
    """No answer, or one without addresses. `kind` for metrics: not_found, no_address, timeout, failed."""

    def __init__(self, kind: str, detail: str) -> None:
        self.kind = kind
        super().__init__(detail)


LookUp = Callable[[str], Awaitable[Answer]]
"""Looks a name up once; raises LookUpFailed."""


def look_up_with(servers: Sequence[str] = ()) -> LookUp:
    """Asks these servers ("address:port"); without any, those of the system."""

    async def look_up(host: str) -> Answer:
        return await _ask(host, servers)

    return look_up


async def _ask(host: str, servers: Sequence[str]) -> Answer:
    # A resolver for each look-up: c-ares remembers answers for their TTL and cannot be told otherwise, so one that
    # stays would serve `dns.refresh` from memory. Making one costs a quarter of a millisecond.
    try:
        resolver = aiodns.DNSResolver(timeout=_TRY_SECONDS, tries=_TRIES)
    except AresError as error:  # out of file descriptors, say
        raise LookUpFailed("failed", f"no resolver: {error}") from error
    try:
        if servers:
            resolver.nameservers = servers
        async with asyncio.timeout(LOOK_UP_SECONDS):
            found = await resolver.getaddrinfo(host, family=socket.AF_UNSPEC, type=socket.SOCK_STREAM)
    except TimeoutError:
        raise LookUpFailed("timeout", f"no answer within {LOOK_UP_SECONDS:g} s") from None
    except aiodns.error.DNSError as error:
        number, text = error.args
        raise LookUpFailed(_KINDS.get(errorcode.get(number, ""), "failed"), str(text)) from error
    except AresError as error:
        raise LookUpFailed("failed", str(error)) from error
    finally:
        await resolver.close()
    ttls = [node.ttl for node in found.nodes] + [alias.ttl for alias in found.cnames]
    return Answer(usable((node.addr[0].decode() for node in found.nodes), routed), min(ttls, default=0))


def usable(found: Iterable[str], reachable: Callable[[str], bool]) -> tuple[str, ...]:
    """Every address once, IPv4 first, each family in its own order; those without a route only where no other is left.

    A server that rotates its answers thus changes nothing, and a machine without IPv6 does not try it. Raises
    LookUpFailed where there is no address.
    """
    addresses = sorted({ip_address(text) for text in found if "%" not in text}, key=lambda ip: (ip.version, int(ip)))
    if not addresses:
        raise LookUpFailed("no_address", "the answer has no address")
    texts = [str(ip) for ip in addresses]
    return tuple([text for text in texts if reachable(text)] or texts)[:MOST_ADDRESSES]


def routed(address: str) -> bool:
    """Whether this machine has a route there; nothing is sent."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))
    except OSError:
        return False
    return True
