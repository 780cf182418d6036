"""Login with a real OpenID Connect provider, from the browser's first click to the session, and what is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import aiohttp
import pytest

from controlplane.app import ControlPlane
from tests.integration.test_auth_rest import browser
from tests.integration.test_controlplane_app import Client, rest, started
from tests.support.oidc_provider import SECRET, OidcProvider, User, oidc_provider
from tests.support.servers import free_port

START = "/api/auth/oidc/start"
BASE = "http://flexgate.test"
"""Where the provider sends browsers back to; those of the tests know what is behind the name."""


@dataclass(frozen=True, slots=True)
class Login:
    """Both sides of a login, and an admin who looks on."""

    control_plane: ControlPlane
    provider: OidcProvider
    admin: Client

    async def answer(self, page: Client, name: str = "ada", to: str = "") -> str:
        """Where the provider sends this browser back to, once its user has logged in there."""
        status, _, response = await page.ask(START + to, allow_redirects=False)
        assert status == 302
        assert response.headers["Location"].startswith(self.provider.issuer)
        return (await User(name).log_in(response.headers["Location"], BASE))[len(BASE) :]

    async def refusals(self) -> list[str]:
        """Why logins were refused, as the audit log has it."""
        entries = [entry async for entry in self.control_plane.plane.audit.all()]
        return [entry.detail["reason"] for entry in entries if entry.action == "session.refused"]


@asynccontextmanager
async def logins(directory: Path, **changes: Any) -> AsyncIterator[Login]:
    """A provider, and a control plane that believes it."""
    async with oidc_provider(f"{BASE}/api/auth/oidc/callback") as provider:
        settings: dict[str, Any] = {
            "public_url": BASE,
            "oidc_issuer": provider.issuer,
            "oidc_client_id": "flexgate",
            "oidc_client_secret": SECRET,
            "oidc_roles": (("platform", "admin"), ("oncall", "operator")),
        }
        async with started(directory, **settings | changes) as (control_plane, _), rest(control_plane) as admin:
            yield Login(control_plane, provider, admin)


async def test_a_login_at_the_provider(tmp_path: Path) -> None:
    """The groups make the role, the session is in cookies, and the user is known from then on."""
    async with logins(tmp_path) as login, browser(login.control_plane) as page:
        answer = await login.answer(page, "ada", to="?to=/ui/routes")
        status, _, response = await page.ask(answer, allow_redirects=False)
        assert (status, response.headers["Location"]) == (303, "/ui/routes")
        session = (await page.ask("/api/auth/session"))[1]
        assert (session["name"], session["role"], session["kind"]) == ("ada", "admin", "user")
        assert session["user"]["email"] == "ada@example.com"
        assert (await page.ask("/api/tokens"))[0] == 200
        users = (await login.admin.ask("/api/users"))[1]["users"]
        assert [(user["name"], user["role"], user["issuer"]) for user in users] == [
            ("ada", "admin", login.provider.issuer)
        ]
        async with browser(login.control_plane) as other:
            await other.ask(await login.answer(other, "bob"), allow_redirects=False)
            assert (await other.ask("/api/auth/session"))[1]["role"] == "operator"
            assert (await other.ask("/api/tokens"))[0] == 403


async def test_a_user_without_a_role_is_refused(tmp_path: Path) -> None:
    """The provider knows eve, and nobody here has said that she may come in; one who was disabled may not either."""
    async with logins(tmp_path) as login, browser(login.control_plane) as page:
        answer = await login.answer(page, "eve")
        status, body, _ = await page.ask(answer, allow_redirects=False)
        assert (status, "eve" in body["message"]) == (401, False)
        assert (await login.refusals()) == ["nothing in 'groups' gives 'eve' a role"]
        for name in ("ada", "bob"):
            await page.ask(await login.answer(page, name), allow_redirects=False)
        await login.admin.ask("/api/users/bob", "PATCH", json={"disabled": True})
        assert (await page.ask("/api/auth/session"))[0] == 401
        assert (await page.ask(await login.answer(page, "bob"), allow_redirects=False))[0] == 401
        assert (await login.refusals())[-1] == "user 'bob' is disabled"


async def test_everybody_may_have_a_role(tmp_path: Path) -> None:
    """With `*`, who logs in there comes in here."""
    async with logins(tmp_path, oidc_roles=(("*", "viewer"),)) as login, browser(login.control_plane) as page:
        await page.ask(await login.answer(page, "eve"), allow_redirects=False)
        assert (await page.ask("/api/auth/session"))[1]["role"] == "viewer"


async def test_keys_that_changed_are_fetched(tmp_path: Path) -> None:
    """The provider signs with another key: the first login after it works, without a restart here."""
    async with logins(tmp_path) as login, browser(login.control_plane) as page:
        for _ in range(2):
            status, _, _ = await page.ask(await login.answer(page), allow_redirects=False)
            assert status == 303
            await login.provider.rotate()


async def test_a_code_is_good_once(tmp_path: Path) -> None:
    """The answer with the code a second time, even by the same browser with its cookie, logs nobody in."""
    async with logins(tmp_path) as login, browser(login.control_plane) as page:
        status, _, response = await page.ask(START, allow_redirects=False)
        cookies = {name: morsel.value for name, morsel in response.cookies.items()}
        answer = (await User("ada").log_in(response.headers["Location"], BASE))[len(BASE) :]
        statuses = []
        for _ in range(2):
            async with aiohttp.ClientSession(cookies=cookies, cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
                again = Client(login.control_plane.rest_port, session, token="")
                statuses.append((await again.ask(answer, allow_redirects=False, cookies=cookies))[0])
        assert (status, statuses) == (302, [303, 401])
        assert "invalid_grant" in (await login.refusals())[-1]


async def test_an_answer_for_another_browser_is_refused(tmp_path: Path) -> None:
    """A link with somebody else's code and state logs nobody in (RFC 6749, 10.12); nor does it without a cookie."""
    async with logins(tmp_path) as login, browser(login.control_plane) as attacker:
        answer = await login.answer(attacker)
        async with browser(login.control_plane) as victim:
            assert (await victim.ask(answer, allow_redirects=False))[0] == 401
            await login.answer(victim, "bob")
            assert (await victim.ask(answer, allow_redirects=False))[0] == 401
            assert (await victim.ask("/api/auth/session"))[0] == 401
        assert set(await login.refusals()) == {"the state is another browser's, or of another try"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"state": "x.y.z"}, "the state is not good"),
        ({"state": ""}, "the state is not good"),
        ({"state": "a" * 5000}, "the state is not good: too long"),
        ({"code": ""}, "the provider sent no code"),
        ({"code": "guessed"}, "the provider gave no token: 400"),
        ({"code": "a" * 7000}, "the provider gave no token: 400"),
        ({"error": "access_denied"}, "the provider says 'access_denied'"),
        ({"iss": "https://evil.example"}, "the answer is another provider's"),
    ],
)
async def test_a_changed_answer_is_refused(tmp_path: Path, change: dict[str, str], reason: str) -> None:
    """Whatever is changed about the way back: 401, nobody is logged in, and the audit log says why."""
    async with logins(tmp_path) as login, browser(login.control_plane) as page:
        answer = urlsplit(await login.answer(page))
        query = {name: values[0] for name, values in parse_qs(answer.query).items()} | change
        status, body, _ = await page.ask(f"{answer.path}?{urlencode(query)}", allow_redirects=False)
        assert status == 401, body
        assert (await login.refusals())[-1].startswith(reason)
        assert (await page.ask("/api/auth/session"))[0] == 401
        assert login.control_plane.plane.auth.failures.counts["provider"] == 1


async def test_the_wrong_nonce_is_refused(tmp_path: Path) -> None:
    """A login that was begun with another nonce: the code is good, the ID token is not for this browser."""
    async with logins(tmp_path) as login, browser(login.control_plane) as page:
        _, _, response = await page.ask(START, allow_redirects=False)
        there = urlsplit(response.headers["Location"])
        query = {name: values[0] for name, values in parse_qs(there.query).items()} | {"nonce": "another"}
        url = there._replace(query=urlencode(query)).geturl()
        answer = (await User("ada").log_in(url, BASE))[len(BASE) :]
        assert (await page.ask(answer, allow_redirects=False))[0] == 401
        assert (await login.refusals()) == ["the ID token is not good: it was made for another login"]


async def test_pkce_binds_the_code(tmp_path: Path) -> None:
    """With another challenge at the start, the provider does not give a token for our verifier."""
    async with logins(tmp_path) as login, browser(login.control_plane) as page:
        _, _, response = await page.ask(START, allow_redirects=False)
        there = urlsplit(response.headers["Location"])
        query = {name: values[0] for name, values in parse_qs(there.query).items()}
        assert query["code_challenge_method"] == "S256"
        query["code_challenge"] = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        url = there._replace(query=urlencode(query)).geturl()
        answer = (await User("ada").log_in(url, BASE))[len(BASE) :]
        assert (await page.ask(answer, allow_redirects=False))[0] == 401
        assert "invalid_grant" in (await login.refusals())[-1]


@pytest.mark.parametrize(
    "to", ["https://evil.example", "//evil.example", "/\\evil.example", "/\t/evil.example", "javascript:x", "ui", "/ü"]
)
async def test_nobody_is_sent_elsewhere_after_the_login(tmp_path: Path, to: str) -> None:
    """What is no path of ours becomes the root."""
    async with logins(tmp_path) as login, browser(login.control_plane) as page:
        answer = await login.answer(page, to=f"?{urlencode({'to': to})}")
        status, _, response = await page.ask(answer, allow_redirects=False)
        assert (status, response.headers["Location"]) == (303, "/")


async def test_a_provider_that_is_not_there(tmp_path: Path) -> None:
    """502 for logins, with the reason in the log alone; without any provider, 404. Tokens are not affected."""
    gone = f"http://127.0.0.1:{free_port()}"
    async with (
        logins(tmp_path, oidc_issuer=gone) as login,
        browser(login.control_plane) as page,
    ):
        status, body, _ = await page.ask(START, allow_redirects=False)
        assert (status, gone in body["message"]) == (502, False)
        assert (await login.admin.ask("/api/nodes"))[0] == 200
    async with started(tmp_path) as (control_plane, _), browser(control_plane) as page:
        assert (await page.ask(START, allow_redirects=False))[0] == 404
