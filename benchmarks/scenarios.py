"""What people do with the server beyond one load on one verb: a function for each scenario.

`prompts`: many boxes on one picture. `folder`: the client's batch verb on pictures of mixed sizes.
`mix`: all verbs at once.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from fovea_client import Client
from numpy.typing import NDArray
from PIL import Image

from benchmarks.figures import Budget, Spread, percentiles
from benchmarks.loads import Samples, closed_loop
from benchmarks.order import Scale
from benchmarks.questions import questions, to_jpeg
from benchmarks.results import Batch, Folder, Mix, Prompted, Prompts, Shared
from benchmarks.targets import Target
from demo.evaluate import make_trial
from demo.things import LABELS

BOXES = (1, 2, 5, 10, 20, 50, 100)
SMALLEST_BOX = 0.1
# Seeds of scenes that nothing else of the project uses.
PROMPT_SEED, FOLDER_SEED = 3_200_000, 4_000_000
# Edges in pixels, width and height drawn apart; most pictures are of the sizes between.
EDGES = (96, 240, 480, 640, 800, 1280, 1920)
EDGE_ODDS = (0.05, 0.1, 0.25, 0.25, 0.2, 0.1, 0.05)
# Scenes are composed once; a picture is one of them at a size of its own, with a mark of its own.
SCENES = 40
LABEL_COUNT = 5
FOLDER_CALLERS = 8
MIX_CALLERS = 2
# A verb keeps at least this part of its fair share of the machine.
FAIR = 0.5


@dataclass(frozen=True)
class Ground:
    """What every scenario works with."""

    client: Client
    targets: Sequence[Target]
    scale: Scale
    say: Callable[[str], None]

    @property
    def seconds(self) -> float:
        """Of one load, at least."""
        return 2 * self.scale.point_s


def prompts(ground: Ground, budget: Budget) -> Prompts:
    """Rounds of ascending counts; every request has a new picture, and is then sent again."""
    rng = np.random.default_rng(0)
    first: dict[int, list[float]] = {count: [] for count in BOXES}
    again: dict[int, list[float]] = {count: [] for count in BOXES}
    masks = {}
    seeds = range(PROMPT_SEED, PROMPT_SEED + ground.scale.rounds * len(BOXES))
    pictures = iter(questions(seeds))
    ground.say("many prompts on one picture")
    for _ in range(ground.scale.rounds):
        for count in BOXES:
            known_s = (first[count] or [0.0])[-1] / 1000
            if not budget.allows(2 * known_s, f"segment: {count} boxes in one request"):
                continue
            question = next(pictures)
            boxes = random_boxes(rng, count, question.image.size)
            for times in (first, again):
                start = time.perf_counter()
                masks[count] = len(ground.client.segment(question.jpeg, boxes=boxes))
                times[count].append(1000 * (time.perf_counter() - start))
    return line(
        [
            Prompted(count, Spread.of(first[count]), Spread.of(again[count]), masks[count])
            for count in BOXES
            if first[count]
        ]
    )


def random_boxes(rng: np.random.Generator, count: int, size_wh: tuple[int, int]) -> NDArray[Any]:
    """xyxy float32 [count, 4] within a picture, each edge at least SMALLEST_BOX of it."""
    corner = rng.uniform(0, 1 - SMALLEST_BOX, (count, 2))
    far = rng.uniform(corner + SMALLEST_BOX, 1)
    return (np.hstack([corner, far]) * [*size_wh, *size_wh]).astype(np.float32)


def line(rows: list[Prompted]) -> Prompts:
    """The rows, with the line through them if there are at least two."""
    if len(rows) < 2:
        return Prompts(rows)
    counts = [row.boxes for row in rows]
    times = [row.again_ms.median for row in rows]
    fit = statistics.linear_regression(counts, times)
    return Prompts(
        rows,
        slope_ms=fit.slope,
        base_ms=fit.intercept,
        growth=times[-1] / times[0],
        last_step=(times[-1] - times[-2]) / (counts[-1] - counts[-2]) / fit.slope,
        second_prompt_ratio=rows[0].first_ms.median / rows[0].again_ms.median,
    )


def folder(ground: Ground, budget: Budget) -> Folder:
    """A tenth of the pictures, then all; their cost per picture should be the same."""
    batches: list[Batch] = []
    with tempfile.TemporaryDirectory() as place:
        for part in (max(1, ground.scale.folder // 10), ground.scale.folder):
            expected_s = part / batches[-1].pictures_per_s if batches else 0.0
            if not budget.allows(expected_s, f"a folder of {part} pictures"):
                return Folder(batches)
            batches.append(_ask_all(ground, Path(place) / str(part), part))
    small, large = (batch.seconds / batch.pictures for batch in batches)
    return Folder(batches, cost_ratio=large / small)


def write_pictures(place: Path, count: int) -> float:
    """Write `count` different JPEGs of mixed sizes; return their total megapixels."""
    place.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(FOLDER_SEED)
    scenes = [make_trial(FOLDER_SEED + i).image for i in range(min(count, SCENES))]
    megapixels = 0.0
    for index in range(count):
        width, height = (int(edge) for edge in rng.choice(EDGES, 2, p=EDGE_ODDS))
        picture = scenes[index % len(scenes)].resize((width, height), Image.Resampling.BILINEAR)
        x, y = (int(rng.integers(edge // 2)) for edge in (width, height))
        picture.paste((index % 256, index // 256 % 256, 90), (x, y, x + 24, y + 24))
        (place / f"{index:05}.jpg").write_bytes(to_jpeg(picture))
        megapixels += width * height / 1e6
    return megapixels


def _ask_all(ground: Ground, place: Path, count: int) -> Batch:
    megapixels = write_pictures(place, count)
    outcomes: Counter[str] = Counter()
    labels = list(LABELS[:LABEL_COUNT])
    start = time.perf_counter()
    for outcome in ground.client.main_object_many(place, labels, concurrency=FOLDER_CALLERS):
        outcomes["answered" if outcome.error is None else type(outcome.error).__name__] += 1
        if outcomes.total() % max(1, count // 10) == 0:
            ground.say(f"a folder: {outcomes.total()} of {count} pictures")
    seconds = time.perf_counter() - start
    return Batch(count, megapixels, seconds, count / seconds, dict(outcomes))


def mix(ground: Ground, budget: Budget) -> Mix:
    """Rounds of each verb alone, then all together for as long as all of those took."""
    verbs = [target for target in ground.targets if target.kind == "verb"]
    alone: dict[str, list[Samples]] = {verb.name: [] for verb in verbs}
    mixed: dict[str, list[Samples]] = {verb.name: [] for verb in verbs}

    def loop(verb: Target, seconds: float) -> Samples:
        return closed_loop(verb.call, MIX_CALLERS, seconds=seconds, at_least=2 * MIX_CALLERS)

    expected_s = 2 * sum(max(ground.seconds, 4 * MIX_CALLERS * verb.seconds) for verb in verbs)
    for index in range(ground.scale.rounds):
        if not budget.allows(expected_s, f"all verbs at once: round {index + 1}"):
            break
        for verb in verbs:
            ground.say(f"all verbs at once: {verb.name} alone")
            alone[verb.name].append(loop(verb, ground.seconds))
        ground.say("all verbs at once")
        with ThreadPoolExecutor(len(verbs)) as pool:
            together = pool.map(lambda verb: loop(verb, len(verbs) * ground.seconds), verbs)
            for verb, samples in zip(verbs, together, strict=True):
                mixed[verb.name].append(samples)
    return fairness([_shared(name, alone[name], mixed[name]) for name in alone if alone[name]])


def _shared(verb: str, alone: list[Samples], mixed: list[Samples]) -> Shared:
    rates = [[run.throughput for run in runs] for runs in (alone, mixed)]
    p99s = [[percentiles(run.latencies_s)["p99_ms"] for run in runs] for runs in (alone, mixed)]
    return Shared(
        verb=verb,
        alone_per_s=Spread.of(rates[0]),
        mixed_per_s=Spread.of(rates[1]),
        kept=Spread.of(m / a for a, m in zip(*rates, strict=True)),
        alone_p99_ms=Spread.of(p99s[0]),
        mixed_p99_ms=Spread.of(p99s[1]),
        slower=Spread.of(m / a for a, m in zip(*p99s, strict=True)),
    )


def fairness(rows: list[Shared]) -> Mix:
    """The rows, with what each verb kept of its fair share."""
    if not rows:
        return Mix([])
    fair_share = 1 / len(rows)
    return Mix(
        rows,
        callers_each=MIX_CALLERS,
        fair_share=fair_share,
        least_kept=min(row.kept.median for row in rows),
        total_kept=sum(row.kept.median for row in rows),
        median_slower=statistics.median(row.slower.median for row in rows),
        starved=[row.verb for row in rows if row.kept.median < FAIR * fair_share],
    )
