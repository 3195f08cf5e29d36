"""Triton's counters as milliseconds per request."""

import pytest
from fovea_client.statistics import BatchStatistics, ModelStatistics, difference

from benchmarks import breakdown

BEFORE = ModelStatistics(
    inferences=2, executions=2, batches={1: BatchStatistics(2, 0.2)}, compute_s=0.2
)
AFTER = ModelStatistics(
    inferences=12,
    executions=5,
    successes=10,
    total_s=0.5,
    queue_s=0.1,
    input_s=0.01,
    compute_s=0.5,
    output_s=0.02,
    batches={1: BatchStatistics(3, 0.25), 4: BatchStatistics(2, 0.2)},
)


def test_a_span_is_the_difference_of_two_readings():
    spent = difference({"it": AFTER}, {"it": BEFORE})["it"]
    assert spent.mean_batch == 10 / 3
    assert spent.batches[1] == BatchStatistics(1, pytest.approx(0.05))
    assert spent.batches[4].executions == 2
    assert spent.plus(BEFORE).batches[1].executions == AFTER.batches[1].executions


def test_the_parts_of_a_request():
    whole = ModelStatistics(successes=10, total_s=0.5, compute_s=9)
    spent = {"whole": whole, "one": AFTER, "other": AFTER}
    split = breakdown.split_ms("whole", spent, frozenset({"whole"}), latency_s=0.08)
    assert split == pytest.approx(
        {"network": 30, "queue": 20, "input": 2, "compute": 100, "output": 4}
    )
    assert breakdown.split_ms("it", {"it": BEFORE}, frozenset(), latency_s=1) == {}


def test_rows_of_an_execution_are_those_of_the_networks_that_ran():
    name = breakdown.NETWORKS[0]
    spent = {name: AFTER} | dict.fromkeys(breakdown.NETWORKS[1:], ModelStatistics())
    assert breakdown.mean_batches(spent) == {name: 12 / 5}
