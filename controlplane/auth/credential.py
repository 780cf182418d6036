"""Random credentials as text: made, recognised and digested. Pure but for the randomness, which is handed in.

`fgt_` is an API token, `fgr_` a refresh token. After the kind come 43 letters and digits, 256 bits, and 6 more that
check them, so that a mistyped or cut one is refused without a look at anything stored, and scanners for leaked secrets
can tell ours (the form is GitHub's).
"""

from __future__ import annotations

import hmac
import re
import secrets
import string
import zlib
from collections.abc import Callable
from hashlib import sha256

API_TOKEN = "fgt"
REFRESH_TOKEN = "fgr"
SHOWN = 12
"""Characters by which people recognise a credential: the kind, and 48 of its bits."""

_DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
_RANDOM, _CHECK = 43, 6
_FORM = re.compile(r"(?:fgt|fgr)_[0-9A-Za-z]{49}", re.ASCII)

Random = Callable[[int], bytes]


def mint(kind: str, random: Random = secrets.token_bytes) -> str:
    """A new credential of a kind."""
    number = int.from_bytes(random(32), "big")
    body = f"{kind}_{_written(number, _RANDOM)}"
    return body + _check(body)


def is_one(text: str, kind: str) -> bool:
    """Whether this is the text of a credential of a kind, known or not."""
    if not text.startswith(kind + "_") or not _FORM.fullmatch(text):
        return False
    return text[-_CHECK:] == _check(text[:-_CHECK])


def digest(text: str) -> str:
    """What is kept of it: SHA-256 in hexadecimal. It is random, so a slow hash would add nothing."""
    return sha256(text.encode(errors="surrogatepass")).hexdigest()


def same(one: str, other: str) -> bool:
    """Whether two secrets are equal, in a time that does not tell where they differ."""
    return hmac.compare_digest(
        sha256(one.encode(errors="surrogatepass")).digest(), sha256(other.encode(errors="surrogatepass")).digest()
    )


def bearer(header: str) -> str:
    """The credential in an Authorization header; "" where it is of another scheme."""
    scheme, _, given = header.partition(" ")
    return given.strip() if scheme.lower() == "bearer" else ""


def _check(body: str) -> str:
    return _written(zlib.crc32(body.encode()), _CHECK)


def _written(number: int, width: int) -> str:
    written = []
    for _ in range(width):
        number, digit = divmod(number, len(_DIGITS))
        written.append(_DIGITS[digit])
    return "".join(reversed(written))
