"""Who does something: the part of every write that its audit row is made of."""

from __future__ import annotations

from dataclasses import dataclass

VIEWER, OPERATOR, ADMIN = ROLES = ("viewer", "operator", "admin")
"""From the least to the most."""


@dataclass(frozen=True, slots=True)
class Actor:
    """`name` is that of a user or a token; `address` is where it came from, "" for the control plane itself."""

    name: str
    role: str
    address: str = ""
    correlation_id: str = ""

    def may(self, role: str) -> bool:
        """Whether this actor has a role, or a greater one."""
        return ROLES.index(self.role) >= ROLES.index(role)


SYSTEM = Actor("system", ADMIN)
"""The control plane itself."""
