import numpy as np
import pytest

from fovea import prompts
from fovea.errors import InvalidPrompt
from fovea.limits import Limits

SIZE = (60, 80)


def arrays(coords, labels):
    return np.array(coords, np.float32), np.array(labels, np.int32)


def check(coords, labels, limits=None):
    prompts.check_prompts(*arrays(coords, labels), SIZE, limits or Limits())


def test_boxes_and_points_within_the_picture_are_accepted():
    check([[[0, 0], [80, 60]], [[3, 4], [0, 0]]], [[2, 3], [1, -1]])


@pytest.mark.parametrize(
    ("coords", "labels", "message"),
    [
        ([[[0, 0], [81, 60]]], [[2, 3]], "within the picture of 80x60"),
        ([[[-1, 0], [8, 6]]], [[2, 3]], "within the picture"),
        ([[[np.nan, 1], [0, 0]]], [[1, -1]], "finite"),
        ([[[np.inf, 1], [0, 0]]], [[1, -1]], "finite"),
        ([[[5, 5], [5, 9]]], [[2, 3]], "left < right"),
        ([[[5, 5], [6, 9]]], [[2, 1]], "labels 2 and 3 once each"),
        ([[[5, 5], [6, 9]]], [[7, 1]], "expected labels"),
        ([[[0, 0], [0, 0]]], [[-1, -1]], "only padding"),
        (np.zeros((0, 2, 2)), np.zeros((0, 2)), "expected 1 to 128 prompts"),
        (np.zeros((1, 2, 2)), np.zeros((1, 3)), "point_coords"),
    ],
)
def test_wrong_prompts_are_refused(coords, labels, message):
    with pytest.raises(InvalidPrompt, match=message):
        check(coords, labels)


def test_too_many_prompts_are_refused():
    with pytest.raises(InvalidPrompt, match="got 3 of 2"):
        check(np.zeros((3, 2, 2)), np.ones((3, 2)), Limits(prompts=2))


def test_only_prompts_without_box_or_padding_get_a_padding_point():
    _, labels = prompts.pad_points(*arrays([[[1, 1], [2, 2]]], [[1, 0]]))
    assert labels.tolist() == [[1, 0, -1]]
    for same in ([[2, 3]], [[1, -1]]):
        assert prompts.pad_points(*arrays([[[1, 1], [2, 2]]], same))[1].tolist() == same
