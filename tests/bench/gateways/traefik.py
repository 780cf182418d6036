"""Traefik with the same work, as far as it goes: rules, rate limit, circuit breaker, metrics."""

from __future__ import annotations

import json
from pathlib import Path

from tests.bench.load import KEY, KEY_HEADER

WITHOUT = (
    "API keys: a rule of the route asks for the header instead",
    "a request id",
    "a log: it cannot be sampled, so it is off",
)
_STATIC = """\
[global]
  checkNewVersion = false
  sendAnonymousUsage = false
[entryPoints.traffic]
  address = "127.0.0.1:{port}"
[entryPoints.traefik]
  address = "127.0.0.1:0"
[metrics.prometheus]
[serversTransport]
  maxIdleConnsPerHost = 256
[providers.file]
  filename = "{dynamic}"
  watch = false
[log]
  level = "WARN"
"""


def command(program: str, directory: Path, port: int, origin: int, routes: int) -> list[str]:
    """As the package has it."""
    directory.mkdir()
    prefixes = [f"/svc-{number}/api/" for number in range(routes - 1)] + ["/bench/"]
    routers = {
        f"route-{number}": {
            "rule": f"PathPrefix(`{prefix}`) && Header(`{KEY_HEADER}`, `{KEY}`)",
            "service": "origin",
            "middlewares": ["limit", "breaker"],
        }
        for number, prefix in enumerate(prefixes)
    }
    dynamic = {
        "http": {
            "routers": routers,
            "middlewares": {
                "limit": {"rateLimit": {"average": 1_000_000_000, "burst": 1_000_000_000}},
                "breaker": {"circuitBreaker": {"expression": "NetworkErrorRatio() > 0.5"}},
            },
            "services": {"origin": {"loadBalancer": {"servers": [{"url": f"http://127.0.0.1:{origin}"}]}}},
        }
    }
    # JSON is YAML, and files of both are read.
    (directory / "dynamic.yml").write_text(json.dumps(dynamic))
    (directory / "static.toml").write_text(_STATIC.format(port=port, dynamic=directory / "dynamic.yml"))
    return ["env", "GOMAXPROCS=1", program, f"--configfile={directory / 'static.toml'}"]
