"""How much memory this process uses, against what it may: two marks, watched once a second.

Above the first, what is least important is shed, and no new body is taken in; above the second, no connection is
accepted either. Each mark is left a little below where it was passed.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from typing import Final

SHED_SHARE: Final = 0.80
STOP_SHARE: Final = 0.95
_RELIEF: Final = 0.05
"""How far below a mark, as a share of the limit, it is left."""
_STATM: Final = Path("/proc/self/statm")
_PAGE: Final = 4096


class Pressure(IntEnum):
    """What memory asks for."""

    NONE = 0
    SHED = 1
    STOP = 2


def resident() -> int:
    """Bytes of memory in use by this process; 0 where the system does not tell."""
    try:
        return int(_STATM.read_text().split()[1]) * _PAGE
    except OSError:
        return 0


class Watermark:
    """`limit` in bytes; 0: none, and nothing is ever read."""

    def __init__(self, limit: int = 0, used: Callable[[], int] = resident) -> None:
        self.limit = limit
        self.pressure = Pressure.NONE
        self._used = used

    def look(self) -> bool:
        """Read once; whether the pressure has changed."""
        if not self.limit:
            return False
        share, before = self._used() / self.limit, self.pressure
        stop = STOP_SHARE - (_RELIEF if before is Pressure.STOP else 0.0)
        shed = SHED_SHARE - (_RELIEF if before is not Pressure.NONE else 0.0)
        self.pressure = Pressure.STOP if share >= stop else Pressure.SHED if share >= shed else Pressure.NONE
        return self.pressure is not before
