"""The results of a run, as frozen data, and report.json, which programs read.

A figure with a spread is {"median", "least", "greatest", "values"}, a value per round.

    {
      "schema": 1,
      "settings": {"set": "demo", "scale": "full", "device": "cpu", ...},
      "machine": {...}, "started": "2026-01-31T12:00:00+00:00", "seconds": 540.0,
      "targets": [                    # per network, ensemble and verb
        {"kind": "ensemble", "name": "main_object", "request_bytes": 1, "response_bytes": 1,
         "closed": [point, ...],      # ascending concurrency
         "open": [point, ...],        # ascending rate, up to the one behind the knee
         "knee_per_s": 30.1}],        # null where even the lowest rate was too much, or none ran
      "networks": [                   # called directly, without Triton
        {"network": "grounding_dino", "side": "onnxruntime", "batch": 8,
         "batch_ms": spread, "rows_per_s": spread}],
      "pipelines": [                  # main_object as a whole
        {"side": "pytorch", "batch": 1, "pictures_per_s": spread, "ratio": spread,
         "accuracy": {"label": 0.9, ...}}],
      "accuracy": {"main_object": {"label": 0.99, ...}, ...},   # of the served ensembles
      "sections": {"prompts": ..., "folder": ..., "mix": ..., "perf_analyzer": ...},
      "left_out": ["what the time did not allow", ...]
    }

A point is {"concurrency": 8 or null, "rate": null or 12.5 (offered per second), "requests",
"failures": {kind: count}, "throughput", "p50_ms", "p95_ms", "p99_ms": spreads, "split_ms":
{"network", "queue", "input", "compute", "output"}, "steps_ms": {model: ms per request},
"batches": {network: mean rows}, "batch_ms": {network: {rows: ms of one execution}},
"overhead_share": of a single caller's time, what is not the networks' compute on its way (null
for more callers), "cache_hits", "memory_mb"}.

The compute time of a batch is in "networks" as measured directly (side "onnxruntime"), and in a
point's "batch_ms" as Triton saw it under that load.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.spread import Spread

SCHEMA = 1
FILE = "report.json"
DIGITS = 6


@dataclass(frozen=True)
class Point:
    """One load on one target, all rounds together; see the module."""

    concurrency: int | None
    rate: float | None
    requests: int
    failures: dict[str, int]
    throughput: Spread
    p50_ms: Spread
    p95_ms: Spread
    p99_ms: Spread
    split_ms: dict[str, float]
    steps_ms: dict[str, float]
    batches: dict[str, float]
    batch_ms: dict[str, dict[int, float]]
    overhead_share: float | None
    cache_hits: int
    memory_mb: float


@dataclass(frozen=True)
class TargetResult:
    """A network, ensemble or verb under all its loads."""

    kind: str
    name: str
    request_bytes: int
    response_bytes: int
    closed: list[Point] = field(default_factory=list)
    open: list[Point] = field(default_factory=list)
    knee_per_s: float | None = None

    @property
    def peak(self) -> Point:
        """The closed loop's point of the highest throughput."""
        return max(self.closed, key=lambda point: point.throughput.median)


@dataclass(frozen=True)
class NetworkResult:
    """A network called directly, by one side, with one batch size."""

    network: str
    side: str
    batch: int
    batch_ms: Spread
    rows_per_s: Spread


@dataclass(frozen=True)
class PipelineResult:
    """main_object by one side. ratio: served pictures per second over this side's, by round."""

    side: str
    batch: int
    pictures_per_s: Spread
    ratio: Spread
    accuracy: dict[str, float] = field(default_factory=dict)


@dataclass
class Results:
    """Everything that one run found; filled as it goes."""

    settings: dict[str, Any]
    machine: dict[str, Any]
    started: str
    seconds: float = 0.0
    targets: list[TargetResult] = field(default_factory=list)
    networks: list[NetworkResult] = field(default_factory=list)
    pipelines: list[PipelineResult] = field(default_factory=list)
    accuracy: dict[str, dict[str, float]] = field(default_factory=dict)
    sections: dict[str, Any] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    def of_kind(self, kind: str) -> list[TargetResult]:
        """The targets of one kind that were put under load."""
        return [target for target in self.targets if target.kind == kind and target.closed]

    def write(self, folder: Path) -> Path:
        """report.json below `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / FILE
        record = _rounded({"schema": SCHEMA, **asdict(self)})
        path.write_text(json.dumps(record, indent=1) + "\n")
        return path


def _rounded(value: Any) -> Any:
    """Floats with DIGITS significant digits, all the way down."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(item) for item in value]
    return value


def read_record(path: Path) -> dict[str, Any]:
    """report.json, of its folder or by its own name; ValueError for another schema."""
    file = path / FILE if path.is_dir() else path
    record: dict[str, Any] = json.loads(file.read_text())
    if record.get("schema") != SCHEMA:
        raise ValueError(f"{file}: expected schema {SCHEMA}, got {record.get('schema')}")
    return record


def read_results(path: Path) -> Results:
    """The results that wrote report.json; errors as of `read_record`."""
    record = read_record(path)
    del record["schema"]
    record["targets"] = [
        TargetResult(
            **target
            | {loops: [_point(point) for point in target[loops]] for loops in ("closed", "open")}
        )
        for target in record["targets"]
    ]
    record["networks"] = [NetworkResult(**_spreads(row)) for row in record["networks"]]
    record["pipelines"] = [PipelineResult(**_spreads(row)) for row in record["pipelines"]]
    return Results(**record)


def _point(record: dict[str, Any]) -> Point:
    times = {
        name: {int(rows): ms for rows, ms in by_rows.items()}
        for name, by_rows in record["batch_ms"].items()
    }
    return Point(**_spreads(record) | {"batch_ms": times})


def _spreads(record: dict[str, Any]) -> dict[str, Any]:
    """With a Spread for each record of one."""
    fields = set(Spread.__dataclass_fields__)
    return {
        name: Spread.of(value["values"])
        if isinstance(value, dict) and set(value) == fields
        else value
        for name, value in record.items()
    }
