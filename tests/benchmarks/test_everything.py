"""The measures of segment_everything's benchmark, and its reference."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis.extra import numpy as hnp

from benchmarks.everything import best, pairwise_iou
from demo.evaluate import make_trial, mask_iou
from demo.mask_generation import MaskGeneration

MASKS = hnp.arrays(np.bool_, (3, 6, 5))


@given(MASKS, MASKS)
def test_overlaps_of_masks_are_those_of_each_pair(a, b):
    overlaps = pairwise_iou(a, b)
    assert np.allclose(overlaps, [[mask_iou(one, other) for other in b] for one in a])


def test_nothing_overlaps_an_empty_mask():
    nothing = np.zeros((0, 6, 5), np.bool_)
    assert best(pairwise_iou(np.ones((2, 6, 5), np.bool_), nothing)).tolist() == [0, 0]


def test_the_reference_finds_the_objects_of_a_scene():
    scene = make_trial(3).scene
    found = MaskGeneration().generate(
        make_trial(3).image, points_per_side=8, iou_threshold=0.5, stability_threshold=0.7
    )
    assert found.masks.shape[1:] == scene.image.shape[:2]
    assert (np.diff(found.scores) <= 0).all()
    true = np.stack([thing.mask for thing in scene.objects])
    assert best(pairwise_iou(true, found.masks)).max() > 0.75
    nothing = MaskGeneration().generate(
        make_trial(3).image, points_per_side=2, iou_threshold=1.0, stability_threshold=1.0
    )
    assert nothing.masks.shape == (0, *scene.image.shape[:2])
