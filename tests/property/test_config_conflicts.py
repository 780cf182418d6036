"""Conflicts between routes, against the rule written down pair by pair."""

from __future__ import annotations

import re
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from shared.check import conflicts
from shared.pb.resources_pb2 import Route, StringMatch

ROUTES = st.lists(
    st.builds(
        Route,
        path=st.sampled_from(["/a", "/a/*", "/a/", "/:x", "/:y", "/:x/*", "/"]),
        hosts=st.lists(st.sampled_from(["a.com", "A.com", "*.com", "*.a.com"]), max_size=2),
        methods=st.lists(st.sampled_from(["GET", "POST"]), max_size=2),
        headers=st.dictionaries(
            st.sampled_from(["X-A", "x-a", "X-B"]), st.builds(StringMatch, exact=st.sampled_from("ab")), max_size=2
        ),
        priority=st.integers(0, 1),
        enabled=st.sampled_from([None, True, False]),
    ),
    max_size=6,
)


def conflict(one: Route, other: Route) -> bool:
    """The rule: the same rank, and a request that both take."""
    if not all(route.enabled or not route.HasField("enabled") for route in (one, other)):
        return False
    if re.sub(":[xy]", ":", one.path) != re.sub(":[xy]", ":", other.path) or one.priority != other.priority:
        return False
    conditions = [{(name.lower(), match.exact) for name, match in route.headers.items()} for route in (one, other)]
    hosts = [{host.lower() for host in route.hosts} for route in (one, other)]
    if conditions[0] != conditions[1] or bool(one.methods) != bool(other.methods):
        return False
    same_method = not one.methods or bool(set(one.methods) & set(other.methods))
    same_host = not (hosts[0] or hosts[1]) or bool(hosts[0] & hosts[1])
    return same_method and same_host


@given(ROUTES)
def test_a_conflict_is_found_where_there_is_one(routes: list[Route]) -> None:
    """Each pair that is told conflicts, and each route that conflicts with an earlier one is told."""
    told = set()
    for fault in conflicts.faults(routes):
        later, earlier = (int(number) for number in re.findall(r"routes\[(\d+)\]", f"{fault.path} {fault.message}"))
        told.add((earlier, later))
    real = {
        (first, second) for (first, one), (second, other) in combinations(enumerate(routes), 2) if conflict(one, other)
    }
    assert told <= real
    assert {later for _, later in told} == {later for _, later in real}
