"""What a rollout does next. Pure: the plan, where it stands, how the nodes stand and how much time passed go in; where
it stands then comes out. Nothing here knows a clock, a network or a database.

The rules: a wave adds nodes up to its share and never takes one away; it is over when every chosen node that is
connected runs the revision and has served it for the bake time; whatever a gate finds ends it at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Final, Literal

from shared.pb.rollout_pb2 import RolloutPlan, Wave

BAKE_SECONDS: Final = 60.0
APPLY_SECONDS: Final = 60.0

Status = Literal["running", "paused", "rolling_back", "succeeded", "rolled_back", "aborted", "superseded"]
OVER: Final = frozenset({"succeeded", "rolled_back", "aborted", "superseded"})
Phase = Literal["applying", "baking"]


@dataclass(frozen=True, slots=True)
class NodeView:
    """A node as a rollout sees it: whether it runs the candidate (or something newer), or refused it."""

    id: str
    labels: Mapping[str, str]
    connected: bool = True
    runs: bool = False
    refused: bool = False


@dataclass(frozen=True, slots=True)
class State:
    """Where a rollout stands. `chosen` nodes get the candidate, the others do not; `everyone`: all do."""

    status: Status = "running"
    wave: int = 0
    phase: Phase = "applying"
    seconds: float = 0.0  # in this phase
    chosen: frozenset[str] = frozenset()
    everyone: bool = False
    reason: str = ""

    @property
    def over(self) -> bool:
        return self.status in OVER

    def admits(self, node: str) -> bool:
        """Whether this node is to get the candidate."""
        return self.everyone or node in self.chosen


class NotNowError(Exception):
    """An operator asked for what this rollout cannot do any more; the text says why."""


def step(plan: RolloutPlan, state: State, seconds: float, nodes: Iterable[NodeView], failure: str = "") -> State:
    """The state after so many more seconds; `failure` is what the gates of error rate and latency found."""
    if state.status != "running":
        return state
    known = list(nodes)
    state = replace(state, seconds=state.seconds + seconds)
    state = _choose(plan.waves[state.wave], state, known)
    mine = [node for node in known if state.admits(node.id)]
    refused = sorted(node.id for node in mine if node.refused)
    if len(refused) > plan.gates.max_nacks:
        return _failed(plan, state, f"refused by {', '.join(refused[:5])}")
    if failure:
        return _failed(plan, state, failure)
    if state.phase == "applying":
        return _applying(plan, state, [node for node in mine if node.connected])
    return _baking(plan, state, [node for node in mine if node.connected])


def _applying(plan: RolloutPlan, state: State, mine: list[NodeView]) -> State:
    waiting = sorted(node.id for node in mine if not (node.runs or node.refused))
    if any(node.runs for node in mine) and not waiting:
        return replace(state, phase="baking", seconds=0.0)
    if state.seconds < apply_seconds(plan):
        return state
    if not mine:
        return _failed(plan, state, f"no node of wave {state.wave + 1} is connected")
    names = ", ".join(waiting[:5]) or "any of its nodes"
    return _failed(plan, state, f"not applied within {apply_seconds(plan):g} s by {names}")


def _baking(plan: RolloutPlan, state: State, mine: list[NodeView]) -> State:
    if state.seconds < bake_seconds(plan):
        return state
    if not any(node.runs for node in mine):
        if state.seconds < bake_seconds(plan) + apply_seconds(plan):
            return state  # they may be on their way to another control plane
        return _failed(plan, state, f"no node of wave {state.wave + 1} runs it any more")
    if state.wave + 1 < len(plan.waves):
        return replace(state, wave=state.wave + 1, phase="applying", seconds=0.0)
    return replace(state, status="succeeded", everyone=True, reason="")


def _failed(plan: RolloutPlan, state: State, reason: str) -> State:
    return replace(state, status="paused" if plan.on_fail == "pause" else "rolling_back", reason=reason)


# ---- who is chosen


def _choose(wave: Wave, state: State, nodes: list[NodeView]) -> State:
    """The nodes of the wave on top of those chosen before. A place is a node's for good, also while it is away."""
    if state.everyone:
        return state
    connected = [node for node in nodes if node.connected]
    if not wave.percent:
        asked = {node.id for node in connected if wave.labels.items() <= node.labels.items()}
        return replace(state, chosen=state.chosen | asked)
    if wave.percent >= 100:
        return replace(state, everyone=True, chosen=state.chosen | {node.id for node in connected})
    room = allowed(wave.percent, len(connected)) - len(state.chosen)
    free = sorted((node.id for node in connected if node.id not in state.chosen), key=rank)
    return replace(state, chosen=state.chosen | set(free[: max(0, room)]))


def allowed(percent: float, nodes: int) -> int:
    """How many of so many nodes a wave may have: its share rounded up, so at least one where there is one."""
    return math.ceil(nodes * percent / 100 - 1e-9)


def rank(node: str) -> bytes:
    """The order in which nodes are chosen: by chance, and the same in every process and for every rollout."""
    return blake2b(node.encode(), digest_size=8).digest()


def apply_seconds(plan: RolloutPlan) -> float:
    return plan.apply_timeout / 1000 if plan.HasField("apply_timeout") else APPLY_SECONDS


def bake_seconds(plan: RolloutPlan) -> float:
    return plan.bake / 1000 if plan.HasField("bake") else BAKE_SECONDS


# ---- what operators ask for


def paused(state: State, who: str) -> State:
    """Hold: nodes stay as they are, nothing is judged, until it is resumed."""
    _only(state, "running")
    return replace(state, status="paused", reason=f"paused by {who}")


def resumed(state: State) -> State:
    """Go on with the wave it was at, from the beginning of its phase."""
    _only(state, "paused")
    return replace(state, status="running", seconds=0.0, reason="")


def promoted(state: State, who: str) -> State:
    """Give it to all nodes now, whatever the gates say."""
    _only(state, "running", "paused")
    return replace(state, status="succeeded", everyone=True, reason=f"promoted by {who}")


def aborted(state: State, who: str) -> State:
    """Go back."""
    _only(state, "running", "paused")
    return replace(state, status="rolling_back", reason=f"aborted by {who}")


def _only(state: State, *allowed_in: Status) -> None:
    if state.status not in allowed_in:
        raise NotNowError(
            f"the rollout is {state.status.replace('_', ' ')}; only one that is {' or '.join(allowed_in)} can"
        )
