"""How much a lower precision may lose, and how it is timed."""

import pytest

from demo.precision import JUDGED
from export.errors import AccuracyLost
from export.precision import PRECISIONS
from export.precision_gate import LARGEST_LOSS, check_losses, losses
from export.timing import turns


def figures(**changed):
    return dict.fromkeys(JUDGED, 0.9) | changed


def test_a_loss_within_one_point_passes():
    truth = {"fp32": figures(), "fp16": figures(), "int8": figures(box_recall=0.895)}
    lost = losses(truth)
    assert lost["int8"]["box_recall"] == pytest.approx(0.005)
    assert lost["fp16"] == dict.fromkeys(JUDGED, 0.0)
    check_losses(lost)


def test_a_gain_does_not_count_as_a_loss():
    check_losses(losses({"fp32": figures(), "fp16": figures(mask_iou_box=0.99)}))


def test_a_loss_of_more_than_one_point_names_precision_and_figure():
    truth = {"fp32": figures(), "fp16": figures(), "int8": figures(mask_iou_point=0.87)}
    with pytest.raises(AccuracyLost, match=r"int8 loses 3\.0 points of mask_iou_point"):
        check_losses(losses(truth))
    assert set(LARGEST_LOSS) == set(PRECISIONS) - {"fp32"}


def test_bf16_may_lose_half_a_point():
    truth = {"fp32": figures(), "bf16": figures(box_recall=0.894)}
    with pytest.raises(AccuracyLost, match=r"bf16 loses 0\.6 points of box_recall, at most 0\.5"):
        check_losses(losses(truth))


def test_turns_alternate_so_that_a_slow_moment_hits_all():
    order: list[str] = []
    seconds = turns({name: lambda n=name: order.append(n) for name in "ab"}, rounds=4)
    assert {name: len(values) for name, values in seconds.items()} == {"a": 4, "b": 4}
    runs = [name for i, name in enumerate(order) if i == 0 or order[i - 1] != name]
    assert runs == ["a", "b", "a", "b", "a", "b", "a"]
