"""`make bench` works: short runs with valid figures, against the real nginx and of the control plane."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.servers import needed

DEADLINE = 120.0


def test_a_quick_run_is_valid(tmp_path: Path) -> None:
    """One second each of small requests: exit code 0, and a row for each contestant in the JSON."""
    needed("nginx", "wrk")
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("the benchmark needs two cores")
    result = tmp_path / "bench.json"
    ended = subprocess.run(
        [sys.executable, "-m", "tests.bench", "--quick", "--only", "post", "--json", str(result)],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    case = json.loads(result.read_bytes())["cases"]["post"]
    subjects = {row.split()[0] for row in case["rows"]}
    assert subjects == {"nginx", "textbook", "flexgate"}


def test_a_change_reaches_simulated_nodes(tmp_path: Path) -> None:
    """A few changes with all nodes connected: exit code 0, every node acknowledges, and all get deltas only."""
    needed("taskset")
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("the benchmark needs two cores")
    result = tmp_path / "bench.json"
    ended = subprocess.run(
        [sys.executable, "-m", "tests.bench", "--quick", "--only", "config-push", "--json", str(result)],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    figures = {one["name"]: one for one in json.loads(result.read_bytes())["cases"]["config-push"]["figures"]}
    assert figures["bytes of configuration to a node for it"]["met"]
