"""The plan of a rollout as operators write it: the JSON mapping with the shorthands of the configuration, checked."""

from __future__ import annotations

from collections.abc import Iterator

from google.protobuf import json_format

from shared.canonical import Walk
from shared.faults import ConfigError, Fault
from shared.field_path import item
from shared.pb.rollout_pb2 import Rollout, RolloutPlan
from shared.shape import fields_of

MOST_WAVES = 20
ON_FAIL = ("", "rollback", "pause")
LONGEST = 7 * 24 * 3600 * 1000
"""Milliseconds of one phase: a week."""


def read_plan(written: object, path: str = "rollout") -> RolloutPlan:
    """A plan such as {"waves": [{"percent": "10%"}, {"labels": {"zone": "a"}}], "bake": "5m"}.

    Raises ConfigError with every fault, at its path.
    """
    faults: list[Fault] = []
    canonical: dict[str, object] = {}
    Walk(faults, {}).put(canonical, fields_of(Rollout.DESCRIPTOR)["plan"], written, path, path)
    plan = json_format.ParseDict(canonical, Rollout()).plan if not faults else RolloutPlan()
    faults += [] if faults else check_plan(plan, path)
    if faults:
        raise ConfigError(faults)
    return plan


def check_plan(plan: RolloutPlan, path: str = "rollout") -> list[Fault]:
    """All that is wrong with a plan."""
    return list(_faults(plan, path))


def _faults(plan: RolloutPlan, path: str) -> Iterator[Fault]:
    if not 1 <= len(plan.waves) <= MOST_WAVES:
        yield Fault(f"{path}.waves", f"needs 1 to {MOST_WAVES} waves, such as {{percent: 10}}", "required")
    before = 0.0
    for index, wave in enumerate(plan.waves):
        where = item(f"{path}.waves", index)
        if bool(wave.percent) == bool(wave.labels):
            yield Fault(where, "has either a percent or labels", "required")
        elif wave.percent and not 0 < wave.percent <= 100:
            yield Fault(f"{where}.percent", "must be more than 0 and at most 100", "out_of_range")
        elif wave.percent and wave.percent <= before:
            yield Fault(f"{where}.percent", f"must be more than the {before:g} of a wave before it", "out_of_range")
        before = max(before, wave.percent)
    for name, value in (("bake", plan.bake), ("applyTimeout", plan.apply_timeout)):
        if value > LONGEST:
            yield Fault(f"{path}.{name}", "must be a week at most", "out_of_range")
    if plan.HasField("apply_timeout") and not plan.apply_timeout:
        yield Fault(f"{path}.applyTimeout", "must be more than 0: nodes need a moment", "out_of_range")
    if plan.on_fail not in ON_FAIL:
        yield Fault(f"{path}.onFail", f"is {plan.on_fail!r}; it can be rollback or pause", "invalid")
    for name in ("error_rate_percent", "error_rate_factor", "p99_floor", "p99_factor"):
        value, shown = getattr(plan.gates, name), plan.gates.DESCRIPTOR.fields_by_name[name].json_name
        if value < 0:
            yield Fault(f"{path}.gates.{shown}", "cannot be negative", "out_of_range")
        elif name.endswith("factor") and 0 < value < 1:
            yield Fault(f"{path}.gates.{shown}", "is 0 (off), or 1 and more", "out_of_range")
