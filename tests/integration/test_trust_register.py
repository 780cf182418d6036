"""The register on SQLite and on PostgreSQL: races, time that passes, lineages, and what the audit log has of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from sqlalchemy import delete

from controlplane.actor import OPERATOR, Actor
from controlplane.store.audit import Audit
from controlplane.store.database import Database
from controlplane.store.migrate import opened
from controlplane.trust.authority import Authority, Issued, utc_now
from controlplane.trust.callers import Certificate
from controlplane.trust.refusal import Refusal
from controlplane.trust.register import Register, kept_authority
from controlplane.trust.tables_trust import CERTIFICATES
from dataplane import identity
from shared.faults import ConfigError
from shared.node_uri import NodeName

BOSS = Actor("boss", OPERATOR, "10.0.0.1")
LIFETIME = timedelta(days=7)


class Book:
    """A register with a clock that the test turns, and its audit log."""

    def __init__(self, database: Database, authority: Authority) -> None:
        self.now = utc_now().timestamp()
        self.database = database
        self.audit = Audit(database)
        self.register = Register(
            database, authority, self.audit.append, now=lambda: self.now, lifetime=LIFETIME, poll=0.01
        )

    async def enrol(self, token: str, node: str = "a") -> Issued:
        """A node enrols."""
        return await self.register.enrol(token, node, identity.request(node)[1], "10.0.0.9:1")

    async def renew(self, issued: Issued, node: str = "a") -> Issued:
        """A node renews over a certificate."""
        shown = Certificate(issued.serial, NodeName(node), ours=True, not_after=issued.not_after.timestamp())
        return await self.register.renew(shown, identity.request(node)[1], "10.0.0.9:1")

    async def token(self, node: str = "", seconds: int = 60) -> str:
        """A new token."""
        return (await self.register.invite(BOSS, node, {"zone": "x"}, seconds)).text

    async def states(self) -> list[str]:
        """Of all certificates."""
        return sorted(one.state for one in await self.register.certificates())

    async def actions(self) -> list[tuple[str, str]]:
        """(action, actor) of the audit log, oldest first."""
        return [(entry.action, entry.actor) for entry in reversed(await self.audit.page())]


@pytest.fixture
async def book(database_url: str) -> AsyncIterator[Book]:
    """On a new database."""
    async with opened(database_url) as database:
        audit = Audit(database)
        yield Book(database, await kept_authority(database, audit.append))


async def test_one_token_and_many_nodes(book: Book) -> None:
    """Whoever comes first with a token gets the certificate; however many come at once, the others get none."""
    token = await book.token()
    found = await asyncio.gather(*(book.enrol(token, f"n{i}") for i in range(8)), return_exceptions=True)
    assert sum(isinstance(one, Issued) for one in found) == 1
    assert all(isinstance(one, Issued | Refusal) for one in found), found
    assert await book.states() == ["good"]


async def test_one_name_and_many_tokens(book: Book) -> None:
    """Of several that enrol under one name at once, each with a good token, one gets it."""
    tokens = [await book.token() for _ in range(6)]
    found = await asyncio.gather(*(book.enrol(token) for token in tokens), return_exceptions=True)
    assert sum(isinstance(one, Issued) for one in found) == 1, found
    assert await book.states() == ["good"]
    unused = [one.state for one in await book.register.enrolments()].count("unused")
    assert unused == len(tokens) - 1  # who was refused kept its token


async def test_time(book: Book) -> None:
    """Tokens and certificates end by the clock; then the name is free for any token again."""
    late = await book.token(seconds=60)
    first = await book.enrol(await book.token())
    book.now += 61
    with pytest.raises(Refusal, match="has expired"):
        await book.enrol(late, "b")
    book.now = first.not_after.timestamp() + 1
    assert await book.states() == ["expired"]
    await book.enrol(await book.token())
    assert await book.states() == ["expired", "good"]
    book.now += timedelta(days=400).total_seconds()
    await book.token()  # what was over long ago is forgotten
    assert await book.states() == []


async def test_a_token_that_was_withdrawn(book: Book) -> None:
    """It opens nothing any more; one that was used cannot be withdrawn, nor one that there never was."""
    token = await book.token()
    [listed] = await book.register.enrolments()
    assert await book.register.withdraw(BOSS, listed.id)
    with pytest.raises(Refusal, match="not known here"):
        await book.enrol(token)
    await book.enrol(await book.token())
    [used] = await book.register.enrolments()
    for id_ in (used.id, listed.id):
        assert not await book.register.withdraw(BOSS, id_)


async def test_revoking_takes_what_was_renewed(book: Book) -> None:
    """All that goes back to one token is revoked together, also what is renewed in the same moment."""
    first = await book.enrol(await book.token())
    second = await book.renew(first)
    other = await book.enrol(await book.token(), "b")
    found = await asyncio.gather(
        book.renew(second), book.register.revoke(BOSS, first.serial, "lost"), return_exceptions=True
    )
    assert isinstance(found[0], Issued | Refusal)
    good = {one.node for one in await book.register.certificates() if one.state == "good"}
    assert good == {"b"}
    assert other.serial not in book.register.known.revoked
    assert {first.serial, second.serial} <= book.register.known.revoked
    with pytest.raises(Refusal, match="is revoked"):
        await book.renew(second)


async def test_a_replaced_node_cannot_renew(book: Book) -> None:
    """A token for this very node ends the certificate that there was."""
    first = await book.enrol(await book.token())
    await book.enrol(await book.token("a"))
    with pytest.raises(Refusal, match="is revoked"):
        await book.renew(first)
    assert await book.states() == ["good", "revoked"]


async def test_an_older_backup(book: Book) -> None:
    """A certificate that the database never heard of, because it was restored, cannot be renewed."""
    issued = await book.enrol(await book.token())
    async with book.database.transaction() as connection:
        await connection.execute(delete(CERTIFICATES))
    with pytest.raises(Refusal, match="older backup"):
        await book.renew(issued)


async def test_another_replica_hears_of_it(book: Book, database_url: str) -> None:
    """What one revokes, another knows with its next look, and tells who asked to be told."""
    async with opened(database_url) as database:
        other = Book(database, book.register.authority)
        heard = asyncio.Event()
        issued = await book.enrol(await book.token())
        await book.register.revoke(BOSS, issued.serial.upper(), "")
        following = asyncio.create_task(other.register.run())
        other.register.on_change(lambda: heard.set() if issued.serial in other.register.known.revoked else None)
        try:
            async with asyncio.timeout(5):
                await heard.wait()
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)


async def test_everything_is_audited(book: Book) -> None:
    """Who made, used, renewed, revoked, and who was refused; without the token's text."""
    token = await book.token()
    issued = await book.enrol(token)
    await book.renew(issued)
    with pytest.raises(Refusal):
        await book.enrol(token, "b")
    await book.register.revoke(BOSS, issued.serial, "lost")
    assert await book.actions() == [
        ("authority.create", "system"),
        ("node.enrolment.create", "boss"),
        ("node.enrol", "node a"),
        ("node.renew", "node a"),
        ("node.enrol.refused", "node b"),
        ("node.certificate.revoke", "boss"),
    ]
    entries = await book.audit.page()
    assert token not in str(entries)
    assert (await book.audit.verify()).broken is None


async def test_a_flood_of_forged_tokens(book: Book) -> None:
    """Refusals are counted, and only so many a minute are rows of the audit log."""
    for _ in range(30):
        with pytest.raises(Refusal, match="not known here"):
            await book.enrol("fge_forged")
    refused = [action for action, _ in await book.actions() if action == "node.enrol.refused"]
    assert (book.register.refusals, len(refused)) == (30, 20)
    book.now += 61
    with pytest.raises(Refusal):
        await book.enrol("fge_forged")
    refused = [action for action, _ in await book.actions() if action == "node.enrol.refused"]
    assert len(refused) == 21


@pytest.mark.parametrize(
    ("node", "labels", "seconds", "path"),
    [
        ("\n", {}, 60, "node"),
        ("x" * 257, {}, 60, "node"),
        ("a", {"": "x"}, 60, "labels"),
        ("a", {str(number): "" for number in range(33)}, 60, "labels"),
        ("a", {"x": "y" * 257}, 60, "labels"),
        ("a", {}, 0, "expiresIn"),
        ("a", {}, 31 * 86_400, "expiresIn"),
    ],
)
async def test_invitations_that_are_none(
    book: Book, node: str, labels: dict[str, str], seconds: int, path: str
) -> None:
    """Each fault is at its field, and no token is made."""
    with pytest.raises(ConfigError) as refused:
        await book.register.invite(BOSS, node, labels, seconds)
    assert [fault.path for fault in refused.value.faults] == [path]
    assert await book.register.enrolments() == []
