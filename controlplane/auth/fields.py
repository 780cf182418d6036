"""What a name, a role, a time may be: each a pure function from a value to what is wrong with it, "" for nothing."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from controlplane.actor import ROLES

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}", re.ASCII)
EMAIL = re.compile(r"[^\s@]{1,64}@[^\s@]{1,190}")


def name_fault(text: str) -> str:
    if NAME.fullmatch(text):
        return ""
    return "1 to 128 letters, digits and . _ @ + -, the first a letter or digit"


def role_fault(text: str) -> str:
    return "" if text in ROLES else f"must be one of {', '.join(ROLES)}"


def email_fault(text: str) -> str:
    return "" if not text or (EMAIL.fullmatch(text) and text.isprintable()) else "is not an address"


def moment(text: str) -> float:
    """Epoch seconds of a time in ISO 8601, UTC where it says no zone; ValueError where it is none."""
    time = datetime.fromisoformat(text)
    return (time if time.tzinfo is not None else time.replace(tzinfo=UTC)).timestamp()
