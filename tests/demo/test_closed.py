"""The demo RT-DETR and SegFormer reach their aims; figures mean what they say."""

import numpy as np
import pytest
import torch

from demo import rt_detr_config, segformer_config
from demo.closed_reference import RtDetrReference, SegformerReference
from demo.evaluate import make_trial
from demo.evaluate_closed import Overlap, best_of, detection_figures, is_found, mean_iou
from demo.reference import Detection
from demo.segformer_config import CLASSES
from demo.things import BACKGROUND
from demo.train_grounding_dino import trained_backbone

TRIALS = [make_trial(seed) for seed in range(40)]


@pytest.fixture(scope="module")
def swin():
    return trained_backbone()


def test_rt_detr_finds_the_things_and_no_others():
    figures = detection_figures(RtDetrReference(), TRIALS)
    assert figures["box_recall"] >= 0.8 and figures["absent_rejection"] >= 0.9, figures


def test_segformer_covers_the_things():
    assert mean_iou(SegformerReference(), TRIALS[:20]) >= 0.65


def test_only_a_box_of_the_right_name_in_the_right_place_counts():
    trial = TRIALS[0]
    label, box = trial.named.label, trial.named.box_xyxy
    wrong = Detection(box, 0.9, trial.absent)
    assert is_found([wrong, Detection(box, 0.5, label)], trial)
    assert not is_found([wrong], trial) and best_of([wrong], label) is None
    assert not is_found([Detection((0, 0, 3, 3), 0.6, label), Detection(box, 0.5, label)], trial)


def test_the_mean_iou_is_over_classes_and_not_over_pixels():
    truth = np.full((10, 10), BACKGROUND)
    truth[:2] = 4
    answer = np.full_like(truth, BACKGROUND)
    overlap = Overlap()
    overlap.add(truth, answer)
    assert overlap.mean_iou == pytest.approx((0 + 0.8) / 2)
    overlap.add(truth, truth)
    assert overlap.mean_iou == pytest.approx((20 / 40 + 160 / 180) / 2)
    assert len(overlap.pixels) == len(CLASSES)


def test_rt_detr_begins_with_the_backbone_of_grounding_dino(swin):
    model = rt_detr_config.new_model(swin)
    ours = model.model.backbone.model.state_dict()
    assert all(torch.equal(ours[name], value) for name, value in swin.state_dict().items())


def test_segformer_begins_near_the_maps_of_the_swin(swin):
    pixels = torch.from_numpy(np.stack([SegformerReference().processor(trial.image).pixel_values[0]
                                        for trial in TRIALS[:4]]))  # fmt: skip
    with torch.no_grad():
        wanted = swin(pixels).feature_maps
        given = segformer_config.new_model(swin).eval()(pixels, output_hidden_states=True)
    for ours, theirs in zip(given.hidden_states[-2:], wanted, strict=True):
        assert (ours - theirs).square().mean() < 0.8 * theirs.var()
