"""The demo world keeps its promises."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demo.backgrounds import HELD_OUT_KINDS, TRAINING_KINDS
from demo.scenes import (
    ASPECTS_WH,
    MAIN_AREA_RATIO,
    SPLITS,
    Scene,
    box_of,
    make_scene,
    man_on_snowboard,
)
from demo.things import INDEX_OF_NAME, LABELS, THINGS

SEEDS = st.integers(0, 10**9)
SIZE = 160
QUICK = settings(max_examples=20)


def scene_of(seed: int, split: str = "train") -> Scene:
    return make_scene(seed, split=split, size=SIZE)


@QUICK
@given(seed=SEEDS, split=st.sampled_from(sorted(SPLITS)))
def test_a_seed_gives_the_same_scene_again(seed: int, split: str) -> None:
    first, second = scene_of(seed, split), scene_of(seed, split)
    assert np.array_equal(first.image, second.image)
    assert first.labels == second.labels and first.main_index == second.main_index


@QUICK
@given(seed=SEEDS)
def test_boxes_are_tight_around_disjoint_masks(seed: int) -> None:
    scene = scene_of(seed)
    claimed = np.zeros(scene.image.shape[:2], int)
    for item in scene.objects:
        assert item.box_xyxy == box_of(item.mask)
        claimed += item.mask
    assert claimed.max() == 1


@QUICK
@given(seed=SEEDS)
def test_the_main_object_is_clearly_the_largest(seed: int) -> None:
    scene = scene_of(seed)
    rest = [o.area for i, o in enumerate(scene.objects) if i != scene.main_index]
    assert all(scene.main.area >= MAIN_AREA_RATIO * area for area in rest)


@QUICK
@given(seed=SEEDS)
def test_no_thing_comes_twice(seed: int) -> None:
    labels = scene_of(seed).labels
    assert len(set(labels)) == len(labels)
    assert set(labels) <= set(LABELS)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_the_number_of_objects_can_be_set(count: int) -> None:
    assert len(make_scene(3, size=SIZE, n_objects=count).objects) == count


def test_pictures_have_one_of_the_aspects_and_the_asked_edge() -> None:
    shapes = {scene_of(seed).image.shape[:2] for seed in range(30)}
    assert shapes == {(round(SIZE * h / max(w, h)), round(SIZE * w / max(w, h)))
                      for w, h in ASPECTS_WH}  # fmt: skip


def test_held_out_splits_share_neither_backgrounds_nor_scenes_with_training() -> None:
    assert not set(TRAINING_KINDS) & set(HELD_OUT_KINDS)
    assert SPLITS["test"] == HELD_OUT_KINDS and SPLITS["train"] == TRAINING_KINDS
    pictures = {split: scene_of(5, split).image.tobytes() for split in SPLITS}
    assert len(set(pictures.values())) == len(SPLITS)


def test_the_man_on_the_snowboard_is_a_scene_of_both() -> None:
    scene = man_on_snowboard(size=SIZE)
    assert scene.main.label == "man"
    assert set(scene.labels) == {"man", "snowboarder"}


def test_every_name_belongs_to_one_thing() -> None:
    assert len(INDEX_OF_NAME) == sum(len(thing.names) for thing in THINGS)
