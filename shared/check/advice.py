"""What may be meant as it is written, and probably is not: warnings, never faults."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from shared.check.upstreams import endpoints
from shared.check.values import split_url
from shared.faults import Fault
from shared.field_path import item
from shared.pb.resources_pb2 import Config

NOT_ALLOWED = "not_allowed"


def advice(config: Config) -> list[Fault]:
    """The warnings about a configuration without faults."""
    return list(_unreachable(config))


def _unreachable(config: Config) -> Iterator[Fault]:
    """Endpoints that `security.allowedHosts` forbids to connect to."""
    allowed = [host.lower() for host in config.settings.security.allowed_hosts]
    if not allowed:
        return
    for index, upstream in enumerate(config.upstreams):
        for where, url in endpoints(upstream, item("upstreams", index)):
            split = split_url(url)
            host = "" if isinstance(split, str) else (split[0].hostname or "")
            if host and not _covered(host, allowed):
                yield Fault(
                    where, f"{host} is not in security.allowedHosts, so requests to it are refused", NOT_ALLOWED
                )


def _covered(host: str, allowed: Sequence[str]) -> bool:
    return any(host == one or (one.startswith("*.") and host.endswith(one[1:])) for one in allowed)
