"""Many prompts on one picture: 1 to 100 boxes in one request."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from fovea_client import Client
from numpy.typing import NDArray

from benchmarks.budget import Budget
from benchmarks.questions import Question
from benchmarks.spread import Spread

COUNTS = (1, 2, 5, 10, 20, 50, 100)
SMALLEST_BOX = 0.1


@dataclass(frozen=True)
class Prompted:
    """So many boxes in one request. first_ms: on a new picture; again_ms: on the same one."""

    boxes: int
    first_ms: Spread
    again_ms: Spread
    response_masks: int


def random_boxes(rng: np.random.Generator, count: int, size_wh: tuple[int, int]) -> NDArray[Any]:
    """xyxy float32 [count, 4] within a picture, each edge at least SMALLEST_BOX of it."""
    corner = rng.uniform(0, 1 - SMALLEST_BOX, (count, 2))
    far = rng.uniform(corner + SMALLEST_BOX, 1)
    return (np.hstack([corner, far]) * [*size_wh, *size_wh]).astype(np.float32)


def measure(
    client: Client, questions: Sequence[Question], rounds: int, budget: Budget
) -> dict[str, Any]:
    """Rounds of ascending counts; every request has a new picture, and is then sent again."""
    rng = np.random.default_rng(0)
    first: dict[int, list[float]] = {count: [] for count in COUNTS}
    again: dict[int, list[float]] = {count: [] for count in COUNTS}
    masks = {}
    pictures = iter(questions)
    for _ in range(rounds):
        for count in COUNTS:
            known_s = (first[count] or [0.0])[-1] / 1000
            if not budget.allows(2 * known_s, f"segment: {count} boxes in one request"):
                continue
            question = next(pictures)
            boxes = random_boxes(rng, count, question.image.size)
            for times in (first, again):
                start = time.perf_counter()
                masks[count] = len(client.segment(question.jpeg, boxes=boxes))
                times[count].append(1000 * (time.perf_counter() - start))
    rows = [
        Prompted(count, Spread.of(first[count]), Spread.of(again[count]), masks[count])
        for count in COUNTS
        if first[count]
    ]
    return {"rows": [asdict(row) for row in rows], **line(rows)}


def line(rows: Sequence[Prompted]) -> dict[str, float]:
    """The least-squares line of a known picture's time over its boxes, and what the cache saves.

    growth: time of the most boxes over that of one box. last_step: what one more box costs between
    the two greatest counts, over the line's slope: near 1 where the cost grows with the work and
    no faster. second_prompt_ratio: one box on a new picture over one box on a known one.
    """
    if len(rows) < 2:
        return {}
    counts = [row.boxes for row in rows]
    times = [row.again_ms.median for row in rows]
    fit = statistics.linear_regression(counts, times)
    return {
        "slope_ms": fit.slope,
        "base_ms": fit.intercept,
        "growth": times[-1] / times[0],
        "last_step": (times[-1] - times[-2]) / (counts[-1] - counts[-2]) / fit.slope,
        "second_prompt_ratio": rows[0].first_ms.median / rows[0].again_ms.median,
    }
