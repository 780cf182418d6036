"""How a change is made: planned only, waited for, forced; and what is told of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from controlplane.cli.api import Answer, Api, Json, detail_line
from controlplane.cli.failure import Code, Failure
from controlplane.cli.plan import planned
from controlplane.cli.screen import Screen, Shown


@dataclass(frozen=True, slots=True)
class How:
    """`dry_run` is "", "1" or "nodes"; `wait` is in seconds, 0: do not."""

    message: str = ""
    dry_run: str = ""
    wait: float = 0.0
    force: bool = False

    def sent(
        self,
        api: Api,
        method: str,
        path: str,
        body: object = None,
        *,
        if_match: str = "",
        place: str = "",
    ) -> Answer:
        """The answer to this write. `if_match`: an etag; `place`: the file that the body is."""
        headers = {"Prefer": f"wait={max(1, round(self.wait))}"} if self.wait else {}
        headers |= {"If-Match": f'"{if_match}"' if if_match != "*" else "*"} if if_match else {}
        query: Mapping[str, object] = {"message": self.message, "dryRun": self.dry_run, "force": self.force}
        return api.send(method, path, body, query=query, headers=headers, seconds=self.wait, place=place)


def write(
    api: Api,
    screen: Screen,
    how: How,
    method: str,
    path: str,
    body: object = None,
    *,
    told: Callable[[Any], Iterable[Shown]],
    if_match: str = "",
    place: str = "",
) -> Any:
    """Does it and tells it: the plan, or what `told` makes of the answer, its warnings and who runs it. The answer."""
    answer = how.sent(api, method, path, body, if_match=if_match, place=place)
    if how.dry_run:
        screen.show(answer.body, lambda: planned(answer.body))
        refused_by_nodes(answer.body)
        return answer.body
    screen.show(answer.body, lambda: [*told(answer.body), *warnings(answer.body)])
    applied(screen, answer)
    return answer.body


def warnings(body: Any) -> list[Shown]:
    """What the control plane warns of."""
    found = body.get("warnings", []) if isinstance(body, dict) else []
    return [f"warning: {detail_line(one)}" for one in found]


def refused_by_nodes(plan: Json) -> None:
    """Failure where a node that tried a change would refuse it."""
    refused = [one for one in plan.get("verdicts", []) if one.get("errors")]
    if refused:
        lines = [f"{one['node']}: {detail_line(error)}" for one in refused for error in one["errors"]]
        raise Failure(f"{len(refused)} nodes would refuse it", details=lines)


def applied(screen: Screen, answer: Answer) -> None:
    """Who runs what was written, where it was waited for; Failure where not all do."""
    found = (answer.body or {}).get("applied") if isinstance(answer.body, dict) else None
    if not found:
        return
    failed, pending, held = found.get("failed", []), found.get("pending", []), found.get("held", 0)
    if screen.is_plain:
        later = f", {held} later in the rollout" if held else ""
        screen.tell([f"revision {found['revision']}: {found['acked']} of {found['nodes']} nodes run it{later}"])
    if failed or pending:
        lines = [f"{one['node']}: {detail_line(error)}" for one in failed for error in one["errors"]]
        lines += [f"{one['node']}: refused without a reason" for one in failed if not one["errors"]]
        lines += [f"{one['node']}: {one['reason']}" for one in pending]
        raise Failure("written, but not every node runs it", Code.NOT_APPLIED, lines)
