"""What this node serves, and the one way to change it: offer a table, and it is served or refused as a whole.

It is the seam to the target: whatever goes wrong there becomes a ConfigError here, and the old table keeps serving.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from dataplane.boot_guard import BootGuard
from dataplane.config_source import Held, Origin, Target
from shared import log
from shared.faults import ConfigError, Fault


@dataclass(frozen=True, slots=True)
class Served:
    """A table in service since `since` (monotonic seconds)."""

    held: Held
    origin: Origin
    since: float


class Serving:
    """The served table; `failures` counts those that were refused."""

    def __init__(
        self, target: Target, guard: BootGuard | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._target = target
        self._guard = guard
        self._clock = clock
        self.served: Served | None = None
        self.failures = 0

    @property
    def held(self) -> Held | None:
        """What is served; None: nothing."""
        return self.served.held if self.served is not None else None

    def offer(self, held: Held, origin: Origin) -> list[Fault]:
        """Serve this table; returns warnings. ConfigError: it is refused, and what was served still is."""
        started = self._clock()
        try:
            warnings = self._apply(held)
        except ConfigError as error:
            self.failures += 1
            faults = [str(fault) for fault in error.faults]
            log.warn("config.refused", revision=held.revision, source=origin, faults=faults)
            raise
        now = self._clock()
        self.served = Served(held, origin, now)
        log.info(
            "config.applied",
            revision=held.revision,
            source=origin,
            resources=len(held.table),
            ms=round((now - started) * 1000, 1),
            warnings=[str(warning) for warning in warnings],
        )
        return warnings

    def _apply(self, held: Held) -> list[Fault]:
        guard, digest = self._guard, held.table.digest
        if guard is None:
            return self._compile(held)
        # Better a table that may kill the process than none at all.
        if self.served is not None and guard.refuses(digest):
            reason = f"{held} ended this process {guard.deaths(digest)} times soon after it was applied"
            raise ConfigError([Fault("", f"{reason}; it is not tried again", "boot_loop")])
        guard.trying(digest)
        try:
            return self._compile(held)
        except ConfigError:
            guard.refused()
            raise

    def _compile(self, held: Held) -> list[Fault]:
        try:
            return self._target.apply(held.table, held.revision)
        except ConfigError:
            raise
        except Exception as error:
            # A fault in the program must not end the stream, which may bring the table that mends it.
            log.failure("config.apply_failed", revision=held.revision)
            reason = f"applying it failed: {type(error).__name__}: {error}"
            raise ConfigError([Fault("", reason, "internal")]) from error
