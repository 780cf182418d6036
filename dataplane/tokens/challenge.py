"""What a refusal tells a client about tokens: WWW-Authenticate of RFC 6750, section 3."""

from __future__ import annotations

import re
from typing import Final

_NOT_QUOTED: Final = re.compile(rb"[^ !#-\[\]-~]")
"""What the quoted values may not hold."""


def challenge(error: str = "", **more: str) -> bytes:
    """The header line; `more` are further parameters, such as `scope`. What a value may not hold becomes "'"."""
    parameters = {"realm": "flexgate"} | ({"error": error} if error else {}) | more
    listed = (b'%b="%b"' % (name.encode(), _NOT_QUOTED.sub(b"'", value.encode())) for name, value in parameters.items())
    return b"WWW-Authenticate: Bearer " + b", ".join(listed)
