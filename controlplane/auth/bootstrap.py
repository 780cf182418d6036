"""The first credential: an admin token, made once for a database that never had one, shown to whoever starts it.

It goes to a file for its owner alone and, where somebody watches, to the terminal; never to the log. On this machine
the command `flexgate` finds the file.
"""

from __future__ import annotations

import os
import sys
import uuid
from pathlib import Path
from typing import TextIO

from sqlalchemy import select, update

from controlplane.actor import ADMIN, SYSTEM
from controlplane.auth.access import Access
from controlplane.auth.credential import API_TOKEN, SHOWN, mint
from controlplane.auth.tables_auth import ACCESS_STATE
from controlplane.auth.token_file import FILE
from controlplane.auth.tokens import Tokens
from controlplane.start_error import StartError
from shared import log
from shared.pb.access_pb2 import ApiToken
from shared.timestamp import timestamp

NAME = "bootstrap"


async def bootstrap(access: Access, tokens: Tokens, state_dir: Path, terminal: TextIO | None = None) -> None:
    """Make the first token unless the database had one before; StartError where its file cannot be written."""
    if access.state.bootstrapped:
        return
    secret = mint(API_TOKEN)
    async with access.changing() as connection:
        first = (await connection.execute(select(ACCESS_STATE.c.bootstrapped))).scalar_one() == 0
        if not first:
            return  # another replica was faster
        await connection.execute(update(ACCESS_STATE).values(bootstrapped=1))
        token = ApiToken(id=uuid.uuid4().hex, name=NAME, role=ADMIN, prefix=secret[:SHOWN], created_by=SYSTEM.name)
        token.created_at = timestamp(access.now())
        await tokens.insert(connection, token, secret, SYSTEM)
        # Before the commit: a token whose secret nobody has would lock everybody out.
        file = _written(state_dir / FILE, secret)
    log.info("access.bootstrapped", file=str(file), token=NAME)
    screen = terminal or sys.stderr
    if screen.isatty():
        screen.write(f"\nThe admin token, shown this once and kept in {file}:\n\n  {secret}\n\n")
        screen.flush()


def _written(file: Path, secret: str) -> Path:
    temporary = file.with_suffix(".new")
    try:
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "w") as opened:
            opened.write(secret + "\n")
            opened.flush()
            os.fsync(opened.fileno())
        temporary.replace(file)
    except OSError as error:
        raise StartError(f"the admin token cannot be written to {file}: {error.strerror}") from error
    return file
