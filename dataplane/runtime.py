"""What the request path reads: one configuration, compiled, frozen, swapped in by one assignment.

Everything a request could look up, parse or format is done here once per snapshot (compile.py builds it). Live state
(pools, buckets, counters) is only referenced: it belongs to `Live`, is found by key, and survives every swap.
Durations are seconds, sizes are bytes.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING

from dataplane.metrics import RouteTraffic, UpstreamTraffic
from dataplane.overload.gate import Places
from dataplane.overload.shedding import OverloadPolicy
from dataplane.routing import Router
from dataplane.routing.rewriting import Rewriting
from dataplane.upstream.balancer import Balancer  # at run time, too: a compiled dataclass looks its fields' types up
from dataplane.upstream.breaker import Breaker, BreakerPolicy
from dataplane.upstream.bulkhead import Bulkhead
from dataplane.upstream.retry_budget import BudgetPolicy, RetryBudget
from dataplane.upstream.retrying import RetryPolicy
from shared.table import Table

if TYPE_CHECKING:
    from dataplane.exchange import Exchange
    from dataplane.tokens.key_source import KeySource
    from dataplane.upstream.resolving import Name
    from dataplane.upstream.spreading import Listed

Networks = tuple[IPv4Network | IPv6Network, ...]

RequestFilter = Callable[["Exchange"], Awaitable[None] | None]
"""One step on a request: changes the exchange or raises a GatewayError; awaited only when it returns an awaitable."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What a client connection may cost. The route's own limits come on top, once it is known."""

    idle: float = 60.0
    header: float = 10.0
    request: float = 30.0
    header_line: int = 8 * 1024
    headers_total: int = 32 * 1024
    max_connections: int = 10_000
    max_connections_per_ip: int = 0
    announced_by: Networks | None = None  # who may use the PROXY protocol; (): everyone has to, None: nobody may
    smallest: int = 8 * 1024  # a read of no more than this cannot break a limit of the head


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where an upstream listens: `address` is "host:port" as operators know it, `ips` are dialled, in this order."""

    scheme: str
    host: str
    port: int
    base: str  # a path put before every target; "" or "/base"
    weight: int
    address: str
    host_line: bytes
    ips: tuple[str, ...] = ()  # empty: a name, not resolved yet
    tls: ssl.SSLContext | None = None
    server_name: str | None = None


@dataclass(frozen=True, slots=True)
class Guard:
    """Where the gateway may connect to; asked with the resolved address, at connect time."""

    blocked: Networks = ()
    allowed_hosts: tuple[str, ...] = ()  # empty: every host; "*.x" for those below x


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """How the endpoints of an upstream are probed."""

    path: str
    interval: float
    timeout: float
    healthy_threshold: int
    unhealthy_threshold: int
    expected: frozenset[int]  # empty: from 200 to 399

    def expects(self, status: int) -> bool:
        """Whether an answer with this status is a good one."""
        return status in self.expected if self.expected else 200 <= status < 400


@dataclass(frozen=True, slots=True)
class Upstream:
    """One service: who chooses among its endpoints, and its policy."""

    name: str
    balancer: Balancer  # live: which endpoint serves the next attempt
    traffic: UpstreamTraffic  # live
    guard: Guard
    connect: float
    dns: float
    response: float
    idle: float
    request: float | None  # the whole exchange, for routes that do not say; None: as the proxy has it
    max_sockets: int
    max_free_sockets: int
    keep_idle: float
    keep_alive: bool
    breaker: Breaker | None  # live; None: switched off
    breaker_policy: BreakerPolicy | None
    retry: RetryPolicy
    retry_budget: RetryBudget  # live
    budget_policy: BudgetPolicy
    fallback: str  # the upstream that serves what this one cannot; "" for none
    listed: tuple[Listed, ...] = ()  # its endpoints as configured; the balancer has one for each address
    names: tuple[Name, ...] = ()  # live: those of them that are resolved
    refresh: float | None = None  # how often, in place of the TTL
    check: HealthCheck | None = None
    bulkhead: Bulkhead | None = None  # live: how many exchanges may be at the upstream at a time …
    places: Places | None = None  # … and how many that is


@dataclass(frozen=True, slots=True)
class HeaderEdits:
    """Header rules of a route, as bytes: names lower-case, lines ready to send."""

    removed: frozenset[bytes]  # what `remove` and `set` take out
    added: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Route:
    """One route, ready to run."""

    name: str
    label: str  # for metrics: never the raw path
    upstream: str
    steps: tuple[str, ...]  # the names of the filters, for people
    filters: tuple[RequestFilter, ...]
    rewrite: Rewriting
    host_line: bytes | None  # the rewritten Host
    request_seconds: float
    response_seconds: float
    max_body: int
    request_edits: HeaderEdits | None
    response_edits: HeaderEdits | None
    deprecated: bytes  # a header line, or nothing
    traffic: RouteTraffic
    redact: str = ""  # the query parameter, in lower case, that carries its clients' keys
    keys: KeySource | None = None  # live: what vouches for its clients' tokens, where it is fetched


@dataclass(frozen=True, slots=True)
class LogPolicy:
    level: str = "info"
    json: bool = True
    success_rate: float = 0.1
    error_rate: float = 1.0
    slow_ms: float = 0.0  # 0: being slow changes nothing
    redact: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Runtime:
    """One revision, compiled. `own_lines` are the header lines of every answer, up to the correlation id's value."""

    revision: int
    table: Table
    router: Router
    routes: Mapping[str, Route]
    upstreams: Mapping[str, Upstream]
    limits: ConnectionLimits
    log: LogPolicy
    own_lines: bytes
    trusted: Networks = ()
    max_response: int = 0  # 0: no limit
    drain_seconds: float = 30.0
    system_endpoints: bool = True
    metrics_enabled: bool = True
    header_conditions: bool = False  # whether any route asks about headers
    overload: OverloadPolicy | None = None
    compiled_at: float = 0.0  # epoch seconds
