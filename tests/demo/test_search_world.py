"""Pictures to search in, and their truth."""

from __future__ import annotations

import numpy as np
from fovea_client import Mask
from fovea_search import Find

from demo import search_world
from demo.evaluate import HIT_IOU
from demo.surroundings import NIGHT
from fovea.masks import encode_rle

SEEDS = range(3)


def find_of(path: str, mask: np.ndarray) -> Find:
    size_hw = (mask.shape[0], mask.shape[1])
    return Find("id", 1.0, "object", "hash", path, "", None, size_hw, np.zeros(4, np.float32),
                Mask(encode_rle(mask), size_hw), 0.1, 0.9)  # fmt: skip


def test_a_world_is_written_once_and_known_again(tmp_path):
    world = search_world.write(tmp_path, SEEDS)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.jpg")}
    again = search_world.write(tmp_path, SEEDS)
    assert len(times) == len(SEEDS) and again.things == world.things
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.jpg")} == times
    assert {thing.picture for thing in world.things} == {str(path) for path in times}
    for path in times:
        thing = world.things[world.of_picture[str(path)][0]]
        assert path.parent.name == f"{thing.surroundings.place}-{thing.surroundings.time}"


def test_a_find_is_the_thing_that_its_mask_fits(tmp_path):
    world = search_world.write(tmp_path, SEEDS)
    for place, thing in enumerate(world.things):
        mask = thing.mask.to_numpy()
        assert world.fitting(thing.picture, mask) == (place, 1.0)
        assert world.thing_of(find_of(thing.picture, mask)) == thing
        rest = np.zeros_like(mask)
        rest[:1, :1] = True
        assert world.fitting(thing.picture, rest)[1] <= HIT_IOU
        assert world.thing_of(find_of(thing.picture, rest)) is None


def test_things_are_wanted_by_name_by_scene_and_by_style(tmp_path):
    world = search_world.write(tmp_path, SEEDS)
    for thing in world.things:
        words = "at night" if thing.surroundings.time == NIGHT else "by day"
        other = "by day" if words == "at night" else "at night"
        assert thing in set(world.wanted(thing.label, words=words, style=thing.style))
        assert thing not in set(world.wanted(thing.label, words=other))
        assert thing not in set(world.wanted(thing.label, style="another"))
