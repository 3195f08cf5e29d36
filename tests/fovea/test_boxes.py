import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fovea import boxes

FRACTIONS = hnp.arrays(
    np.float32, st.tuples(st.integers(0, 12), st.just(4)), elements=st.floats(0, 1, width=32)
)


def test_centre_and_size_become_corners_in_pixels():
    found = boxes.to_xyxy(np.array([[0.5, 0.5, 0.5, 1.0]], np.float32), (100, 200))
    assert found.tolist() == [[50, 0, 150, 100]]


def test_iou_of_half_overlapping_boxes():
    a = np.array([[0, 0, 2, 1]], np.float32)
    b = np.array([[1, 0, 3, 1], [0, 0, 2, 1], [5, 5, 6, 6]], np.float32)
    assert np.allclose(boxes.pairwise_iou(a, b), [[1 / 3, 1, 0]])


@given(FRACTIONS)
def test_clipped_boxes_lie_within_the_picture(cxcywh):
    clipped = boxes.clip(boxes.to_xyxy(cxcywh, (60, 80)), (60, 80))
    assert (clipped >= 0).all()
    assert (clipped <= [80, 60, 80, 60]).all()


@given(FRACTIONS, st.floats(0.1, 0.9))
def test_suppression_keeps_the_best_and_no_two_that_overlap(cxcywh, iou):
    xyxy = boxes.to_xyxy(cxcywh, (100, 100))
    scores = np.linspace(1, 0, len(xyxy), dtype=np.float32)
    keep = boxes.non_maximum_suppression(xyxy, scores, iou)
    assert list(keep) == sorted(keep)
    overlaps = boxes.pairwise_iou(xyxy[keep], xyxy[keep]) > iou
    assert not overlaps[~np.eye(len(keep), dtype=bool)].any()
    dropped = [i for i in range(len(xyxy)) if i not in keep]
    for i in dropped:
        better = [k for k in keep if k < i]
        assert (boxes.pairwise_iou(xyxy[[i]], xyxy[better]) > iou).any()
