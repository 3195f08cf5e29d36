"""SigLIP, OWLv2 and HQ-SAM answer about scenes of the demo world, and HQ-SAM no worse than SAM."""

import numpy as np
import pytest

from demo.evaluate import (
    absent_is_rejected,
    box_is_found,
    end_to_end,
    iou_from_box,
    label_is_right,
    make_trial,
    mean,
)
from demo.reference import ReferencePipeline
from demo.swapped_reference import SwappedReference

TRIALS = [make_trial(seed, split="validation") for seed in range(12)]


@pytest.fixture(scope="module")
def swapped() -> SwappedReference:
    return SwappedReference()


def test_siglip_names_the_main_object(swapped):
    assert mean(label_is_right(swapped, trial) for trial in TRIALS) >= 0.9


def test_each_label_has_its_own_probability(swapped):
    trial = TRIALS[0]
    together = {
        score.label: score.score for score in swapped.rank_labels(trial.image, trial.candidates)
    }
    for label, score in together.items():
        assert np.isclose(swapped.rank_labels(trial.image, [label])[0].score, score, atol=1e-5)


def test_owlv2_finds_what_is_there_and_nothing_else(swapped):
    assert mean(box_is_found(swapped, trial) for trial in TRIALS) >= 0.6
    assert mean(absent_is_rejected(swapped, trial) for trial in TRIALS) >= 0.75


def test_hq_sam_cuts_as_well_as_sam(swapped):
    sam = ReferencePipeline()
    theirs = mean(iou_from_box(sam, trial) for trial in TRIALS)
    assert mean(iou_from_box(swapped, trial) for trial in TRIALS) >= theirs - 0.005


def test_the_main_object_is_answered_by_all_three(swapped):
    answers = [end_to_end(swapped, trial) for trial in TRIALS]
    assert mean(answer.label for answer in answers) >= 0.9
    assert mean(answer.mask_iou for answer in answers) >= 0.6
