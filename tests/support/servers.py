"""Programs that tests need beside Python: found, or the test is skipped with the reason; with CI=true it fails."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Mapping

import pytest


def needed(*programs: str, environ: Mapping[str, str] = os.environ) -> None:
    """Skip the test unless all of them are on the PATH. In CI, where .ci/run installs them, their lack is a failure."""
    missing = ", ".join(program for program in programs if shutil.which(program) is None)
    if not missing:
        return
    if environ.get("CI") == "true":
        pytest.fail(f"{missing} not found, though CI=true: .ci/run installs what tests need")
    pytest.skip(f"{missing} not found")


def free_port() -> int:
    """A port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port
