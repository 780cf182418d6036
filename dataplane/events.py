"""What happened on this node that someone should hear of: a breaker opened, an endpoint failed, a limit was hit.

Names are those of the contract (webhooks carry the same). The newest are kept for `/events` on the admin port, each is
a line in the process's log, and all are counted. What may happen with every request is told at most once in a while.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from shared import log

_KEPT: Final = 1000
_QUIET_SECONDS: Final = 10.0
_MOST_SUBJECTS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Event:
    """`at`: epoch seconds. `data`: what the name does not say; never a secret."""

    name: str
    at: float
    data: dict[str, Any]


class Events:
    """The events of one worker. `wall` gives epoch seconds."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self.recent: deque[Event] = deque(maxlen=_KEPT)
        self.counts: dict[str, int] = {}
        self._quiet: dict[tuple[str, str], tuple[float, int]] = {}

    def emit(self, name: str, **data: Any) -> None:
        """Tell of something that happens now and then."""
        self.counts[name] = self.counts.get(name, 0) + 1
        self.recent.append(Event(name, self._wall(), data))
        log.warn(name, **data)

    def often(self, name: str, subject: str, **data: Any) -> None:
        """Tell of something that may happen with every request: of a subject at most every ten seconds, with a count.

        `times` is how often it happened since it was last told, this time included.
        """
        now = self._wall()
        until, silent = self._quiet.get((name, subject), (0.0, 0))
        if now < until:
            self._quiet[name, subject] = (until, silent + 1)
            return
        if len(self._quiet) >= _MOST_SUBJECTS:
            self._quiet.clear()
        self._quiet[name, subject] = (now + _QUIET_SECONDS, 0)
        self.emit(name, subject=subject, times=silent + 1, **data)
