"""The served answers agree with PyTorch and match the truth."""

import pytest
import torch

from demo.evaluate import end_to_end, mean
from demo.reference import ReferencePipeline
from demo.served import ServedPredictor
from demo.truth import agreement

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def agreed(client, trials):
    torch.set_num_threads(1)
    return agreement(ReferencePipeline(), ServedPredictor(client), trials)


def test_served_answers_are_those_of_the_reference(agreed):
    assert agreed.same_label >= 0.99
    assert agreed.same_found >= 0.99
    assert agreed.boxes_within >= 0.99
    assert agreed.mask_iou >= 0.99


def test_served_answers_reach_the_truth(client, trials):
    served = ServedPredictor(client)
    answers = [end_to_end(served, trial) for trial in trials]
    assert mean(answer.label for answer in answers) >= 0.95
    assert mean(answer.box for answer in answers) >= 0.90
    assert mean(answer.mask_iou for answer in answers) >= 0.85


def test_the_open_description_finds_the_man_on_his_snowboard(client, samples):
    picture, truth = next((p, t) for p, t in samples if t["description"])
    found = client.main_object(picture, description=truth["description"])
    assert found.found
    assert found.label == truth["label"]
