"""Which control plane is meant, and what opens it. First what was typed, then variables, then the context, then here.

A control plane that `flexgate start` runs on this machine is found by its state directory: its address and its token.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import typer

from controlplane.auth.token_file import first, found, places
from controlplane.cli.api import Api, Credential, Fixed, Json
from controlplane.cli.contexts import Context, Contexts, Login, changing, place, read
from controlplane.cli.failure import Code, Failure
from controlplane.cli.reaching import exposed, is_url

DEFAULT_URL = "http://127.0.0.1:8080"
STATE_DIRECTORIES = (Path(".flexgate/control-plane"), Path(".run/control-plane"))
"""Where a control plane that was started here keeps its state: alone, or by `flexgate start`."""
ADDRESS = "rest-url"
"""The file in which `flexgate start` says where its REST API is."""
EARLY = 30.0
"""Seconds before its end at which an access token is renewed."""


def api(url: str, token: str, context: str, ca_file: str = "", *, environ: Mapping[str, str] = os.environ) -> Api:
    """The control plane that is meant; Failure where a context is named that there is not.

    A credential that can be read on its way there is warned of on stderr.
    """
    file = place(environ)
    contexts = read(file)
    name = context or ("" if url else contexts.current)
    chosen = contexts.named(name) if name else Context(url or _here(environ))
    if url and url.rstrip("/") != chosen.url.rstrip("/"):
        chosen, name = Context(url), ""  # its token is for another one
    if not is_url(chosen.url):
        raise Failure(f"{chosen.url!r} is no URL such as {DEFAULT_URL}", Code.USAGE)
    token = token.strip()  # a file that was read has a line end
    if not token.isascii() or not token.isprintable():
        raise Failure("the token holds characters that no token has", Code.UNAUTHORISED)
    authorities = ca_file or chosen.ca_file
    if (token or chosen.token or chosen.login) and (warning := exposed(chosen.url)):
        typer.echo(warning, err=True)
    return Api(chosen.url, _credential(token, chosen, name, file, environ, authorities), authorities)


def login(body: Json) -> Login:
    """What an answer of /api/auth gives."""
    user = (body.get("user") or {}).get("name", "")
    return Login(user, body["accessToken"], body["refreshToken"], time.time() + body["expiresIn"])


class LoggedIn:
    """A login of a context. Its refresh token is good once, so one program at a time renews it."""

    def __init__(
        self,
        file: Path,
        name: str,
        url: str,
        login: Login,
        ca_file: str = "",
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._file = file
        self._name = name
        self._url = url
        self._ca_file = ca_file
        self._login = login
        self._now = now

    def bearer(self) -> str:
        if self._login.expires - self._now() < EARLY:
            self.renew()
        return self._login.access

    def renew(self) -> bool:
        with changing(self._file) as contexts:
            stored = self._stored(contexts)
            if stored.access == self._login.access:  # else another program has just done it
                refreshing = Api(self._url, Fixed(""), self._ca_file)
                answer = refreshing.send("POST", "/api/auth/refresh", {"refreshToken": stored.refresh})
                stored = contexts.known[self._name].login = login(answer.body)
        self._login = stored
        return True

    def _stored(self, contexts: Contexts) -> Login:
        stored = contexts.named(self._name).login
        if stored is None:
            raise Failure("the login has ended: `flexgate login` begins another", Code.UNAUTHORISED)
        return stored


def _credential(
    token: str, context: Context, name: str, file: Path, environ: Mapping[str, str], ca_file: str
) -> Credential:
    if token:
        return Fixed(token)
    if context.login is not None:
        return LoggedIn(file, name, context.url, context.login, ca_file)
    return Fixed(context.token or found(context.url, environ, STATE_DIRECTORIES))


def _here(environ: Mapping[str, str]) -> str:
    return first(ADDRESS, places(environ, STATE_DIRECTORIES)) or DEFAULT_URL
