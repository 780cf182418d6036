"""The rules of a rollout hold whatever nodes do: who is chosen, when it fails, and that it ends."""

from __future__ import annotations

import math
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from controlplane.rollout.machine import (
    NodeView,
    NotNowError,
    State,
    aborted,
    allowed,
    apply_seconds,
    bake_seconds,
    paused,
    promoted,
    rank,
    resumed,
    step,
)
from shared.pb.rollout_pb2 import Gates, RolloutPlan, Wave

NAMES = [f"n/{number}" for number in range(12)]
LABELS = [{}, {"zone": "a"}, {"zone": "b"}]

waves = st.one_of(
    st.floats(1, 100).map(lambda percent: Wave(percent=percent)),
    st.sampled_from(["a", "b", "c"]).map(lambda zone: Wave(labels={"zone": zone})),
)
plans = st.builds(
    lambda listed, nacks, on_fail: RolloutPlan(
        waves=listed, bake=10_000, apply_timeout=20_000, gates=Gates(max_nacks=nacks), on_fail=on_fail
    ),
    st.lists(waves, min_size=1, max_size=4),
    st.integers(0, 2),
    st.sampled_from(["", "rollback", "pause"]),
)
nodes = st.builds(
    NodeView,
    id=st.sampled_from(NAMES),
    labels=st.sampled_from(LABELS),
    connected=st.booleans(),
    runs=st.booleans(),
    refused=st.booleans(),
)
fleets = st.lists(nodes, max_size=12, unique_by=lambda node: node.id)
histories = st.lists(st.tuples(st.floats(0, 15), fleets, st.sampled_from(["", "", "", "error rate"])), max_size=40)


@given(plans, histories)
def test_no_more_nodes_than_the_wave_allows(
    plan: RolloutPlan, history: list[tuple[float, list[NodeView], str]]
) -> None:
    """By share: never more new ones than the share of those connected leaves room for. By label: only those with it."""
    state = State()
    for seconds, fleet, failure in history:
        before, state = state, step(plan, state, seconds, fleet, failure)
        wave = plan.waves[before.wave]
        fresh = state.chosen - before.chosen
        connected = {node.id: node for node in fleet if node.connected}
        assert before.chosen <= state.chosen
        assert fresh <= connected.keys()
        if wave.percent:
            most = len(connected) if wave.percent >= 100 else math.ceil(len(connected) * wave.percent / 100 - 1e-9)
            assert not fresh or len(state.chosen) <= max(most, len(connected) if state.everyone else 0)
        else:
            assert all(wave.labels.items() <= connected[name].labels.items() for name in fresh)


@given(plans, histories)
def test_a_refusal_never_leads_on(plan: RolloutPlan, history: list[tuple[float, list[NodeView], str]]) -> None:
    """With more refusals than allowed, or a gate that failed, it goes neither to the next wave nor to everyone."""
    state = State()
    for seconds, fleet, failure in history:
        before, state = state, step(plan, state, seconds, fleet, failure)
        reached = state if state.status != "succeeded" else replace(state, everyone=before.everyone)
        refused = [node for node in fleet if node.refused and reached.admits(node.id)]
        if before.status == "running" and (failure or len(refused) > plan.gates.max_nacks):
            assert state.status == ("paused" if plan.on_fail == "pause" else "rolling_back")
            assert state.wave == before.wave
            assert state.reason


@given(plans, histories)
def test_success_means_that_every_wave_was_served(
    plan: RolloutPlan, history: list[tuple[float, list[NodeView], str]]
) -> None:
    """It succeeds only from the last wave, after its bake time, with a node that runs it."""
    state = State()
    for seconds, fleet, failure in history:
        before, state = state, step(plan, state, seconds, fleet, failure)
        if state.status == "succeeded" != before.status:
            assert (before.wave, before.phase) == (len(plan.waves) - 1, "baking")
            assert before.seconds + seconds >= bake_seconds(plan)
            assert any(node.connected and node.runs and state.admits(node.id) for node in fleet)


@given(plans, histories, fleets)
def test_it_always_ends(
    plan: RolloutPlan, history: list[tuple[float, list[NodeView], str]], fleet: list[NodeView]
) -> None:
    """Whatever happened before, time alone brings it to an end: each phase of each wave is bounded."""
    state = State()
    for seconds, seen, failure in history:
        state = step(plan, state, seconds, seen, failure)
    longest = (2 * apply_seconds(plan) + bake_seconds(plan) + 2) * len(plan.waves)
    for _ in range(math.ceil(longest)):
        state = step(plan, state, 1.0, fleet)
    assert state.status in {"succeeded", "rolling_back", "paused"}


@given(st.floats(0.1, 100), st.integers(0, 1000))
def test_a_share_is_rounded_up(percent: float, count: int) -> None:
    """One node of few, all of them only for 100 percent of them or where rounding comes to it."""
    most = allowed(percent, count)
    assert (count > 0) <= most <= count
    assert most - 1 < count * percent / 100 <= most + 1e-6


@given(st.sets(st.sampled_from(NAMES), min_size=2), st.floats(1, 99))
def test_the_choice_is_stable(names: set[str], percent: float) -> None:
    """The same nodes in every process, whatever their order; a larger share has the nodes of a smaller one."""
    plan = RolloutPlan(waves=[Wave(percent=percent)])
    fleet = [NodeView(name, {}) for name in names]
    chosen = step(plan, State(), 0.0, fleet).chosen
    assert chosen == step(plan, State(), 0.0, sorted(fleet, key=lambda node: node.id)).chosen
    assert chosen == set(sorted(names, key=rank)[: len(chosen)])


def test_what_operators_may_ask() -> None:
    """Pause, resume, promote and abort, each only where it means something; a paused one waits for ever."""
    plan = RolloutPlan(waves=[Wave(percent=50)])
    held = paused(State(seconds=5), "ann")
    assert step(plan, held, 1e9, []) == held
    assert (resumed(held).status, resumed(held).seconds) == ("running", 0.0)
    assert promoted(held, "ann").everyone
    assert aborted(held, "ann").reason == "aborted by ann"
    over = replace(held, status="succeeded")
    for verb in (resumed, lambda state: paused(state, ""), lambda state: promoted(state, "")):
        try:
            verb(over)
        except NotNowError as error:
            assert "succeeded" in str(error)
        else:
            raise AssertionError("it was allowed")
