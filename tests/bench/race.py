"""Contestants under the same load, in turns: A B C, A B C, ... so that a slow minute of the machine hits all alike."""

from __future__ import annotations

import time
from collections.abc import Sequence

from tests.bench import procfs, wrk
from tests.bench.invalid import InvalidRunError
from tests.bench.load import Load
from tests.bench.probe import Answer, ask
from tests.bench.sample import MEGABYTE, Sample
from tests.bench.stage import Proxy, Stage

Samples = dict[str, list[Sample]]
"""The samples of each contestant by name, one for each round."""


def race(stage: Stage, proxies: Sequence[Proxy], load: Load) -> Samples:
    """Warm every contestant up, then measure each once in every round; InvalidRunError where an answer was wrong."""
    for proxy in proxies:
        same_answer(stage, proxy, load)
    if not stage.options.quick:
        for proxy in proxies:
            window(stage, proxy, load, seconds=1)
    samples: Samples = {proxy.name: [] for proxy in proxies}
    for _ in range(stage.options.rounds):
        for proxy in proxies:
            samples[proxy.name].append(window(stage, proxy, load, stage.options.seconds))
    return samples


def same_answer(stage: Stage, proxy: Proxy, load: Load) -> None:
    """InvalidRunError unless the contestant gives the origin's own answer: a quick error is not a fast answer."""
    direct, through = ask(stage.origin_port, load), _ask(proxy, load)
    if (through.status, through.body) != (direct.status, direct.body):
        what = f"{proxy.name} {load.method} {load.path}"
        raise InvalidRunError(f"{what}: {through.status} with {len(through.body)} bytes, not the origin's answer")


def window(stage: Stage, proxy: Proxy, load: Load, seconds: int) -> Sample:
    """One wrk run against one contestant; InvalidRunError where anything failed."""
    body_bytes = len(_ask(proxy, load).body) + load.body_bytes
    core = stage.cores.proxy
    before, core_before, started = _usage(proxy), procfs.busy_seconds(core), time.monotonic()
    count = wrk.finish(wrk.start(proxy.port, load, seconds, stage.directory), seconds)
    elapsed, core_after, after = time.monotonic() - started, procfs.busy_seconds(core), _usage(proxy)
    if faults := wrk.faults(count):
        raise InvalidRunError(f"{proxy.name} {load.method} {load.path}: {', '.join(faults)}\n{proxy.process.tail()}")
    cpu = after.cpu_seconds - before.cpu_seconds
    if cpu <= 0:
        raise InvalidRunError(
            f"{proxy.name} answered without using its processor: that is not the process which answers"
        )
    return Sample(
        cpu_us=cpu / count.requests * 1e6,
        requests_per_second=count.requests / count.seconds,
        p50_ms=count.p50_ms,
        p99_ms=count.p99_ms,
        megabytes_per_second=count.requests * body_bytes / count.seconds / MEGABYTE,
        rss_megabytes=after.rss_bytes / MEGABYTE,
        busy=cpu / elapsed,
        foreign=max(0.0, core_after - core_before - cpu) / elapsed,
    )


def _ask(proxy: Proxy, load: Load) -> Answer:
    try:
        return ask(proxy.port, load)
    except InvalidRunError as error:
        raise InvalidRunError(f"{proxy.name}: {error}\n{proxy.process.tail()}") from error


def _usage(proxy: Proxy) -> procfs.Usage:
    if not proxy.process.alive:
        raise InvalidRunError(f"{proxy.name} ended during the run:\n{proxy.process.tail()}")
    return procfs.usage(proxy.process.pid)
