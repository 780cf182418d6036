"""Snapshot -> Runtime: read the messages once, build everything the request path needs, swap nothing.

The only place in the data plane that reads configuration messages (filters do it for their own parts). What a change
does not concern is taken over from the previous runtime, so one route among ten thousand costs one route. A fault here
is a ConfigError, and the previous runtime goes on.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, cast

from dataplane import compile_settings as of_settings
from dataplane.compile_resilience import fallback_faults
from dataplane.compile_upstream import compile_upstream
from dataplane.filters import filters_of
from dataplane.filters.context import Context, auth_of
from dataplane.filters.jwt import key_source_of
from dataplane.filters.limit_rules import consumer_limit_keys, limit_keys
from dataplane.live import LimitKey, Live
from dataplane.routing import BadPattern, Condition, Entry, RouteMatch, Router
from dataplane.routing.rewriting import rewriting
from dataplane.routing.route_match import compiled as read_pattern
from dataplane.runtime import HeaderEdits, Route, Runtime, Upstream
from dataplane.upstream.pool import Pool
from shared import API_VERSION, defaults
from shared.faults import ConfigError, Fault
from shared.pb import resources_pb2 as pb
from shared.table import SETTINGS, Key, Table, unpack

_EVERYTHING = frozenset({"settings", "credential", "consumer"})
"""A change of these kinds may concern every route."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """A runtime, and the live state it uses (the rest is put away after the swap)."""

    runtime: Runtime
    settings: pb.Settings
    limits: dict[str, list[LimitKey]]  # by route; those of consumers under ""

    @property
    def pools(self) -> Collection[Pool]:
        return {pool for upstream in self.runtime.upstreams.values() for pool in upstream.balancer.endpoints}

    @property
    def limit_keys(self) -> Collection[LimitKey]:
        return {key for keys in self.limits.values() for key in keys}


def compile_table(table: Table, revision: int, previous: Compiled | None, live: Live) -> Compiled:
    """The runtime of a table. Raises ConfigError with every fault; changes nothing that is being served."""
    changed, removed = _difference(table, previous)
    settings = _settings(table) if previous is None or SETTINGS in changed else previous.settings
    context = context_of(table, settings, live)
    faults: list[Fault] = []

    upstreams = dict(previous.runtime.upstreams) if previous is not None else {}
    routes = dict(previous.runtime.routes) if previous is not None else {}
    limits = dict(previous.limits) if previous is not None else {}
    dropped = [name for kind, name in removed if kind == "route"]
    for kind, name in removed:
        if kind == "upstream":
            upstreams.pop(name, None)
        elif kind == "route":
            routes.pop(name, None)
            limits.pop(name, None)
    for kind, name in changed:
        if kind == "upstream":
            try:
                upstreams[name] = compile_upstream(cast(pb.Upstream, unpack(table[kind, name])), settings, live)
            except ConfigError as error:
                faults += error.faults
    limits.pop("", None)
    if keys := consumer_limit_keys(context):
        limits[""] = keys
    changed += _timed_anew(previous, upstreams, table, changed)
    entries: list[Entry] = []
    for kind, name in changed:
        if kind == "route":
            try:
                message = cast(pb.Route, unpack(table[kind, name]))
                if message.HasField("enabled") and not message.enabled:
                    routes.pop(name, None)
                    limits.pop(name, None)
                    dropped.append(name)
                    continue
                routes[name] = _route(message, context, upstreams)
                limits[name] = limit_keys(message, context)
                entries.append(Entry(_match(message), routes[name]))
            except ConfigError as error:
                faults += error.faults
    faults += fallback_faults(upstreams)
    faults += [_no_upstream(r) for r in routes.values() if ("upstream", r.upstream) not in table]
    router = (previous.runtime.router if previous is not None else Router()).changed(dropped, _sound(entries, faults))
    if faults:
        raise ConfigError(faults)
    return Compiled(_runtime(table, revision, settings, router, routes, upstreams), settings, limits)


def context_of(table: Table, settings: pb.Settings, live: Live) -> Context:
    """What filters may know of a table."""
    return Context(settings, _credentials(table), _consumers(table), live)


def _difference(table: Table, previous: Compiled | None) -> tuple[list[Key], list[Key]]:
    """(changed, removed) keys; everything counts as changed where settings or credentials did."""
    if previous is None:
        return list(table), []
    upserts, removed = table.since(previous.runtime.table)
    changed = [(resource.kind, resource.name) for resource in upserts]
    if any(kind in _EVERYTHING for kind, _ in (*changed, *removed)):
        changed = list(table)
    return changed, removed


def _timed_anew(
    previous: Compiled | None, upstreams: dict[str, Upstream], table: Table, changed: list[Key]
) -> list[Key]:
    """Routes that stayed as they were, and take their time from an upstream that now gives another."""
    if previous is None:
        return []
    before = previous.runtime
    names = [name for kind, name in changed if kind == "upstream" and name in before.upstreams and name in upstreams]
    moved = {name for name in names if before.upstreams[name].request != upstreams[name].request}
    known = set(changed)
    keys = [("route", route.name) for route in before.routes.values() if route.upstream in moved]
    return [key for key in keys if key in table and key not in known]


def _settings(table: Table) -> pb.Settings:
    resource = table.get(SETTINGS)
    return cast(pb.Settings, unpack(resource)) if resource is not None else pb.Settings()


def _credentials(table: Table) -> dict[str, pb.Credential]:
    return {name: cast(pb.Credential, unpack(table[kind, name])) for kind, name in table if kind == "credential"}


def _consumers(table: Table) -> dict[str, pb.Consumer]:
    return {name: cast(pb.Consumer, unpack(table[kind, name])) for kind, name in table if kind == "consumer"}


def _no_upstream(route: Route) -> Fault:
    return Fault("upstream", f"there is no upstream {route.upstream!r}", "missing", "route", route.name)


def _sound(entries: list[Entry], faults: list[Fault]) -> list[Entry]:
    """The entries whose patterns mean something; the others become faults."""
    sound: list[Entry] = []
    for entry in entries:
        try:
            read_pattern(entry)
            sound.append(entry)
        except BadPattern as error:
            faults.append(Fault("path", str(error), "invalid", "route", entry.match.name))
    return sound


def _runtime(
    table: Table,
    revision: int,
    settings: pb.Settings,
    router: Router,
    routes: dict[str, Route],
    upstreams: dict[str, Upstream],
) -> Runtime:
    proxy = settings.proxy
    return Runtime(
        revision=revision,
        table=table,
        router=router,
        routes=routes,
        upstreams=upstreams,
        limits=of_settings.connection_limits(proxy),
        log=of_settings.log_policy(settings),
        own_lines=b"X-API-Version: %b\r\nX-Config-Version: %d\r\nX-Correlation-ID: " % (API_VERSION.encode(), revision),
        trusted=of_settings.networks(proxy.trusted_proxies),
        max_response=proxy.max_response_size,
        drain_seconds=(proxy.drain_timeout if proxy.HasField("drain_timeout") else defaults.DRAIN_TIMEOUT) / 1000,
        system_endpoints=proxy.system_endpoints if proxy.HasField("system_endpoints") else defaults.SYSTEM_ENDPOINTS,
        metrics_enabled=settings.metrics.enabled if settings.metrics.HasField("enabled") else defaults.METRICS_ENABLED,
        header_conditions=any(route.entry.match.headers for route in router.routes()),
        overload=of_settings.overload_policy(settings),
        compiled_at=time.time(),
    )


# ---- one route


def _match(message: pb.Route) -> RouteMatch:
    return RouteMatch(
        name=message.name,
        path=message.path,
        hosts=tuple(host.lower() for host in message.hosts),
        methods=frozenset(message.methods),
        headers=tuple(_condition(name.lower(), match) for name, match in sorted(message.headers.items())),
        query=tuple(_condition(name, match) for name, match in sorted(message.query.items())),
        priority=message.priority,
    )


def _condition(name: str, match: pb.StringMatch) -> Condition:
    if match.HasField("present"):
        return Condition(name, "present" if match.present else "absent")
    kinds: tuple[Literal["exact", "prefix", "suffix"], ...] = ("exact", "prefix", "suffix")
    for kind in kinds:
        if match.HasField(kind):
            return Condition(name, kind, getattr(match, kind))
    return Condition(name, "present")


def _route(message: pb.Route, context: Context, upstreams: dict[str, Upstream]) -> Route:
    settings, proxy = context.settings, context.settings.proxy
    upstream_name = message.upstream or (message.split[0].upstream if message.split else "")
    upstream = upstreams.get(upstream_name)
    limit = message if message.HasField("max_body_size") else proxy
    steps = filters_of(message, context)
    try:
        strip = message.strip_path if message.HasField("strip_path") else None
        rewrite = rewriting(message.path, message.rewrite.path, strip)
    except BadPattern as error:
        raise ConfigError([Fault("rewrite.path", str(error), "invalid", "route", message.name)]) from error
    return Route(
        name=message.name,
        label=message.name or message.path,
        upstream=upstream_name,
        steps=tuple(name for name, _ in steps),
        filters=tuple(step for _, step in steps),
        rewrite=rewrite,
        host_line=b"Host: " + message.rewrite.host.encode() if message.rewrite.host else None,
        request_seconds=_request_seconds(message, upstream, settings),
        response_seconds=message.timeout.response / 1000 if message.timeout.HasField("response") else 0.0,
        max_body=limit.max_body_size if limit.HasField("max_body_size") else defaults.MAX_BODY_SIZE,
        request_edits=_edits(message.request_headers) if message.HasField("request_headers") else None,
        response_edits=_edits(message.response_headers) if message.HasField("response_headers") else None,
        deprecated=b"X-Deprecated: " + message.deprecated.encode("latin-1", "replace") if message.deprecated else b"",
        traffic=context.live.traffic.route(message.name),
        redact=auth_of(message, settings).query.lower(),
        keys=key_source_of(message, context),
    )


def _request_seconds(message: pb.Route, upstream: Upstream | None, settings: pb.Settings) -> float:
    """The whole exchange's time: the route's word, else the upstream's, else the proxy's. 0 is no limit."""
    if message.timeout.HasField("request"):
        seconds = message.timeout.request / 1000
    elif upstream is not None and upstream.request is not None:
        seconds = upstream.request
    else:
        seconds = of_settings.request_seconds(settings.proxy)
    return seconds or float("inf")


def _edits(rules: pb.HeaderRules) -> HeaderEdits:
    lines = [
        f"{name}: {value}".encode("latin-1", "replace") for name, value in (*rules.set.items(), *rules.add.items())
    ]
    removed = frozenset(name.lower().encode() for name in (*rules.remove, *rules.set))
    return HeaderEdits(removed, tuple(lines))
