"""Service times from a benchmark's report.json."""

import dataclasses

import pytest

from benchmarks.capacity.bench_report import from_report, read_any
from benchmarks.capacity.errors import InvalidReport
from benchmarks.capacity.fit import FRONT
from benchmarks.capacity.service_times import CPU, GPU
from benchmarks.capacity.simulation import closed_loop
from benchmarks.results import NetworkResult, Point, Results, TargetResult
from benchmarks.spread import Spread
from fovea import clip, grounding_dino, sam

MACHINE = {"processor": "Xeon", "cores": 16, "gpu": "NVIDIA H100 80GB HBM3"}
STEPS_MS = {
    "preprocess_image": 8.0,
    clip.IMAGE_ENCODER: 1.5,
    "rank_labels": 0.5,
    grounding_dino.NETWORK: 12.0,
    "select_main_box": 0.5,
    sam.IMAGE_ENCODER: 9.0,
    sam.MASK_DECODER: 2.0,
    "select_masks": 1.0,
}
NETWORK_MS = {
    clip.IMAGE_ENCODER: {1: 1.0, 8: 2.0},
    grounding_dino.NETWORK: {1: 11.0, 8: 40.0},
    sam.IMAGE_ENCODER: {1: 8.0, 8: 36.0},
    sam.MASK_DECODER: {1: 1.5, 8: 4.0},
}


def point(concurrency: int, per_second: float, p50_ms: float) -> Point:
    one = Spread.of([p50_ms])
    return Point(
        concurrency, None, 100, {}, Spread.of([per_second]), one, Spread.of([1.1 * p50_ms]),
        Spread.of([1.2 * p50_ms]), {}, STEPS_MS, {}, {}, None, 0, 100.0,
    )  # fmt: skip


@pytest.fixture
def results() -> Results:
    target = TargetResult("ensemble", "main_object", 1, 1, [point(1, 33.0, 30.0), point(32, 90, 9)])
    networks = [
        NetworkResult(name, "onnxruntime", batch, Spread.of([ms]), Spread.of([1000 * batch / ms]))
        for name, curve in NETWORK_MS.items()
        for batch, ms in curve.items()
    ]
    settings = {"set": "stand-in", "device": "cuda"}
    return Results(settings, MACHINE, "2026-01-31", 1.0, [target], networks)


def test_networks_take_their_direct_curve_and_what_triton_adds(results, tmp_path):
    results.write(tmp_path)
    times = read_any(tmp_path)
    steps = {step.model: step for step in times.steps}
    assert steps[sam.IMAGE_ENCODER].place == GPU
    assert steps[sam.IMAGE_ENCODER].curve.at(1) == pytest.approx(0.009)
    assert steps[sam.IMAGE_ENCODER].curve.at(8) == pytest.approx(0.036 + 8 * 0.001)
    assert steps["preprocess_image"].place == CPU
    assert steps["preprocess_image"].curve.at(2) == pytest.approx(0.016)
    assert times.kind == "NVIDIA H100 80GB HBM3"


def test_a_single_caller_is_explained(results, tmp_path):
    times = read_any(results.write(tmp_path))
    assert times.steps[0].model == FRONT
    alone = closed_loop(dataclasses.replace(times, spread=(1.0,)), concurrency=1, count=4)
    assert alone.latencies_s.mean() == pytest.approx(1 / 33.0, rel=0.02)


def test_a_report_without_the_verb_is_refused(results, tmp_path):
    path = dataclasses.replace(results, targets=[]).write(tmp_path)
    with pytest.raises(InvalidReport, match="no single caller"):
        from_report(path)


def test_a_report_that_lacks_a_step_is_refused(results, tmp_path):
    fewer = {model: ms for model, ms in STEPS_MS.items() if model != "select_masks"}
    closed = [dataclasses.replace(p, steps_ms=fewer) for p in results.targets[0].closed]
    target = dataclasses.replace(results.targets[0], closed=closed)
    path = dataclasses.replace(results, targets=[target]).write(tmp_path)
    with pytest.raises(InvalidReport, match="no time of select_masks"):
        from_report(path)


def test_another_schema_is_refused(tmp_path):
    (tmp_path / "report.json").write_text('{"schema": 99, "targets": []}')
    with pytest.raises(InvalidReport, match="expected schema"):
        read_any(tmp_path)
