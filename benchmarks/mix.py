"""All verbs at once: does any of them starve another?"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.budget import Budget
from benchmarks.loads import Samples, closed_loop
from benchmarks.spread import Spread, percentiles
from benchmarks.targets import Target

CALLERS = 2
# A verb keeps at least this part of its fair share of the machine.
FAIR = 0.5


@dataclass(frozen=True)
class Shared:
    """A verb with CALLERS callers, alone and while all others have as many.

    kept: its rate in the mix over its rate alone, by round. slower: its p99 likewise.
    """

    verb: str
    alone_per_s: Spread
    mixed_per_s: Spread
    kept: Spread
    alone_p99_ms: Spread
    mixed_p99_ms: Spread
    slower: Spread


def measure(
    verbs: Sequence[Target],
    rounds: int,
    seconds: float,
    budget: Budget,
    say: Callable[[str], None] = lambda what: None,
) -> dict[str, Any]:
    """Rounds of each verb alone, then all together for as long as all of those took."""
    alone: dict[str, list[Samples]] = {verb.name: [] for verb in verbs}
    mixed: dict[str, list[Samples]] = {verb.name: [] for verb in verbs}
    expected_s = 2 * sum(max(seconds, 4 * CALLERS * verb.seconds) for verb in verbs)
    for index in range(rounds):
        if not budget.allows(expected_s, f"all verbs at once: round {index + 1}"):
            break
        for verb in verbs:
            say(f"all verbs at once: {verb.name} alone")
            alone[verb.name].append(_loop(verb, seconds))
        say("all verbs at once")
        with ThreadPoolExecutor(len(verbs)) as pool:
            together = pool.map(lambda verb: _loop(verb, len(verbs) * seconds), verbs)
            for verb, samples in zip(verbs, together, strict=True):
                mixed[verb.name].append(samples)
    rows = [
        _shared(verb.name, alone[verb.name], mixed[verb.name]) for verb in verbs if alone[verb.name]
    ]
    return {"rows": [asdict(row) for row in rows], **fairness(rows)}


def _loop(verb: Target, seconds: float) -> Samples:
    return closed_loop(verb.call, CALLERS, seconds=seconds, at_least=2 * CALLERS)


def _shared(verb: str, alone: list[Samples], mixed: list[Samples]) -> Shared:
    rates = [[run.throughput for run in runs] for runs in (alone, mixed)]
    p99s = [[percentiles(run.latencies_s)["p99_ms"] for run in runs] for runs in (alone, mixed)]
    return Shared(
        verb=verb,
        alone_per_s=Spread.of(rates[0]),
        mixed_per_s=Spread.of(rates[1]),
        kept=Spread.of(m / a for a, m in zip(*rates, strict=True)),
        alone_p99_ms=Spread.of(p99s[0]),
        mixed_p99_ms=Spread.of(p99s[1]),
        slower=Spread.of(m / a for a, m in zip(*p99s, strict=True)),
    )


def fairness(rows: Sequence[Shared]) -> dict[str, Any]:
    """fair_share: of each verb if all had the machine equally. least_kept: the smallest part of
    its own rate that a verb kept. total_kept: of all verbs together; above 1 the mix is more
    efficient than taking turns. starved: verbs that kept less than FAIR of their fair share."""
    if not rows:
        return {}
    fair_share = 1 / len(rows)
    return {
        "callers_each": CALLERS,
        "fair_share": fair_share,
        "least_kept": min(row.kept.median for row in rows),
        "total_kept": sum(row.kept.median for row in rows),
        "median_slower": statistics.median(row.slower.median for row in rows),
        "starved": [row.verb for row in rows if row.kept.median < FAIR * fair_share],
    }
