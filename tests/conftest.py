"""Hooks of every test: the event loop of both planes, and property tests without deadlines of their own."""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import Callable, Mapping

import uvloop
from hypothesis import HealthCheck, settings

settings.register_profile("flexgate", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("flexgate")


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], AbstractEventLoop]]:
    """Tests run on the loop that the product runs on."""
    return {"uvloop": uvloop.new_event_loop}
