"""Why a write is not done, apart from faults in its content (ConfigError): one family, rendered by REST and gRPC.

`status` is the HTTP status that says the same; `code` is for programs; `details` are {path, message} of each reason.
Nothing was changed.
"""

from __future__ import annotations

from shared.table import Key


class Refusal(Exception):
    """The text says what is the matter and what to do."""

    status = 409
    code = "refused"

    def __init__(self, message: str, details: list[dict[str, str]] | None = None) -> None:
        super().__init__(message)
        self.details = details or []


class ReadOnly(Refusal):
    """A file is the truth here."""

    code = "read_only"


class NotFound(Refusal):
    """What is to be changed is not there."""

    status = 404
    code = "not_found"

    def __init__(self, key: Key) -> None:
        super().__init__(f"there is no {shown(key)}")


class AlreadyExists(Refusal):
    """What is to be created is there already."""

    code = "already_exists"

    def __init__(self, key: Key) -> None:
        super().__init__(f"there is a {shown(key)} already; change it, or choose another name")


class Stale(Refusal):
    """Someone else changed it since it was read (If-Match)."""

    status = 412
    code = "stale"

    def __init__(self, key: Key) -> None:
        super().__init__(f"{shown(key)} is not what you read any more; read it again and repeat the change")


class Moved(Refusal):
    """Someone else changed the configuration since this was planned (If-Match)."""

    status = 412
    code = "stale"

    def __init__(self, revision: int, etag: str) -> None:
        message = (
            f"the configuration is at revision {revision} by now, and this was planned for another one; "
            "look at what was changed, and plan anew"
        )
        super().__init__(message, [{"path": "If-Match", "message": f"the etag is now {etag}"}])


class Referenced(Refusal):
    """What is to be deleted is needed by others."""

    code = "referenced"

    def __init__(self, users: dict[Key, list[Key]]) -> None:
        named = "; ".join(f"{shown(key)} is used by {_listed(by)}" for key, by in users.items())
        details = [
            {"path": "", "message": f"{shown(user)} uses {shown(key)}"} for key, by in users.items() for user in by
        ]
        super().__init__(f"{named}; change or delete these first, or in the same transaction", details)


class Guarded(Refusal):
    """The change is good, but looks like an accident: it needs `force`."""

    code = "needs_force"


class Busy(Refusal):
    """Other writers were faster, again and again."""

    status = 503
    code = "busy"


class KeyReused(Refusal):
    """An idempotency key that another request had."""

    status = 422
    code = "idempotency_key_reused"


def shown(key: Key) -> str:
    """A resource as people name it."""
    kind, name = key
    return "settings" if kind == "settings" else f"{kind} {name!r}"


def _listed(keys: list[Key], most: int = 5) -> str:
    more = f" and {len(keys) - most} more" if len(keys) > most else ""
    return ", ".join(map(shown, keys[:most])) + more
