"""From the claims of a provider to a role here: pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from controlplane.actor import ROLES

EVERYONE = "*"


def parsed(text: str) -> dict[str, str]:
    """`platform=admin,oncall=operator,*=viewer` as a mapping; ValueError where it is none."""
    mapping: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        value, separator, role = (piece.strip() for piece in part.rpartition("="))
        if not separator or not value or role not in ROLES:
            raise ValueError(f"{part!r} is not VALUE=ROLE with a role of {', '.join(ROLES)}")
        mapping[value] = role
    return mapping


def role_of(claims: Mapping[str, Any], claim: str, mapping: Mapping[str, str]) -> str | None:
    """The highest role that the values of a claim map to; None: nobody said that this person may come in.

    `claim` may lead into objects with dots, as in Keycloak's `realm_access.roles`. The value is a string or a list.
    """
    roles = [mapping[value] for value in (*_values(claims, claim), EVERYONE) if value in mapping]
    return max(roles, key=ROLES.index, default=None)


def _values(claims: Mapping[str, Any], claim: str) -> Iterable[str]:
    found: Any = claims.get(claim)
    if found is None:
        found = claims
        for name in claim.split("."):
            found = found.get(name) if isinstance(found, Mapping) else None
    values = found if isinstance(found, list) else [found]
    # A provider's value "*" must not stand for everyone.
    return [value for value in values if isinstance(value, str) and value != EVERYONE]
