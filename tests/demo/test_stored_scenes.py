"""Windows of stored scenes show things where their maps have them, mirrored or not."""

import numpy as np
import pytest

from demo import stored_scenes as stored
from demo.scenes import scene_rng
from demo.things import BACKGROUND
from demo.train_rt_detr import LEAST_SIDE, boxes_of, targets_of

COUNT = 6


@pytest.fixture
def scenes(tmp_path, monkeypatch):
    monkeypatch.setattr(stored, "WORK_FOLDER", tmp_path)
    return stored.stored_scenes(COUNT, first_seed=7)


def test_scenes_are_made_once(scenes, monkeypatch):
    monkeypatch.delattr(stored, "make_scene")
    again = stored.stored_scenes(COUNT, first_seed=7)
    assert np.array_equal(again.pictures, scenes.pictures)
    assert np.array_equal(again.classes, scenes.classes)


def test_pictures_and_maps_are_cut_and_mirrored_alike(scenes):
    painted = np.repeat((scenes.classes * 6)[..., None], 3, axis=3)
    pictures, classes = stored.StoredScenes(painted, scenes.classes).views(scene_rng(3, "train"), 9)
    assert pictures.shape == (9, stored.EDGE, stored.EDGE, 3)
    assert np.mean(pictures[..., 0] == classes * 6) > 0.95, "all but pixels along edges"


def test_a_box_is_tight_and_of_the_thing():
    classes = np.full((stored.EDGE, stored.EDGE), BACKGROUND, np.uint8)
    classes[48:96, 24:120] = 5
    classes[: LEAST_SIDE - 1, :50] = 9  # hardly anything is left of it
    things, boxes = boxes_of(classes)
    assert things == [5]
    assert boxes.tolist() == [[72 / 192, 72 / 192, 96 / 192, 48 / 192]]
    targets = targets_of(np.stack([classes, np.full_like(classes, BACKGROUND)]))
    assert targets.tokens[0].argmax(1).tolist() == [5]
    assert [len(of) for of in targets.boxes] == [1, 0]
