"""GET /config_dump: the configuration this node serves, as it was received, with secrets taken out."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, cast

from google.protobuf.json_format import MessageToDict

from shared.pb import resources_pb2 as pb
from shared.redact import redacted
from shared.table import Table, unpack

if TYPE_CHECKING:
    from dataplane.node import Node


def config_dump(node: Node) -> dict[str, Any]:
    """{revision, source …, config}; the config is null before the first one."""
    compiled = node.compiled
    document: dict[str, Any] = {"revision": node.revision, "source": asdict(node.source_status)}
    document["config"] = None if compiled is None else MessageToDict(redacted(_config_of(compiled.runtime.table)))
    return document


def _config_of(table: Table) -> pb.Config:
    config = pb.Config()
    for resource in sorted(table.values(), key=lambda resource: (resource.kind, resource.name)):
        message = unpack(resource)
        if resource.kind == "settings":
            config.settings.CopyFrom(cast(pb.Settings, message))
        else:
            getattr(config, f"{resource.kind}s").append(message)
    return config
