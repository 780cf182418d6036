"""What is to be changed, as REST, gRPC and the CLI say it: a list of these is one transaction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from shared.pb.resources_pb2 import Resource
from shared.table import Key, Table, hash_of, key_of

Json = dict[str, Any]
ANY = "*"
"""The `if_match` of whoever only wants it to be there."""


@dataclass(frozen=True, slots=True)
class Put:
    """Make a resource this message, whole. `new`: it must not be there yet; `if_match`: it must be what had this etag.

    A new route needs no name: it is called by what it matches. An `upstream` that is a URL becomes a resource.
    """

    kind: str
    name: str
    message: Message
    if_match: str = ""
    new: bool = False


@dataclass(frozen=True, slots=True)
class Delete:
    """Take a resource away."""

    kind: str
    name: str
    if_match: str = ""


Change = Put | Delete


@dataclass(frozen=True, slots=True)
class Changed:
    """What became of one resource: None before means created, None after means deleted."""

    key: Key
    before: Resource | None
    after: Resource | None

    @property
    def action(self) -> str:
        """create | update | delete."""
        if self.before is None:
            return "create"
        return "delete" if self.after is None else "update"


def changes_between(before: Table, after: Table) -> tuple[Changed, ...]:
    """What makes one table of another."""
    upserts, removes = after.since(before)
    gone = [Changed(key, before[key], None) for key in removes]
    return (*(Changed(key_of(one), before.get(key_of(one)), one) for one in upserts), *gone)


@dataclass(frozen=True, slots=True)
class Once:
    """A request that may come twice (Idempotency-Key): the answer to the first is kept, with the write it made.

    `subject` is who sends it. `answer` makes what is to be kept of the outcome, without secrets.
    """

    subject: str
    key: str
    request_hash: str
    answer: Callable[[Any], Json]  # of a service.Outcome


def etag_of(resource: Resource) -> str:
    """What a resource is, as 32 hex digits: equal for equal content, in every replica and after a restart."""
    return f"{hash_of(resource):032x}"


def etag_at(epoch: str, revision: int) -> str:
    """What names the whole configuration at a revision; "0" before the first.

    The line is in it: a database that was restored counts on, and its next revision is not what was one of that number.
    """
    return f"{revision}-{epoch[:8]}" if revision else "0"
