"""FlexGate as it is measured: one data plane on its own, with every policy that exists switched on.

The measured route stands last in the table, behind routes of every kind, so that a match that walks the table shows.
Ceilings are out of reach of any load: limits are counted on every request and refuse none.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from dataplane.config_source import Held
from dataplane.last_known_good import LastKnownGood
from shared.document import read
from shared.table import table_of
from tests.bench.invalid import InvalidRunError
from tests.bench.load import KEY, KEY_HEADER, Load
from tests.bench.probe import ask, free_port

ROUTES = 1000
COMPILED = Path(".run/compiled")
_MANY = 100_000
_CEILING = {"max": 1_000_000_000, "windowMs": 60_000}
NOISY = "/noisy/small"
"""The one path whose limit can be reached; only the case of the noisy route asks for it."""
NOISY_PER_SECOND = 200
_FILLERS = ("/svc-{0}/health", "/svc-{0}/users/:id/orders/:order", "/svc-{0}/api/*")
_POLICY_HEADERS = (
    "x-api-version",
    "x-config-version",
    "x-correlation-id",
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
)


BY_KEY: dict[str, Any] = {
    "type": "apiKey",
    "header": KEY_HEADER,
    "keys": [{"key": hashlib.sha256(KEY.encode()).hexdigest(), "name": "bench"}],
}
"""How clients authenticate, unless a case says otherwise."""


def config(routes: int, origin: int, limits: dict[str, Any] | None = None, auth: dict[str, Any] | None = None) -> str:
    """A configuration document (YAML that is JSON) with `routes` routes to the origin's port, the measured one last.

    `limits` adds keys to the section `rateLimit`; `auth` is `security.auth`.
    """
    noisy = [_noisy()] if routes > 1 else []
    fillers = [_route(_FILLERS[number % len(_FILLERS)].format(number)) for number in range(routes - 1 - len(noisy))]
    # The body of the streaming case is far above the default limit.
    measured = {**_route("/bench/*"), "stripPath": False, "maxBodySize": "4gb"}
    document = {
        "version": "1.0.0",
        "proxy": {"host": "127.0.0.1"},
        "security": {"auth": auth or BY_KEY},
        "rateLimit": {"enabled": True, **(limits or {})},
        "backpressure": {"maxConcurrent": _MANY},
        "priorities": [{"name": "measured", "routes": ["/bench/*"], "weight": 10}],
        # As many idle connections as the load has: the others do not close theirs either.
        "connectionPool": {"maxSockets": 256, "maxFreeSockets": 256},
        "logging": {"level": "info", "format": "json", "sampling": {"successRate": 0.1, "errorRate": 1.0}},
        "upstreams": [{"name": "origin", "url": f"http://127.0.0.1:{origin}", "limits": {"maxConnections": _MANY}}],
        "routes": [*noisy, *fillers, measured],
    }
    return json.dumps(document, indent=1)


def _route(path: str) -> dict[str, Any]:
    return {"path": path, "upstream": "origin", "auth": "required", "rateLimit": _CEILING}


def _noisy() -> dict[str, Any]:
    limit = {"max": NOISY_PER_SECOND, "windowMs": 1000, "key": "route"}
    return {**_route("/noisy/*"), "rewrite": "/bench/*", "rateLimit": limit}


def has_compiled() -> bool:
    """Whether `make compiled` has built the request path ahead of time, as an image ships it."""
    return (COMPILED / ".ready").exists()


def command(
    directory: Path,
    port: int,
    admin_port: int,
    routes: int,
    origin: int,
    *,
    interpreted: bool,
    limits: dict[str, Any] | None = None,
    auth: dict[str, Any] | None = None,
    kept: bool = False,
) -> list[str]:
    """Write the configuration into the directory; the command that runs one worker with it.

    The compiled code is taken where there is one, unless the interpreted is asked for. `kept`: the configuration is the
    last one known to be good, and there is no control plane to give another.
    """
    directory.mkdir()
    ports = ["--port", str(port), "--admin-port", str(admin_port)]
    if kept:
        source = _keep(directory, config(routes, origin, limits, auth))
    else:
        document = directory / "proxy.yml"
        document.write_text(config(routes, origin, limits, auth))
        source = ["--config", str(document)]
    program = [sys.executable, "-m", "dataplane"]
    if has_compiled() and not interpreted:
        program = ["env", f"PYTHONPATH={COMPILED.resolve()}", sys.executable, "-P", "-m", "dataplane"]
    return [*program, *source, *ports, "--workers", "1"]


def _keep(directory: Path, document: str) -> list[str]:
    """Keep the configuration as a worker that served it would have; the options to boot from it."""
    cache = directory / "cache"
    LastKnownGood(cache / "worker-0").save(Held(table_of(read(document).config), 1, "bench"))
    return ["--control-plane", f"127.0.0.1:{free_port()}", "--cache-dir", str(cache)]


def prove_policies(port: int, load: Load) -> None:
    """InvalidRunError unless a key is asked for and every policy leaves its mark: a figure without would flatter."""
    if (status := ask(port, load, key=None).status) != 401:
        raise InvalidRunError(f"flexgate answered {status} without a key, not 401: authentication is off")
    headers = ask(port, load).headers
    if missing := [name for name in _POLICY_HEADERS if name not in headers]:
        raise InvalidRunError(f"flexgate's answer lacks {', '.join(missing)}: a policy is off")
