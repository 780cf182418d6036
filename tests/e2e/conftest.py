"""What tests over whole processes share."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.e2e.outcome import Outcome


@pytest.fixture
def outcome(record_property: Callable[[str, object], None]) -> Outcome:
    """This test's row in the table of `make chaos`."""
    return Outcome(record_property)
