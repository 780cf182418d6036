"""`flexgate upstreams`."""

from __future__ import annotations

from controlplane.cli.resources import family_of

app = family_of(
    "upstreams",
    "List, show, create, change and delete upstreams.",
    {
        "NAME": lambda upstream: upstream["name"],
        "URL": lambda upstream: upstream["url"],
        "ENDPOINTS": lambda upstream: len(upstream.get("endpoints") or [upstream["url"]]),
        "BALANCING": lambda upstream: (upstream.get("loadBalancer") or {}).get("policy"),
        "FALLBACK": lambda upstream: upstream.get("fallback"),
    },
)
