"""Gates find what is worse, and do not take noise for it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from controlplane.rollout.gates import failing, lower_bound
from controlplane.rollout.sample import Sample, figures_of, sample_of
from shared.histogram import bucket_of
from shared.pb.rollout_pb2 import Gates

NOTHING = Sample()


def served(requests: int, errors: int = 0, ms: float = 10.0, slow: int = 0, slow_ms: float = 1000.0) -> Sample:
    """So many requests; `slow` of them took longer."""
    return Sample(requests, errors, {bucket_of(ms): requests - slow, bucket_of(slow_ms): slow})


samples = st.integers(0, 10_000).flatmap(
    lambda requests: st.builds(
        served, st.just(requests), st.integers(0, requests), st.floats(1, 500), st.integers(0, requests)
    )
)


@given(samples, samples, samples)
def test_too_few_requests_tell_nothing(candidate: Sample, others: Sample, before: Sample) -> None:
    """Below the minimum nothing fails, whatever was counted."""
    gates = Gates(min_requests=candidate.requests + 1)
    assert failing(gates, candidate, others, before) == ""


@given(samples)
def test_equals_do_not_fail(sample: Sample) -> None:
    """What is no worse than the others passes, however bad both are."""
    assert failing(Gates(), sample, sample, NOTHING) == ""


@given(samples, samples)
def test_gates_can_be_switched_off(candidate: Sample, others: Sample) -> None:
    """A factor of 0."""
    assert failing(Gates(error_rate_factor=0, p99_factor=0), candidate, others, NOTHING) == ""


@given(st.integers(1, 100_000).flatmap(lambda whole: st.tuples(st.integers(0, whole), st.just(whole))))
def test_the_bound_lies_below(counted: tuple[int, int]) -> None:
    """From 0 up to the share that was counted."""
    part, whole = counted
    assert 0.0 <= lower_bound(part, whole) <= part / whole + 1e-12


@given(samples, samples)
def test_samples_add_up(one: Sample, other: Sample) -> None:
    """What is added can be taken away again, and travels as figures."""
    assert (one + other - other).requests == one.requests
    kept = sample_of(figures_of(one + other))
    assert (kept.requests, kept.errors) == (one.requests + other.requests, one.errors + other.errors)
    assert {k: v for k, v in kept.latency.items() if v} == {k: v for k, v in (one + other).latency.items() if v}


def test_an_upstream_that_fails_is_found() -> None:
    """Half of the requests fail, and one in a thousand elsewhere: the text tells both."""
    reason = failing(Gates(), served(200, 100), served(10_000, 10), NOTHING)
    assert reason == "error rate: 50.00% of 200 requests failed, 0.10% without it; at most 1.00%"


def test_a_few_failures_are_noise() -> None:
    """Three of 100 with none elsewhere may be chance; three in 100 of thousands are not."""
    assert failing(Gates(), served(100, 3), served(1000, 0), NOTHING) == ""
    assert failing(Gates(), served(10_000, 300), served(1000, 0), NOTHING)


def test_slow_requests_are_found() -> None:
    """A tenth that takes a second, where others take 10 ms; below the floor it does not matter."""
    assert failing(Gates(), served(500, slow=50), served(5000), NOTHING).startswith("p99: ")
    assert failing(Gates(), served(500, ms=20), served(5000, ms=5), NOTHING) == ""
    assert failing(Gates(p99_floor=1), served(500, ms=20), served(5000, ms=5), NOTHING)


def test_the_time_before_stands_in() -> None:
    """Where every node runs it already, or the others serve too little, what all served before counts."""
    usual = served(10_000, 500)
    assert failing(Gates(), served(1000, 60), NOTHING, usual) == ""
    assert failing(Gates(), served(1000, 60), NOTHING, NOTHING)
    assert failing(Gates(), served(1000, 300), served(5, 5), usual)
