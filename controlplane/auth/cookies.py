"""A browser's login in cookies, and the defence that comes with it: another site must not write in a user's name.

Cookies are HttpOnly (no script reads them) and SameSite=Strict (no other site's request carries them). A request that
writes must in addition come from our own origin, and carry in a header the token that only our own pages can read
(OWASP, Cross-Site Request Forgery Prevention). Requests with a bearer token need none of this: no browser adds one.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from aiohttp import web

from controlplane.auth.authenticator import Identity
from controlplane.auth.credential import same
from controlplane.auth.sessions import IDLE
from shared.pb.access_pb2 import Grant

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
CSRF_HEADER = "X-CSRF-Token"
LOGIN_PATH = "/api/auth"
"""Where the refresh token is sent, and nowhere else."""
PROVIDER_PATH = "/api/auth/oidc"
PROVIDER_SECONDS = 600
"""How long a login at a provider may take."""


@dataclass(frozen=True, slots=True)
class Cookies:
    """`origin` is the public URL's, "" where the request's own host counts; `tls`: over TLS it came, then."""

    origin: str
    tls: bool = False

    @property
    def secure(self) -> bool:
        """Whether browsers reach us over TLS, and so are never to send a cookie without it."""
        return self.tls or self.origin.startswith("https://")

    @property
    def access(self) -> str:
        """The cookie's name; with the prefix, browsers take it over TLS for this host only (RFC 6265bis, 4.1.3)."""
        return "__Host-flexgate" if self.secure else "flexgate"

    @property
    def renewal(self) -> str:
        """The refresh token's."""
        return "__Secure-flexgate-refresh" if self.secure else "flexgate-refresh"

    @property
    def provider(self) -> str:
        """The secret of a login at a provider."""
        return "__Secure-flexgate-oidc" if self.secure else "flexgate-oidc"

    def give(self, response: web.Response, grant: Grant) -> None:
        """Put the tokens of a grant into cookies."""
        self._set(response, self.access, grant.access_token, "/", grant.expires_in)
        self._set(response, self.renewal, grant.refresh_token, LOGIN_PATH, int(IDLE))

    def take_away(self, response: web.Response) -> None:
        """Let the browser forget the login."""
        self._set(response, self.access, "", "/", 0)
        self._set(response, self.renewal, "", LOGIN_PATH, 0)

    def give_provider(self, response: web.Response, secret: str) -> None:
        """Lax: the provider's redirect comes from another site, and must find it. "" lets the browser forget it."""
        self._set(response, self.provider, secret, PROVIDER_PATH, PROVIDER_SECONDS if secret else 0, samesite="Lax")

    def from_here(self, request: web.Request, *, surely: bool = False) -> bool:
        """Whether a request comes from a page of our own: by Origin, else by what browsers tell beside it.

        Without either it may be no browser's; that is enough unless it must be `surely` so.
        """
        origin = request.headers.get("Origin")
        if origin is not None:
            scheme = "https" if self.tls else "http"
            return origin == (self.origin or f"{scheme}://{request.host}")
        site = request.headers.get("Sec-Fetch-Site")
        return not surely if site is None else site in {"same-origin", "none"}

    def fault(self, request: web.Request, identity: Identity) -> str:
        """Why a request that cookies vouch for is refused; "" where it is not."""
        if request.method in SAFE:
            return ""
        if not self.from_here(request):
            return "this request comes from a page of another site"
        if not identity.csrf or not same(request.headers.get(CSRF_HEADER, ""), identity.csrf):
            return f"a request that writes and is logged in by cookie needs the login's csrfToken in {CSRF_HEADER}"
        return ""

    def _set(
        self, response: web.Response, name: str, value: str, path: str, age: int, *, samesite: str = "Strict"
    ) -> None:
        response.set_cookie(name, value, max_age=age, path=path, httponly=True, secure=self.secure, samesite=samesite)


def origin_of(url: str) -> str:
    """Scheme, host and port of a URL, as browsers write them in Origin."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower() if parts.scheme else ""


def local_path(target: str) -> str:
    """Where to go after a login: a path of ours, or "/" for whatever is something else.

    Browsers take `//host` and `/\\host` for another host, and drop tabs and line ends before they look.
    """
    safe = target.startswith("/") and target[1:2] not in {"/", "\\"} and len(target) <= 1024
    return target if safe and target.isascii() and target.isprintable() and "\\" not in target else "/"
