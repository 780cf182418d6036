"""Talks to the REST API of a control plane; what goes wrong is a Failure that says where, what and what to do."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any, Protocol
from urllib.parse import quote, urlencode

from controlplane.cli.failure import Code, Failure, Stale
from controlplane.cli.reaching import hint, opener

Json = dict[str, Any]
SECONDS = 30.0
"""How long an answer may take; a write that waits for nodes has that time on top."""
PAGE = 1000
JSON, YAML = "application/json", "application/yaml"
TEXTS = (YAML, "application/x-ndjson")
CODES = {401: Code.UNAUTHORISED, 403: Code.UNAUTHORISED, 409: Code.CONFLICT, 428: Code.CONFLICT}
STALE = 412
LOGIN = "/api/auth/login"
"""Asks for a password, and not for a token."""
LATER = frozenset({429, 502, 503, 504})
HINTS = {
    401: "give a token: --token, FLEXGATE_TOKEN, `flexgate login`, or one in a context (`flexgate context add`)",
    403: "it takes another role: ask an admin for a token with it",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """A good answer. `body` is its JSON, None where there was none; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: Any


class Credential(Protocol):
    """What opens a control plane."""

    def bearer(self) -> str:
        """The token to send; empty: none."""

    def renew(self) -> bool:
        """Called where the token was refused; whether there is a new one now."""


@dataclass(frozen=True, slots=True)
class Fixed:
    """A token that somebody gave."""

    token: str

    def bearer(self) -> str:
        return self.token

    def renew(self) -> bool:
        return False


class Api:
    """A control plane. Paths begin with /api; raises Failure, with the API's own words.

    `ca_file` has the PEM authorities that its certificate may be of; "": those of this machine.
    """

    def __init__(self, url: str, credential: Credential, ca_file: str = "") -> None:
        self.url = url.rstrip("/")
        self._credential = credential
        self._opener = opener(ca_file)

    @property
    def bearer(self) -> str:
        """The token that is sent; empty: none."""
        return self._credential.bearer()

    def get(self, path: str, query: Mapping[str, object] | None = None) -> Any:
        """The JSON at a path."""
        return self.send("GET", path, query=query).body

    def listed(self, path: str, name: str = "", query: Mapping[str, object] | None = None, most: int = 0) -> list[Json]:
        """All entries of a list, by pages, or the first `most`; `name` is the field that has them; none: an array."""
        found: list[Json] = []
        for page in self._pages(path, query or {}, min(most or PAGE, PAGE)):
            found += page.body[name] if isinstance(page.body, dict) else page.body
            if most and len(found) >= most:
                return found[:most]
        return found

    def send(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        seconds: float = 0.0,
        place: str = "",
    ) -> Answer:
        """Any request; text is sent as YAML, everything else as JSON. `seconds` is time on top for the answer.

        `place` is the file that the body is: faults are told with it and their lines.
        """
        known = {name: value for name, value in (query or {}).items() if value not in (None, "", False)}
        words = urlencode({name: "1" if value is True else value for name, value in known.items()})
        target = f"{self.url}{path}" + (f"?{words}" if words else "")
        content = body.encode() if isinstance(body, str) else None if body is None else json.dumps(body).encode()
        kind = {"Content-Type": YAML if isinstance(body, str) else JSON} if content is not None else {}
        given = {"Accept": JSON, **kind, **(headers or {})}
        for renewed in (False, True):
            try:
                return self._once(method, target, content, given, SECONDS + seconds)
            except urllib.error.HTTPError as error:
                if renewed or error.code != 401 or not self._credential.renew():
                    raise self._refusal(error, place) from error
                error.close()
        raise AssertionError("the second try returns or raises")

    def _once(
        self, method: str, target: str, content: bytes | None, headers: Mapping[str, str], seconds: float
    ) -> Answer:
        bearer = {"Authorization": f"Bearer {token}"} if (token := self.bearer) else {}
        try:
            request = urllib.request.Request(target, content, {**headers, **bearer}, method=method)
            with self._opener.open(request, timeout=seconds) as answer:
                text = answer.read()
                heads = {name.lower(): value for name, value in answer.headers.items()}
                return Answer(answer.status, heads, _read(text, heads))
        except urllib.error.HTTPError:
            raise
        except (OSError, ValueError, HTTPException) as error:
            reason = getattr(error, "reason", error)
            said = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
            details = [more] if (more := hint(self.url, reason)) else []
            raise Failure(f"no control plane answers at {self.url}: {said}", Code.UNREACHABLE, details) from error

    def _pages(self, path: str, query: Mapping[str, object], limit: int) -> Iterator[Answer]:
        cursor = ""
        while True:
            page = self.send("GET", path, query={**query, "limit": limit, "cursor": cursor})
            yield page
            rest = page.body.get("nextCursor", "") if isinstance(page.body, dict) else ""
            cursor = rest or page.headers.get("x-next-cursor", "")
            if not cursor:
                return

    def _refusal(self, error: urllib.error.HTTPError, place: str) -> Failure:
        """An error of the API as it is shown: its message, its details with their paths, and what to do."""
        with error:
            text = error.read()
        status = error.code
        code = Code.UNREACHABLE if status in LATER else CODES.get(status, Code.REFUSED)
        try:
            body = json.loads(text)
            message, details = (
                str(body["message"]),
                [detail_line(detail, place) for detail in body.get("details") or ()],
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            message, details = text[:200].decode(errors="replace").strip() or error.reason, []
        details = [detail for detail in details if detail != message]
        if status == 429 and (wait := error.headers.get("Retry-After")):
            details.append(f"try again in {wait} s")
        if (what := HINTS.get(status)) and not error.url.endswith(LOGIN):
            details.append(what)
        told = f"{self.url} answered {status}: {message}"
        return Stale(told, details) if status == STALE else Failure(told, code, details)


def path_of(*parts: str) -> str:
    """A path of the API, each part quoted."""
    return "/api/" + "/".join(quote(part, safe="") for part in parts)


def detail_line(detail: Json, place: str = "") -> str:
    """`FILE:LINE: path: message`, or `kind name: path: message`, of what is known."""
    line = detail.get("line")
    where = f"{place}:{line}" if place and line else place or (f"line {line}" if line else "")
    who = "" if line else f"{detail.get('kind') or ''} {detail.get('name') or ''}".strip()
    return ": ".join(str(part) for part in (where, who, detail.get("path"), detail.get("message")) if part)


def _read(text: bytes, headers: Mapping[str, str]) -> Any:
    """JSON as what it says; anything else as text. ValueError where it is no API that answers."""
    if not text.strip():
        return None
    kind = headers.get("content-type", "").partition(";")[0]
    if kind == JSON:
        return json.loads(text)
    if kind not in TEXTS:
        raise ValueError("this is not the API of a control plane")
    return text.decode()
