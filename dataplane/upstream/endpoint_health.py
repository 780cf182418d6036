"""How one endpoint fares: whether requests may go to it, why not, and for how long.

Two may take it out: its own failures in a row (passive, here) and the active checks (`probed`). It is available when
neither does. Everything here lives with the endpoint's pool, so it outlives every edit that does not touch the
endpoint; what is the upstream's to decide (how many may be out, how traffic is arranged) is asked of its balancer.
Times are seconds of `clock`, which is also the clock of the sweep that calls `expired`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dataplane.http1.deadlines import NEVER, Deadlines

if TYPE_CHECKING:
    from dataplane.events import Events
    from dataplane.metrics import UpstreamTraffic
    from dataplane.upstream.balancer import Balancer

FULL_STEP: Final = 10
"""A slow start goes up in tenths of the weight; this many of them are all of it."""
_LONGEST_EJECTION: Final = 10
"""An ejection lasts as many times `seconds` as there were in a row, and never more often than this."""


@dataclass(frozen=True, slots=True)
class PassiveHealth:
    """When failures eject an endpoint: `failures` in a row, for `seconds`, at most `percent` of the endpoints out."""

    failures: int
    seconds: float
    percent: float


class EndpointHealth:
    """The health of one endpoint of one upstream. `available` is what balancers read."""

    def __init__(
        self,
        upstream: str,
        address: str,
        *,
        clock: Callable[[], float],
        deadlines: Deadlines,
        events: Events,
        traffic: UpstreamTraffic,
    ) -> None:
        self.upstream = upstream
        self.address = address
        self.clock = clock
        self.deadlines = deadlines
        self.events = events
        self.traffic = traffic
        self.balancer: Balancer | None = None  # the one that serves now; None before it serves and once it is gone
        self.deadline = NEVER
        self.available = True
        self.reason = ""  # why it is not available
        self.probed_down = False
        self.probe_reason = ""
        self.failures = 0  # in a row
        self.ejected = False
        self.ejected_at = self.ejected_until = 0.0
        self.ejection_reason = ""
        self.ejections = 0  # in a row: forgiven one by one while it is well
        self.returned = 0.0
        self.step = FULL_STEP  # of its slow start

    def __repr__(self) -> str:
        return f"<EndpointHealth {self.upstream} {self.address} {self.reason or 'available'}>"

    # ---- what is seen of it

    def succeeded(self) -> None:
        """An attempt was answered, and not with a 5xx."""
        self.failures = 0

    def failed(self, reason: str) -> None:
        """An attempt failed by the endpoint's fault; enough in a row eject it."""
        if self.ejected:
            return  # of requests that were on their way
        self.failures += 1
        balancer = self.balancer
        if balancer is None or balancer.passive is None or self.failures < balancer.passive.failures:
            return
        if balancer.may_eject():
            self._eject(balancer.passive, reason)

    def probed(self, up: bool, reason: str = "") -> None:
        """The word of the active checks, which holds until their next one; `reason` says why it is down."""
        self.probed_down = not up
        self.probe_reason = "" if up else reason
        self._changed()

    # ---- ejection

    def _eject(self, passive: PassiveHealth, reason: str) -> None:
        now = self.clock()
        well = int((now - self.returned) / passive.seconds) if passive.seconds else self.ejections
        self.ejections = min(max(0, self.ejections - well) + 1, _LONGEST_EJECTION)
        self.ejected = True
        self.ejected_at = now
        self.ejection_reason = f"{self.failures} failures in a row, the last: {reason}"
        self.traffic.ejections += 1
        self.time_ejection(passive)
        self._changed()

    def time_ejection(self, passive: PassiveHealth) -> None:
        """An ejection lasts as long as the rules of now say, from when it began."""
        if self.ejected:
            self.ejected_until = self.ejected_at + passive.seconds * self.ejections
            self._watch(self.ejected_until)

    def pardon(self) -> None:
        """End an ejection before its time; nothing of it is held against the endpoint."""
        self.failures = self.ejections = 0
        if self.ejected:
            self._return()

    def _return(self) -> None:
        self.ejected = False
        self.ejection_reason = ""
        self.returned = self.clock()
        self._changed()

    # ---- slow start

    def ramp(self) -> None:
        """Begin with a tenth of the weight, where the upstream has a slow start."""
        balancer = self.balancer
        self.step = FULL_STEP
        if balancer is not None and balancer.slow_start:
            self.step = 1
            self._watch(self.clock() + balancer.slow_start / FULL_STEP)

    def _climb(self, now: float) -> None:
        balancer = self.balancer
        if balancer is None:
            return
        self.step += 1
        if self.step < FULL_STEP:
            self._watch(now + balancer.slow_start / FULL_STEP)
        balancer.refresh()

    # ---- time and change

    def expired(self, now: float) -> None:
        """The sweep's call: an ejection is over, or the next step of a slow start is due."""
        self.deadlines.discard(self)
        if self.ejected:
            passive = self.balancer.passive if self.balancer is not None else None
            # On probation: the next failure ejects again, the first success clears it.
            self.failures = passive.failures - 1 if passive is not None else 0
            self._return()
        elif self.step < FULL_STEP:
            self._climb(now)

    def retire(self) -> None:
        """The endpoint is gone: nothing will be told of it any more."""
        self.balancer = None
        self.deadlines.discard(self)

    def _watch(self, deadline: float) -> None:
        self.deadline = deadline
        self.deadlines.add(self)

    def _changed(self) -> None:
        """Settle what follows: available or not, who is told, how traffic is arranged."""
        was = self.available
        if self.ejected:
            self.reason = f"ejected: {self.ejection_reason}"
        else:
            self.reason = f"down: {self.probe_reason or 'its check fails'}" if self.probed_down else ""
        self.available = not self.reason
        if self.available == was:
            return
        if self.available:
            self.ramp()
            self.events.emit("upstream.recovered", upstream=self.upstream, endpoint=self.address)
        else:
            self.events.emit("upstream.failure", upstream=self.upstream, endpoint=self.address, reason=self.reason)
        if self.balancer is not None:
            self.balancer.refresh()
