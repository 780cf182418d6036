"""The rest of authenticating a request whose token is signed by a key that is not here yet.

Interpreted, as all coroutines are (docs/decisions/0007); bearer.py, which decides when this is needed, is compiled.
"""

from __future__ import annotations

from asyncio import Future
from typing import TYPE_CHECKING

from dataplane.tokens.claims import BadClaimError
from dataplane.tokens.verifier import NoKeysError
from shared.jws import BadTokenError

if TYPE_CHECKING:
    from dataplane.exchange import Exchange
    from dataplane.tokens.bearer import BearerTokens


async def admitted_later(step: BearerTokens, x: Exchange, token: bytes, fetched: Future[None]) -> None:
    """Wait until the keys were fetched, then let the request through or raise a GatewayError."""
    await fetched
    try:
        bearer = step.verifier.verify(token, step.live.wall())
    except (BadTokenError, BadClaimError, NoKeysError) as error:
        raise step.refused(error) from error
    step.remember(x, token, bearer)
