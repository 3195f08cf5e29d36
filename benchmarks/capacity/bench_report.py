"""Service times from the benchmark's report.json, `make bench` or `make bench-gpu`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np

from benchmarks.capacity.errors import InvalidReport
from benchmarks.capacity.fit import to_two_loads
from benchmarks.capacity.repository import read_steps
from benchmarks.capacity.service_times import CPU, BatchCurve, ServiceTimes, Step, read
from benchmarks.results import FILE, Point, Results, TargetResult, read_results

# The verb's steps are the same in every export; runtimes and weights differ.
REPOSITORY = Path(__file__).resolve().parents[2] / "model_repository"
DIRECT = "onnxruntime"
MS = 1e-3


def read_any(path: Path) -> ServiceTimes:
    """Service times from their own file, or from a benchmark report or its folder.

    Raises:
        InvalidReport: it is neither, or lacks something.
    """
    return from_report(path) if _is_report(path) else read(path)


def _is_report(path: Path) -> bool:
    if path.is_dir() or path.name == FILE:
        return True
    try:
        return "targets" in json.loads(path.read_text())
    except (OSError, ValueError):
        return False  # `read` says what is wrong


def from_report(path: Path, verb: str = "main_object") -> ServiceTimes:
    """The verb's service times on the machine that the report is of.

    A network's curve is that of its direct calls, and what Triton adds to it for one request is
    added for each of a batch. A step's time is that of a single caller, for each of a batch.
    Front and contention explain one caller and the peak of the closed loops.

    Raises:
        InvalidReport: it cannot be read, or lacks the verb, a single caller or a network.
    """
    try:
        results = read_results(path)
    except (OSError, ValueError, TypeError, KeyError) as exc:
        raise InvalidReport(f"{path} is no benchmark report: {exc}") from exc
    target = next((t for t in results.of_kind("ensemble") if t.name == verb), None)
    if target is None or target.closed[0].concurrency != 1:
        raise InvalidReport(f"{path} has no single caller of the ensemble {verb}")
    return _assemble(path, results, target)


def _assemble(path: Path, results: Results, target: TargetResult) -> ServiceTimes:
    alone, peak = target.closed[0], target.peak
    on_gpu = results.settings.get("device") == "cuda"
    steps = read_steps(REPOSITORY, target.name, gpu=on_gpu)
    machine = results.machine
    draft = ServiceTimes(
        verb=target.name,
        kind=str(machine.get("gpu") or f"{machine['cores']} cores of {machine['processor']}"),
        models=str(results.settings.get("set")),
        cores=int(machine["cores"]),
        steps=tuple(_measured(path, results, alone, step) for step in steps),
        spread=_spread(alone),
        origin=f"measured: {path}, begun {results.started}",
        machine=machine,
    )
    return to_two_loads(
        draft,
        alone_s=1 / alone.throughput.median,
        busy_rate=peak.throughput.median,
        busy_callers=int(peak.concurrency or 1),
    )


def _measured(path: Path, results: Results, alone: Point, step: Step) -> Step:
    if step.model not in alone.steps_ms:
        raise InvalidReport(f"{path} has no time of {step.model}")
    served_s = MS * alone.steps_ms[step.model]
    rows = [r for r in results.networks if r.network == step.model and r.side == DIRECT]
    direct = {row.batch: MS * row.batch_ms.median for row in rows}
    if 1 not in direct:
        return dataclasses.replace(step, curve=BatchCurve((1,), (served_s,)))
    added_s = max(0.0, served_s - direct[1])
    batches = tuple(sorted(direct))
    seconds = tuple(direct[b] + b * added_s for b in batches)
    threads = (float(results.machine["cores"]),) * len(batches) if step.place == CPU else ()
    return dataclasses.replace(step, curve=BatchCurve(batches, seconds, threads))


def _spread(alone: Point) -> tuple[float, ...]:
    """Quantiles from the three percentiles that a report has."""
    known = [alone.p50_ms.median, alone.p95_ms.median, alone.p99_ms.median]
    quantiles = np.interp(np.linspace(0, 1, 101), [0.5, 0.95, 0.99], known)
    return tuple((quantiles / quantiles.mean()).tolist())
