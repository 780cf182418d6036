"""A data plane in the test's own event loop, with a configuration file of its own and any free ports."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from dataplane.app import DataPlane
from dataplane.settings import parse
from tests.support.client import Response, ask, get
from tests.support.deadline import eventually
from tests.support.origin import Origin, Script, serving
from tests.support.process import written

QUICK = {"drainTimeout": 500}
"""Proxy settings under every test: leaving a gateway never waits long for what a test left behind."""


@dataclass(frozen=True, slots=True)
class Samples:
    """One reading of /metrics."""

    rows: list[tuple[str, dict[str, str], float]]

    @staticmethod
    def of(text: str) -> Samples:
        families = text_string_to_metric_families(text)
        return Samples([(s.name, dict(s.labels), s.value) for family in families for s in family.samples])

    def value(self, name: str, **labels: str) -> float:
        """The sum of all samples of that name with those labels; 0 without any."""
        return sum(number for found, own, number in self.rows if found == name and labels.items() <= own.items())

    def labels(self, name: str, label: str) -> set[str]:
        """Every value that a label takes."""
        return {own[label] for found, own, _ in self.rows if found == name and label in own}


@dataclass(frozen=True, slots=True)
class Gateway:
    """A running data plane and how to reach it."""

    plane: DataPlane
    config: Path

    @property
    def port(self) -> int:
        return self.plane.traffic_port

    @property
    def admin_port(self) -> int:
        return self.plane.admin_port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def ask(self, data: bytes) -> Response:
        """One request to the traffic port on a connection of its own."""
        return await ask(self.port, data)

    async def admin(self, path: str) -> Response:
        return await ask(self.admin_port, get(path, "Connection: close"))

    async def metrics(self) -> Samples:
        return Samples.of((await self.admin("/metrics")).body.decode())

    async def settled(self) -> Samples:
        """The metrics once no request is in flight."""
        return await eventually(self.metrics, lambda found: found.value("http_requests_in_flight") == 0)

    async def reconfigure(self, text: str) -> None:
        """Write the file and wait until the next revision serves."""
        before = (await self.admin("/version")).json["configVersion"]
        self.config.write_text(text)
        await eventually(lambda: self.admin("/version"), lambda found: found.json["configVersion"] != before)

    async def until_refused(self) -> None:
        """Wait until a configuration has been refused."""
        await eventually(self.metrics, lambda found: found.value("config_apply_failures_total") > 0)


@asynccontextmanager
async def running_gateway(
    text: str, *, clock: Callable[[], float] = time.monotonic, **settings: str | int
) -> AsyncIterator[Gateway]:
    """A data plane that serves the YAML text; `settings` are its flags, with `_` for `-`."""
    with tempfile.TemporaryDirectory(prefix="flexgate-test-") as directory:
        config = written(text, directory)
        flags: dict[str, str | int] = {"config": str(config), "cache_dir": str(Path(directory, "cache"))}
        flags |= {"host": "127.0.0.1", "port": 0, "admin_port": 0, **settings}
        argv = [word for name, given in flags.items() for word in (f"--{name.replace('_', '-')}", str(given))]
        plane = DataPlane(parse(argv, {}), clock)
        await plane.start()
        try:
            yield Gateway(plane, config)
        finally:
            await plane.stop()


@asynccontextmanager
async def proxied(script: Script, **options: Any) -> AsyncIterator[tuple[Origin, Gateway]]:
    """An origin that follows the script, and a gateway before it; `options` are those of `document`."""
    async with serving(script) as origin, running_gateway(document(origin.url, **options)) as gateway:
        yield origin, gateway


def document(
    origin: str,
    *,
    proxy: dict[str, Any] | None = None,
    upstream: dict[str, Any] | None = None,
    route: dict[str, Any] | None = None,
    routes: list[dict[str, Any]] | None = None,
    **sections: Any,
) -> str:
    """A configuration with one upstream, "origin", and one route "/*" to it: YAML that is JSON.

    `upstream` and `route` add keys to those; `routes` replaces the route (each gets the upstream unless it has one);
    `sections` are further top-level sections.
    """
    listed = [{"path": "/*", "upstream": "origin", **(route or {})}]
    if routes is not None:
        listed = [{"upstream": "origin", **one} for one in routes]
    return json.dumps(
        {
            "proxy": {**QUICK, **(proxy or {})},
            "upstreams": [{"name": "origin", "url": origin, **(upstream or {})}],
            "routes": listed,
            **sections,
        }
    )
