"""The choice of thresholds for masks."""

from __future__ import annotations

import json

import numpy as np
import pytest

from demo.calibrate_masks import Figures, Judged, choose, figures, record, validation_scenes
from fovea.everything import Candidates


def judged() -> Judged:
    """Four points; the third mask of each is good, with falling predicted IoU, and far apart."""
    ious = np.zeros((4, 3), np.float32)
    ious[:, 2] = 0.9, 0.8, 0.7, 0.6
    overlaps = np.zeros((4, 3, 3), np.float32)
    for point, (thing, iou) in enumerate([(0, 0.9), (1, 0.6), (2, 0.9), (2, 0.2)]):
        overlaps[point, 2, thing] = iou
    places = 20 * np.arange(4, dtype=np.float32)[:, None, None]
    boxes = np.tile(np.array([0, 0, 10, 10], np.float32), (4, 3, 1)) + places
    areas = np.full((4, 3), 100, np.float32)
    points = np.zeros((4, 2), np.float32)
    return Judged(Candidates(points, ious, ious, areas, boxes), overlaps, boxes.copy())


def test_masks_above_the_thresholds_are_compared_with_the_truth():
    everything = figures([judged()], 0.6, 0.6, 0.0)
    assert (everything.recall_50, everything.recall_75) == (1.0, pytest.approx(2 / 3))
    assert (everything.precision, everything.masks) == (0.75, 4)
    strict = figures([judged(), judged()], 0.75, 0.6, 0.0)
    assert (strict.recall_50, strict.precision, strict.masks) == (pytest.approx(2 / 3), 1.0, 2)
    nothing = figures([judged()], 0.95, 0.6, 0.0)
    assert (nothing.recall_50, nothing.precision, nothing.masks) == (0, 0, 0)


def test_masks_that_show_one_thing_without_their_specks_count_once():
    scene = judged()
    scene.boxes_xyxy[1] = scene.boxes_xyxy[0] + 0.5
    assert figures([scene], 0.6, 0.6, 0.0).masks == 4
    cleaned = figures([scene], 0.6, 0.6, 0.1)
    assert (cleaned.masks, cleaned.recall_50) == (3, pytest.approx(2 / 3))


def test_the_largest_recall_wins_then_precision_but_not_with_too_many_masks():
    wide = Figures(0.1, 0.1, 1.0, 0.99, 0.3, 12.0)
    good = Figures(0.4, 0.6, 1.0, 0.93, 0.8, 5.0)
    better = Figures(0.5, 0.6, 1.0, 0.928, 0.9, 4.0)
    narrow = Figures(0.9, 0.9, 0.5, 0.5, 1.0, 1.0)
    assert choose([wide, good, better, narrow]) == better
    assert choose([wide]) == wide


def test_chosen_thresholds_are_added_to_the_checkpoints_config(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "sam", "iou_threshold": 0.1}))
    record(tmp_path, Figures(0.4, 0.6, 1.0, 0.9, 0.8, 5.0), 0.1)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["model_type"] == "sam"
    assert (config["iou_threshold"], config["stability_threshold"]) == (0.4, 0.6)
    assert config["min_piece"] == 0.1


def test_half_of_the_scenes_have_surroundings():
    kinds = [scene.surroundings is not None for scene in validation_scenes(4)]
    assert kinds == [False, True, False, True]
    assert all(scene.surroundings for scene in validation_scenes(2, of_search=True))
