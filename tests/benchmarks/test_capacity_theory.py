"""The simulation against queues with answers in closed form.

Seeds are fixed. A mean may be off by a few of its standard errors, which come from the means of
batches of consecutive requests: neighbours in a queue are alike, and single ones tell too little.
"""

import math

import numpy as np
import pytest

from benchmarks.capacity.simulation import Simulated, closed_loop, open_loop
from benchmarks.loads import poisson_arrivals
from tests.benchmarks.capacity_examples import diamond, exponential_spread, one_step

REQUESTS = 40_000
BATCHES = 20
STANDARD_ERRORS = 3.5


def simulate(times, load: float, servers: int = 1) -> Simulated:
    """At `load` of the capacity of `servers`, with work of 1 s each."""
    rate = load * servers
    return open_loop(times, poisson_arrivals(rate, REQUESTS / rate, seed=1), warm_up=2000)


def assert_mean_latency(load: Simulated, expected: float) -> None:
    means = [batch.mean() for batch in np.array_split(load.latencies_s, BATCHES)]
    error = np.std(means, ddof=1) / math.sqrt(BATCHES)
    assert error < 0.1 * expected, "too few requests to say anything"
    assert abs(np.mean(means) - expected) < STANDARD_ERRORS * error


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_one_instance_with_exponential_times_is_m_m_1(load):
    assert_mean_latency(simulate(one_step(spread=exponential_spread()), load), 1 / (1 - load))


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_one_instance_with_constant_times_is_m_d_1(load):
    assert_mean_latency(simulate(one_step(), load), 1 + load / (2 * (1 - load)))


def test_one_instance_waits_exactly_as_lindley_says():
    arrivals = poisson_arrivals(0.8, 5000, seed=4)
    waits = [0.0]
    for gap in np.diff(arrivals):
        waits.append(max(0.0, waits[-1] + 1.0 - gap))
    assert open_loop(one_step(), arrivals).latencies_s == pytest.approx(1.0 + np.array(waits))


@pytest.mark.parametrize(("servers", "load"), [(2, 0.6), (4, 0.8)])
def test_several_instances_are_m_m_c(servers, load):
    offered = servers * load
    terms = [offered**n / math.factorial(n) for n in range(servers)]
    last = offered**servers / math.factorial(servers) / (1 - load)
    waits = last / (sum(terms) + last)  # Erlang's C
    times = one_step(spread=exponential_spread(), instances=servers)
    expected = 1 + waits / (servers * (1 - load))
    assert_mean_latency(simulate(times, load, servers), expected)


@pytest.mark.parametrize("spread", [(1.0,), exponential_spread()], ids=["constant", "exponential"])
def test_a_shared_processor_is_processor_sharing_whatever_the_times(spread):
    times = one_step(spread=spread, cores=1, instances=0)
    assert_mean_latency(simulate(times, 0.6), 1 / (1 - 0.6))


def test_p99_of_m_m_1_is_exponential():
    load = open_loop(
        one_step(spread=exponential_spread()), poisson_arrivals(0.5, 4 * REQUESTS, seed=5)
    )
    assert load.p99_s == pytest.approx(math.log(100) / (1 - 0.5), rel=0.05)


def test_utilisation_is_rate_times_service_time():
    rate = 0.7
    load = open_loop(one_step(cores=1), poisson_arrivals(rate, REQUESTS / rate, seed=1))
    assert load.utilisation == pytest.approx(rate, rel=0.02)


def test_waiting_obeys_littles_law():
    """Requests in the system = rate times time in it, counted from the latencies themselves."""
    arrivals = poisson_arrivals(0.7, 5000, seed=2)
    load = open_loop(one_step(), arrivals)
    ends = arrivals + load.latencies_s
    instants = np.random.default_rng(0).uniform(0, arrivals[-1], 20_000)
    inside = np.searchsorted(arrivals, instants) - np.searchsorted(np.sort(ends), instants)
    rate = len(arrivals) / arrivals[-1]
    assert inside.mean() == pytest.approx(rate * load.latencies_s.mean(), rel=0.05)


def test_branches_run_beside_each_other():
    alone = open_loop(diamond(), np.array([0.0]))
    assert alone.latencies_s.tolist() == [pytest.approx(1 + 3 + 1)]


def test_branches_share_one_core():
    alone = open_loop(diamond(cores=1), np.array([0.0]))
    assert alone.latencies_s.tolist() == [pytest.approx(1 + 2 + 3 + 1)]


def test_contention_slows_only_what_runs_together():
    slow = one_step(cores=4, instances=0, contention=0.5)
    assert open_loop(slow, np.array([0.0])).p50_s == pytest.approx(1.0)
    assert open_loop(slow, np.array([0.0, 0.0])).p50_s == pytest.approx(1.5)


def test_a_closed_loop_keeps_its_number_of_requests_in_flight():
    load = closed_loop(one_step(instances=0), concurrency=5, count=100)
    assert load.latencies_s == pytest.approx(np.ones(len(load.latencies_s)))
    assert load.rate == pytest.approx(5, rel=0.1)
