"""REST of logins: with a password, or at a provider; continued, looked at, ended."""

from __future__ import annotations

import secrets

from aiohttp import web

from controlplane.actor import Actor
from controlplane.auth.cookies import local_path
from controlplane.auth.credential import bearer, same
from controlplane.auth.errors import AccessError
from controlplane.auth.gate import IDENTITY_KEY, actor_of
from controlplane.auth.messages import parsed, shown
from controlplane.auth.oidc import LoginRefusedError, Provider, ProviderError, derived
from controlplane.auth.parts import Auth
from controlplane.auth.role_mapping import role_of
from controlplane.auth.signing import BadTokenError, read, signed
from controlplane.problem import json_response
from shared import log
from shared.pb.access_pb2 import Caller, ChangePasswordRequest, Grant, LoginRequest, RefreshRequest, User

STATE_SECONDS = 600.0
STATE_USE = "oidc"
NOT_FROM_HERE = "a browser logs in from a page of this control plane only"


class LoginRest:
    """The handlers."""

    def __init__(self, auth: Auth) -> None:
        self._auth = auth

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/api/auth/login", self.login),
            web.post("/api/auth/refresh", self.refresh),
            web.post("/api/auth/logout", self.logout),
            web.get("/api/auth/session", self.session),
            web.post("/api/auth/password", self.change_password),
            web.get("/api/auth/oidc/start", self.start),
            web.get("/api/auth/oidc/callback", self.callback),
        ]

    async def login(self, request: web.Request) -> web.Response:
        """A Grant for a name and a password; with `cookies`, its tokens go into cookies."""
        if not self._auth.cookies.from_here(request):
            raise AccessError(403, NOT_FROM_HERE)
        wanted = await parsed(request, LoginRequest())
        grant = await self._auth.sessions.login(wanted, actor_of(request), request.headers.get("User-Agent", ""))
        return self._granted(grant, in_cookies=wanted.cookies)

    async def refresh(self, request: web.Request) -> web.Response:
        """A new Grant for a refresh token, of the body or of the cookie; the answer goes where it came from."""
        wanted = await parsed(request, RefreshRequest())
        cookie = "" if wanted.refresh_token else request.cookies.get(self._auth.cookies.renewal, "")
        if cookie and not self._auth.cookies.from_here(request, surely=True):
            raise AccessError(403, NOT_FROM_HERE)
        grant = await self._auth.sessions.refresh(wanted.refresh_token or cookie, actor_of(request))
        return self._granted(grant, in_cookies=bool(cookie))

    async def logout(self, request: web.Request) -> web.Response:
        """204; the session has ended, its tokens with it. An API token is not a login: 409."""
        identity = request[IDENTITY_KEY]
        if not identity.session:
            raise AccessError(409, "this is no login; an API token is revoked by DELETE /api/tokens/NAME")
        await self._auth.sessions.end(identity.session, actor_of(request))
        response = web.Response(status=204)
        self._auth.cookies.take_away(response)
        return response

    async def session(self, request: web.Request) -> web.Response:
        """Who is asking; a page that a cookie logs in finds the CSRF token here."""
        identity = request[IDENTITY_KEY]
        by_cookie = not bearer(request.headers.get("Authorization", ""))
        caller = Caller(name=identity.name, role=identity.role, kind=identity.kind, user=identity.user)
        caller.csrf_token = identity.csrf if by_cookie else ""
        return json_response(shown(caller))

    async def change_password(self, request: web.Request) -> web.Response:
        """204; all sessions of the user have ended, this one too."""
        identity = request[IDENTITY_KEY]
        if identity.user is None:
            raise AccessError(409, "only a user has a password, and this is a token")
        wanted = await parsed(request, ChangePasswordRequest())
        await self._auth.sessions.change_password(identity.user, wanted, actor_of(request))
        response = web.Response(status=204)
        self._auth.cookies.take_away(response)
        return response

    async def start(self, request: web.Request) -> web.Response:
        """302 to the provider; `to` is the path to go to after the login."""
        provider = self._provider()
        secret, access = secrets.token_urlsafe(32), self._auth.access
        claims = {"bound": derived(secret, "state"), "to": local_path(request.query.get("to", "/"))}
        state = signed(access.state.keys, access.now(), STATE_SECONDS, STATE_USE, **claims)
        try:
            target = await provider.start(secret, state)
        except ProviderError as error:
            raise self._unreachable(error) from error
        response = web.Response(status=302, headers={"Location": target})
        self._auth.cookies.give_provider(response, secret)
        return response

    async def callback(self, request: web.Request) -> web.Response:
        """The provider sends the browser here: 303 to where it wanted to go, logged in by cookies."""
        provider, caller = self._provider(), actor_of(request)
        try:
            secret, to = self._bound(request)
            claims = await provider.finish(secret, self._code(request, provider))
            user = await self._user(provider, claims, caller)
        except ProviderError as error:
            raise self._unreachable(error) from error
        except LoginRefusedError as error:
            self._auth.failures.saw("provider", caller.address)
            log.warn("login.refused", reason=str(error), correlationId=caller.correlation_id)
            await self._refused(str(error), caller)
            raise AccessError(401, "the provider's answer does not log you in; begin again, or ask an admin") from error
        actor = Actor(user.name, user.role, caller.address, caller.correlation_id)
        grant = await self._auth.sessions.begin(user, actor, request.headers.get("User-Agent", ""))
        response = web.Response(status=303, headers={"Location": to})
        self._auth.cookies.give(response, grant)
        self._auth.cookies.give_provider(response, "")
        return response

    def _bound(self, request: web.Request) -> tuple[str, str]:
        """This browser's secret and where to go, if it is the one that began."""
        secret = request.cookies.get(self._auth.cookies.provider, "")
        access = self._auth.access
        try:
            claims = read(request.query.get("state", ""), access.state.keys, access.now(), STATE_USE)
        except BadTokenError as error:
            raise LoginRefusedError(f"the state is not good: {error}") from error
        if not secret or not same(str(claims.get("bound", "")), derived(secret, "state")):
            raise LoginRefusedError("the state is another browser's, or of another try")
        return secret, local_path(str(claims.get("to", "/")))

    @staticmethod
    def _code(request: web.Request, provider: Provider) -> str:
        if error := request.query.get("error"):
            raise LoginRefusedError(f"the provider says {error[:100]!r}")
        # RFC 9207: a provider that says who it is must be the one we asked.
        if request.query.get("iss", provider.client.issuer) != provider.client.issuer:
            raise LoginRefusedError("the answer is another provider's")
        if not (code := request.query.get("code", "")):
            raise LoginRefusedError("the provider sent no code")
        return code[:4096]

    async def _user(self, provider: Provider, claims: dict[str, object], caller: Actor) -> User:
        oidc = self._auth.settings.oidc
        role = role_of(claims, oidc.role_claim, dict(oidc.roles))
        name, email = (str(claims.get(claim) or "") for claim in ("preferred_username", "email"))
        if role is None:
            raise LoginRefusedError(f"nothing in {oidc.role_claim!r} gives {name or claims['sub']!r} a role")
        subject, issuer = str(claims["sub"]), provider.client.issuer
        actor = Actor(name or subject, role, caller.address, caller.correlation_id)
        user = await self._auth.users.known(issuer, subject, name or email or subject, email, role, actor)
        if user.disabled:
            raise LoginRefusedError(f"user {user.name!r} is disabled")
        return user

    async def _refused(self, reason: str, caller: Actor) -> None:
        access = self._auth.access
        async with access.database.transaction() as connection:
            await access.audit.append(connection, caller, "session.refused", "user/", {"reason": reason[:500]})

    def _provider(self) -> Provider:
        if self._auth.provider is None:
            raise AccessError(404, "no provider is set; see --oidc-issuer")
        return self._auth.provider

    @staticmethod
    def _unreachable(error: ProviderError) -> AccessError:
        log.error("provider.unreachable", reason=str(error))
        return AccessError(502, "the provider does not answer as one; the log of the control plane tells more")

    def _granted(self, grant: Grant, *, in_cookies: bool) -> web.Response:
        body = shown(grant)
        if not in_cookies:
            return json_response(body)
        response = json_response(body | {"accessToken": "", "refreshToken": ""})
        self._auth.cookies.give(response, grant)
        return response
