"""What a kill test tells of itself: one row of the table that `make chaos` prints. Nothing here is asserted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

from tests.e2e.load import Load

Tell = Callable[[str, object], None]
COLUMNS = ("struck", "requests", "refused", "failed", "recovered")
_TITLES = ("what was done", "requests", "refused", "failed", "recovered after", "")


class Outcome:
    """`struck` and `recovered` bound the time of one failure; the longest of several is told."""

    def __init__(self, tell: Tell, clock: Callable[[], float] = time.monotonic) -> None:
        self._tell = tell
        self._clock = clock
        self._since = 0.0
        self._longest = 0.0

    def struck(self, what: str) -> None:
        """It happens now."""
        self._since = self._clock()
        self._tell("struck", what)

    def recovered(self) -> None:
        """Everything is as it was before."""
        self._longest = max(self._longest, self._clock() - self._since)
        self._tell("recovered", f"{self._longest:.2f} s")

    def load(self, *loads: Load) -> None:
        """What clients saw meanwhile."""
        self._tell("requests", sum(load.total + load.refused + len(load.failures) for load in loads))
        self._tell("refused", sum(load.refused for load in loads))
        self._tell("failed", sum(len(load.failures) for load in loads))


def table(rows: Iterable[tuple[str, str, Mapping[str, object]]]) -> list[str]:
    """Lines of text; a row is (test, how it ended, what its Outcome told)."""
    lines = [
        (str(told.get("struck", test)), *(str(told.get(name, "")) for name in COLUMNS[1:]), ended)
        for test, ended, told in rows
    ]
    if not lines:
        return []
    widths = [max(len(line[column]) for line in (_TITLES, *lines)) for column in range(len(_TITLES))]
    return [
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in (_TITLES, *lines)
    ]
