"""The end of every exchange: counted, perhaps logged, and its connection told. Runs exactly once."""

from __future__ import annotations

from random import random
from typing import Final

from dataplane.access_log import LogWriter, line_of, wanted
from dataplane.events import Events
from dataplane.exchange import Exchange
from dataplane.metrics import UNMATCHED, Traffic
from dataplane.runtime import LogPolicy

_UNCONFIGURED: Final = LogPolicy()


def finish(x: Exchange, traffic: Traffic, events: Events, writer: LogWriter) -> None:
    """Close the books on an exchange."""
    traffic.in_flight -= 1
    if x.shedding is not None:
        x.shedding.go(x)
    if x.bulkhead is not None:
        x.bulkhead.go(x)
    now = x.connection.clock()
    ms = (now - x.started) * 1000.0
    route, runtime = x.route, x.runtime
    counts = route.traffic if route is not None else traffic.unmatched
    counts.record(x.method, x.status, ms, x.body.received + x.tunnel_bytes, x.response_bytes)
    if x.status >= 500 and (x.error is not None or route is not None):  # else a probe was told that we are not ready
        _tell(x, events)
    policy = runtime.log if runtime is not None else _UNCONFIGURED
    if (traffic.log_successes or x.status >= 400) and wanted(policy, x.status, ms, random):
        writer.put(line_of(x, policy, ms, runtime.revision if runtime is not None else 0))
    x.connection.finished(x, now)
    x.forget_errors()


def _tell(x: Exchange, events: Events) -> None:
    """An answer that somebody is to blame for other than the client: ours, or the upstream's own."""
    events.often(
        "request.error",
        x.route.label if x.route is not None else UNMATCHED,
        status=x.status,
        error=x.error.kind if x.error is not None else "upstream",
        upstream=x.route.upstream if x.route is not None else "",
        correlationId=x.correlation_id.decode(),
    )
