"""Thresholds for right results: by score, or by the margin over a null text's score."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from fovea_client import Client
from fovea_search.search import NULL_TEXTS
from fovea_search.vectors import mean
from numpy.typing import NDArray

from demo.search_rows import NOTHING, Floats, Rows
from demo.search_world import World
from demo.words import OTHER_NOUNS

FINDS = 20
ABSENT = 60


@dataclass(frozen=True)
class Cutoffs:
    """score, margin: the best threshold of each kind, from one half of the queries.

    score_right, margin_right: the mean of right results kept and wrong ones refused, on the other
    half. Queries are the names of all things and nouns that no picture shows.
    """

    score: float
    score_right: float
    margin: float
    margin_right: float


def cutoffs(client: Client, rows: Rows, world: World, texts: Mapping[str, Floats]) -> Cutoffs:
    """The cutoffs from the first results of each query."""
    labels = np.array([thing.label for thing in world.things])
    null = rows.vectors @ mean([client.embed_text(words) for words in NULL_TEXTS])
    scores, margins, right, half = [], [], [], []
    absent = {words: client.embed_text(words) for words in OTHER_NOUNS[:ABSENT]}
    for number, (words, vector) in enumerate([*texts.items(), *absent.items()]):
        cosines = rows.vectors @ vector
        top = np.argsort(-cosines, kind="stable")[:FINDS]
        shown = rows.things[top]
        scores.append(cosines[top])
        margins.append((cosines - null)[top])
        right.append((shown != NOTHING) & (labels[shown] == words))
        half.append(np.full(len(top), number % 2 == 0))
    truth, chosen = np.concatenate(right), np.concatenate(half)
    found = [balanced(np.concatenate(one), truth, chosen) for one in (scores, margins)]
    return Cutoffs(*found[0], *found[1])


def balanced(
    scores: Floats, right: NDArray[np.bool_], chosen: NDArray[np.bool_]
) -> tuple[float, float]:
    """The threshold that separates the chosen ones best, and how well it separates the others."""
    tried = np.unique(scores[chosen])
    worth = [_parted(scores[chosen], right[chosen], one) for one in tried]
    best = float(tried[int(np.argmax(worth))])
    return best, _parted(scores[~chosen], right[~chosen], best)


def _parted(scores: Floats, right: NDArray[np.bool_], threshold: float) -> float:
    kept = scores >= threshold
    return float((kept[right].mean() + (~kept[~right]).mean()) / 2)
