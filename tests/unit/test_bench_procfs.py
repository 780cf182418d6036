"""The benchmark reads /proc: text as the kernel writes it, and the process that runs this test."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bench import procfs

FIELDS = "S 41 42 42 0 -1 4194560 900 0 0 0 {user} {system} 0 0 20 0 1 0 12345 10000 200 0 0 0 0 0 0 0 0 0 0 0 0"


@given(name=st.text(st.characters(codec="utf-8", exclude_characters="\n")), user=st.integers(0), system=st.integers(0))
def test_stat_is_read_whatever_the_process_is_called(name: str, user: int, system: int) -> None:
    """A name may hold spaces and parentheses; the fields after it are found all the same."""
    text = f"42 ({name}) " + FIELDS.format(user=user, system=system)
    assert procfs.parse_stat(text) == procfs.Stat(parent=41, user=user, system=system)


def test_resident_memory_is_in_bytes() -> None:
    """VmRSS is given in KiB; a zombie has none."""
    assert procfs.parse_rss("Name:\tpython\nVmHWM:\t  900 kB\nVmRSS:\t  40 kB\n") == 40 * 1024
    assert procfs.parse_rss("Name:\tpython\nState:\tZ (zombie)\n") == 0


def test_a_core_is_busy_with_all_but_waiting() -> None:
    """Idle, waiting for disks and time stolen by the host are not work; core 1 is not mistaken for core 10."""
    stat = "cpu  9 9 9 9 9 9 9 9 0 0\ncpu10 7 7 7 7 7 7 7 7 0 0\ncpu1 100 20 30 5000 60 4 6 900 0 0\nintr 5\n"
    assert procfs.parse_busy(stat, 1) == 160 / procfs.TICKS_PER_SECOND
    with pytest.raises(LookupError, match="core 2"):
        procfs.parse_busy(stat, 2)


def test_family_is_the_process_and_all_below_it() -> None:
    """Children of children belong to it, the neighbours do not."""
    assert set(procfs.family(2, {1: 0, 2: 1, 3: 2, 4: 3, 5: 1, 6: 5})) == {2, 3, 4}
    assert list(procfs.family(7, {})) == [7]


def test_usage_of_a_living_process() -> None:
    """This process has memory, has used its processor, and is at least itself."""
    usage = procfs.usage(os.getpid())
    assert usage.rss_bytes > 1_000_000
    assert usage.cpu_seconds == usage.user_seconds + usage.system_seconds > 0
    assert usage.processes >= 1


def test_usage_of_a_process_that_is_gone() -> None:
    """No number is made up for a process that does not exist; ids end at 2**22."""
    with pytest.raises(ProcessLookupError, match="gone"):
        procfs.usage(2**22 + 1)
