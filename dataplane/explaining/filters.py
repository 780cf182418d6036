"""What each filter would do with a sample request. One function for each entry of the table of filters, same name.

The filters themselves are not run: they count, take and refuse. A limit in memory is asked for one request, which is
given back in the same moment, as the filter does for a request that another limit refuses.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from dataplane.exchange import Exchange
from dataplane.filters.context import Context, auth_of
from dataplane.filters.limit_rules import Limit, limit_keys, limits_of, limits_of_consumers
from dataplane.http1.downstream import DownstreamConnection
from dataplane.http1.fields import FIELDS
from dataplane.overload.gate import NO_LIMIT
from dataplane.overload.priorities import Priorities
from shared import defaults
from shared.pb.explain_pb2 import FilterVerdict, LimitState
from shared.pb.resources_pb2 import Auth, Route

if TYPE_CHECKING:
    from dataplane.node import Node

PASSES: Final = "passes"
REFUSES: Final = "refuses"
DEPENDS: Final = "depends"


@dataclass(slots=True)
class Sample:
    """The sample request on its way; `consumer`, `scopes`, `claims`: what a filter found out for those after it."""

    node: Node
    route: Route
    context: Context
    path: str
    query: str | None
    fields: list[tuple[bytes, bytes]]  # names in lower case
    client_ip: str
    consumer: str | None = None
    scopes: frozenset[str] = field(default_factory=frozenset)
    claims: Mapping[str, Any] | None = None

    def header(self, name: str) -> str | None:
        """The first value of a header."""
        wanted = name.lower().encode()
        return next((value.decode().strip(" \t") for found, value in self.fields if found == wanted), None)

    def exchange(self) -> Exchange:
        """An exchange that nobody handles, for what a limit counts by."""
        x = Exchange(DownstreamConnection(self.node.listener), self.node.live.clock())
        x.path, x.client_ip = self.path, self.client_ip
        x.consumer, x.credential, x.claims = self.consumer, self.consumer or "", self.claims
        x.headers = [(FIELDS.of(name), value) for name, value in self.fields]
        return x


def verdicts(steps: Iterable[str], sample: Sample) -> Iterable[FilterVerdict]:
    """What each of these filters would do, in their order."""
    for name in steps:
        verdict = EXPLAINED[name](sample)
        verdict.filter = name
        yield verdict


def _auth(sample: Sample) -> FilterVerdict:
    kind = auth_of(sample.route, sample.context.settings).type or "no type at all"
    return FilterVerdict(outcome=REFUSES, status=503, detail=f"authentication of type {kind} is not enforced yet")


def _api_key(sample: Sample) -> FilterVerdict:
    auth = auth_of(sample.route, sample.context.settings)
    name = auth.header or defaults.AUTH_HEADER
    places = f"the header {name}" + (f" or the query parameter {auth.query}" if auth.query else "")
    presented = sample.header(name)
    if presented is None and auth.query:
        presented = next((value for key, value in parse_qsl(sample.query or "") if key == auth.query), None)
    if presented is None:
        if auth.mode == "optional":
            return FilterVerdict(outcome=PASSES, detail=f"no API key in {places}; it is optional")
        return FilterVerdict(outcome=REFUSES, status=401, detail=f"needs an API key in {places}")
    known = _keys(auth, sample).get(sha256(presented.encode()).hexdigest())
    if known is None:
        return FilterVerdict(outcome=REFUSES, status=401, detail="the API key is not known")
    consumer, scopes, expires_at = known
    if expires_at and datetime.fromisoformat(expires_at).timestamp() <= sample.node.live.wall():
        return FilterVerdict(outcome=REFUSES, status=401, detail=f"the API key of {consumer} expired at {expires_at}")
    sample.consumer, sample.scopes = consumer, scopes
    return FilterVerdict(outcome=PASSES, detail=f"the API key of {consumer}")


def _keys(auth: Auth, sample: Sample) -> dict[str, tuple[str, frozenset[str], str]]:
    """(consumer, scopes, expiry) of every accepted key, by its hash."""
    known = {key.key.lower(): (key.name, frozenset(key.scopes), key.expires_at) for key in auth.keys}
    for one in sample.context.credentials.values():
        if one.type == "apiKey" and (one.enabled or not one.HasField("enabled")):
            known[one.key.lower()] = (one.consumer, frozenset(one.scopes), one.expires_at)
    return known


def _jwt(sample: Sample) -> FilterVerdict:
    from dataplane.explaining.tokens import verdict  # noqa: PLC0415  # the cryptographic library: only where it is used

    return verdict(sample)


def _scopes(sample: Sample) -> FilterVerdict:
    missing = sorted(set(sample.route.scopes) - sample.scopes)
    needed = f"needs {', '.join(sorted(sample.route.scopes))}"
    if missing:
        return FilterVerdict(outcome=REFUSES, status=403, detail=f"{needed}; missing: {', '.join(missing)}")
    return FilterVerdict(outcome=PASSES, detail=needed)


def _rate_limit(sample: Sample) -> FilterVerdict:
    route, context, x = sample.route, sample.context, sample.exchange()
    words = [word for _, _, word in limit_keys(route, context)]
    limits = list(zip(limits_of(route, context), words, strict=True))
    own = limits_of_consumers(route, context).get(sample.consumer or "")
    if own is not None:
        limits.append((own, "consumer"))
    states = [_limit(limit, word, sample, x) for limit, word in limits if not limit.applies or limit.applies(x.path)]
    refusing = [state for state in states if state.retry_after_seconds and not state.shadow]
    if refusing:
        detail = f"over {', '.join(state.limit for state in refusing)}"
        return FilterVerdict(outcome=REFUSES, status=429, detail=detail, limits=states)
    unknown = [state.limit for state in states if not state.HasField("remaining") and not state.shadow]
    detail = f"not known without taking a request: {', '.join(unknown)}" if unknown else ""
    return FilterVerdict(outcome=DEPENDS if unknown else PASSES, detail=detail, limits=states)


def _limit(limit: Limit, counts_by: str, sample: Sample, x: Exchange) -> LimitState:
    rule, live = limit.counts.rule, sample.node.live
    key = limit.key(x)
    state = LimitState(
        limit=limit.where,
        counts_by=counts_by,
        key=key,
        max=rule.limit,
        window_ms=round(rule.window * 1000),
        algorithm=rule.algorithm,
        counted="redis" if limit.store_key else "memory",
        shadow=limit.shadow,
    )
    if limit.store_key or (not key and counts_by != "route"):
        return state
    left = limit.counts.take(key, live.clock(), live.nodes)
    if left >= 0.0:
        limit.counts.give_back(key)
        state.remaining = int(left) + 1
    else:
        state.remaining = 0
        state.retry_after_seconds = max(1, math.ceil(-left))
    return state


def _backpressure(sample: Sample) -> FilterVerdict:
    priorities = Priorities(sample.context.settings, sample.context.consumers.values())
    priority = priorities.by_consumer.get(sample.consumer or "", priorities.of(sample.route))
    gate = sample.node.live.shedding
    limit = f"of {gate.limit}" if gate.limit != NO_LIMIT else "without a limit"
    detail = f"priority {priority.name}; {gate.inside} in flight {limit}, {gate.waiting} waiting"
    if gate.inside < gate.limit and not gate.strained:
        return FilterVerdict(outcome=PASSES, detail=detail)
    if priority.weight < gate.bar:
        return FilterVerdict(outcome=REFUSES, status=503, detail=f"{detail}; the worker is under strain")
    return FilterVerdict(outcome=DEPENDS, detail=f"{detail}; it would wait for a place")


EXPLAINED: Final[Mapping[str, Callable[[Sample], FilterVerdict]]] = {
    "auth": _auth,
    "apiKey": _api_key,
    "jwt": _jwt,
    "scopes": _scopes,
    "rateLimit": _rate_limit,
    "backpressure": _backpressure,
}
