"""The parts of access, made and started together, as the gates and the handlers need them."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controlplane.auth.access import Access, Audit
from controlplane.auth.address import Network
from controlplane.auth.allowance import Allowance
from controlplane.auth.authenticator import Authenticator
from controlplane.auth.bootstrap import bootstrap
from controlplane.auth.cookies import Cookies, origin_of
from controlplane.auth.failures import Failures
from controlplane.auth.oidc import Client, Provider
from controlplane.auth.passwords import Passwords
from controlplane.auth.sessions import Sessions
from controlplane.auth.throttle import Throttle
from controlplane.auth.tokens import Tokens
from controlplane.auth.users import Users
from controlplane.events import Events
from controlplane.store.database import Database

CALLBACK = "/api/auth/oidc/callback"
Job = Callable[[], Coroutine[Any, Any, None]]
REQUESTS = 100
"""A minute and a credential, without a word about it."""


@dataclass(frozen=True, slots=True)
class OidcSettings:
    """A provider as operators name it; `roles` maps values of `role_claim` to roles. An empty issuer: none."""

    issuer: str = ""
    client_id: str = ""
    client_secret: str = ""
    scopes: str = "openid profile email"
    role_claim: str = "groups"
    roles: tuple[tuple[str, str], ...] = ()

    def __repr__(self) -> str:
        return f"<OidcSettings {self.issuer}>"


@dataclass(frozen=True, slots=True)
class AuthSettings:
    """What is set at the start. `public_url` is where browsers reach us; `loopback`: only this machine can.

    `tls`: the REST port itself speaks it.
    """

    admin_token: str = ""
    public_url: str = ""
    loopback: bool = True
    api_rate_limit: int = REQUESTS
    trusted_proxies: tuple[Network, ...] = ()
    oidc: OidcSettings = OidcSettings()
    tls: bool = False

    def __repr__(self) -> str:
        return f"<AuthSettings public_url={self.public_url!r}>"


@dataclass(frozen=True, slots=True)
class Auth:
    """One of each."""

    settings: AuthSettings
    access: Access
    tokens: Tokens
    users: Users
    sessions: Sessions
    authenticator: Authenticator
    allowance: Allowance
    failures: Failures
    cookies: Cookies
    provider: Provider | None

    async def start(self, state_dir: Path) -> None:
        """Read what is stored; make the first admin token where there was none and none is given."""
        await self.access.start()
        if not self.settings.admin_token:
            await bootstrap(self.access, self.tokens, state_dir)

    @property
    def jobs(self) -> tuple[Job, ...]:
        """What runs while the control plane does."""
        return self.access.run, self.tokens.run, self.sessions.run


def made(
    settings: AuthSettings,
    database: Database,
    audit: Audit,
    events: Events,
    *,
    passwords: Passwords | None = None,
    now: Callable[[], float] = time.time,
    clock: Callable[[], float] = time.monotonic,
) -> Auth:
    """The parts over a database; `now` is epoch seconds, `clock` monotonic."""
    passwords = passwords or Passwords()
    failures = Failures(events, clock)
    access = Access(database, audit, now=now)
    tokens, users = Tokens(access), Users(access, passwords)
    oidc, public = settings.oidc, settings.public_url.rstrip("/")
    provider = None
    if oidc.issuer:
        client = Client(oidc.issuer, oidc.client_id, public + CALLBACK, oidc.client_secret, oidc.scopes)
        provider = Provider(client, now=now, clock=clock)
    return Auth(
        settings,
        access,
        tokens,
        users,
        Sessions(access, users, passwords, Throttle(clock), failures),
        Authenticator(access, settings.admin_token, tokens.used),
        Allowance(settings.api_rate_limit, clock),
        failures,
        Cookies(origin_of(public), tls=settings.tls),
        provider,
    )
