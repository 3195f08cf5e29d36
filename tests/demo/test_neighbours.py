"""The demo DINOv2 tells things apart without any text."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from demo.neighbours import Dinov2Reference, Gallery, accuracy, held_out, make_gallery
from demo.train_dinov2 import BATCH, FRESH, REMEMBERED, seeds_of


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Many small products are slower on several threads than on one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


AXES = np.eye(3, dtype=np.float32)


def test_the_nearest_vote_and_nearer_ones_count_more():
    gallery = Gallery(AXES[[0, 0, 1, 1, 2]], np.array([4, 4, 7, 7, 9]))
    assert gallery.label(AXES[0], neighbours=2) == 4
    assert gallery.label(AXES[2], neighbours=5) == 9, "one near, four far"
    between = np.array([0.6, 0.8, 0], np.float32)
    assert gallery.label(between, neighbours=4) == 7


def test_the_checkpoint_reaches_its_aim_on_held_out_scenes(one_thread):
    embed = Dinov2Reference()
    gallery = make_gallery(embed, size=216)
    scenes = held_out(32)
    assert accuracy(gallery, embed, scenes["label_accuracy"]) >= 0.85
    assert accuracy(gallery, embed, scenes["label_accuracy_multi"]) >= 0.75


@given(st.integers(0, 3000), st.integers(0, 100))
def test_a_batch_has_new_scenes_and_remembered_ones(step, first):
    seeds = seeds_of(step, first, np.random.default_rng(step))
    new = range(first + step * FRESH, first + (step + 1) * FRESH)
    assert seeds[:FRESH] == [*new]
    assert len(seeds) == (BATCH if step else FRESH)
    assert all(max(first, new[0] - REMEMBERED) <= seed < new[0] for seed in seeds[FRESH:])
