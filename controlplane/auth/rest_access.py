"""REST of tokens and users: parse, call, render. Who may is in `roles`; every rule is in `tokens` and `users`."""

from __future__ import annotations

from aiohttp import web

from controlplane.auth.gate import actor_of
from controlplane.auth.messages import parsed, shown
from controlplane.auth.parts import Auth
from controlplane.listing import page
from controlplane.problem import json_response
from shared.pb.access_pb2 import CreateTokenRequest, CreateUserRequest, UpdateUserRequest

TOKEN_FILTERS = ("name", "role", "createdBy", "prefix")
USER_FILTERS = ("name", "role", "email", "disabled", "issuer")


class AccessRest:
    """The handlers."""

    def __init__(self, auth: Auth) -> None:
        self._auth = auth

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/api/tokens", self.tokens),
            web.post("/api/tokens", self.create_token),
            web.get("/api/tokens/{name}", self.token),
            web.delete("/api/tokens/{name}", self.revoke_token),
            web.get("/api/users", self.users),
            web.post("/api/users", self.create_user),
            web.get("/api/users/{name}", self.user),
            web.patch("/api/users/{name}", self.update_user),
            web.delete("/api/users/{name}", self.delete_user),
        ]

    async def tokens(self, request: web.Request) -> web.Response:
        """{total, tokens[], nextCursor}; no secrets, which nobody has."""
        found = page([shown(token) for token in await self._auth.tokens.listed()], request.query, TOKEN_FILTERS)
        return json_response({"total": found.total, "tokens": found.items, "nextCursor": found.cursor})

    async def token(self, request: web.Request) -> web.Response:
        """One, by name or id."""
        return json_response(shown(await self._auth.tokens.named(request.match_info["name"])))

    async def create_token(self, request: web.Request) -> web.Response:
        """201 {token, secret}: the secret is shown here and never again."""
        wanted = await parsed(request, CreateTokenRequest())
        made = await self._auth.tokens.create(wanted, actor_of(request))
        location = {"Location": f"/api/tokens/{made.token.name}"}
        return json_response({"token": shown(made.token), "secret": made.secret}, 201, location)

    async def revoke_token(self, request: web.Request) -> web.Response:
        """204; from then on it opens nothing."""
        await self._auth.tokens.revoke(request.match_info["name"], actor_of(request))
        return web.Response(status=204)

    async def users(self, request: web.Request) -> web.Response:
        """{total, users[], nextCursor}."""
        found = page([shown(user) for user in self._auth.users.listed()], request.query, USER_FILTERS)
        return json_response({"total": found.total, "users": found.items, "nextCursor": found.cursor})

    async def user(self, request: web.Request) -> web.Response:
        """One, by name or id."""
        return json_response(shown(self._auth.users.named(request.match_info["name"])))

    async def create_user(self, request: web.Request) -> web.Response:
        """201 and the user."""
        wanted = await parsed(request, CreateUserRequest())
        user = await self._auth.users.create(wanted, actor_of(request))
        return json_response(shown(user), 201, {"Location": f"/api/users/{user.name}"})

    async def update_user(self, request: web.Request) -> web.Response:
        """The user as it is now; what the body does not name stays."""
        wanted = await parsed(request, UpdateUserRequest(name=request.match_info["name"]), "name")
        return json_response(shown(await self._auth.users.update(wanted, actor_of(request))))

    async def delete_user(self, request: web.Request) -> web.Response:
        """204; the user's sessions have ended."""
        await self._auth.users.delete(request.match_info["name"], actor_of(request))
        return web.Response(status=204)
