"""Where a configuration makes the gateway connect to, and what `security` says of that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import ip_network
from urllib.parse import urlsplit

from shared.check.tokens import ways
from shared.check.upstreams import endpoints
from shared.check.values import address, network
from shared.defaults import BLOCKED_IPS
from shared.faults import Fault
from shared.field_path import item
from shared.pb.resources_pb2 import Config

NOT_ALLOWED = "not_allowed"


def faults(config: Config) -> Iterator[Fault]:
    """Hosts written as addresses that the gateway would refuse to connect to. Names are judged when resolved."""
    blocks = config.settings.security.blocked_ips or BLOCKED_IPS
    blocked = [ip_network(block) for block in blocks if network(block) is None]
    for where, host in _hosts(config):
        ip = address(host)
        ip = getattr(ip, "ipv4_mapped", None) or ip
        if ip is not None and (hit := [block for block in blocked if ip in block]):
            yield Fault(where, f"{ip} lies in {hit[0]} of security.blockedIPs; connections there are refused")


def advice(config: Config) -> Iterator[Fault]:
    """Hosts that `security.allowedHosts` forbids to connect to."""
    allowed = [host.lower() for host in config.settings.security.allowed_hosts]
    for where, host in _hosts(config) if allowed else ():
        if not _covered(host, allowed):
            yield Fault(where, f"{host} is not in security.allowedHosts, so requests to it are refused", NOT_ALLOWED)


def _hosts(config: Config) -> Iterator[tuple[str, str]]:
    """(path, host) of every endpoint and every source of keys whose URL can be read."""
    for index, upstream in enumerate(config.upstreams):
        for where, url in endpoints(upstream, item("upstreams", index)):
            yield from _host(where, url)
    for at, auth in ways(config):
        yield from _host(f"{at}.jwksUrl", auth.jwks_url)


def _host(where: str, url: str) -> Iterator[tuple[str, str]]:
    try:
        host = urlsplit(url).hostname
    except ValueError:  # a fault of its own
        return
    if host:
        yield where, host


def _covered(host: str, allowed: Sequence[str]) -> bool:
    return any(host == one or (one.startswith("*.") and host.endswith(one[1:])) for one in allowed)
