"""Hooks of every test: the event loop of both planes, property tests without deadlines, the table of `make chaos`."""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import Callable, Mapping

import pytest
import uvloop
from hypothesis import HealthCheck, settings

from tests.e2e.outcome import table

settings.register_profile("flexgate", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("flexgate")


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], AbstractEventLoop]]:
    """Tests run on the loop that the product runs on."""
    return {"uvloop": uvloop.new_event_loop}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """After a run of the kill tests: what each did, and what its clients saw."""
    if config.getoption("markexpr") != "chaos":
        return
    rows = [
        (report.nodeid.rpartition("::")[2], ended, dict(report.user_properties))
        for ended in ("passed", "failed")
        for report in terminalreporter.getreports(ended)
        if report.when == "call"
    ]
    terminalreporter.section("what was done, and what clients saw")
    for line in table(rows):
        terminalreporter.write_line(line)
