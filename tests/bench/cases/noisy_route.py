"""One route gets ten times what its limit grants: what does another route of the same gateway feel of it?

In each round the quiet route is measured twice, alone and beside the noise, by few connections, so that its latency is
its own and not that of a queue before the processor. Only the ratio of the two says something.
"""

from __future__ import annotations

import json
import subprocess
import sys

from tests.bench import compare
from tests.bench.flexgate import NOISY, NOISY_PER_SECOND
from tests.bench.invalid import InvalidRunError
from tests.bench.load import Load
from tests.bench.origin import SMALL
from tests.bench.outcome import Outcome, at_most
from tests.bench.race import Samples, same_answer, window
from tests.bench.sample import Sample
from tests.bench.stage import Proxy, Stage

TIMES = 10
MOST_P99 = 3.0
"""How many times its own p99 the quiet route may have beside the noise."""
_LOAD = Load(SMALL, connections=4)
_LEAST_SHARE = 0.9


def run(stage: Stage) -> Outcome:
    """The p99 of a quiet route beside a noisy one, as a multiple of its p99 alone."""
    proxy = stage.flexgate()
    same_answer(stage, proxy, _LOAD)
    samples: Samples = {"alone": [], "beside noise": []}
    for _ in range(stage.options.rounds):
        samples["alone"].append(window(stage, proxy, _LOAD, stage.options.seconds))
        samples["beside noise"].append(_beside_noise(stage, proxy))
    return Outcome(
        compare.rows(samples),
        [
            compare.ratio(
                samples,
                metric,
                "beside noise",
                "alone",
                name=f"{metric[:3]} of a quiet route, noisy / alone",
                goal=goal,
            )
            for metric, goal in (("p99_ms", at_most(MOST_P99)), ("p50_ms", None))
        ],
    )


def _beside_noise(stage: Stage, proxy: Proxy) -> Sample:
    """A window in which the noise goes on from beginning to end; InvalidRunError where there was too little of it."""
    seconds, rate = stage.options.seconds, TIMES * NOISY_PER_SECOND
    given = [str(proxy.port), NOISY, str(rate), str(seconds + 1)]
    noise = subprocess.Popen([sys.executable, "-m", "tests.bench.noise", *given], stdout=subprocess.PIPE, text=True)
    try:
        sample = window(stage, proxy, _LOAD, seconds)
        output, _ = noise.communicate(timeout=30)
    finally:
        noise.kill()  # no effect on one that has ended
        noise.wait()
    counts = json.loads(output)
    sent, refused = counts["sent"], counts.get("429", 0)
    if sent < _LEAST_SHARE * rate * seconds or refused < (1 - 2 / TIMES) * sent:
        raise InvalidRunError(f"the noise was not {TIMES} times the limit: {counts}")
    return sample
