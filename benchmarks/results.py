"""The results of a run as dataclasses, and report.json, which programs read: `Results` as JSON.

Rates are per second, and a figure with a spread has a value per round.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from benchmarks.figures import Spread

SCHEMA = 1
FILE = "report.json"
DIGITS = 6


@dataclass(frozen=True)
class Point:
    """One load on one target, all rounds together.

    concurrency: callers of a closed loop. rate: what an open one offers per second. failures: by
    kind. split_ms: of a request, by `benchmarks.breakdown.PARTS`. steps_ms: of a request, by model.
    batches: mean rows of an execution, by network. overhead_share: the share of a single caller's
    time that is not the networks' compute. cache_hits: of SAM's embeddings. memory_mb: of the
    server with all its processes.
    """

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
    overhead_share: float | None
    cache_hits: int
    memory_mb: float


@dataclass(frozen=True)
class TargetResult:
    """A network, ensemble or verb (`kind`) under all its loads.

    closed: ascending concurrency. open: ascending rate, up to the first beyond the knee.
    knee_per_s: None if even the lowest rate was too much, or none ran.
    """

    kind: str
    name: str
    request_bytes: int
    response_bytes: int
    closed: list[Point] = field(default_factory=list)
    open: list[Point] = field(default_factory=list)
    knee_per_s: float | None = None

    @property
    def alone(self) -> Point:
        """The closed loop of a single caller."""
        return self.closed[0]

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


@dataclass(frozen=True)
class Prompted:
    """A request with so many boxes. first_ms: on a new picture; again_ms: on the same one."""

    boxes: int
    first_ms: Spread
    again_ms: Spread
    response_masks: int


@dataclass(frozen=True)
class Prompts:
    """Many boxes on one picture, and the least-squares line of a known picture's time over them.

    growth: time of the most boxes over that of one box. last_step: what one more box costs between
    the two greatest counts, over the line's slope: near 1 where the cost grows with the work and
    no faster. second_prompt_ratio: one box on a new picture over one box on a known one.
    """

    rows: list[Prompted]
    slope_ms: float | None = None
    base_ms: float | None = None
    growth: float | None = None
    last_step: float | None = None
    second_prompt_ratio: float | None = None


@dataclass(frozen=True)
class Batch:
    """One call of the batch verb. outcomes: results and kinds of errors, counted."""

    pictures: int
    megapixels: float
    seconds: float
    pictures_per_s: float
    outcomes: dict[str, int]


@dataclass(frozen=True)
class Folder:
    """Few pictures, then many. cost_ratio: one of many over one of few."""

    rows: list[Batch]
    cost_ratio: float | None = None


@dataclass(frozen=True)
class Shared:
    """A verb alone, and while all others have as many callers.

    kept: its rate in the mix over its rate alone, by round. slower: its p99 likewise.
    """

    verb: str
    alone_per_s: Spread
    mixed_per_s: Spread
    kept: Spread
    alone_p99_ms: Spread
    mixed_p99_ms: Spread
    slower: Spread


@dataclass(frozen=True)
class Mix:
    """All verbs at once. fair_share: of each if all had the machine equally. least_kept: the
    smallest part of its own rate that a verb kept. total_kept: of all together; above 1 the mix is
    more efficient than taking turns. starved: verbs that kept too little of their fair share."""

    rows: list[Shared]
    callers_each: int = 0
    fair_share: float = 0.0
    least_kept: float = 0.0
    total_kept: float = 0.0
    median_slower: float = 0.0
    starved: list[str] = field(default_factory=list)


@dataclass
class Sections:
    """What `benchmarks.scenarios` measures, each by its name there."""

    prompts: Prompts | None = None
    folder: Folder | None = None
    mix: Mix | None = None


@dataclass
class Results:
    """Everything that one run found; filled as it goes.

    accuracy: of the served ensembles. left_out: what the time did not allow.
    """

    settings: dict[str, Any]
    machine: dict[str, Any]
    started: str
    seconds: float = 0.0
    targets: list[TargetResult] = field(default_factory=list)
    networks: list[NetworkResult] = field(default_factory=list)
    pipelines: list[PipelineResult] = field(default_factory=list)
    accuracy: dict[str, dict[str, float]] = field(default_factory=dict)
    sections: Sections = field(default_factory=Sections)
    left_out: list[str] = field(default_factory=list)

    def of_kind(self, kind: str) -> list[TargetResult]:
        """The targets of one kind that were put under load."""
        return [target for target in self.targets if target.kind == kind and target.closed]

    def write(self, folder: Path) -> Path:
        """report.json below `folder`."""
        return write_json(folder / FILE, {"schema": SCHEMA, **vars(self)})


def write_json(path: Path, record: Any) -> Path:
    """Dataclasses, lists and dicts as JSON; floats have DIGITS significant digits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    exact = json.dumps(record, default=asdict)
    rounded = json.loads(exact, parse_float=lambda text: float(f"{float(text):.{DIGITS}g}"))
    path.write_text(json.dumps(rounded, indent=1) + "\n")
    return path


def read_results(path: Path) -> Results:
    """Read the results in a report.json, given by its folder or its own path.

    Raises ValueError for another schema or other content.
    """
    file = path / FILE if path.is_dir() else path
    record = json.loads(file.read_text())
    schema = record.pop("schema", None)
    if schema != SCHEMA:
        raise ValueError(f"{file}: expected schema {SCHEMA}, got {schema}")
    return TypeAdapter(Results).validate_python(record)


def best(results: Sequence[NetworkResult], network: str, side: str) -> NetworkResult | None:
    """The result of the batch size with the most rows per second."""
    found = [r for r in results if (r.network, r.side) == (network, side)]
    return max(found, key=lambda r: r.rows_per_s.median, default=None)


def best_batch(results: Sequence[NetworkResult], side: str, networks: Sequence[str]) -> int:
    """The batch size that takes the least time per picture through all `networks`."""
    per_picture: dict[int, list[float]] = defaultdict(list)
    for result in results:
        if result.side == side and result.network in networks:
            per_picture[result.batch].append(result.batch_ms.median / result.batch)
    whole = [(sum(ms), batch) for batch, ms in per_picture.items() if len(ms) == len(networks)]
    return min(whole, default=(0.0, 1))[1]
