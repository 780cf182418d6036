"""Login with an OpenID Connect provider: authorization code with PKCE, from the way there to checked claims.

A login needs no memory here: the browser keeps a random secret in a cookie, and nonce, code verifier and the binding of
`state` are made of it. So it may begin on one replica and end on another, and a link that somebody else began is worth
nothing in this browser.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any
from urllib.parse import quote_plus, urlencode, urlsplit

import aiohttp
import orjson

from controlplane.auth.id_token import verified
from shared.jws import BadTokenError, Claims, Jwk, UnknownKeyError

DISCOVERY = "/.well-known/openid-configuration"
TIMEOUT = 10.0
"""Seconds for one request to the provider."""
LARGEST = 1024 * 1024
"""Bytes of an answer that are read."""
FRESH = 3600.0
"""Seconds that the discovery document and the keys are used without another look."""
KEYS_AGAIN = 10.0
"""Seconds between two looks for keys that were not there: forged tokens must not make us ask all the time."""


class ProviderError(Exception):
    """The provider cannot be reached, or does not answer as one; the text says how."""


class LoginRefusedError(Exception):
    """The provider, or what it says, does not let this person in; the text says why, for the log."""


@dataclass(frozen=True, slots=True)
class Client:
    """What we are at the provider. `redirect` is our callback, as it is registered there."""

    issuer: str
    id: str
    redirect: str
    secret: str = field(default="", repr=False)
    scopes: str = "openid profile email"


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Of the discovery document, what we use."""

    authorization: str
    token: str
    keys: str
    posts_secret: bool  # it takes the client secret in the body only


def derived(secret: str, use: str) -> str:
    """Nonce, code verifier or binding, made of the browser's secret: from one nobody finds the others."""
    return _encoded(f"{use} {secret}".encode())


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(sha256(content).digest()).decode().rstrip("=")


class Provider:
    """One provider; its document and keys are fetched when they are needed, and again when they are old."""

    def __init__(
        self,
        client: Client,
        *,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.client = client
        self._now = now
        self._clock = clock
        self._asking = asyncio.Lock()
        self._endpoints: tuple[float, Endpoints] | None = None
        self._keys: tuple[float, list[Jwk]] | None = None
        self._missed = float("-inf")  # when a key was missed last

    def __repr__(self) -> str:
        return f"<Provider {self.client.issuer}>"

    async def start(self, secret: str, state: str) -> str:
        """Where to send a browser that keeps this secret; ProviderError where the provider does not answer."""
        endpoints = await self._discovered()
        query = {
            "response_type": "code",
            "client_id": self.client.id,
            "redirect_uri": self.client.redirect,
            "scope": self.client.scopes,
            "state": state,
            "nonce": derived(secret, "nonce"),
            "code_challenge": _encoded(derived(secret, "verifier").encode()),  # RFC 7636, S256
            "code_challenge_method": "S256",
        }
        joint = "&" if urlsplit(endpoints.authorization).query else "?"
        return endpoints.authorization + joint + urlencode(query)

    async def finish(self, secret: str, code: str) -> Claims:
        """The checked claims for a code that the provider gave to this browser.

        LoginRefusedError where the provider or the checks say no, ProviderError where it does not answer.
        """
        endpoints = await self._discovered()
        token = await self._redeemed(endpoints, code, derived(secret, "verifier"))
        nonce = derived(secret, "nonce")
        try:
            try:
                return self._verified(token, await self._published(endpoints), nonce)
            except UnknownKeyError:
                return self._verified(token, await self._published(endpoints, missed=True), nonce)
        except BadTokenError as error:
            raise LoginRefusedError(f"the ID token is not good: {error}") from error

    def _verified(self, token: str, keys: list[Jwk], nonce: str) -> Claims:
        client = self.client
        return verified(token, keys, issuer=client.issuer, client_id=client.id, nonce=nonce, now=self._now())

    async def _redeemed(self, endpoints: Endpoints, code: str, verifier: str) -> str:
        client = self.client
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": client.redirect}
        form |= {"code_verifier": verifier}
        headers: dict[str, str] = {}
        if client.secret and not endpoints.posts_secret:
            pair = f"{quote_plus(client.id)}:{quote_plus(client.secret)}"  # RFC 6749, 2.3.1
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        else:
            form |= {"client_id": client.id} | ({"client_secret": client.secret} if client.secret else {})
        status, body = await _asked("POST", endpoints.token, data=form, headers=headers)
        if status >= 500:
            raise ProviderError(f"{endpoints.token} answered {status}")
        if status != 200:
            raise LoginRefusedError(f"the provider gave no token: {status} {str(body.get('error', ''))[:100]}")
        token = body.get("id_token")
        if not isinstance(token, str):
            raise LoginRefusedError("the provider gave no ID token")
        return token

    async def _discovered(self) -> Endpoints:
        async with self._asking:
            if self._endpoints is None or self._clock() >= self._endpoints[0] + FRESH:
                status, document = await _asked("GET", self.client.issuer.rstrip("/") + DISCOVERY)
                if status != 200:
                    raise ProviderError(f"{self.client.issuer}{DISCOVERY} answered {status}")
                self._endpoints = (self._clock(), endpoints_of(document, self.client.issuer))
            return self._endpoints[1]

    async def _published(self, endpoints: Endpoints, *, missed: bool = False) -> list[Jwk]:
        """The provider's keys. `missed`: one was not among them, so it is time for another look, but not too often."""
        async with self._asking:
            now = self._clock()
            if missed and now >= self._missed + KEYS_AGAIN:
                self._missed, self._keys = now, None
            if self._keys is None or now >= self._keys[0] + FRESH:
                status, body = await _asked("GET", endpoints.keys)
                found = body.get("keys")
                if status != 200 or not isinstance(found, list):
                    raise ProviderError(f"{endpoints.keys} answered {status} and no keys")
                self._keys = (now, [key for key in found if isinstance(key, dict)])
            return self._keys[1]


def endpoints_of(document: Mapping[str, Any], issuer: str) -> Endpoints:
    """What a discovery document says; ProviderError where it is not this issuer's (OpenID Connect Discovery, 4.3)."""
    if (given := document.get("issuer")) != issuer:
        raise ProviderError(f"the discovery document is of issuer {str(given)[:200]!r}, not {issuer!r}")

    def endpoint(name: str) -> str:
        url = document.get(name)
        if not isinstance(url, str) or not is_protected(url, issuer):
            raise ProviderError(f"the discovery document has no {name} that can be used: {str(url)[:200]!r}")
        return url

    methods = document.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
    return Endpoints(
        endpoint("authorization_endpoint"),
        endpoint("token_endpoint"),
        endpoint("jwks_uri"),
        posts_secret="client_secret_basic" not in methods and "client_secret_post" in methods,
    )


def is_protected(url: str, issuer: str) -> bool:
    """Whether a URL is https; http is for a provider on http, which settings allow on this machine alone."""
    scheme = urlsplit(url).scheme
    return scheme == "https" or (scheme == "http" and urlsplit(issuer).scheme == "http")


async def _asked(method: str, url: str, **more: Any) -> tuple[int, dict[str, Any]]:
    """The status and the JSON object; ProviderError where there is none."""
    # Not compressed: a few bytes must not become more than we read.
    headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
    timeout = aiohttp.ClientTimeout(total=TIMEOUT)
    content = b""
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, auto_decompress=False, headers=headers) as session,
            session.request(method, url, allow_redirects=False, **more) as answer,
        ):
            async for chunk in answer.content.iter_any():
                content += chunk
                if len(content) > LARGEST:
                    raise ProviderError(f"{url} answered more than {LARGEST} bytes")
            status = answer.status
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        raise ProviderError(f"{url} cannot be asked: {str(error) or type(error).__name__}") from error
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError:
        body = None
    if not isinstance(body, dict):
        raise ProviderError(f"{url} answered {status} without a JSON object")
    return status, body
