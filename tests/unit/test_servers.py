"""What becomes of a test whose server is missing."""

from __future__ import annotations

import pytest

from tests.support.servers import needed


def test_what_is_there_is_no_reason_to_skip() -> None:
    """A program on the PATH changes nothing, in CI or elsewhere."""
    needed("sh", environ={})
    needed("sh", environ={"CI": "true"})


def test_a_missing_server_skips_and_in_ci_fails() -> None:
    """The reason names what is missing; CI does not get away with a skip."""
    with pytest.raises(pytest.skip.Exception, match="no-such-server not found"):
        needed("sh", "no-such-server", environ={})
    with pytest.raises(pytest.fail.Exception, match="no-such-server not found"):
        needed("no-such-server", environ={"CI": "true"})
