"""Questions to an index with known answers: words, scenes, styles and marks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from fovea_search import Finds, Index
from fovea_search.records import OBJECT
from rich.progress import track

from demo.art import TRAINED_STYLES
from demo.search_rows import Floats, Rows
from demo.search_world import TrueThing, World
from demo.surroundings import PLACE_WORDS, TIME_WORDS
from demo.things import LABELS

TOP = 5
SCENES = tuple(words[0] for words in (*TIME_WORDS.values(), *PLACE_WORDS.values()))
MARKS, AFTER_MARKS = 10, 10
NEIGHBOURS = 20


@dataclass(frozen=True)
class Feedback:
    """Precision of the ten best results before any mark, and after ten were marked."""

    before: float
    after: float

    @property
    def gain(self) -> float:
        return self.after - self.before


def precision(finds: Finds, wanted: set[TrueThing], world: World, count: int) -> float:
    """The share of the first `count` results that are wanted; a missing one counts as wrong."""
    return sum(world.thing_of(find) in wanted for find in finds[:count]) / count


def text_precision(index: Index, world: World) -> float:
    """P@5 for the names of things."""
    found = []
    for label in track(LABELS, description="words"):
        wanted = set(world.wanted(label))
        if len(wanted) >= TOP:
            found.append(precision(index.search(text=label, k=TOP), wanted, world, TOP))
    return float(np.mean(found))


def scene_questions(world: World) -> list[tuple[str, str]]:
    """(name of a thing, words for its scene) with at least five answers."""
    pairs = [(label, words) for label in LABELS for words in SCENES]
    return [pair for pair in pairs if len(list(world.wanted(pair[0], words=pair[1]))) >= TOP]


def scene_precision(index: Index, world: World, weight: float | None) -> float:
    """P@5 for things in scenes; without a weight, for one vector of 'car at night'."""
    found = []
    for label, words in track(scene_questions(world), description=f"scenes, weight {weight}"):
        query: dict[str, Any] = {"text": f"{label} {words}"}
        if weight is not None:
            query = {"text": label, "scene": words, "scene_weight": weight}
        wanted = set(world.wanted(label, words=words))
        found.append(precision(index.search(**query, k=TOP), wanted, world, TOP))
    return float(np.mean(found))


def feedback(index: Index, world: World) -> Feedback:
    """Things in one style of drawing, which no words describe; ten results are marked."""
    before, after = [], []
    pairs = [(label, style) for label in LABELS for style in TRAINED_STYLES]
    for label, style in track(pairs, description="marks"):
        wanted = set(world.wanted(label, style=style))
        if len(wanted) < MARKS + AFTER_MARKS:
            continue
        first = index.search(text=label, k=MARKS + AFTER_MARKS)
        marked = first[:MARKS]
        good = [find.id for find in marked if world.thing_of(find) in wanted]
        bad = [find.id for find in marked if find.id not in good]
        second = index.search(text=label, good=good, bad=bad, k=2 * MARKS + AFTER_MARKS)
        before.append(precision(first[MARKS:], wanted, world, AFTER_MARKS))
        after.append(precision(_without(second, marked), wanted, world, AFTER_MARKS))
    return Feedback(float(np.mean(before)), float(np.mean(after)))


def _without(finds: Finds, others: Finds) -> Finds:
    ids = {find.id for find in others}
    return Finds(tuple(find for find in finds if find.id not in ids))


def index_recall(index: Index, rows: Rows, queries: Sequence[Floats]) -> float:
    """The share of the 20 nearest objects by brute force that the store's own index finds."""
    found = []
    for query in track(queries, description="index"):
        exact = set(np.argsort(-(rows.vectors @ query), kind="stable")[:NEIGHBOURS].tolist())
        asked = index.store.nearest(query, OBJECT, None, ["id"], NEIGHBOURS)
        ids = set(asked["id"].to_pylist())
        found.append(len({rows.ids[i] for i in exact} & ids) / NEIGHBOURS)
    return float(np.mean(found))
