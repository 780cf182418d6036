"""Routes: what they match, where they lead, and the rules that need more than one field of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from shared.check import auth, conflicts, limits, paths, values
from shared.check.required import names, reference, required, unique
from shared.faults import Fault
from shared.field_path import child, item
from shared.pb.resources_pb2 import Auth, Config, Route, StringMatch


def faults(config: Config, upstreams: Collection[str]) -> Iterator[Fault]:
    """The faults of all routes; `upstreams` are the names that they may refer to."""
    yield from names("routes", config.routes)
    shared_auth = config.settings.security.auth
    for index, route in enumerate(config.routes):
        yield from _route(route, item("routes", index), upstreams, shared_auth, bool(config.credentials))
    yield from conflicts.faults(config.routes)


def _route(
    route: Route, at: str, upstreams: Collection[str], shared_auth: Auth, has_credentials: bool
) -> Iterator[Fault]:
    yield from _match(route, at)
    yield from _destination(route, at, upstreams)
    if route.HasField("rewrite"):
        yield from _rewrite(route, at)
    if route.HasField("request_headers"):
        yield from _header_rules(
            list(route.request_headers.set), list(route.request_headers.add), f"{at}.requestHeaders"
        )
    if route.HasField("response_headers"):
        rules = route.response_headers
        yield from _header_rules(list(rules.set), list(rules.add), f"{at}.responseHeaders")
    yield from limits.phases(route.timeout, at, ("request", "response"))
    if route.HasField("rate_limit"):
        yield from limits.limit(route.rate_limit, f"{at}.rateLimit")
    yield from auth.of_route(route, at, shared_auth, has_credentials)


def _match(route: Route, at: str) -> Iterator[Fault]:
    where = f"{at}.path"
    yield from required(where, route.path, 'a path such as "/api/*"')
    if route.path and (problem := paths.fault(route.path)):
        yield Fault(where, problem)
    yield from unique(((child(f"{at}.headers", name), name.lower()) for name in sorted(route.headers)), "a header name")
    for kind, conditions in (("headers", route.headers), ("query", route.query)):
        for name in sorted(conditions):
            yield from _condition(conditions[name], child(f"{at}.{kind}", name))


def _condition(match: StringMatch, at: str) -> Iterator[Fault]:
    given = [field.name for field, _ in match.ListFields()]
    if len(given) != 1:
        said = f"it has {' and '.join(given)}" if given else "it has none"
        yield Fault(at, f"exactly one of exact, prefix, suffix and present says what to compare; {said}")


def _destination(route: Route, at: str, upstreams: Collection[str]) -> Iterator[Fault]:
    if route.upstream and route.split:
        yield Fault(f"{at}.split", "upstream and split exclude each other; keep one")
    elif not route.split:
        yield from required(f"{at}.upstream", route.upstream, "the name of an upstream, or a URL")
    yield from reference(f"{at}.upstream", route.upstream, upstreams, "upstream")
    for index, part in enumerate(route.split):
        where = f"{item(f'{at}.split', index)}.upstream"
        yield from required(where, part.upstream, "the name of an upstream")
        yield from reference(where, part.upstream, upstreams, "upstream")
    if route.split and not any(part.weight for part in route.split):
        yield Fault(f"{at}.split", "no part has a weight above 0, so nothing would be served")
    yield from unique(((item(f"{at}.split", i), part.upstream) for i, part in enumerate(route.split)), "an upstream")
    if route.HasField("mirror"):
        yield from required(f"{at}.mirror.upstream", route.mirror.upstream, "the name of an upstream")
        yield from reference(f"{at}.mirror.upstream", route.mirror.upstream, upstreams, "upstream")


def _rewrite(route: Route, at: str) -> Iterator[Fault]:
    rewrite = route.rewrite
    if not rewrite.path and not rewrite.host:
        yield Fault(f"{at}.rewrite", "says nothing to rewrite; give path, host or both")
    if rewrite.path and route.HasField("strip_path"):
        yield Fault(f"{at}.stripPath", "rewrite.path says the whole path; remove stripPath")
    if rewrite.path and route.path and not paths.fault(route.path):
        problem = paths.template_fault(rewrite.path, paths.shape(route.path))
        if problem:
            yield Fault(f"{at}.rewrite.path", problem)
    host, _, port = rewrite.host.partition(":") if not rewrite.host.startswith("[") else (rewrite.host, "", "")
    if rewrite.host and (problem := values.host(host)):
        yield Fault(f"{at}.rewrite.host", problem)
    elif rewrite.host != host and not (port.isascii() and port.isdecimal() and 0 < int(port[:6]) < 65_536):
        yield Fault(f"{at}.rewrite.host", f"{port!r} is no port")


def _header_rules(set_: list[str], add: list[str], at: str) -> Iterator[Fault]:
    """Header names compare without case, so two spellings are one header."""
    for kind, given in (("set", set_), ("add", add)):
        yield from unique(((child(f"{at}.{kind}", name), name.lower()) for name in sorted(given)), "a header name")
