"""Encryption of what is kept on disk: AES-256-GCM, because configurations contain secrets.

The key comes from FLEXGATE_CACHE_KEY, or from a file beside the data that only this user can read: that protects copies
of the data (a backup, a volume snapshot), not against who can read the whole directory. The library is loaded at first
use: a node that runs alone keeps nothing, and should not pay its memory.
"""

from __future__ import annotations

import os
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

KEY_BYTES = 32
KEY_ID_BYTES = 8
NONCE_BYTES = 12
KEY_FILE = "key"


class SealError(Exception):
    """The data was changed, or was sealed with another key."""


def seal(key: bytes, plain: bytes, header: bytes) -> bytes:
    """Nonce and ciphertext; `header` stays readable where it is kept, but cannot be changed unnoticed either."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - memory: only where it is needed

    nonce = os.urandom(NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, plain, header)


def unseal(key: bytes, sealed: bytes, header: bytes) -> bytes:
    """What was sealed with this key and header; SealError where it was not."""
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - as above
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - as above

    try:
        return AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], header)
    except (InvalidTag, ValueError) as error:  # ValueError: too short to be anything
        raise SealError("the content does not decrypt") from error


def key_id(key: bytes) -> bytes:
    """Tells keys apart without telling them: a wrong key and a damaged file need different help."""
    return sha256(b"flexgate key id\0" + key).digest()[:KEY_ID_BYTES]


def key_in(directory: Path) -> bytes:
    """The key kept in this directory; made at the first time. OSError where neither can be done."""
    path = directory / KEY_FILE
    with suppress(FileNotFoundError):
        if len(key := path.read_bytes()) == KEY_BYTES:
            return key
    key = os.urandom(KEY_BYTES)
    fresh = directory / f"{KEY_FILE}.{os.getpid()}.tmp"
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(key)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    return key
