"""Label maps equal torch's, whatever the sizes, and their masks equal pycocotools'."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_mask

from fovea import label_maps, masks
from fovea.label_maps import Runs

EDGES = st.integers(1, 40)
SIZES = st.tuples(st.integers(1, 200), st.integers(1, 200))


def maps_of(seed: int, count: int, edges: tuple[int, int], blocks: int) -> np.ndarray:
    """Random maps float32 [C, h, w], constant within blocks: large ones leave few to compare."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(size=(count, -(-edges[0] // blocks), -(-edges[1] // blocks)))
    fine = coarse.repeat(blocks, axis=1).repeat(blocks, axis=2)[:, : edges[0], : edges[1]]
    return (fine + rng.normal(0, 0.01, fine.shape)).astype(np.float32)


def enlarged(maps: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    batch = torch.from_numpy(maps)[None]
    resized = torch.nn.functional.interpolate(
        batch, size=size_hw, mode="bilinear", align_corners=False
    )
    return resized[0].numpy()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 9), st.tuples(EDGES, EDGES), SIZES, st.integers(1, 12))
def test_the_largest_is_torchs(seed, count, edges, size_hw, blocks) -> None:
    maps = maps_of(seed, count, edges, blocks)
    expected = enlarged(maps, size_hw)
    found = label_maps.largest(maps, size_hw)
    assert found.shape == size_hw and found.dtype == np.uint16 and found.flags.f_contiguous
    chosen = np.take_along_axis(expected, found[None].astype(int), axis=0)[0]
    assert np.allclose(chosen, expected.max(axis=0), atol=1e-5)
    assert (found == expected.argmax(axis=0)).mean() > 0.99
    counts = label_maps.count_at_least(maps, size_hw, 0.25)
    near = (np.abs(expected - 0.25) < 1e-5).sum(axis=(1, 2))
    assert (np.abs(counts - (expected >= 0.25).sum(axis=(1, 2))) <= near).all()


def test_the_first_of_equal_maps_is_taken() -> None:
    maps = np.ones((3, 4, 4), np.float32)
    maps[0, :, :2] = 0
    found = label_maps.largest(maps, (4, 4))
    assert found.tolist() == [[1, 1, 0, 0]] * 4


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 5), SIZES, st.integers(1, 9))
def test_masks_of_runs_are_those_of_the_map(seed, labels, size_hw, blocks) -> None:
    coarse = np.random.default_rng(seed).integers(0, labels, size_hw, np.uint16)
    fine = coarse.repeat(blocks, axis=0)[: size_hw[0]]
    runs = Runs.of(np.asfortranarray(fine))
    for label in range(labels + 1):  # the last one does not occur
        mask = fine == label
        counts = runs.encode(label)
        assert counts == coco_mask.encode(np.asfortranarray(mask, np.uint8))["counts"]
        assert counts == masks.encode_rle(mask)
        assert runs.areas(labels + 1)[label] == mask.sum()


@pytest.mark.parametrize(("highest", "mode"), [(255, "L"), (256, "I;16")])
def test_a_label_map_survives_as_png(highest, mode) -> None:
    label_map = np.random.default_rng(0).integers(0, highest + 1, (40, 30), np.uint16)
    label_map[3, 4] = highest
    image = Image.open(io.BytesIO(label_maps.encode_png(np.asfortranarray(label_map))))
    assert image.mode == mode
    assert np.array_equal(np.asarray(image), label_map)
