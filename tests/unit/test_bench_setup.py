"""What the benchmark sets up: cores, tools, processes, and contestants that get the same chance."""

from __future__ import annotations

import json
import os
import re
import select
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.document import read
from tests.bench import flexgate, nginx
from tests.bench.cases import CASES
from tests.bench.cores import divide, pinned
from tests.bench.invalid import InvalidRunError, UnfitMachineError
from tests.bench.machine import cpu_model, require_tools
from tests.bench.origin import SMALL_BODY
from tests.bench.probe import free_port, wait_ready
from tests.bench.process import Process


@given(st.sets(st.integers(0, 255), min_size=2))
def test_the_proxy_has_a_core_for_itself(allowed: set[int]) -> None:
    """Every core is used, and none by both sides."""
    cores = divide(allowed)
    assert cores.proxy not in cores.load
    assert {cores.proxy, *cores.load} == allowed


def test_one_core_is_not_enough() -> None:
    """On a single core, load and proxy would measure each other."""
    with pytest.raises(UnfitMachineError, match="two cores"):
        divide({0})


def test_a_missing_tool_is_named_with_the_package_that_has_it(tmp_path: Path) -> None:
    """The message is the line to type."""
    with pytest.raises(
        UnfitMachineError, match=r"nginx, wrk, taskset not found.*apt-get install nginx-light wrk util-linux"
    ):
        require_tools(search=str(tmp_path))


def test_cpu_model_is_read_or_replaced() -> None:
    """Processors that give no name are called by their architecture."""
    assert cpu_model("processor\t: 0\nmodel name\t: Some CPU @ 3 GHz\n") == "Some CPU @ 3 GHz"
    assert cpu_model("processor\t: 0\n")


def test_pinning_keeps_the_command() -> None:
    """taskset stands before the command and changes nothing in it."""
    assert pinned(["nginx", "-V"], 3) == ["taskset", "--cpu-list", "3", "nginx", "-V"]


@given(routes=st.integers(1, 50))
def test_the_measured_route_stands_last_in_a_table_of_that_length(routes: int) -> None:
    """As many routes as asked, all different, all with a key and a limit; only the noisy one's can be reached."""
    document = json.loads(flexgate.config(routes, 9000))
    table = document["routes"]
    assert len({route["path"] for route in table}) == len(table) == routes
    assert table[-1]["path"] == "/bench/*"
    assert all(route["auth"] == "required" for route in table)
    within_reach = [route["path"] for route in table if route["rateLimit"]["max"] < 10**8]
    assert within_reach == ([] if routes == 1 else ["/noisy/*"])
    assert document["logging"]["sampling"] == {"successRate": 0.1, "errorRate": 1.0}


def test_every_policy_of_the_measured_configuration_is_enforced() -> None:
    """The document is valid and nothing in it is merely accepted: a policy that does not act would cost nothing."""
    document = read(flexgate.config(flexgate.ROUTES, 9000))
    assert document.warnings == []
    assert len(document.config.routes) == flexgate.ROUTES


def test_nginx_streams_and_keeps_connections() -> None:
    """Braces balance, upstream connections are kept, nothing is logged or spilled to disk."""
    text = nginx.proxy(8001, 8002)
    assert text.count("{") == text.count("}")
    for line in ("keepalive 128;", 'proxy_set_header Connection "";', "access_log off;", "proxy_max_temp_file_size 0;"):
        assert line in text
    assert "listen 127.0.0.1:8001;" in text
    assert "server 127.0.0.1:8002;" in text


def test_the_small_answer_is_small_json() -> None:
    """About a hundred bytes, as in every comparison of the design."""
    assert json.loads(SMALL_BODY)["id"] == 4711
    assert 100 <= len(SMALL_BODY) <= 110


def test_case_names_can_be_typed() -> None:
    """Names are short words with dashes; each case says in a line what it measures."""
    assert CASES
    for name, case in CASES.items():
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", name)
        assert case.title


def test_a_process_that_ends_while_starting_is_reported_with_its_words(tmp_path: Path) -> None:
    """Nobody waits out the deadline for a program that has already said why it cannot run."""
    process = Process("broken", [sys.executable, "-c", "raise SystemExit('the port is taken')"], tmp_path / "log")
    with pytest.raises(InvalidRunError, match=r"broken ended while starting:\n.*the port is taken"):
        wait_ready(process, free_port(), "/", seconds=30)
    process.stop()
    assert not process.alive


def test_stopping_takes_the_children_along(tmp_path: Path) -> None:
    """A program that left a child behind does not leave it to the next run."""
    told = tmp_path / "told"
    os.mkfifo(told)
    parent = (
        f"import subprocess; child = subprocess.Popen(['sleep', '600']); open({str(told)!r}, 'w').write(str(child.pid))"
    )
    process = Process("parent", [sys.executable, "-c", parent], tmp_path / "log")
    child = os.pidfd_open(int(told.read_text()))
    process.stop()
    ended, _, _ = select.select([child], [], [], 10)
    os.close(child)
    assert ended
