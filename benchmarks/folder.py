"""A folder of pictures of mixed sizes, by the client's batch verb."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from fovea_client import Client
from PIL import Image

from benchmarks.budget import Budget
from benchmarks.questions import to_jpeg
from demo.evaluate import make_trial
from demo.things import LABELS

# Edges in pixels, width and height drawn apart; most pictures are of the sizes between.
EDGES = (96, 240, 480, 640, 800, 1280, 1920)
EDGE_ODDS = (0.05, 0.1, 0.25, 0.25, 0.2, 0.1, 0.05)
LABEL_COUNT = 5
CONCURRENCY = 8
FIRST_SEED = 4_000_000
# Scenes are composed once; a picture is one of them at a size of its own, with a mark of its own.
SCENES = 40


@dataclass(frozen=True)
class Batch:
    """One call of the batch verb. slowest_part: the least of the rates of its ten parts over
    their median. outcomes: results and kinds of errors, counted."""

    pictures: int
    megapixels: float
    seconds: float
    pictures_per_s: float
    slowest_part: float | None
    outcomes: dict[str, int]


def write_pictures(folder: Path, count: int) -> float:
    """`count` JPEGs of mixed sizes, each other than all others; their megapixels together."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(FIRST_SEED)
    scenes = [make_trial(FIRST_SEED + i).image for i in range(min(count, SCENES))]
    megapixels = 0.0
    for index in range(count):
        width, height = (int(edge) for edge in rng.choice(EDGES, 2, p=EDGE_ODDS))
        picture = scenes[index % len(scenes)].resize((width, height), Image.Resampling.BILINEAR)
        x, y = (int(rng.integers(edge // 2)) for edge in (width, height))
        picture.paste((index % 256, index // 256 % 256, 90), (x, y, x + 24, y + 24))
        (folder / f"{index:05}.jpg").write_bytes(to_jpeg(picture))
        megapixels += width * height / 1e6
    return megapixels


def measure(
    client: Client,
    folder: Path,
    count: int,
    budget: Budget,
    say: Callable[[str], None] = lambda what: None,
) -> dict[str, Any]:
    """A tenth of the pictures, then all; their cost per picture should be the same."""
    batches = []
    for part in (max(1, count // 10), count):
        megapixels = write_pictures(folder / str(part), part)
        expected_s = part / batches[-1].pictures_per_s if batches else 0.0
        if not budget.allows(expected_s, f"a folder of {part} pictures"):
            break
        batches.append(_ask(client, folder / str(part), part, megapixels, say))
    record: dict[str, Any] = {"rows": [asdict(batch) for batch in batches]}
    if len(batches) == 2:
        small, large = (batch.seconds / batch.pictures for batch in batches)
        record["cost_ratio"] = large / small
    return record


def _ask(
    client: Client, folder: Path, count: int, megapixels: float, say: Callable[[str], None]
) -> Batch:
    ends: list[float] = []
    outcomes: Counter[str] = Counter()
    start = time.perf_counter()
    labels = list(LABELS[:LABEL_COUNT])
    for outcome in client.main_object_many(folder, labels, concurrency=CONCURRENCY):
        ends.append(time.perf_counter() - start)
        outcomes["answered" if outcome.error is None else type(outcome.error).__name__] += 1
        if len(ends) % max(1, count // 10) == 0:
            say(f"a folder: {len(ends)} of {count} pictures")
    return Batch(
        pictures=count,
        megapixels=megapixels,
        seconds=ends[-1],
        pictures_per_s=count / ends[-1],
        slowest_part=slowest_part(ends),
        outcomes=dict(outcomes),
    )


def slowest_part(ends_s: list[float], parts: int = 10) -> float | None:
    """The least rate of `parts` equal parts over the median of theirs; None for too few."""
    size = len(ends_s) // parts
    if not size:
        return None
    bounds = [0.0, *ends_s[size - 1 : parts * size : size]]
    rates = size / np.maximum(1e-9, np.diff(bounds))
    return float(rates.min() / np.median(rates))
