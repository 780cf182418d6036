"""Who a credential belongs to: a look at what is in memory, never a query."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from controlplane.actor import ADMIN
from controlplane.auth.access import Access, KnownToken
from controlplane.auth.credential import API_TOKEN, digest, is_one, same
from controlplane.auth.signing import BadTokenError, read
from shared.pb.access_pb2 import ApiToken, User

LONGEST = 4096
"""Characters of a credential that is looked at."""
ACCESS_USE = "access"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks. `key` is what requests are counted by. Of a login: its session, the user, and the CSRF token."""

    key: str
    name: str
    role: str
    kind: str  # user | token | admin-token
    session: str = ""
    csrf: str = ""
    user: User | None = None


class RefusedError(Exception):
    """No such identity; `reason` is one word for counting, the text is for who asked."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Authenticator:
    """From credentials to identities."""

    def __init__(self, access: Access, admin_token: str, used: Callable[[ApiToken], None] = lambda _: None) -> None:
        self._access = access
        self._admin_token = admin_token
        self._used = used

    def identify(self, credential: str) -> Identity:
        """Whose credential this is; RefusedError where it is nobody's, or not good any more."""
        if not credential:
            raise RefusedError("missing", "this needs a bearer token: an API token, or the access token of a login")
        if self._admin_token and same(credential, self._admin_token):
            return Identity("admin-token", "admin-token", ADMIN, "admin-token")
        if len(credential) <= LONGEST and is_one(credential, API_TOKEN):
            return self._of_token(self._access.state.tokens.get(digest(credential)))
        if len(credential) <= LONGEST and credential.count(".") == 2:
            return self._of_login(credential)
        raise RefusedError("unknown", "this bearer token is not known here")

    def _of_token(self, known: KnownToken | None) -> Identity:
        if known is None:
            raise RefusedError("unknown", "this API token is not known here; it may have been revoked")
        if known.expires and known.expires <= self._access.now():
            raise RefusedError("expired", f"this API token expired at {known.token.expires_at}")
        self._used(known.token)
        return Identity(f"token/{known.token.id}", known.token.name, known.token.role, "token")

    def _of_login(self, credential: str) -> Identity:
        state = self._access.state
        try:
            claims = read(credential, state.keys, self._access.now(), ACCESS_USE)
        except BadTokenError as error:
            reason = "expired" if str(error) == "expired" else "unknown"
            raise RefusedError(reason, f"this access token is no good: {error}") from error
        session, user = str(claims.get("sid", "")), state.users.get(str(claims.get("sub", "")))
        if not session or session in state.ended or user is None:
            raise RefusedError("expired", "this login has ended")
        if user.disabled:
            raise RefusedError("disabled", "this user is disabled")
        csrf = str(claims.get("csrf", ""))
        return Identity(f"user/{user.id}", user.name, user.role, "user", session, csrf, user)
