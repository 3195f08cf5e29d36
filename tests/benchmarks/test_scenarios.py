"""The arithmetic for many prompts, pictures and verbs."""

import numpy as np
import pytest
from PIL import Image

from benchmarks import scenarios
from benchmarks.figures import Spread
from benchmarks.results import Mix, Prompted, Prompts, Shared


def prompted(boxes: int, ms: float) -> Prompted:
    return Prompted(boxes, Spread.of([ms + 30]), Spread.of([ms]), boxes)


def test_a_cost_that_grows_with_the_work_is_a_line():
    line = scenarios.line([prompted(count, 10 + 2 * count) for count in scenarios.BOXES])
    assert line.slope_ms == pytest.approx(2) and line.base_ms == pytest.approx(10)
    assert line.last_step == pytest.approx(1)
    assert line.growth == pytest.approx(210 / 12)
    assert line.second_prompt_ratio == pytest.approx(42 / 12)


def test_a_cost_that_grows_faster_shows_in_the_last_step():
    line = scenarios.line([prompted(count, count**2) for count in scenarios.BOXES])
    assert line.last_step > 1.3
    assert scenarios.line([prompted(1, 1)]) == Prompts([prompted(1, 1)])


def test_random_boxes_lie_within_the_picture():
    boxes = scenarios.random_boxes(np.random.default_rng(0), 500, (640, 480))
    assert boxes.shape == (500, 4) and boxes.dtype == np.float32
    assert (boxes >= 0).all() and (boxes <= [640, 480, 640, 480]).all()
    assert (boxes[:, 2:] - boxes[:, :2] >= [63.9, 47.9]).all()


def test_pictures_of_a_folder_differ_in_size_and_content(tmp_path):
    megapixels = scenarios.write_pictures(tmp_path, 12)
    files = sorted(tmp_path.glob("*.jpg"))
    sizes = [Image.open(file).size for file in files]
    assert len({file.read_bytes() for file in files}) == 12 and len(set(sizes)) > 4
    assert megapixels == pytest.approx(sum(w * h for w, h in sizes) / 1e6)


def shared(verb: str, kept: float) -> Shared:
    one = Spread.of([1.0])
    return Shared(verb, one, one, Spread.of([kept]), one, one, one)


def test_a_verb_starves_below_half_of_its_fair_share():
    found = scenarios.fairness([shared("a", 0.5), shared("b", 0.24), shared("c", 0.1)])
    assert found.fair_share == pytest.approx(1 / 3)
    assert found.least_kept == 0.1 and found.total_kept == pytest.approx(0.84)
    assert found.starved == ["c"]
    assert scenarios.fairness([]) == Mix([])
