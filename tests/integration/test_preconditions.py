"""If-Match of the whole configuration: what was planned is done as it was planned, or not at all. REST and gRPC."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest

from shared.pb import admin_pb2 as pb
from shared.pb.discovery_pb2 import ResourceKey
from shared.pb.resources_pb2 import Credential
from shared.pb.rollout_pb2 import RolloutPlan, Wave
from tests.integration.test_controlplane_app import Client
from tests.integration.test_grpc_admin import ROUTE, UPSTREAM, admin
from tests.integration.test_rest_resources import USERS, api, at
from tests.support.postgres import Postgres

DOCUMENT = """
upstreams: [{name: u, url: "http://u.internal"}]
routes: [{name: a, path: /a, upstream: u}]
"""
OTHER = DOCUMENT.replace("path: /a", "path: /other")
ROLLOUT = {"document": OTHER, "plan": {"waves": [{"percent": 50}], "bake": "1h"}}
CHANGES = {"changes": [{"action": "delete", "kind": "route", "name": "a"}]}


async def applied(client: Client, document: str, etag: str = "", **more: str) -> tuple[int, Any]:
    """(status, answer) of a document that is applied on top of what had this etag."""
    headers = {"If-Match": f'"{etag}"' if etag != "*" else etag} if etag else {}
    status, body, _ = await client.ask("/api/config/apply", "POST", data=document, headers=headers | more)
    return status, body


async def planned(client: Client, document: str) -> str:
    """The etag that the plan of a document names."""
    status, plan, _ = await client.ask("/api/config/diff", "POST", data=document)
    assert status == 200
    return str(plan["etag"])


async def test_a_plan_is_applied_or_refused(tmp_path: Path) -> None:
    """On top of what it was made for it is done; once somebody else committed, it is 412 with the etag of now."""
    async with api(tmp_path) as (client, plane):
        nothing = await planned(client, DOCUMENT)
        assert (await applied(client, DOCUMENT, nothing))[0] == 200
        first = await planned(client, OTHER)
        assert (await client.ask("/api/routes", "POST", json=USERS))[0] == 201
        for stale in (nothing, first, "1", "no-such-etag"):
            status, refused = await applied(client, OTHER, stale)
            assert (status, refused["code"]) == (412, "stale"), refused
            assert "the configuration is at revision 2 by now" in refused["message"]
        now = await planned(client, OTHER)
        assert refused["details"] == [{"path": "If-Match", "message": f"the etag is now {now}"}]
        committed = plane.plane.service.committed
        assert committed is not None
        assert committed.revision == 2
        assert (await applied(client, OTHER, now))[0] == 200
        assert (await applied(client, DOCUMENT, "*"))[0] == 200


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/config/apply", OTHER),
        ("/api/revisions/1/rollback", None),
        ("/api/transactions", CHANGES),
        ("/api/rollouts", ROLLOUT),
    ],
)
async def test_whatever_writes_the_whole_takes_it(tmp_path: Path, path: str, body: str | dict[str, Any] | None) -> None:
    """Documents, rollbacks, transactions and rollouts, planned and done, hold to the etag that a read gave."""
    async with api(tmp_path) as (client, _):
        content: dict[str, Any] = {"data": body} if isinstance(body, str) else {"json": body} if body else {}
        assert (await applied(client, DOCUMENT))[0] == 200
        assert (await client.ask("/api/routes", "POST", json=USERS))[0] == 201
        _, _, shown = await client.ask("/api/config")
        assert (await client.ask("/api/config/export?format=yaml"))[2].headers["ETag"] == shown.headers["ETag"]
        for wrong in ('"1-00000000"', '"0"'):
            for query in ("", "?dryRun=1"):
                status, refused, _ = await client.ask(path + query, "POST", headers={"If-Match": wrong}, **content)
                assert (status, refused["code"]) == (412, "stale")
        good = {"If-Match": shown.headers["ETag"]}
        status, plan, _ = await client.ask(f"{path}?dryRun=1", "POST", headers=good, **content)
        assert (status, f'"{plan["etag"]}"') == (200, shown.headers["ETag"])
        assert (await client.ask(path, "POST", headers=good, **content))[0] in {200, 201}
        assert (await client.ask(path, "POST", headers=good, **content))[0] == 412


async def test_of_two_with_one_plan_one_wins(tmp_path: Path) -> None:
    """Ten apply at once what each planned on the same revision: one does, nine are told."""
    async with api(tmp_path) as (client, _):
        await applied(client, DOCUMENT)
        etag = await planned(client, OTHER)
        documents = [DOCUMENT.replace("path: /a", f"path: /{number}") for number in range(10)]
        answers = await asyncio.gather(*(applied(client, document, etag) for document in documents))
        assert sorted(status for status, _ in answers) == [200] + [412] * 9


async def test_a_repeated_request_is_not_refused_for_itself(tmp_path: Path) -> None:
    """With an idempotency key the first answer comes again, although that write changed the etag."""
    async with api(tmp_path) as (client, _):
        etag, key = await planned(client, DOCUMENT), {"Idempotency-Key": "k"}
        first = await applied(client, DOCUMENT, etag, **key)
        assert first[0] == 200
        assert await applied(client, DOCUMENT, etag, **key) == first


async def test_a_commit_at_another_replica_counts(postgres: Postgres, tmp_path: Path) -> None:
    """A plan made at one control plane is not applied after a commit that only the other one has seen."""
    url = await postgres.create()
    one, two = tmp_path / "one", tmp_path / "two"
    async with api(one, database=url) as (first, _), api(two, database=url) as (second, _):
        await applied(first, DOCUMENT)
        etag = await planned(first, OTHER)
        assert (await second.ask(at("a"), "PATCH", json={"methods": ["GET"]}))[0] == 200
        assert (await applied(first, OTHER, etag))[0] == 412


async def test_grpc_says_aborted(tmp_path: Path) -> None:
    """A dry run tells the etag; every write takes it in its options; a key has no use for it."""
    async with admin(tmp_path) as client:
        changes = [pb.Change(put=UPSTREAM), pb.Change(put=ROUTE)]
        await client.ask("Commit", pb.CommitRequest(changes=changes))
        apply = pb.ApplyConfigRequest(yaml=OTHER, options=pb.WriteOptions(dry_run=True))
        etag = (await client.ask("ApplyConfig", apply)).etag
        assert etag.startswith("1-")
        await client.ask("Commit", pb.CommitRequest(changes=[pb.Change(delete=ResourceKey(kind="route", name="a"))]))
        stale = pb.WriteOptions(if_match=etag)
        for method, request in (
            ("ApplyConfig", pb.ApplyConfigRequest(yaml=OTHER, options=stale)),
            ("Rollback", pb.RollbackRequest(revision=1, options=stale)),
            ("Commit", pb.CommitRequest(changes=changes, options=stale)),
            ("PutResource", pb.PutResourceRequest(item=UPSTREAM, options=stale)),
            (
                "BeginRollout",
                pb.BeginRolloutRequest(yaml=OTHER, plan=RolloutPlan(waves=[Wave(percent=50)]), if_match=etag),
            ),
        ):
            assert (await client.refused(method, request))[0] == grpc.StatusCode.ABORTED, method
        key = pb.CreateKeyRequest(credential=Credential(consumer="c"), options=stale)
        assert await client.refused("CreateKey", key) == (grpc.StatusCode.INVALID_ARGUMENT, ["options.if_match"])
        etag = (await client.ask("ApplyConfig", apply)).etag
        good = pb.ApplyConfigRequest(yaml=OTHER, options=pb.WriteOptions(if_match=etag))
        assert (await client.ask("ApplyConfig", good)).revision == 3


async def test_what_is_redacted_brings_no_old_secret_back(tmp_path: Path) -> None:
    """An exported document, applied beside one that changes a secret: the new one stays, whoever is first."""

    def keyed(key: str, path: str = "/a") -> str:
        auth = f"security: {{auth: {{type: apiKey, keys: [{{name: one, key: '{key}'}}]}}}}\n"
        return auth + DOCUMENT.replace("path: /a", f"path: {path}")

    async with api(tmp_path) as (client, plane):
        assert (await applied(client, keyed("0" * 64)))[0] == 200
        for turn in range(1, 20):
            new = f"{turn:064d}"
            rotated, kept = await asyncio.gather(
                applied(client, keyed(new)), applied(client, keyed("[redacted]", f"/{turn}"))
            )
            assert (rotated[0], kept[0] in {200, 412}) == (200, True)
            committed = plane.plane.service.committed
            assert committed is not None
            assert committed.config.settings.security.auth.keys[0].key == new
