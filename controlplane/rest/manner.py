"""How a write is to be done: its preconditions and preferences, from the request's headers and parameters.

RFC 9110 13.1.1 (If-Match), RFC 7240 (Prefer: wait), draft-ietf-httpapi-idempotency-key-header (Idempotency-Key).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

from aiohttp import web

from controlplane.actor import Actor
from controlplane.auth.gate import actor_of
from controlplane.changes import ANY
from controlplane.problem import Problem
from controlplane.rest.problems import known_parameters, switch

PARAMETERS = ("dryRun", "force", "message")
LONGEST_WAIT = 60.0
"""Seconds; a longer wait is cut to it, as Preference-Applied tells."""
LONGEST_KEY, LONGEST_MESSAGE = 255, 1000
ETAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
WAIT = re.compile(r"wait\s*=\s*\"?(\d{1,9})\"?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Manner:
    """`dry_run`: plan it only; "nodes": let nodes try it, too. `wait` in seconds, None: do not.

    `if_match`: the etags of which what is there must have one (ANY: it must be there); `create`: it must not be there.
    """

    actor: Actor
    force: bool
    message: str
    dry_run: Literal["", "plan", "nodes"]
    wait: float | None
    if_match: tuple[str, ...]
    create: bool
    key: str
    request_hash: str

    def expected(self, etag: str) -> str:
        """The one of the etags to hold against what is there, which has `etag`."""
        return etag if etag in self.if_match else self.if_match[0] if self.if_match else ""


async def manner(request: web.Request, *more: str) -> Manner:
    """The manner of a request; Problem(400) where a part of it makes no sense. `more`: parameters of its own."""
    known_parameters(request, *PARAMETERS, *more)
    message, key = request.query.get("message", ""), request.headers.get("Idempotency-Key", "")
    if len(message) > LONGEST_MESSAGE:
        raise Problem(400, f"message: at most {LONGEST_MESSAGE} characters")
    if len(key) > LONGEST_KEY or not key.isprintable():
        raise Problem(400, f"Idempotency-Key: at most {LONGEST_KEY} printable characters")
    none_match = request.headers.get("If-None-Match", "").strip()
    if none_match not in {"", ANY}:
        raise Problem(400, "If-None-Match: only * is possible with a write")
    return Manner(
        actor_of(request),
        switch(request, "force"),
        message,
        _dry_run(request),
        _wait(request),
        _if_match(request.headers.getall("If-Match", ())),
        bool(none_match),
        key,
        await _hash(request) if key else "",
    )


def _dry_run(request: web.Request) -> Literal["", "plan", "nodes"]:
    if request.query.get("dryRun") == "nodes":
        return "nodes"
    return "plan" if switch(request, "dryRun") else ""


def _wait(request: web.Request) -> float | None:
    for header in request.headers.getall("Prefer", ()):
        for preference in header.split(","):
            if found := WAIT.fullmatch(preference.partition(";")[0].strip()):
                return min(float(found[1]), LONGEST_WAIT)
    return None


def _if_match(headers: list[str] | tuple[str, ...]) -> tuple[str, ...]:
    found: list[str] = []
    for one in (part.strip() for header in headers for part in header.split(",")):
        if one == ANY:
            found.append(ANY)
        elif matched := ETAG.fullmatch(one):
            # A weak one matches nothing here (RFC 9110 8.8.3.2), nor does an empty one.
            found.append("weak" if matched[1] else matched[2] or "none")
        elif one:
            raise Problem(400, 'If-Match must be "ETAG" in quotes, as a read gave it, or *')
    return tuple(found)


async def _hash(request: web.Request) -> str:
    state = sha256(f"{request.method} {request.rel_url.raw_path_qs}\n".encode())
    state.update(await request.read())
    return state.hexdigest()
