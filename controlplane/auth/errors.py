"""What goes wrong with tokens, users and logins: raised anywhere in here, rendered once by each surface."""

from __future__ import annotations

from collections.abc import Sequence


class AccessError(Exception):
    """`status` is HTTP's; `details` are {path, message} of each field that is wrong.

    `wait`: seconds until a further try makes sense, 0.0 where that is no question of time.
    """

    def __init__(
        self, status: int, message: str, details: Sequence[dict[str, object]] | None = None, *, wait: float = 0.0
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.details = list(details) if details is not None else None
        self.wait = wait


def invalid(**faults: str) -> AccessError:
    """A request with these faults, by field; those that are empty are none. See `refuse`."""
    details: list[dict[str, object]] = [{"path": name, "message": text} for name, text in faults.items() if text]
    return AccessError(400, f"{details[0]['path']}: {details[0]['message']}" if details else "", details)


def refuse(**faults: str) -> None:
    """Raise `invalid` where one of the faults is not empty."""
    if any(faults.values()):
        raise invalid(**faults)
