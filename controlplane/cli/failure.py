"""Why a command did not do what it was asked for: one family of errors, printed once by `main`, with its exit code."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum


class Code(IntEnum):
    """Exit codes, for scripts; docs/reference/cli.md explains them."""

    OK = 0
    REFUSED = 1
    """Faults in what was given, or the control plane does not do it."""
    USAGE = 2
    """The command was typed wrongly, or needs an answer that nobody is there to give."""
    UNREACHABLE = 3
    """No control plane answers, or it cannot answer now: the same command may work later."""
    UNAUTHORISED = 4
    """No credential, one that is not good, or one whose role is not enough."""
    CONFLICT = 5
    """Somebody else changed it, it is needed by others, it exists already, or it needs `--force`."""
    NOT_APPLIED = 6
    """Written, but not every node runs it."""
    DIFFERENT = 7
    """`diff --exit-code` found a difference."""
    INTERRUPTED = 130


class Failure(Exception):
    """What is wrong, and what to do; `details` are further lines."""

    def __init__(self, message: str, code: Code = Code.REFUSED, details: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.details = details

    @property
    def lines(self) -> list[str]:
        """As it is printed."""
        return [str(self), *(f"  {detail}" for detail in self.details)]


class Stale(Failure):
    """Somebody else changed what this was made for (412)."""

    def __init__(self, message: str, details: Sequence[str] = ()) -> None:
        super().__init__(message, Code.CONFLICT, details)
