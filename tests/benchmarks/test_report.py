"""Results to files and back, and the text for people."""

import pytest

from benchmarks import report, tables
from benchmarks.figures import Spread
from benchmarks.networks import EAGER, ONNX
from benchmarks.results import (
    Batch,
    Folder,
    NetworkResult,
    PipelineResult,
    Point,
    Results,
    Sections,
    TargetResult,
    best,
    best_batch,
    read_results,
)
from export.machine import machine


def point(callers: int, per_s: float) -> Point:
    return Point(
        concurrency=callers,
        rate=None,
        requests=10 * callers,
        failures={"RpcError UNAVAILABLE": 1},
        throughput=Spread.of([per_s, 1.1 * per_s, 0.9 * per_s]),
        p50_ms=Spread.of([1000 / per_s]),
        p95_ms=Spread.of([1200 / per_s]),
        p99_ms=Spread.of([1300 / per_s]),
        split_ms={"network": 1.0, "queue": 2.0, "input": 0.5, "compute": 20.0, "output": 0.25},
        steps_ms={"grounding_dino": 20.0},
        batches={"grounding_dino": 1.5},
        overhead_share=0.25 if callers == 1 else None,
        cache_hits=0,
        memory_mb=800.0,
    )


def network(side: str, batch: int, ms: float) -> NetworkResult:
    rate = 1000 * batch / ms
    return NetworkResult("grounding_dino", side, batch, Spread.of([ms]), Spread.of([rate]))


@pytest.fixture
def results() -> Results:
    loads = [point(1, 30.0), point(2, 50.0), point(4, 45.0)]
    targets = [
        TargetResult(kind, name, 25_000, 900, loads, [], 40.0)
        for kind, name in (("ensemble", "detect"), ("network", "grounding_dino"))
    ]
    side = PipelineResult("transformers", 1, Spread.of([10.0]), Spread.of([4.5]), {"label": 0.99})
    return Results(
        settings={"set": "demo", "rounds": 3, "sections": ("loads", "mix")},
        machine=machine(),
        started="2026-01-31T12:00:00+00:00",
        seconds=12.0,
        targets=targets,
        networks=[network(EAGER, 1, 50.0), network(ONNX, 1, 20.0), network(ONNX, 2, 25.0)],
        pipelines=[side],
        accuracy={"detect": {"found": 0.9}},
        sections=Sections(folder=Folder([Batch(10, 4.75, 2.0, 5.0, {"answered": 10})], 0.5)),
        left_out=[
            "verb detect: 64 callers, round 1 (about 9 s)",
            "verb detect: 64 callers, round 2 (about 9 s)",
            "a folder of 10 pictures (about 8 s)",
        ],
    )


def test_a_report_is_read_as_it_was_written(results, tmp_path):
    results.write(tmp_path)
    again = read_results(tmp_path)
    before, after = results.targets[0].closed[0], again.targets[0].closed[0]
    assert after.throughput == before.throughput and after.batches == before.batches
    assert after.p99_ms.median == pytest.approx(before.p99_ms.median, rel=1e-5)
    assert again.pipelines == results.pipelines and again.networks == results.networks
    assert again.sections == results.sections
    again.write(tmp_path / "again")
    assert (tmp_path / "again/report.json").read_text() == (tmp_path / "report.json").read_text()


def test_the_report_names_each_figure_with_its_spread(results, tmp_path):
    text = report.write(results, tmp_path).read_text()
    assert "| detect | 33.33 | 30.00 | 50.00 (45.00 to 55.00) | 2 | 40.00 | 0.25 | 25.00 |" in text
    assert "| detect | 2 | – | 20 | RpcError UNAVAILABLE 1 | 50.00 (45.00 to 55.00) |" in text
    assert "found 0.900" in text and "label 0.990" in text
    assert "| grounding_dino | 20.0 (1) | – | 80.0 (2) | 50.00 |" in text
    assert "| 10 | 4.75 | 2.00 | 5.00 | answered 10 |\n\ncost_ratio 0.50" in text
    assert "- verb detect: 64 callers (about 9 s), 2 rounds\n" in text
    assert text.endswith("- a folder of 10 pictures (about 8 s)\n")
    assert "Verbs of the client" not in text
    assert {path.name for path in tmp_path.glob("*.png")} == {
        "breakdown.png",
        "latency-against-throughput.png",
    }


def test_a_table_aligns_figures_to_the_right():
    assert tables.markdown(
        [{"name": "a|b", "ms": 1234.5}, {"name": "c", "ms": None}]
    ).splitlines() == [
        "| name | ms |",
        "| --- | --: |",
        "| a\\|b | 1,234.50 |",
        "| c | – |",
    ]
    assert tables.cell(float("nan")) == tables.cell({}) == "–"


def test_the_best_batch_has_the_most_rows_a_second(results):
    assert best(results.networks, "grounding_dino", ONNX).batch == 2
    assert best(results.networks, "sam_mask_decoder", ONNX) is None
    assert best_batch(results.networks, ONNX, ["grounding_dino"]) == 2
    assert best_batch(results.networks, ONNX, ["grounding_dino", "sam_mask_decoder"]) == 1
