"""REST of nodes: who runs which revision, and why not; and what they would do with a sample request."""

from __future__ import annotations

from typing import Any

import orjson
from aiohttp import web

from controlplane.explaining import NobodyAnsweredError, explain
from controlplane.listing import page
from controlplane.plane import Plane
from controlplane.problem import Problem, json_response
from controlplane.rest.problems import known_parameters
from controlplane.shapes import rendered
from shared.explanation import BadQuestion, as_json, read
from shared.pb.admin_pb2 import ExplainResponse

FILTERS = ("id", "state", "version")


class NodesRest:
    """The handlers."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/api/nodes", self.many),
            web.get("/api/nodes/{id}", self.one),
            web.post("/api/explain", self.explain),
        ]

    async def many(self, request: web.Request) -> web.Response:
        """All nodes that match the filters, by name."""
        desired = self._plane.publisher.revision
        shown = page(map(rendered, self._plane.nodes.view(self._plane.publisher.revision_of)), request.query, FILTERS)
        body = {"desiredRevision": desired, "total": shown.total, "nodes": shown.items, "nextCursor": shown.cursor}
        return json_response(body)

    async def one(self, request: web.Request) -> web.Response:
        """One node by its id, whose slash is written %2F."""
        known_parameters(request)
        wanted = request.match_info["id"]
        for node in self._plane.nodes.view(self._plane.publisher.revision_of):
            if node.id == wanted:
                return json_response(rendered(node))
        raise Problem(404, f"there is no node {wanted!r}")

    async def explain(self, request: web.Request) -> web.Response:
        """What the nodes would do with a sample request; 503 where no node can say."""
        known_parameters(request)
        try:
            sample = read(orjson.loads(await request.read()))
            answer = await explain(self._plane.reach, sample)
        except (orjson.JSONDecodeError, BadQuestion) as error:
            raise Problem(400, str(error)) from error
        except NobodyAnsweredError as error:
            raise Problem(503, str(error), Retry_After="1") from error
        return json_response({"node": answer.node, **as_json(answer.explanation), **_others(answer)})


def _others(answer: ExplainResponse) -> dict[str, Any]:
    """What differs from node to node."""
    more = {"moreNodes": answer.more_nodes} if answer.more_nodes else {}
    return {"nodes": [as_json(node) for node in answer.nodes], **more}
