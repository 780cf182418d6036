"""The allocator's thresholds."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource
from dataplane.allocator import fix_thresholds

def faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

fixed = {fixed} and fix_thresholds()
def serve() -> None:
    buffers = [bytes([number]) * 250_000 for number in range(10)]

for _ in range(10):
    serve()
before = faults()
for _ in range(100):
    serve()
print(fixed, faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no such settings")
def test_buffers_come_and_go_without_page_faults() -> None:
    """The memory of a body's buffers stays at hand for the next ones; left alone, it does not."""

    def told(*, fixed: bool) -> tuple[str, int]:
        program = PROGRAM.format(fixed=fixed)
        out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
        word, faults = out.split()
        return word, int(faults)

    word, faults = told(fixed=True)
    assert (word, faults < 100) == ("True", True), faults
    assert told(fixed=False)[1] > 1000
