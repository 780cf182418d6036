"""gRPC of the configuration: the verbs of REST over the same service. Messages are the model: nothing is parsed."""

# ruff: noqa: N802 - gRPC names the methods

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import partial
from hashlib import sha256
from typing import Any

import orjson
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import Message
from grpc import aio

from controlplane.auth.grpc_gate import actor_of
from controlplane.catalogue import Catalogue
from controlplane.changes import Change, Changed, Delete, Json, Once, Put, etag_of
from controlplane.dry_run import concerned, dry_run, proposed
from controlplane.filters import FILTERS, wanted
from controlplane.grpc_errors import telling
from controlplane.keys import Keys, NewKey
from controlplane.listing import cursor_at, limit_of, position_in, within
from controlplane.plan import Plan, Step
from controlplane.plane import Plane
from controlplane.refusal import NotFound, ReadOnly
from controlplane.service import Outcome
from controlplane.store.mapping import shown_message
from controlplane.unredact import expected, fill, unredacted
from shared.document import read
from shared.faults import ConfigError, Fault
from shared.pb import admin_pb2 as pb
from shared.pb.admin_pb2_grpc import AdminServicer
from shared.pb.discovery_pb2 import ResourceError
from shared.pb.resources_pb2 import Config, Resource, Settings
from shared.suggestion import suggestion
from shared.table import SETTINGS, Table, pack

Context = aio.ServicerContext[Any, Any]
LONGEST_WAIT = 60.0
"""Seconds."""


class ConfigVerbs(AdminServicer):
    """The part of Admin that is about the configuration."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._service = plane.service
        self._catalogue = Catalogue()
        self._keys = Keys(plane.service, time.time)

    async def ListResources(self, request: pb.ListResourcesRequest, context: Context) -> pb.ListResourcesResponse:
        async with telling(context):
            if request.kind not in FILTERS:
                raise _fault("kind", f"must be one of {', '.join(FILTERS)}")
            filters = dict(request.filters)
            known = (*FILTERS[request.kind], "search")
            for name in filters.keys() - set(known):
                raise _fault(f"filters.{name}", f"unknown filter{suggestion(name, known)}")
            committed = self._service.committed
            wants = wanted(request.kind, filters, committed.table if committed else Table())
            limit, after = limit_of(str(request.limit or "")), position_in(request.cursor)
            part = self._catalogue.part(committed, request.kind, after=after, limit=limit, wanted=wants)
            return pb.ListResourcesResponse(
                items=[_item(entry.resource) for entry in part.entries],
                next_cursor=cursor_at(part.after) if part.after else "",
                total=part.total,
            )

    async def GetResource(self, request: pb.GetResourceRequest, context: Context) -> pb.Item:
        async with telling(context):
            return _item(await self._found(request.kind, request.name))

    async def PutResource(self, request: pb.PutResourceRequest, context: Context) -> pb.WriteResponse:
        async with telling(context):
            table = await self._table()
            change = _put(request.item, table, request.if_match, new=request.create)
            return await self._commit([change], request, context)

    async def DeleteResource(self, request: pb.DeleteResourceRequest, context: Context) -> pb.WriteResponse:
        async with telling(context):
            await self._table()
            name = SETTINGS[1] if request.kind == SETTINGS[0] else request.name
            return await self._commit([Delete(request.kind, name, request.if_match)], request, context)

    async def Commit(self, request: pb.CommitRequest, context: Context) -> pb.WriteResponse:
        async with telling(context):
            table = await self._table()
            return await self._commit([_change(one, table) for one in request.changes], request, context)

    async def ApplyConfig(self, request: pb.ApplyConfigRequest, context: Context) -> pb.WriteResponse:
        async with telling(context):
            self._writable()
            committed = await self._service.refresh()
            before = committed.config if committed else Config()
            document = await asyncio.to_thread(read, request.yaml, lambda config: fill(config, before))
            options, actor = request.options, actor_of(context)
            if_match = expected(request.yaml, committed, _expected(options))
            return await self._done(
                request,
                lambda: self._service.plan_replace(document, if_match),
                lambda once: self._service.replace(
                    document,
                    actor,
                    message=options.message,
                    force=options.force,
                    once=once,
                    if_match=if_match,
                ),
                context,
            )

    async def Rollback(self, request: pb.RollbackRequest, context: Context) -> pb.WriteResponse:
        async with telling(context):
            options, actor, revision = request.options, actor_of(context), within(request.revision)
            return await self._done(
                request,
                lambda: self._service.plan_rollback(revision, _expected(options)),
                lambda once: self._service.rollback(
                    revision,
                    actor,
                    message=options.message,
                    force=options.force,
                    once=once,
                    if_match=_expected(options),
                ),
                context,
            )

    async def CreateKey(self, request: pb.CreateKeyRequest, context: Context) -> pb.KeyResponse:
        async with telling(context):
            if request.credential.type not in {"", "apiKey"} or request.credential.key:
                raise _fault("credential", "only API keys are made here; write others with PutResource")
            actor = actor_of(context)
            return await self._key(
                request,
                lambda: self._keys.plan_create(request.credential),
                lambda once: self._keys.create(request.credential, actor, message=request.options.message, once=once),
                context,
            )

    async def RotateKey(self, request: pb.RotateKeyRequest, context: Context) -> pb.KeyResponse:
        async with telling(context):
            name, actor = request.name, actor_of(context)
            grace = float(request.grace_seconds)
            return await self._key(
                request,
                lambda: self._keys.plan_rotate(name, grace=grace),
                lambda once: self._keys.rotate(name, actor, grace=grace, message=request.options.message, once=once),
                context,
            )

    async def _key(
        self,
        request: Any,
        plan: Callable[[], Awaitable[Plan]],
        commit: Callable[[Once | None], Awaitable[NewKey]],
        context: Context,
    ) -> pb.KeyResponse:
        if request.options.if_match:
            raise _fault("options.if_match", "a key does not depend on what else there is; leave it away")
        made: list[NewKey] = []

        async def keep(once: Once | None) -> Outcome:
            made.append(await commit(once))
            return made[0].outcome

        written = await self._done(request, plan, keep, context)
        named = [one.name for one in written.changes if one.kind == "credential"]
        secret = made[0].secret if made else ""
        return pb.KeyResponse(write=written, name=named[0] if named else "", secret=secret)

    async def _commit(self, changes: list[Change], request: Any, context: Context) -> pb.WriteResponse:
        options, actor = request.options, actor_of(context)
        return await self._done(
            request,
            lambda: self._service.plan(changes, _expected(options)),
            lambda once: self._service.commit(
                changes,
                actor,
                message=options.message,
                force=options.force,
                once=once,
                if_match=_expected(options),
            ),
            context,
        )

    async def _done(
        self,
        request: Any,
        plan: Callable[[], Awaitable[Plan]],
        commit: Callable[[Once | None], Awaitable[Outcome]],
        context: Context,
    ) -> pb.WriteResponse:
        """Plan, or commit once and wait for the nodes."""
        self._writable()
        options: pb.WriteOptions = request.options
        if "\0" in options.message + options.idempotency_key:
            raise _fault("options", "texts here hold no NUL character")
        if options.dry_run:
            return await self._planned(await plan(), ask=options.ask_nodes)
        once = None
        if options.idempotency_key:
            digest = sha256(type(request).__name__.encode() + request.SerializeToString(deterministic=True)).hexdigest()
            once = Once(actor_of(context).name, options.idempotency_key, digest, _kept)
        first = await self._service.recalled(once) if once is not None else None
        outcome = first or await commit(once)
        if outcome.answer is not None:
            answer = ParseDict(outcome.answer, pb.WriteResponse(replayed=True))
        else:
            answer = written(outcome)
        if options.wait_ms:
            seconds = min(options.wait_ms / 1000, LONGEST_WAIT)
            answer.applied.CopyFrom(await self._plane.waiting.applied(answer.revision, seconds))
        return answer

    async def _planned(self, plan: Plan, *, ask: bool) -> pb.WriteResponse:
        views = self._plane.publisher.trial(plan.table)
        reach, change = self._plane.reach, partial(proposed, plan)
        nodes = concerned(plan, reach.targets(), views)
        verdicts = await dry_run(reach, nodes, views, change) if ask and views is not None else []
        return pb.WriteResponse(
            revision=plan.revision,
            etag=plan.etag,
            dry_run=True,
            changes=list(steps(plan.steps)),
            warnings=[error_of(warning) for warning in plan.warnings],
            needs_force=plan.guard,
            nodes=[node.id for node in nodes],
            verdicts=verdicts,
        )

    def _writable(self) -> None:
        if self._plane.read_only:
            raise ReadOnly(self._plane.read_only)

    async def _table(self) -> Table:
        self._writable()
        committed = await self._service.refresh()
        return committed.table if committed else Table()

    async def _found(self, kind: str, name: str) -> Resource:
        committed = self._service.committed
        found: Resource | None
        if kind == SETTINGS[0]:
            found = (committed.table.get(SETTINGS) if committed else None) or pack(*SETTINGS, Settings())
        else:
            entry = self._catalogue.find(committed, kind, name) if kind in FILTERS else None
            found = entry.resource if entry else None
        if found is None:
            raise NotFound((kind, name))
        return found


def error_of(fault: Fault) -> ResourceError:
    """A fault as nodes and operators get it."""
    where = f"line {fault.line}: " if fault.line else ""
    return ResourceError(
        kind=fault.kind, name=fault.name, path=fault.path, code=fault.code, message=where + fault.message
    )


def steps(found: Iterable[Step]) -> Iterator[pb.ResourceChange]:
    """The steps of a plan."""
    for step in found:
        fields = [
            pb.FieldChange(path=one.path, before=_json(one.before), after=_json(one.after)) for one in step.fields
        ]
        yield pb.ResourceChange(kind=step.key[0], name=step.key[1], action=step.action, fields=fields)


def written(outcome: Outcome) -> pb.WriteResponse:
    """What a write answers."""
    return pb.WriteResponse(
        revision=outcome.committed.revision,
        changes=[_changed(one) for one in outcome.changes],
        warnings=[error_of(warning) for warning in outcome.warnings],
    )


def _expected(options: pb.WriteOptions) -> tuple[str, ...]:
    """The etag that the whole configuration must have."""
    return (options.if_match,) if options.if_match else ()


def _kept(outcome: Outcome) -> Json:
    kept: Json = MessageToDict(written(outcome))
    return kept


def _changed(changed: Changed) -> pb.ResourceChange:
    etag = etag_of(changed.after) if changed.after is not None else ""
    return pb.ResourceChange(kind=changed.key[0], name=changed.key[1], action=changed.action, etag=etag)


def _item(resource: Resource) -> pb.Item:
    return pb.Item(etag=etag_of(resource), **{resource.kind: shown_message(resource)})  # type: ignore[arg-type]  # by its kind


def _change(change: pb.Change, table: Table) -> Change:
    which = change.WhichOneof("change")
    if which == "delete":
        return Delete(change.delete.kind, change.delete.name, change.if_match)
    if which is None:
        raise _fault("changes", "a change is one of create, put and delete")
    item = change.create if which == "create" else change.put
    return _put(item, table, change.if_match, new=which == "create")


def _put(item: pb.Item, table: Table, if_match: str, *, new: bool) -> Put:
    """The put of an item; "[redacted]" in it is what is there, which must then be there still."""
    kind = item.WhichOneof("resource")
    if kind is None:
        raise _fault("item", f"is required: one of {', '.join((*FILTERS, SETTINGS[0]))}")
    message: Message = getattr(item, kind)
    name = SETTINGS[1] if kind == SETTINGS[0] else getattr(message, "name", "")
    before = table.get((kind, name))
    kept, faults = unredacted(message, before)
    if faults:
        raise ConfigError(faults)
    if before is not None and kept is not message:
        if_match = if_match or etag_of(before)
    return Put(kind, name, kept, if_match, new)


def _json(value: object) -> str:
    return "" if value is None else orjson.dumps(value).decode()


def _fault(path: str, message: str) -> ConfigError:
    return ConfigError([Fault(path, message)])
