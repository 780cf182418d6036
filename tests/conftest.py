"""Hooks of every test: the event loop of both planes, property tests without deadlines, the table of `make chaos`."""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import uvloop
from hypothesis import HealthCheck, settings

from tests.e2e.outcome import table
from tests.support.postgres import Postgres, running_postgres

settings.register_profile("flexgate", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("flexgate")


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], AbstractEventLoop]]:
    """Tests run on the loop that the product runs on."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One PostgreSQL for all tests that only need databases of their own; started when the first one asks."""
    with running_postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
async def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a new, empty database: the test runs on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'flexgate.db'}"
    server: Postgres = request.getfixturevalue("postgres")
    return await server.create()


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
