"""The Date field of answers that have none (RFC 9110 6.6.1): formatted once a second, whoever asks."""

from __future__ import annotations

from email.utils import formatdate


class DateLine:
    """The whole header line, without its end."""

    def __init__(self) -> None:
        self._second = -1
        self._line = b""

    def at(self, now: float) -> bytes:
        """`now` in epoch seconds."""
        second = int(now)
        if second != self._second:
            self._line = b"Date: " + formatdate(second, usegmt=True).encode("ascii")
            self._second = second
        return self._line
