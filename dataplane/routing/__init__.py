"""Routing: pure rules from a request's path, host, method, headers and query to the route that serves it.

`Router.build` and `Router.changed` make a router, `Router.match` asks it; `explain.explain` tells why it answers so,
and `rewriting.rewriting` the path that the upstream sees. docs/concepts/routing.md tells the rules to operators.
"""

from dataplane.routing.condition import Condition
from dataplane.routing.pattern import BadPattern
from dataplane.routing.route_match import Entry, RouteMatch
from dataplane.routing.router import Found, Missed, Router

__all__ = ["BadPattern", "Condition", "Entry", "Found", "Missed", "RouteMatch", "Router"]
