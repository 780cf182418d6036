"""What happened on this node that someone should hear of: a breaker opened, an endpoint failed, a limit was hit.

Names are those of the contract (webhooks carry the same). Each event is a line in the process's log and is counted;
the newest are kept for `/events` on the admin port, and `report` tells them to the control plane. What may happen with
every request is told at most once in a while for each subject, and subjects are bounded in number: no client can make
this node talk more than it serves.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from shared import log

KEPT: Final = 1000
QUIET_SECONDS: Final = 10.0
MOST_SUBJECTS: Final = 100
"""Subjects of one name that are told apart within the quiet time; what comes beyond is told as OTHERS."""
MOST_AT_ONCE: Final = 500
"""Events of one name, within the quiet time, that are told each for itself; of what comes beyond only how often."""
OTHERS: Final = "(others)"


@dataclass(frozen=True, slots=True)
class Event:
    """`number`: from 1 in this process. `at`: epoch seconds. `data`: what the name does not say; never a secret."""

    number: int
    name: str
    at: float
    data: dict[str, Any]


class _Quiet:
    """A subject that was told: until when nothing more is said of it, and what has happened meanwhile."""

    __slots__ = ("data", "times", "until")

    def __init__(self, until: float) -> None:
        self.until = until
        self.times = 0
        self.data: dict[str, Any] = {}


class Events:
    """The events of one worker. `wall` gives epoch seconds, `clock` seconds that only ever grow."""

    def __init__(self, wall: Callable[[], float], clock: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self._clock = clock
        self.emitted = 0
        self.recent: deque[Event] = deque(maxlen=KEPT)
        self.counts: dict[str, int] = {}
        self._quiet: dict[str, dict[str, _Quiet]] = {}
        self._at_once: dict[str, tuple[float, int]] = {}  # until when, and how many were told of a name before that

    def __repr__(self) -> str:
        return f"<Events {self.counts}>"

    def emit(self, name: str, **data: Any) -> None:
        """Tell of something that happens now and then; where it does not stop to, tell how often."""
        now = self._clock()
        until, told = self._at_once.get(name, (0.0, 0))
        if now >= until:
            until, told = now + QUIET_SECONDS, 0
        self._at_once[name] = until, told + 1
        if told < MOST_AT_ONCE:
            self._tell(name, data)
            return
        quiet = self._quiet.setdefault(name, {}).setdefault(OTHERS, _Quiet(until))
        quiet.times += 1
        quiet.data = data

    def often(self, name: str, subject: str, **data: Any) -> None:
        """Tell of something that may happen with every request: of a subject at once, then every ten seconds at most.

        `times` is how often it happened since it was last told, this time included; `data` is of the last time.
        """
        subjects = self._quiet.get(name)
        if subjects is None:
            subjects = self._quiet[name] = {}
        quiet = subjects.get(subject)
        if quiet is None and len(subjects) >= MOST_SUBJECTS:
            subject = OTHERS
            quiet = subjects.get(OTHERS)
        if quiet is not None:
            quiet.times += 1
            quiet.data = data
            return
        subjects[subject] = _Quiet(self._clock() + QUIET_SECONDS)
        self._tell(name, {"subject": subject, "times": 1, **data})

    def settle(self, *, all_of_it: bool = False) -> None:
        """Tell what happened in quiet times that are over; with `all_of_it`, in the others as well. Once a second."""
        now = self._clock()
        for name, subjects in self._quiet.items():
            for subject, quiet in list(subjects.items()):
                if now < quiet.until and not all_of_it:
                    continue
                if not quiet.times:
                    del subjects[subject]
                    continue
                self._tell(name, {"subject": subject, "times": quiet.times, **quiet.data})
                quiet.until, quiet.times, quiet.data = now + QUIET_SECONDS, 0, {}

    def after(self, number: int) -> list[Event]:
        """Those after that one, oldest first, as far as they are kept."""
        count = min(self.emitted - number, len(self.recent))
        return list(self.recent)[len(self.recent) - count :]

    def _tell(self, name: str, data: dict[str, Any]) -> None:
        self.counts[name] = self.counts.get(name, 0) + 1
        self.emitted += 1
        self.recent.append(Event(self.emitted, name, self._wall(), data))
        log.warn(name, **data)
