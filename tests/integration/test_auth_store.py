"""Tokens, users and sessions over a real database, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from controlplane.actor import ADMIN, OPERATOR, VIEWER, Actor
from controlplane.auth.access import ACCESS_SECONDS
from controlplane.auth.authenticator import RefusedError
from controlplane.auth.bootstrap import bootstrap
from controlplane.auth.errors import AccessError
from controlplane.auth.sessions import ENDED, IDLE, LONGEST_SESSION, WRONG
from controlplane.auth.signing import SIGNS
from controlplane.auth.tables_auth import ACCESS_REFRESH, ACCESS_SESSIONS
from controlplane.start_error import StartError
from shared.pb.access_pb2 import (
    ChangePasswordRequest,
    CreateTokenRequest,
    CreateUserRequest,
    Grant,
    LoginRequest,
    UpdateUserRequest,
)
from tests.support.access import ADA, ROOT, Rig, ada, rigged

NOBODY = Actor("", "", "192.0.2.7", "req-2")


@pytest.fixture
async def rig(database_url: str) -> AsyncIterator[Rig]:
    """One replica."""
    async with rigged(database_url) as [one]:
        yield one


@pytest.fixture
async def pair(database_url: str) -> AsyncIterator[list[Rig]]:
    """Two replicas on one database."""
    async with rigged(database_url, replicas=2) as both:
        yield both


async def token(rig: Rig, name: str = "ci", role: str = OPERATOR, **more: object) -> str:
    made = await rig.auth.tokens.create(CreateTokenRequest(name=name, role=role, **more), ROOT)  # type: ignore[arg-type]  # as the test has it
    return made.secret


async def login(rig: Rig, password: str = ADA, name: str = "ada", address: str = "192.0.2.7") -> Grant:
    request = LoginRequest(name=name, password=password)
    return await rig.auth.sessions.login(request, Actor("", "", address, "req-2"), "a browser")


async def told(rig: Rig) -> str:
    """Everything that the audit log has, as text."""
    return json.dumps([entry.detail async for entry in rig.audit.all()])


def refused(rig: Rig, credential: str) -> str:
    """The reason for which a credential is refused; "" where it is not."""
    try:
        rig.auth.authenticator.identify(credential)
    except RefusedError as error:
        return error.reason
    return ""


async def test_a_token_opens_until_it_is_revoked(rig: Rig) -> None:
    """Its secret is known by its hash alone; revoking counts at once; both are in the audit log without the secret."""
    secret = await token(rig)
    identity = rig.auth.authenticator.identify(secret)
    assert (identity.name, identity.role, identity.kind) == ("ci", "operator", "token")
    [listed] = await rig.auth.tokens.listed()
    assert secret.startswith(listed.prefix)
    assert secret not in str(listed)
    await rig.auth.tokens.revoke("ci", ROOT)
    assert refused(rig, secret) == "unknown"
    assert await rig.actions() == ["token.create", "token.revoke"]
    assert secret not in await told(rig)
    with pytest.raises(AccessError, match="no token"):
        await rig.auth.tokens.revoke("ci", ROOT)


async def test_a_token_expires(rig: Rig) -> None:
    """To the second, by the clock that was handed in."""
    secret = await token(rig, expires_in_days=1)
    rig.now.now += 86_399
    assert refused(rig, secret) == ""
    rig.now.now += 1
    assert refused(rig, secret) == "expired"


class Terminal(io.StringIO):
    """Somebody watches."""

    def isatty(self) -> bool:
        return True


async def test_the_first_token_is_made_once(pair: list[Rig], tmp_path: Path) -> None:
    """Of two replicas that start together one makes it; it is shown on its terminal, once, and opens everything."""
    screens = [Terminal(), Terminal()]
    starts = [
        bootstrap(rig.auth.access, rig.auth.tokens, tmp_path, screen) for rig, screen in zip(pair, screens, strict=True)
    ]
    await asyncio.gather(*starts)
    for rig, screen in zip(pair, screens, strict=True):
        await rig.auth.access.refresh()
        await bootstrap(rig.auth.access, rig.auth.tokens, tmp_path, screen)
    secret = (tmp_path / "admin-token").read_text().strip()
    assert [screen.getvalue().count(secret) for screen in screens].count(1) == 1
    assert [rig.auth.authenticator.identify(secret).role for rig in pair] == ["admin", "admin"]
    assert await pair[0].actions() == ["token.create"]


async def test_a_token_that_cannot_be_kept_is_not_made(rig: Rig, tmp_path: Path) -> None:
    """Where its file cannot be written, the start is refused, and the next one can make it."""
    (tmp_path / "file").write_text("no directory")
    with pytest.raises(StartError, match="admin token cannot be written"):
        await bootstrap(rig.auth.access, rig.auth.tokens, tmp_path / "file")
    await bootstrap(rig.auth.access, rig.auth.tokens, tmp_path)
    assert await rig.actions() == ["token.create"]


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (CreateTokenRequest(), {"name", "role"}),
        (CreateTokenRequest(name="a b", role="root", expires_at="soon"), {"name", "role", "expiresAt"}),
        (CreateTokenRequest(name="a", role=VIEWER, expires_at="2020-01-01T00:00:00Z"), {"expiresAt"}),
        (CreateTokenRequest(name="a", role=VIEWER, expires_at="9999-01-01T00:00:00Z"), {"expiresAt"}),
        (CreateTokenRequest(name="a", role=VIEWER, expires_at="2027-06-01", expires_in_days=3), {"expiresAt"}),
        (CreateTokenRequest(name="a", role=VIEWER, expires_in_days=4_000_000_000), {"expiresAt"}),
        (CreateTokenRequest(name="a" * 129, role=VIEWER), {"name"}),
    ],
)
async def test_a_token_that_makes_no_sense(rig: Rig, request_: CreateTokenRequest, fields: set[str]) -> None:
    """All that is wrong is told at once, and nothing is made."""
    with pytest.raises(AccessError) as error:
        await rig.auth.tokens.create(request_, ROOT)
    assert {detail["path"] for detail in error.value.details or ()} == fields
    assert await rig.auth.tokens.listed() == []


async def test_a_name_is_taken_once(rig: Rig) -> None:
    """Of ten tokens of one name made at the same time, one is made."""
    results = await asyncio.gather(*(token(rig) for _ in range(10)), return_exceptions=True)
    assert sum(isinstance(result, str) for result in results) == 1
    assert {result.status for result in results if isinstance(result, AccessError)} == {409}


async def test_another_replica_hears_of_a_revocation(pair: list[Rig]) -> None:
    """A look at the version is enough; without one, what it knew stands."""
    one, other = pair
    secret = await token(one)
    assert refused(other, secret) == "unknown"
    await other.auth.access.follow()
    assert refused(other, secret) == ""
    await one.auth.tokens.revoke("ci", ROOT)
    await other.auth.access.follow()
    assert refused(other, secret) == "unknown"


async def test_last_use_is_kept_coarsely(rig: Rig) -> None:
    """A use is shown at once, and stored with the next round, whoever lists then."""
    secret = await token(rig)
    rig.auth.authenticator.identify(secret)
    assert [token.last_used_at for token in await rig.auth.tokens.listed()] == ["2027-01-15T08:00:00.000Z"]
    await rig.auth.tokens.write_uses()
    await rig.auth.access.refresh()
    assert [token.last_used_at for token in await rig.auth.tokens.listed()] == ["2027-01-15T08:00:00.000Z"]


async def test_a_login_and_its_end(rig: Rig) -> None:
    """The access token opens until it expires or the session ends, which counts at once; all of it is audited."""
    await ada(rig)
    grant = await login(rig)
    identity = rig.auth.authenticator.identify(grant.access_token)
    assert (identity.name, identity.role, identity.kind) == ("ada", "admin", "user")
    rig.now.now += ACCESS_SECONDS
    assert refused(rig, grant.access_token) == "expired"
    fresh = await rig.auth.sessions.refresh(grant.refresh_token, NOBODY)
    assert refused(rig, fresh.access_token) == ""
    await rig.auth.sessions.end(identity.session, ROOT)
    assert refused(rig, fresh.access_token) == "expired"
    with pytest.raises(AccessError):
        await rig.auth.sessions.refresh(fresh.refresh_token, NOBODY)
    assert await rig.actions() == ["user.create", "session.login", "session.logout"]


async def test_sessions_that_are_over_are_removed(rig: Rig) -> None:
    """One that was ended after a day, one that nobody ended when it is over; until then they are remembered."""
    await ada(rig)
    ended, left = await login(rig), await login(rig)
    identity = rig.auth.authenticator.identify(ended.access_token)
    await rig.auth.sessions.end(identity.session, ROOT)

    async def remembered() -> int:
        await rig.auth.sessions.forget()
        async with rig.auth.access.database.reading() as connection:
            return len((await connection.execute(select(ACCESS_SESSIONS.c.id))).all())

    assert await remembered() == 2
    rig.now.now += ENDED + 1
    assert await remembered() == 1
    with pytest.raises(AccessError):
        await rig.auth.sessions.refresh(ended.refresh_token, NOBODY)
    rig.now.now += LONGEST_SESSION
    assert await remembered() == 0
    with pytest.raises(AccessError):
        await rig.auth.sessions.refresh(left.refresh_token, NOBODY)


async def test_a_wrong_password_and_an_unknown_user_look_alike(rig: Rig) -> None:
    """The same status, the same words, an audit row and an event for both; a disabled user is no exception."""
    await ada(rig)
    await ada(rig, name="bob")
    await rig.auth.users.update(UpdateUserRequest(name="bob", disabled=True), ROOT)
    seen: list[tuple[int, str]] = []
    for name, password in (("ada", "wrong password"), ("nobody", ADA), ("bob", ADA), ("ada", ""), ("x" * 100_000, "y")):
        with pytest.raises(AccessError) as error:
            await login(rig, password, name, address=f"192.0.2.{len(seen) + 10}")
        seen.append((error.value.status, error.value.message))
    assert set(seen) == {(401, WRONG)}
    assert (await rig.actions()).count("session.refused") == 5
    assert rig.auth.failures.counts == {"password": 5}
    assert rig.events.counts["auth.failure"] == 5


async def test_failed_logins_are_slowed_down(rig: Rig) -> None:
    """Five a minute for an account from anywhere, and for an address; then even the right password waits."""
    await ada(rig)
    for number in range(5):
        with pytest.raises(AccessError, match="wrong"):
            await login(rig, "wrong password", address=f"192.0.2.{number}")
    with pytest.raises(AccessError) as error:
        await login(rig)
    assert (error.value.status, error.value.wait) == (429, 60.0)
    rig.clock.now += 60.0
    await login(rig)


async def test_a_replayed_refresh_token_ends_the_session(rig: Rig) -> None:
    """Whether the thief or the owner comes second: neither goes on, and the audit log says why."""
    await ada(rig)
    grant = await login(rig)
    fresh = await rig.auth.sessions.refresh(grant.refresh_token, NOBODY)
    with pytest.raises(AccessError):
        await rig.auth.sessions.refresh(grant.refresh_token, NOBODY)
    assert refused(rig, fresh.access_token) == "expired"
    with pytest.raises(AccessError):
        await rig.auth.sessions.refresh(fresh.refresh_token, NOBODY)
    assert (await rig.actions()).count("session.replay") == 1


async def test_of_two_refreshes_at_once_one_is_a_replay(pair: list[Rig]) -> None:
    """Even on two replicas a refresh token gives tokens at most once."""
    one, other = pair
    await ada(one)
    await other.auth.access.follow()
    grant = await login(one)
    tries = (rig.auth.sessions.refresh(grant.refresh_token, NOBODY) for rig in (one, other) * 3)
    results = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(result, Grant) for result in results) <= 1
    assert all(isinstance(result, Grant | AccessError) for result in results)
    for rig in pair:
        await rig.auth.access.follow()
        assert refused(rig, grant.access_token) == "expired"


@pytest.mark.parametrize("seconds", [IDLE, LONGEST_SESSION])
async def test_a_session_does_not_last_for_ever(rig: Rig, seconds: float) -> None:
    """It ends a day after the last refresh, and a week after the login, whatever was refreshed."""
    await ada(rig)
    grant = await login(rig)
    end = rig.now.now + seconds
    while seconds == LONGEST_SESSION and rig.now.now + IDLE - 1 < end:
        rig.now.now += IDLE - 1
        grant = await rig.auth.sessions.refresh(grant.refresh_token, NOBODY)
    rig.now.now = end
    with pytest.raises(AccessError):
        await rig.auth.sessions.refresh(grant.refresh_token, NOBODY)


async def test_sessions_that_are_over_are_forgotten(rig: Rig) -> None:
    """Their rows go, with those of their refresh tokens; one that lasts stays."""
    await ada(rig)
    await login(rig)
    rig.now.now += LONGEST_SESSION + ACCESS_SECONDS + 1
    grant = await login(rig)
    await rig.auth.sessions.forget()
    async with rig.auth.access.database.reading() as connection:
        for table in (ACCESS_SESSIONS, ACCESS_REFRESH):
            assert (await connection.execute(select(func.count()).select_from(table))).scalar_one() == 1
    await rig.auth.sessions.refresh(grant.refresh_token, NOBODY)


@pytest.mark.parametrize("text", ["", "fgr_x", "fgr_" + "0" * 49, "x" * 100_000, "fgr_\x00\x00", "'; DROP TABLE x"])
async def test_what_is_no_refresh_token(rig: Rig, text: str) -> None:
    """Any text is refused with 401 and ends nobody's session."""
    await ada(rig)
    grant = await login(rig)
    with pytest.raises(AccessError) as error:
        await rig.auth.sessions.refresh(text, NOBODY)
    assert error.value.status == 401
    assert refused(rig, grant.access_token) == ""


async def test_a_changed_password_ends_all_sessions(rig: Rig) -> None:
    """By the user with the old one, or by an admin; the audit log says that, and not what it is."""
    await ada(rig)
    first, second = await login(rig), await login(rig)
    user = rig.auth.users.named("ada")
    with pytest.raises(AccessError, match="wrong"):
        wrong = ChangePasswordRequest(password="wrong password", new_password="another good password")
        await rig.auth.sessions.change_password(user, wrong, ROOT)
    right = ChangePasswordRequest(password=ADA, new_password="another good password")
    await rig.auth.sessions.change_password(user, right, ROOT)
    assert {refused(rig, grant.access_token) for grant in (first, second)} == {"expired"}
    with pytest.raises(AccessError):
        await login(rig)
    third = await login(rig, "another good password")
    await rig.auth.users.update(UpdateUserRequest(name="ada", password="yet another password"), ROOT)
    assert refused(rig, third.access_token) == "expired"
    assert "good password" not in await told(rig)


async def test_a_role_counts_at_once(rig: Rig) -> None:
    """It is the user's, not the session's."""
    await ada(rig)
    await ada(rig, name="bob")
    grant = await login(rig, name="bob")
    await rig.auth.users.update(UpdateUserRequest(name="bob", role=VIEWER), ROOT)
    assert rig.auth.authenticator.identify(grant.access_token).role == "viewer"
    await rig.auth.users.update(UpdateUserRequest(name="bob", disabled=True), ROOT)
    assert refused(rig, grant.access_token) in {"disabled", "expired"}
    await rig.auth.users.delete("bob", ROOT)
    assert refused(rig, grant.access_token) == "expired"


async def test_the_last_admin_stays(rig: Rig) -> None:
    """Not removed, not demoted, not disabled; with a second one, all of it is possible."""
    await ada(rig)
    await ada(rig, role=OPERATOR, name="bob")
    for change in (UpdateUserRequest(name="ada", role=VIEWER), UpdateUserRequest(name="ada", disabled=True)):
        with pytest.raises(AccessError, match="last admin"):
            await rig.auth.users.update(change, ROOT)
    with pytest.raises(AccessError, match="last admin"):
        await rig.auth.users.delete("ada", ROOT)
    await rig.auth.users.update(UpdateUserRequest(name="bob", role=ADMIN), ROOT)
    await rig.auth.users.delete("ada", ROOT)


async def test_two_admins_cannot_remove_each_other(pair: list[Rig]) -> None:
    """At the same time, on two replicas: one of them stays."""
    one, other = pair
    await ada(one)
    await ada(one, name="bob")
    removals = [one.auth.users.delete("ada", ROOT), other.auth.users.delete("bob", ROOT)]
    results = await asyncio.gather(*removals, return_exceptions=True)
    assert [type(result) for result in results if result] == [AccessError]
    await one.auth.access.refresh()
    assert len(one.auth.users.listed()) == 1


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (CreateUserRequest(), {"name", "role", "password"}),
        (CreateUserRequest(name="a", role=VIEWER, password="short"), {"password"}),
        (CreateUserRequest(name="a", role=VIEWER, password="a" * 257), {"password"}),
        (CreateUserRequest(name="a", role=VIEWER, password="a" * 20), {"password"}),
        (CreateUserRequest(name="../x", role=VIEWER, password=ADA, email="no"), {"name", "email"}),
    ],
)
async def test_a_user_that_makes_no_sense(rig: Rig, request_: CreateUserRequest, fields: set[str]) -> None:
    """All that is wrong is told at once."""
    with pytest.raises(AccessError) as error:
        await rig.auth.users.create(request_, ROOT)
    assert {detail["path"] for detail in error.value.details or ()} == fields


async def test_a_providers_user_is_not_a_local_one(rig: Rig) -> None:
    """The same name at a provider is another person; it gets a name of its own, and no password."""
    await ada(rig)
    user = await rig.auth.users.known("https://login.example", "sub-1", "ada", "a@example.com", VIEWER, ROOT)
    assert user.name.startswith("ada+")
    assert (user.role, user.issuer) == ("viewer", "https://login.example")
    again = await rig.auth.users.known("https://login.example", "sub-1", "ada", "a@example.com", OPERATOR, ROOT)
    assert (again.id, again.role) == (user.id, "operator")
    with pytest.raises(AccessError, match="not with a password"):
        await rig.auth.users.update(UpdateUserRequest(name=user.name, password=ADA), ROOT)
    with pytest.raises(AccessError):
        await login(rig, "", user.name)


async def test_signing_keys_change_without_ending_sessions(pair: list[Rig]) -> None:
    """The next key is there on every replica before it signs; what the last one signed is good until it expires."""
    one, other = pair
    await ada(one)
    await other.auth.access.follow()
    one.now.now += SIGNS - 1
    other.now.now = one.now.now
    await one.auth.access.change_keys()
    assert len(one.auth.access.state.keys) == 2
    await other.auth.access.follow()
    before = await login(one)
    for rig in pair:
        rig.now.now += 2
    after = await login(one)
    for grant in (before, after):
        assert refused(other, grant.access_token) == ""
    one.now.now += 2 * ACCESS_SECONDS
    await one.auth.access.change_keys()
    assert len(one.auth.access.state.keys) == 1


async def test_one_key_is_made_of_two_replicas(pair: list[Rig]) -> None:
    """Whichever was first, both sign with the same."""
    one, other = pair
    await other.auth.access.refresh()
    assert [key.id for key in one.auth.access.state.keys] == [key.id for key in other.auth.access.state.keys]
    assert len(one.auth.access.state.keys) == 1
