"""The claims of a token (RFC 7519), once a key has vouched for it: are they good for us, and what do they say? Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

Claims = Mapping[str, Any]

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_LONGEST_SUBJECT: Final = 255


class BadClaimError(Exception):
    """The token is signed and still not good here. `reason`: one word, for metrics; the text is for the client."""

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Rules:
    """What a token must say. `leeway`: seconds that its issuer's clock may be off."""

    issuer: str  # empty: any
    audience: frozenset[str]  # empty: any
    required: Mapping[str, str]  # by the name of the claim
    leeway: float


def check(claims: Claims, rules: Rules, now: float) -> None:
    """Raise BadClaimError where the token is not for us, or not for now (epoch seconds)."""
    expires = _time(claims, "exp")
    if expires is None:
        raise BadClaimError("claims", "The token does not say when it expires")
    if expires + rules.leeway <= now:
        raise BadClaimError("expired", "The token has expired")
    begins = _time(claims, "nbf")
    if begins is not None and begins - rules.leeway > now:
        raise BadClaimError("not_yet", "The token is not valid yet")
    if rules.issuer and claims.get("iss") != rules.issuer:
        raise BadClaimError("issuer", "The token is of another issuer")
    if rules.audience and rules.audience.isdisjoint(_texts(claims.get("aud"))):
        raise BadClaimError("audience", "The token is for another audience")
    for name, wanted in rules.required.items():
        if wanted not in _texts(value_of(claims, name)):
            raise BadClaimError("claims", f"The token's claim {name} is not the one that is needed")


def expiry(claims: Claims, rules: Rules) -> float:
    """Until when (epoch seconds) a checked token is good."""
    return float(claims["exp"]) + rules.leeway


def subject(claims: Claims) -> str:
    """Whom the token is of: `sub`, or the client where there is no user (RFC 9068, RFC 8693); BadClaimError: nobody."""
    for name in ("sub", "client_id", "azp"):
        found = claims.get(name)
        if found is None or found == "":
            continue
        if not isinstance(found, str) or len(found) > _LONGEST_SUBJECT or not found.isprintable():
            raise BadClaimError("claims", f"The token's claim {name} is no name")
        return found
    raise BadClaimError("claims", "The token does not say whom it is of")


def scopes(claims: Claims) -> frozenset[str]:
    """Of `scope` (RFC 8693: separated by spaces) and `scp` (the same, or a list)."""
    found: set[str] = set()
    for name in ("scope", "scp"):
        for text in _texts(claims.get(name)):
            found.update(text.split(" "))
    return frozenset(found - {""})


def value_of(claims: Claims, name: str) -> Any:
    """A claim by its name, or by a path of names with dots into objects; None where there is none."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def text_of(claims: Claims, name: str) -> str:
    """A claim as one text: strings as they are, lists of plain values with commas, the rest as JSON; "" for none."""
    value = value_of(claims, name)
    if value is None:
        return ""
    if isinstance(value, list) and not any(isinstance(one, list | dict) for one in value):
        return ",".join(map(_text, value))
    return _text(value)


def field_lines(claims: Claims, headers: Mapping[str, bytes]) -> tuple[bytes, ...]:
    """Header lines that tell claims; `headers` maps a claim to the header's name. Absent claims have none.

    BadClaimError for a value that would break the head.
    """
    lines = []
    for name, header in headers.items():
        text = text_of(claims, name)
        if _CONTROL.search(text):
            raise BadClaimError("claims", f"The token's claim {name} has characters that no header can hold")
        if text:
            lines.append(header + b": " + text.encode("utf-8", "replace"))
    return tuple(lines)


def _time(claims: Claims, name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise BadClaimError("claims", f"The token's claim {name} is no time")
    return float(value)


def _texts(value: Any) -> Sequence[str]:
    """A claim with one value, or a list of them."""
    if value is None:
        return ()
    return [_text(one) for one in value] if isinstance(value, list) else [_text(value)]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
