"""Scenes by day and by night, in a place."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demo.scenes import Scene, make_scene, make_surrounded
from demo.surroundings import ALL, DAY, NIGHT, PLACE_WORDS, TIME_WORDS, Surroundings

SEEDS = st.integers(0, 10**9)
SIZE = 160
QUICK = settings(max_examples=15)


def background(scene: Scene) -> np.ndarray:
    """The pixels of its background, [N, 3]."""
    things = np.any([thing.mask for thing in scene.objects], axis=0)
    return scene.image[~things]


@QUICK
@given(seed=SEEDS, around=st.sampled_from(ALL))
def test_surroundings_change_neither_the_things_nor_where_they_are(seed, around):
    plain = make_scene(seed, split="search", size=SIZE)
    scene = make_scene(seed, split="search", size=SIZE, surroundings=around)
    assert scene.labels == plain.labels and scene.main_index == plain.main_index
    pairs = zip(scene.objects, plain.objects, strict=True)
    assert all(np.array_equal(one.mask, other.mask) for one, other in pairs)
    assert (plain.surroundings, scene.surroundings) == (None, around)


@QUICK
@given(seed=SEEDS, place=st.sampled_from(sorted(PLACE_WORDS)))
def test_a_night_is_darker_than_the_day_around_the_things(seed, place):
    day, night = (
        background(make_scene(seed, size=SIZE, surroundings=Surroundings(time, place)))
        for time in (DAY, NIGHT)
    )
    assert night.mean() < 0.75 * day.mean()


@QUICK
@given(seed=SEEDS)
def test_a_seed_gives_the_same_surroundings_again(seed):
    first, second = (make_surrounded(seed, split="search", size=SIZE) for _ in range(2))
    assert first.surroundings == second.surroundings
    assert np.array_equal(first.image, second.image)


def test_every_time_and_place_comes_and_has_words_of_its_own():
    drawn = {make_surrounded(seed, size=SIZE).surroundings for seed in range(80)}
    assert drawn == set(ALL) and len(ALL) == len(TIME_WORDS) * len(PLACE_WORDS)
    words = [name for names in (*TIME_WORDS.values(), *PLACE_WORDS.values()) for name in names]
    assert len(set(words)) == len(words)


@pytest.mark.parametrize("around", ALL, ids=str)
def test_words_are_those_of_the_time_and_the_place(around):
    assert around.words == (TIME_WORDS[around.time][0], PLACE_WORDS[around.place][0])
