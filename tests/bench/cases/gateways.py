"""Other gateways that do the same work for the same request, with one route and with a thousand.

Which of them run is decided by what is installed: `make gateways` for those that are no Debian packages.
"""

from __future__ import annotations

from tests.bench import compare, flexgate
from tests.bench.gateways import GATEWAYS
from tests.bench.load import Load
from tests.bench.origin import SMALL
from tests.bench.outcome import Outcome, joined
from tests.bench.race import race
from tests.bench.stage import Stage

CONNECTIONS = 64
TABLES = (1, flexgate.ROUTES)


def run(stage: Stage) -> Outcome:
    """Each of them beside FlexGate."""
    return joined([_compared(stage, routes) for routes in TABLES])


def _compared(stage: Stage, routes: int) -> Outcome:
    at = f" {routes} routes" if routes > 1 else " 1 route"
    present = [(name, stage.gateway(name, routes)) for name in GATEWAYS]
    proxies = [proxy for _, proxy in present if proxy is not None]
    proxies.append(stage.flexgate(routes, name=f"flexgate-{routes}"))
    samples = race(stage, proxies, Load(SMALL, connections=CONNECTIONS))
    ours = f"flexgate-{routes}"
    figures = [
        compare.ratio(samples, "cpu_us", proxy.name, ours, name=f"CPU of {proxy.name} / flexgate{at}")
        for proxy in proxies[:-1]
    ]
    samples = {"flexgate" if name == ours else name: found for name, found in samples.items()}
    told: list[str] = []
    if routes == TABLES[0]:
        told = [f"{name}: not installed" for name, proxy in present if proxy is None]
        told += [f"{name} does without {what}" for name, proxy in present if proxy for what in GATEWAYS[name].without]
    return Outcome(compare.rows(samples, at), figures, [*told, *compare.notes(samples, at)])
