"""What decoding costs is measured on pictures whose truth grew with them."""

import pytest

from benchmarks import decoding
from benchmarks.exports import Source, export
from demo.evaluate import make_trial


def test_a_photo_has_the_scenes_truth_at_its_own_size():
    trial = make_trial(decoding.FIRST_SEED)
    large = decoding.photo(trial, 4 * max(trial.scene.image.shape))
    height, width = trial.scene.image.shape[:2]
    assert large.question.image.size == (4 * width, 4 * height)
    assert large.megapixels == pytest.approx(16 * height * width / 1e6)
    truth = large.trial.scene.main
    assert truth.mask.shape == (4 * height, 4 * width)
    assert truth.mask.sum() == 16 * trial.scene.main.mask.sum()
    assert truth.box_xyxy == tuple(4 * edge for edge in trial.scene.main.box_xyxy)
    assert truth.label == trial.scene.main.label


@pytest.mark.server
def test_every_size_is_asked_for_under_every_margin(tmp_path, monkeypatch):
    monkeypatch.setattr(decoding, "LONGEST_EDGES", (320, 1280))
    exported = export(Source(), lambda network, what: None)
    rows = [*decoding.measure(exported, (0.0, 2.0), 2, tmp_path / "served")]
    assert [row.margin for row in rows] == [0.0, 0.0, 2.0, 2.0]
    assert all(0 < row.share < 1 and len(row.request_ms.values) == 2 for row in rows)
    assert set(rows[0].accuracy) == {"label", "box", "mask_iou"}
    assert decoding.table_of(rows).row_count == 4
