"""Writing configuration: what is refused, what is planned, and what is there after it. On SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from controlplane.changes import ANY, Change, Delete, Once, Put
from controlplane.refusal import AlreadyExists, Guarded, KeyReused, NotFound, ReadOnly, Referenced, Refusal, Stale
from controlplane.service import Outcome, Service
from shared.document import read
from shared.faults import ConfigError
from shared.pb.resources_pb2 import Consumer, Credential, Route, Settings, Upstream
from shared.table import SETTINGS, Key, unpack
from tests.support.clock import Clock
from tests.support.configuration import ALICE, Plane, delete, plane, route, upstream


async def names(parts: Plane, kind: str) -> list[str]:
    return [name for found, name in (await parts.newest()).table if found == kind]


async def test_a_write_is_the_next_revision(database_url: str) -> None:
    """Changes of one call are one revision; what a second control plane reads is the same, ids and digest included."""
    async with plane(database_url) as first, plane(database_url) as second:
        assert await first.store.read() is None
        outcome = await first.commit(upstream("u"), route("a"), message="begin")
        assert (outcome.committed.revision, outcome.asked) == (1, (("upstream", "u"), ("route", "a")))
        assert [changed.action for changed in outcome.changes] == ["create"] * 3  # with the settings
        assert (await first.commit(route("b"))).committed.revision == 2
        ours, theirs = await first.newest(), await second.newest()
        assert (ours.epoch, ours.revision, ours.table.digest) == (theirs.epoch, theirs.revision, theirs.table.digest)
        assert list(ours.table) == list(theirs.table)
        assert [unpack(theirs.table["route", name]).id for name in "ab"] == [1, 2]  # type: ignore[attr-defined]  # a route
        await second.commit(delete("route", "a"))
        await second.commit(route("b", priority=7))
        assert (await first.newest()).table.digest == (await second.newest()).table.digest


async def test_what_changes_nothing_is_no_revision(database_url: str) -> None:
    """A resource put as it is makes no revision, and neither does an empty list."""
    async with plane(database_url) as parts:
        await parts.commit(upstream("u"), route("a"))
        outcome = await parts.commit(route("a"))
        assert (outcome.committed.revision, outcome.changes, outcome.asked) == (1, (), (("route", "a"),))
        assert (await parts.commit()).committed.revision == 1


async def test_ids_are_never_given_twice(database_url: str) -> None:
    """An id stays with its resource, is not given again after that is gone, and one that was asked for is kept free."""
    async with plane(database_url) as parts:
        await parts.commit(upstream("u"), route("a"), route("b", id=2), route("c"))
        await parts.commit(delete("route", "c"))
        await parts.commit(route("d"), route("a", priority=1))
        ids = {name: unpack(await parts.resource("route", name)).id for name in "abd"}  # type: ignore[attr-defined]  # routes
        assert ids == {"a": 1, "b": 2, "d": 4}


async def test_expectations(database_url: str) -> None:
    """A change of what is not there, creation of what is, and a change of what another changed are refused."""
    async with plane(database_url) as parts:
        await parts.commit(upstream("u"), route("a"))
        etag = await parts.etag("route", "a")
        refused: list[tuple[Any, type[Refusal]]] = [
            (Put("route", "a", Route(path="/x", upstream="u"), new=True), AlreadyExists),
            (Put("route", "b", Route(path="/x", upstream="u"), if_match=etag), NotFound),
            (Put("route", "b", Route(path="/x", upstream="u"), if_match=ANY), NotFound),
            (Put("route", "a", Route(path="/x", upstream="u"), if_match="0" * 32), Stale),
            (Delete("route", "b"), NotFound),
            (Delete("route", "a", if_match="0" * 32), Stale),
        ]
        for change, refusal in refused:
            with pytest.raises(refusal):
                await parts.commit(route("c"), change)
        await parts.commit(Put("route", "a", Route(path="/x", upstream="u"), if_match=etag))
        with pytest.raises(Stale, match="route 'a' is not what you read"):
            await parts.commit(Put("route", "a", Route(path="/y", upstream="u"), if_match=etag))
        assert (await parts.newest()).revision == 2


async def test_all_faults_at_once_with_their_paths(database_url: str) -> None:
    """Every fault of every change, with kind, name and the path within the resource; nothing is written."""
    async with plane(database_url) as parts:
        await parts.commit(upstream("users"), route("a", "users"))
        with pytest.raises(ConfigError) as refused:
            await parts.commit(
                route("b", "user"),
                route("c", "users", path="x"),
                route("d", "users", path="/a/*"),
                Put("upstream", "v", Upstream(url="ftp://x")),
            )
        found = {(fault.kind, fault.name, fault.path, fault.code) for fault in refused.value.faults}
        assert found == {
            ("route", "b", "upstream", "unknown_reference"),
            ("route", "c", "path", "invalid"),
            ("route", "d", "", "conflict"),
            ("upstream", "v", "url", "invalid"),
        }
        text = str(refused.value)
        assert "did you mean users?" in text
        assert "matches the same requests as route 'a'" in text
        assert "routes[" not in text
        assert (await parts.newest()).revision == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (Put("rout", "a", Route()), "no resources of kind 'rout'"),
        (Put("route", "a", Upstream()), "the message is no Route"),
        (Put("route", "a", Route(name="b")), "is 'b', but the resource is called 'a'"),
        (Put("upstream", "", Upstream(url="http://a")), "name: is required"),
        (Delete("settings", "default"), "the settings cannot be deleted"),
    ],
)
async def test_changes_of_no_sense(database_url: str, change: Any, message: str) -> None:
    """A change that cannot be on top of anything says why."""
    async with plane(database_url) as parts:
        with pytest.raises(ConfigError, match=message):
            await parts.commit(change)
        with pytest.raises(ConfigError, match="changed twice in one transaction"):
            await parts.commit(upstream("u"), upstream("u"))


async def test_what_others_use_is_not_deleted(database_url: str) -> None:
    """Deleting it names who uses it; together with these, or with a change of these, it goes."""
    async with plane(database_url) as parts:
        key: Key = "upstream", "u"
        await parts.commit(upstream("u"), upstream("v", fallback="u"), route("a"), route("b", "v"))
        with pytest.raises(Referenced, match="upstream 'u' is used by route 'a', upstream 'v'") as refused:
            await parts.commit(delete(*key))
        assert [detail["message"] for detail in refused.value.details] == [
            "route 'a' uses upstream 'u'",
            "upstream 'v' uses upstream 'u'",
        ]
        await parts.commit(delete(*key), route("a", "v"), upstream("v"))
        assert key not in (await parts.newest()).table
        person = Put("consumer", "c", Consumer())
        secret = Put("credential", "k", Credential(consumer="c", type="apiKey", key="ab" * 32))
        await parts.commit(person, secret)
        with pytest.raises(Referenced, match="consumer 'c' is used by credential 'k'"):
            await parts.commit(delete("consumer", "c"))


async def test_most_routes_do_not_go_by_accident(database_url: str) -> None:
    """A change that takes more than half of the routes, and a handful, needs force; switched off counts as gone."""
    async with plane(database_url) as parts:
        await parts.commit(upstream("u"), *(route(f"r{number}") for number in range(10)))
        await parts.commit(*(delete("route", f"r{number}") for number in range(5)))  # half
        await parts.commit(*(route(f"r{number}") for number in range(5)))
        gone = [delete("route", f"r{number}") for number in range(5)] + [route("r5", enabled=False)]
        with pytest.raises(Guarded, match="6 of 10 routes would no longer be served"):
            await parts.commit(*gone)
        assert "6 of 10" in (await parts.service.plan(gone)).guard
        with pytest.raises(Guarded):
            await parts.service.replace(read("routes: []"), ALICE)
        await parts.commit(*gone, force=True)
        assert await names(parts, "route") == [f"r{number}" for number in range(5, 10)]


async def test_an_upstream_by_url(database_url: str) -> None:
    """A route may name its upstream by URL: it is made once, and found again whatever way the URL is written."""
    async with plane(database_url) as parts:
        first = Put("route", "a", Route(path="/a", upstream="http://Api.internal:80/"), new=True)
        second = Put("route", "", Route(path="/b", upstream="http://api.internal"), new=True)
        outcome = await parts.commit(first, second)
        assert outcome.asked == (("route", "a"), ("route", "/b"))
        assert await names(parts, "upstream") == ["http-api.internal"]
        third = await parts.commit(
            Put("route", "", Route(path="/b", methods=["GET"], upstream="http://api.internal/x"))
        )
        assert third.asked == (("route", "GET /b"),)
        assert await names(parts, "upstream") == ["http-api.internal", "http-api.internal-x"]


async def test_a_plan_tells_and_changes_nothing(database_url: str) -> None:
    """The plan has what would be created, changed (by field) and deleted, warnings, and whom it concerns."""
    async with plane(database_url) as parts:
        await parts.commit(upstream("u"), route("a", priority=1), route("b"))
        changes: list[Change] = [route("a", priority=9, path="/a/*"), route("c", path="/a/*"), delete("route", "b")]
        plan = await parts.service.plan(changes)
        assert [(step.action, *step.key) for step in plan.steps] == [
            ("update", "route", "a"),
            ("create", "route", "c"),
            ("delete", "route", "b"),
        ]
        [field] = plan.steps[0].fields
        assert (field.path, field.before, field.after) == ("priority", 1, 9)
        assert [(w.kind, w.name, w.code) for w in plan.warnings] == [("route", "c", "shadowed")]
        assert (plan.revision, plan.groups) == (1, None)
        assert (await parts.newest()).revision == 1
        outcome = await parts.commit(*changes)
        assert outcome.warnings == plan.warnings


async def test_secrets_are_not_in_plans_and_audit(database_url: str) -> None:
    """A changed secret is told as a change, without its values; the audit row has none either."""
    async with plane(database_url) as parts:

        def credential(secret: str) -> Put:
            return Put("credential", "k", Credential(consumer="c", type="hmac", key="id", secret=secret))

        await parts.commit(Put("consumer", "c", Consumer()), credential("hunter2"))
        plan = await parts.service.plan([credential("swordfish")])
        assert [(field.path, field.before, field.after) for field in plan.steps[0].fields] == [
            ("secret", "[redacted]", "[redacted]")
        ]
        await parts.commit(credential("swordfish"))
        lines = b"".join([line async for line in parts.audit.lines()])
        assert b"hunter2" not in lines
        assert b"swordfish" not in lines
        assert b"[redacted]" in lines


async def test_a_document_becomes_the_configuration(database_url: str) -> None:
    """Applied, a document replaces all there is in one revision; what it has unchanged keeps its id."""
    async with plane(database_url) as parts:
        await parts.commit(upstream("u"), route("a"), route("b"))
        document = read(
            "proxy: {timeout: 7s}\nupstreams: [{name: u, url: 'http://u.internal'}]\n"
            "routes: [{name: c, path: /c, upstream: u}, {name: b, path: '/b/*', upstream: u}]\n"
        )
        plan = await parts.service.plan_replace(document)
        assert {(step.action, *step.key) for step in plan.steps} == {
            ("delete", "route", "a"),
            ("create", "route", "c"),
            ("update", *SETTINGS),
        }
        outcome = await parts.service.replace(document, ALICE, message="from git")
        assert outcome.committed.revision == 2
        routes = {r.name: r.id for r in outcome.committed.config.routes}
        assert routes == {"b": 2, "c": 3}
        assert (await parts.service.replace(document, ALICE)).committed.revision == 2


async def test_a_repeated_request_is_answered_as_the_first(database_url: str) -> None:
    """An idempotency key comes with its write: the second request writes nothing; another request is refused."""
    clock = Clock()
    async with plane(database_url, clock) as first, plane(database_url, clock) as second:

        def once(request: str, subject: str = "alice") -> Once:
            def answer(outcome: Outcome) -> dict[str, Any]:
                return {"revision": outcome.committed.revision}

            return Once(subject, "key-1", request, answer)

        changes = [upstream("u"), route("a")]
        results = await asyncio.gather(
            *(parts.service.commit(changes, ALICE, once=once("x")) for parts in (first, second) * 3)
        )
        answers = [result.answer for result in results]
        assert (answers.count({"revision": 1}), answers.count(None)) == (5, 1)
        with pytest.raises(KeyReused):
            await second.service.commit([route("b")], ALICE, once=once("y"))
        assert (await second.service.commit([route("b")], ALICE, once=once("y", "bob"))).answer is None
        clock.turn(24 * 3600 + 1)
        assert (await first.service.commit([route("c")], ALICE, once=once("y"))).committed.revision == 3


async def test_two_writers_lose_nothing(database_url: str) -> None:
    """Writers on two control planes get consecutive revisions; each is checked on top of what the other wrote."""
    async with plane(database_url) as first, plane(database_url) as second:
        await first.commit(upstream("u"))
        outcomes = await asyncio.gather(
            *(parts.commit(route(f"r{number}")) for number, parts in enumerate((first, second) * 10))
        )
        assert sorted(outcome.committed.revision for outcome in outcomes) == list(range(2, 22))
        assert len(await names(first, "route")) == 20
        same = [Put("route", name, Route(path="/same", upstream="u"), new=True) for name in "xy"]
        results = await asyncio.gather(first.commit(same[0]), second.commit(same[1]), return_exceptions=True)
        assert sorted(type(result).__name__ for result in results) == ["ConfigError", "Outcome"]


async def test_a_file_as_the_truth_takes_no_writes(database_url: str) -> None:
    """Writes are refused with the file to edit; plans are made all the same."""
    async with plane(database_url) as parts:
        service = Service(parts.store, parts.publisher, read_only="it comes from proxy.yml; edit it")
        with pytest.raises(ReadOnly, match=r"proxy.yml; edit it"):
            await service.commit([upstream("u")], ALICE)
        with pytest.raises(ReadOnly):
            await service.replace(read("{}"), ALICE)
        assert [step.key for step in (await service.plan([upstream("u")])).steps] == [SETTINGS, ("upstream", "u")]


async def test_settings_are_one_resource(database_url: str) -> None:
    """They are put whole, and what is wrong with other resources because of them is told there."""
    async with plane(database_url) as parts:
        await parts.commit(upstream("u", url="http://192.168.0.1"), route("a"))
        settings = Settings()
        settings.proxy.max_connections = 7
        outcome = await parts.commit(Put("settings", "", settings))
        assert (outcome.asked, outcome.committed.config.settings.proxy.max_connections) == ((SETTINGS,), 7)
        settings.security.blocked_ips.append("192.168.0.0/16")
        with pytest.raises(ConfigError, match=r"192\.168\.0\.1 lies in") as refused:
            await parts.commit(Put("settings", "default", settings))
        assert [(fault.kind, fault.name, fault.path) for fault in refused.value.faults] == [("upstream", "u", "url")]
