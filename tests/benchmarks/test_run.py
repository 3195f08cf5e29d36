"""The whole harness at its smallest, on the real server: every section, all sides, every file."""

import pytest
from rich.console import Console

from benchmarks import report, run
from benchmarks.exports import Source
from benchmarks.pipelines import SERVED, TRANSFORMERS
from benchmarks.results import read_results
from fovea.house import wire
from fovea.manifest import exported_deployment

pytestmark = pytest.mark.server

VERBS = {"main_object", "detect", "segment", "detect_and_segment", "embed_image", "embed_text"}
# Never the limit: the scale decides what is measured, not the clock.
MINUTES = 60.0


@pytest.fixture(scope="module")
def results():
    order = run.Order(scale="quick", minutes=MINUTES, rounds=1)
    return run.run(order, Console(stderr=True, force_terminal=False))


def test_every_network_ensemble_and_verb_is_put_under_load(results):
    assert results.left_out == []
    assert {target.name for target in results.of_kind("ensemble")} == VERBS
    assert {target.name for target in results.of_kind("verb")} >= VERBS
    networks = wire(exported_deployment(Source().folder)).networks
    assert {target.name for target in results.of_kind("network")} == {n.name for n in networks}
    for target in results.targets:
        assert target.closed and target.open
        assert not any(point.failures for point in (*target.closed, *target.open))


def test_no_load_hits_the_embedding_cache(results):
    points = [point for target in results.targets for point in (*target.closed, *target.open)]
    assert [point.cache_hits for point in points] == [0] * len(points)


def test_all_sides_answer_main_object_alike(results):
    sides = {side.side: side for side in results.pipelines}
    assert set(sides) == {TRANSFORMERS, "pytorch", "onnxruntime", SERVED}
    plain = sides[TRANSFORMERS].accuracy
    for side in sides.values():
        assert side.accuracy == pytest.approx(plain, abs=0.01)


def test_the_report_is_written_and_read_back(results, tmp_path):
    page = report.write(results, tmp_path).read_text()
    assert read_results(tmp_path).pipelines[0].side == results.pipelines[0].side
    plots = {path.name for path in tmp_path.glob("*.png")}
    assert {"latency-against-throughput.png", "breakdown.png"} == plots
    assert all(name in page for name in plots)
