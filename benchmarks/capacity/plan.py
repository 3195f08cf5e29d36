"""How many machines of one kind answer a rate within a p99, and what that costs."""

from __future__ import annotations

import math
from dataclasses import dataclass

from benchmarks.capacity.errors import Infeasible
from benchmarks.capacity.service_times import ServiceTimes
from benchmarks.capacity.simulation import Simulated, capacity, open_loop
from benchmarks.loads import poisson_arrivals

# Requests of one simulation, in the search and for the answer. The first tenth is warm-up.
_SEARCH_REQUESTS = 4_000
_ANSWER_REQUESTS = 20_000
_WARM_UP = 0.1
_HALVINGS = 8
# Shares of the capacity that count as no load at all, and as too much to be stable.
_IDLE, _FULL = 0.001, 0.98
# A machine at the autoscaler's threshold has room for a load that grows by this share while
# another one starts.
GROWTH = 0.25
SECONDS_PER_HOUR = 3600
MILLION = 1_000_000


@dataclass(frozen=True)
class Goal:
    """What is asked: requests per second of all machines, their p99, and spare machines."""

    rate: float
    p99_s: float
    spare: int = 0


@dataclass(frozen=True)
class Plan:
    """The answer for one kind of machine.

    machines: including the spare ones. utilisation, p50_s, p99_s: with all of them up;
    p99_without_spare_s: with the spare ones gone. capacity_per_machine: answers per second at
    most, whatever the latency. scale_at_queue_s: waiting per request at which an autoscaler
    should add a machine. dollars: None without a price. origin, price_from: of the figures.
    """

    kind: str
    models: str
    machines: int
    spare: int
    rate_per_machine: float
    capacity_per_machine: float
    utilisation: float
    p50_s: float
    p99_s: float
    p99_without_spare_s: float
    scale_at_queue_s: float
    dollars_per_hour: float | None
    dollars_per_million: float | None
    origin: str
    price_from: str = ""


def plan(
    times: ServiceTimes,
    goal: Goal,
    *,
    dollars_per_machine: float | None = None,
    price_from: str = "",
) -> Plan:
    """The fewest machines; each gets an equal share, arriving at random.

    Raises:
        Infeasible: even a machine with hardly any load misses the p99.
    """
    most = capacity(times)
    best = sustainable_rate(times, goal.p99_s, most)
    needed = math.ceil(goal.rate / best)
    worst = at_rate(times, goal.rate / needed, _ANSWER_REQUESTS)
    while not meets(worst, goal.p99_s):  # the search's fewer requests can be too hopeful
        needed += 1
        worst = at_rate(times, goal.rate / needed, _ANSWER_REQUESTS)
    machines = needed + goal.spare
    usual = at_rate(times, goal.rate / machines, _ANSWER_REQUESTS) if goal.spare else worst
    early = at_rate(times, best / (1 + GROWTH), _ANSWER_REQUESTS)
    cost = None if dollars_per_machine is None else dollars_per_machine * machines
    return Plan(
        kind=times.kind,
        models=times.models,
        machines=machines,
        spare=goal.spare,
        rate_per_machine=goal.rate / machines,
        capacity_per_machine=most,
        utilisation=usual.utilisation,
        p50_s=usual.p50_s,
        p99_s=usual.p99_s,
        p99_without_spare_s=worst.p99_s,
        scale_at_queue_s=early.queue_s,
        dollars_per_hour=cost,
        dollars_per_million=cost and cost / (goal.rate * SECONDS_PER_HOUR) * MILLION,
        origin=times.origin,
        price_from=price_from,
    )


def sustainable_rate(times: ServiceTimes, p99_s: float, most: float) -> float:
    """The highest rate of one machine that keeps the p99 and refuses nothing.

    Raises:
        Infeasible: there is none; the message says which p99 an idle machine has.
    """
    idle = at_rate(times, _IDLE * most, _SEARCH_REQUESTS)
    if not meets(idle, p99_s):
        raise Infeasible(
            f"{times.kind}: p99 {1000 * p99_s:.0f} ms is out of reach with any number of "
            f"machines, for a machine with hardly any load has {1000 * idle.p99_s:.0f} ms: ask "
            f"for more than that, or serve smaller or faster models"
        )
    low, high = _IDLE * most, _FULL * most
    if meets(at_rate(times, high, _SEARCH_REQUESTS), p99_s):
        return high
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        kept = meets(at_rate(times, middle, _SEARCH_REQUESTS), p99_s)
        low, high = (middle, high) if kept else (low, middle)
    return low


def at_rate(times: ServiceTimes, rate: float, requests: int) -> Simulated:
    """One machine under a Poisson load, always with the same random numbers."""
    arrivals = poisson_arrivals(rate, requests / rate, seed=0)
    return open_loop(times, arrivals, warm_up=int(_WARM_UP * len(arrivals)))


def meets(load: Simulated, p99_s: float) -> bool:
    """Whether the load kept the p99 and refused nothing."""
    return load.refused == 0 and load.p99_s <= p99_s
