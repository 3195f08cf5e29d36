"""The questions for object search, and the judgement of its answers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fovea_client import Mask
from fovea_search import Find, Finds

from demo.search_cutoff import Cutoffs
from demo.search_questions import SCENES, TOP, Feedback, precision, scene_questions
from demo.search_truth import AIMS, Objects, Ranking, Truth
from demo.search_world import TrueThing, World
from demo.surroundings import Surroundings
from fovea.masks import encode_rle

SIZE = (8, 8)
NIGHT, DAY = Surroundings("night", "beach"), Surroundings("day", "beach")


def mask_of(place: int) -> Mask:
    drawn = np.zeros(SIZE, np.bool_)
    drawn[place] = True
    return Mask(encode_rle(drawn), SIZE)


def find_of(picture: str, place: int) -> Find:
    return Find(f"{picture}:{place}", 1.0, "object", picture, picture, "", None, SIZE,
                np.zeros(4, np.float32), mask_of(place), 0.1, 0.9)  # fmt: skip


@pytest.fixture
def world() -> World:
    """Six cats at night and four by day, one in each picture."""
    world = World()
    for number in range(10):
        around = NIGHT if number < 6 else DAY
        world.things.append(TrueThing(f"p{number}", "cat", "noto", around, mask_of(number % 8)))
        world.of_picture[f"p{number}"] = [number]
    return world


def test_a_missing_find_counts_as_wrong(world):
    wanted = set(world.wanted("cat", words="at night"))
    night, day, nothing = find_of("p0", 0), find_of("p6", 6), find_of("p0", 5)
    assert precision(Finds((night, day, nothing)), wanted, world, 3) == pytest.approx(1 / 3)
    assert precision(Finds((night,)), wanted, world, TOP) == pytest.approx(1 / TOP)


def test_only_scenes_with_enough_answers_become_questions(world):
    assert {"at night", "by day", "on the beach"} <= set(SCENES)
    assert scene_questions(world) == [("cat", "at night"), ("cat", "on the beach")]


def test_missed_aims_are_named():
    good = Truth(
        pictures=2, things=3,
        objects=Objects(recall_50=1, recall_75=1, precision=1, masks=3),
        ranking=Ranking(1, 1),
        crops={"as served": Ranking(1, 1), "tight box": Ranking(0.5, 0.5)},
        text_precision=1, scene_precision=0.9, scene_sentence=0.8, scene_weights={},
        feedback=Feedback(0.5, 0.75), index_recall=1, cutoffs=Cutoffs(0, 1, 0, 1),
        pictures_per_s=1,
    )  # fmt: skip
    assert good.missed == [] and good.feedback.gain == 0.25
    assert replace(good, ranking=Ranking(0, 0)).missed == ["text_map", "image_map"]
    assert replace(good, objects=Objects(1, 1, 1, 7)).missed == ["masks"]
    even = {"as served": Ranking(1, 1), "tight box": Ranking(1, 0.5)}
    assert replace(good, crops=even).missed == ["text_map above other crops"]
    assert replace(good, scene_sentence=0.9).missed == ["scene_precision above one sentence"]
    assert set(AIMS) == {"recall_50", "recall_75", "text_map", "image_map", "index_recall"}
