"""What a CLIP learns objects from."""

from __future__ import annotations

import numpy as np
import torch

from demo import crops as candidates
from demo.clip_config import EDGE
from demo.object_crops import NOTHING, ObjectCrops, make, served_crop, shown
from demo.sam_config import new_model
from demo.scenes import make_scene
from demo.things import INDEX_OF_NAME
from fovea import crops


def test_a_crop_shows_what_searches_are_served():
    scene = make_scene(5)
    made = served_crop(scene.image, scene.main.mask).transpose(1, 2, 0).astype(int)
    cut = candidates.square(scene.image, scene.main, crops.MARGIN, crops.BLUR)
    near = np.asarray(cut, int)[:: candidates.EDGE // 32, :: candidates.EDGE // 32]
    assert made.shape == (EDGE, EDGE, 3)
    assert np.abs(made[:: EDGE // 32, :: EDGE // 32] - near).mean() < 12


def test_a_mask_shows_a_thing_or_nothing_and_of_parts_nothing_is_said():
    scene = make_scene(2, n_objects=1)
    whole = scene.main.mask
    rows = np.flatnonzero(whole.any(axis=1))
    part = whole.copy()
    part[rows[int(0.45 * len(rows))] :] = False
    share = part.sum() / whole.sum()
    assert 0.3 < share < 0.5, "the part should be one that is neither"
    assert shown(scene, whole) == INDEX_OF_NAME[scene.main.label]
    assert shown(scene, part) is None
    assert shown(scene, ~whole) == NOTHING


def test_crops_are_of_all_things_and_survive_the_disk(tmp_path):
    torch.manual_seed(0)
    found = make(new_model().eval(), first=7, count=8)
    assert found.pixels.shape[1:] == (3, EDGE, EDGE) and len(set(found.scenes)) == 8
    assert (found.names != NOTHING).sum() >= 8
    found.save(tmp_path / "crops.npz")
    again = ObjectCrops.load(tmp_path / "crops.npz")
    assert (again.pixels == found.pixels).all() and (again.names == found.names).all()
