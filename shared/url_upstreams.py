"""Routes that name their upstream by URL: each gets an upstream resource, one per URL, made or reused.

The name of a made one comes from the URL alone ("https-api.example.com-8443"), so it stays the same whatever else is
added; a hash of the URL is appended where something else has that name already.
"""

from __future__ import annotations

import re
from collections.abc import Container
from hashlib import blake2b
from urllib.parse import urlsplit

from shared.field_path import item

_PORTS = {"http": 80, "https": 443}
_ODD = re.compile(r"[^A-Za-z0-9._-]+")


def resolve(data: dict[str, object], origins: dict[str, str]) -> None:
    """Replace URLs in `routes[].upstream` by names, in place, and add the upstreams that are missing.

    `data` is in the canonical form; `origins` learns that an added upstream was written at its route.
    """
    upstreams = data.get("upstreams", [])
    routes = data.get("routes", [])
    if not isinstance(upstreams, list) or not isinstance(routes, list):
        return
    by_url: dict[str, str] = {}
    for upstream in upstreams:
        if isinstance(upstream.get("name"), str) and isinstance(upstream.get("url"), str):
            by_url.setdefault(canonical(upstream["url"]), upstream["name"])
    taken = {upstream.get("name") for upstream in upstreams}
    for index, route in enumerate(routes):
        url = route.get("upstream")
        if not isinstance(url, str) or "://" not in url:
            continue
        key = canonical(url)
        if key not in by_url:
            by_url[key] = name_of(key, taken)
            taken.add(by_url[key])
            where = f"{item('routes', index)}.upstream"
            origins[f"{item('upstreams', len(upstreams))}.url"] = origins.get(where, where)
            upstreams.append({"name": by_url[key], "url": url})
            data["upstreams"] = upstreams
        route["upstream"] = by_url[key]


def canonical(url: str) -> str:
    """One form for the URLs that mean the same endpoint; text that is no URL stays as it is."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return url
    scheme, host = parts.scheme.lower(), (parts.hostname or "").lower()
    if scheme not in _PORTS or not host or parts.query or parts.fragment or parts.username is not None:
        return url
    host = f"[{host}]" if ":" in host else host
    shown_port = f":{port}" if port not in (None, _PORTS[scheme]) else ""
    return f"{scheme}://{host}{shown_port}{parts.path.rstrip('/')}"


def name_of(url: str, taken: Container[object]) -> str:
    """A readable name; with a hash of the URL where an operator gave that name to something else."""
    plain = _ODD.sub("-", url)[:100].strip("-")
    return plain if plain not in taken else f"{plain}-{blake2b(url.encode(), digest_size=4).hexdigest()}"
