"""The name of a node in a certificate: the URI `flexgate://node/NAME?LABEL=VALUE&…` as its alternative name.

One certificate serves all workers of a data plane: NAME is the node id without the worker's number. A label that stands
here is true of the node, whatever it says itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

PREFIX = "flexgate://node/"
NAME_LIMIT = 256
CONTROL_PLANE = "control-plane.flexgate.internal"
"""The DNS name in every certificate that a control plane's own authority gives to control planes, and to no node."""


@dataclass(frozen=True, slots=True)
class NodeName:
    """Who a certificate says its bearer is."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def uri(self) -> str:
        """As it stands in the certificate."""
        query = urlencode(sorted(self.labels.items()), quote_via=quote)
        return PREFIX + quote(self.name, safe="") + (f"?{query}" if query else "")

    def covers(self, node_id: str) -> bool:
        """Whether a node id is this node's: its own, or that of one of its workers."""
        name, slash, index = node_id.rpartition("/")
        return node_id == self.name or (bool(slash) and name == self.name and index.isascii() and index.isdecimal())


def parse(uri: str) -> NodeName | None:
    """The name in a URI; None where it is another kind of URI."""
    if not uri.startswith(PREFIX):
        return None
    split = urlsplit(uri)
    name = unquote(split.path.removeprefix("/"))
    if not name or len(name) > NAME_LIMIT or not name.isprintable():
        return None
    return NodeName(name, dict(parse_qsl(split.query, keep_blank_values=True)))
