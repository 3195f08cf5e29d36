"""The rows of a store beside the truth, and rankings of them; arrays in, arrays and numbers out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from fovea_client import Mask
from fovea_search import Store
from fovea_search.records import OBJECT, PICTURE, VECTOR
from fovea_search.store import with_vector
from numpy.typing import NDArray
from rich.progress import track

from demo.evaluate import HIT_IOU
from demo.search_world import World

NOTHING = -1

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Rows:
    """The objects of a store.

    ids, pictures: [N]. boxes: [N, 4]. vectors: [N, D], of length 1. whole: [N, D], of their
    pictures. things: int64 [N], the index of the shown one among the world's things, or NOTHING.
    overlaps: [N], IoU with the best fitting thing; fits: int64 [N], its index.
    """

    ids: list[str]
    pictures: list[str]
    boxes: Floats
    vectors: Floats
    whole: Floats
    fits: Ints
    overlaps: Floats

    @property
    def things(self) -> Ints:
        return np.where(self.overlaps > HIT_IOU, self.fits, NOTHING)

    def of(self, pictures: set[str]) -> Rows:
        """The rows of some pictures."""
        kept = [i for i, picture in enumerate(self.pictures) if picture in pictures]
        return Rows(
            [self.ids[i] for i in kept],
            [self.pictures[i] for i in kept],
            *(
                array[kept]
                for array in (self.boxes, self.vectors, self.whole, self.fits, self.overlaps)
            ),
        )


def read(store: Store, world: World) -> Rows:
    """All objects of the world's pictures, matched to its things."""
    whole: dict[str, Floats] = {}
    for batch in store.read(["path", VECTOR], with_vector(PICTURE)):
        whole |= {row["path"]: np.array(row[VECTOR], np.float32) for row in batch.to_pylist()}
    names = ["id", "path", "box", "mask", "width", "height", VECTOR]
    found = [
        row for batch in store.read(names, with_vector(OBJECT)) for row in batch.to_pylist()
        if row["path"] in world.of_picture
    ]  # fmt: skip
    fits: list[tuple[int, float]] = []
    for row in track(found, description="matching"):
        mask = Mask(row["mask"], (row["height"], row["width"])).to_numpy()
        fits.append(world.fitting(row["path"], mask))
    return Rows(
        [row["id"] for row in found],
        [row["path"] for row in found],
        np.array([row["box"] for row in found], np.float32),
        np.array([row[VECTOR] for row in found], np.float32),
        np.stack([whole[row["path"]] for row in found]),
        np.array([place for place, _ in fits], np.int64),
        np.array([iou for _, iou in fits], np.float32),
    )


def recall(rows: Rows, things: int, least: float) -> float:
    """The share of the true things with a mask of an IoU above `least`."""
    return len(np.unique(rows.fits[rows.overlaps > least])) / things


def average_precision(scores: Floats, shows: Ints, wanted: NDArray[np.int64]) -> float:
    """Average precision of a ranking of rows by `scores` [N]; they show `shows` [N], `wanted`
    count.

    A further row of a thing is skipped, as searches merge it. A thing that no row shows counts as
    never found.
    """
    order = np.argsort(-scores, kind="stable")
    ranked = shows[order]
    _, first = np.unique(ranked, return_index=True)
    new = (ranked == NOTHING) | np.isin(np.arange(len(ranked)), first)
    hits = np.isin(ranked[new], wanted)
    ranks = np.flatnonzero(hits) + 1
    return float((np.arange(1, len(ranks) + 1) / ranks).sum() / len(wanted))


def text_map(rows: Rows, vectors: Floats, labels: list[str], texts: dict[str, Floats]) -> float:
    """Mean average precision of the names of things.

    vectors: [N, D] of the rows. labels: of the world's things, by index.
    """
    names = np.array(labels)
    return float(
        np.mean(
            [
                average_precision(vectors @ text, rows.things, np.flatnonzero(names == name))
                for name, text in texts.items()
                if (names == name).any()
            ]
        )
    )


def image_map(rows: Rows, vectors: Floats, labels: list[str], queries: int) -> float:
    """Mean average precision of objects as queries for the others of their name.

    A query is the row that fits a thing best, like a box around it; its own picture is left out, as
    if it were not indexed. queries: how many are drawn, always the same ones.
    """
    names, things, pictures = np.array(labels), rows.things, np.array(rows.pictures)
    by_fit = np.argsort(-rows.overlaps, kind="stable")
    able = by_fit[np.unique(things[by_fit], return_index=True)[1]]
    able = able[things[able] != NOTHING]
    drawn = np.random.default_rng(0).permutation(able)[:queries]
    found = []
    for row in drawn:
        same = np.flatnonzero(names == names[things[row]])
        wanted = same[same != things[row]]
        others = pictures != pictures[row]
        if len(wanted):
            scores = vectors[others] @ vectors[row]
            found.append(average_precision(scores, things[others], wanted))
    return float(np.mean(found))
