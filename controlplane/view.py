"""Resources as the REST API shows them: the JSON mapping of the model, in the shapes that CONTRACT section 4 names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from google.protobuf.json_format import MessageToDict

from shared.pb.resources_pb2 import Config, Route, Upstream

Json = dict[str, Any]


def routes(config: Config) -> Iterator[Json]:
    """Every route; `upstream` is the URL it leads to (the first one, where there are several)."""
    urls = {upstream.name: _url(upstream) for upstream in config.upstreams}
    for position, route in enumerate(config.routes, 1):
        yield route_view(route, position, urls)


def route_view(route: Route, position: int, urls: dict[str, str]) -> Json:
    """One route. A file gives no ids: the position in it stands in."""
    view = MessageToDict(route)
    limit = view.get("rateLimit")
    if limit:
        view["rateLimit"] = {
            **{key: value for key, value in limit.items() if key not in {"max", "windowMs"}},
            "requests": route.rate_limit.max,
            "window": _duration(route.rate_limit.window_ms),
        }
    targets = [split.upstream for split in route.split] or [route.upstream]
    return view | {
        "id": route.id or position,
        "upstream": urls.get(targets[0], ""),
        "upstreamName": targets[0],
        "methods": list(route.methods),
        "enabled": _on(route),
    }


def upstreams(config: Config) -> Iterator[Json]:
    """Every upstream."""
    for position, upstream in enumerate(config.upstreams, 1):
        yield MessageToDict(upstream) | {"id": upstream.id or position, "url": _url(upstream)}


def _url(upstream: Upstream) -> str:
    return upstream.url or (upstream.endpoints[0].url if upstream.endpoints else "")


def _on(route: Route) -> bool:
    return route.enabled if route.HasField("enabled") else True


def _duration(milliseconds: int) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{milliseconds}ms" if rest else f"{seconds}s"
