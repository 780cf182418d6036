"""The process's own log follows `logging.level`, unless a flag has the last word."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from tests.support.gateway import document, running_gateway

LOGGER = logging.getLogger("flexgate")
NOBODY = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """The level is the process's, so other tests get it back."""
    before = LOGGER.level
    yield
    LOGGER.setLevel(before)


async def test_the_level_follows_the_configuration() -> None:
    """At the start, and with each edit."""
    async with running_gateway(document(NOBODY, logging={"level": "error"})) as gateway:
        assert LOGGER.level == logging.ERROR
        await gateway.reconfigure(document(NOBODY, logging={"level": "debug"}))
        assert LOGGER.level == logging.DEBUG


async def test_a_flag_has_the_last_word() -> None:
    """With --log-level the configuration's level is that of the request log alone."""
    LOGGER.setLevel(logging.INFO)
    async with running_gateway(document(NOBODY, logging={"level": "error"}), log_level="info"):
        assert LOGGER.level == logging.INFO
