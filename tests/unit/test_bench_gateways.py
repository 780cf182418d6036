"""The other gateways of the benchmark: their own programs accept what is written for them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.bench.gateways import GATEWAYS, program

CHECKED_BY = {"nginx": ["-t"], "haproxy": ["-c"], "envoy": ["--mode", "validate"]}
"""What makes a program check its configuration instead of serving it. Traefik has no such word."""


@pytest.mark.parametrize("name", CHECKED_BY)
@pytest.mark.parametrize("routes", [1, 50])
def test_a_gateway_takes_its_configuration(tmp_path: Path, name: str, routes: int) -> None:
    """As far as the program is installed."""
    found = program(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    command = GATEWAYS[name].command(found, tmp_path / name, 18080, 18081, routes)
    done = subprocess.run([*command, *CHECKED_BY[name]], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_traefik_has_a_router_for_each_route(tmp_path: Path) -> None:
    """All of them by path and key, with the policies."""
    GATEWAYS["traefik"].command("traefik", tmp_path / "traefik", 18080, 18081, 5)
    routers = json.loads((tmp_path / "traefik" / "dynamic.yml").read_text())["http"]["routers"]
    assert len(routers) == 5
    assert all("PathPrefix" in one["rule"] and "Header(" in one["rule"] for one in routers.values())


def test_what_is_not_done_is_said() -> None:
    """In words, for the notes."""
    assert all(what for gateway in GATEWAYS.values() for what in gateway.without)
