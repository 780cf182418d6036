"""The plan of a rollout as operators write it: with shorthands, and every fault at its path."""

from __future__ import annotations

import pytest

from controlplane.rollout.plan import read_plan
from shared.faults import ConfigError


def test_shorthands_are_those_of_the_configuration() -> None:
    """Durations as text, shares with or without their sign; what is not given stays open for its default."""
    plan = read_plan(
        {
            "waves": [{"percent": "5%"}, {"percent": 50}, {"labels": {"zone": "a"}}],
            "bake": "5m",
            "applyTimeout": 1500,
            "gates": {"errorRatePercent": "2%", "p99Floor": "1s", "p99Factor": 0},
            "onFail": "pause",
        }
    )
    assert [wave.percent for wave in plan.waves] == [5, 50, 0]
    assert (plan.bake, plan.apply_timeout, plan.on_fail) == (300_000, 1500, "pause")
    assert (plan.gates.error_rate_percent, plan.gates.p99_floor) == (2, 1000)
    assert plan.gates.HasField("p99_factor")
    assert not plan.gates.HasField("error_rate_factor")


@pytest.mark.parametrize(
    ("written", "paths"),
    [
        ({}, ["rollout.waves"]),
        (None, ["rollout"]),
        ({"waves": [{"percent": 10}] * 2}, ["rollout.waves[1].percent"]),
        ({"waves": [{}, {"percent": 5, "labels": {"a": "b"}}]}, ["rollout.waves[0]", "rollout.waves[1]"]),
        ({"waves": [{"percent": 101}]}, ["rollout.waves[0].percent"]),
        ({"waves": [{"percent": 10}], "bake": "8d"}, ["rollout.bake"]),
        ({"waves": [{"percent": 10}], "applyTimeout": 0}, ["rollout.applyTimeout"]),
        ({"waves": [{"percent": 10}], "onFail": "hope"}, ["rollout.onFail"]),
        ({"waves": [{"percent": 10}], "gates": {"errorRateFactor": 0.5}}, ["rollout.gates.errorRateFactor"]),
        ({"waves": [{"percent": 10}], "gates": {"p99Floor": -1}}, ["rollout.gates.p99Floor"]),
        ({"wavse": [], "gates": {"x": 1}}, ["rollout.wavse", "rollout.gates.x"]),
    ],
)
def test_faults_tell_their_place(written: object, paths: list[str]) -> None:
    """All at once, where the shape is right."""
    with pytest.raises(ConfigError) as refused:
        read_plan(written)
    assert [fault.path for fault in refused.value.faults] == paths
