"""The grid decoder's figures for masks, compared with numpy on the finer masks themselves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional
from transformers import SamMaskDecoderConfig
from transformers.models.sam.modeling_sam import SamTwoWayTransformer

from export.families.sam_grid import FINER, judged, single_points
from export.families.two_way import TwoWay

SIZE, EDGE = 64, 16
PICTURES, PROMPTS = 2, 3
FINE = FINER * EDGE


def smooth_masks(seed: int) -> torch.Tensor:
    """Logits [1, 2, 3, 16, 16] of a few blobs."""
    coarse = torch.from_numpy(np.random.default_rng(seed).normal(0, 4, (6, 1, 4, 4)))
    masks = functional.interpolate(coarse, (EDGE, EDGE), mode="bicubic", align_corners=False)
    return masks.view(1, 2, 3, EDGE, EDGE).float()


@given(st.integers(0, 2**32 - 1), st.integers(4, SIZE), st.integers(4, SIZE), st.integers(1, 9))
@settings(max_examples=40, deadline=None)
def test_stability_area_and_box_are_those_of_the_picture_part(seed, high, wide, times):
    masks = smooth_masks(seed)
    valid = torch.tensor([[high, wide]], dtype=torch.int32)
    stability, areas, boxes = judged(masks, valid, times * valid, SIZE)
    finer = functional.interpolate(masks[0], scale_factor=FINER, mode="bilinear")
    middles = (np.arange(FINE) + 0.5) * SIZE / FINE
    inside = np.outer(middles < high, middles < wide)
    pixel = times * SIZE / FINE
    for place in np.ndindex(2, 3):
        logits = np.where(inside, finer[place].numpy(), -9)
        raised, lowered = (logits > 1).sum(), (logits > -1).sum()
        assert stability[0][place].item() == pytest.approx(raised / max(1, lowered))
        rows, columns = np.nonzero(logits > 0)
        assert areas[0][place].item() == pytest.approx(len(rows) * pixel**2)
        expected = (
            [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] if len(rows) else [0] * 4
        )
        assert np.allclose(boxes[0][place], np.array(expected) * pixel)


def test_each_picture_has_its_own_frame():
    masks = smooth_masks(0).expand(2, -1, -1, -1, -1)
    valid = torch.tensor([[SIZE, SIZE], [SIZE // 2, SIZE]], dtype=torch.int32)
    original = torch.tensor([[SIZE, SIZE], [100, 200]], dtype=torch.int32)
    _, areas, boxes = judged(masks, valid, original, SIZE)
    for picture in range(2):
        alone = judged(masks[:1], valid[[picture]], original[[picture]], SIZE)
        assert torch.equal(areas[picture], alone[1][0]) and torch.equal(boxes[picture], alone[2][0])
    assert (boxes[1] <= torch.tensor([200.0, 100.0, 200.0, 100.0])).all()


def test_a_point_of_the_grid_is_a_prompt_with_one_padding_point():
    coords, labels = single_points(torch.tensor([[[3.0, 4.0], [5.0, 6.0]]]))
    assert coords.tolist() == [[[[3, 4], [0, 0]], [[5, 6], [0, 0]]]]
    assert labels.tolist() == [[[1, -1], [1, -1]]] and labels.dtype == torch.int32


def test_prompts_that_share_a_picture_are_transformed_as_by_transformers():
    config = SamMaskDecoderConfig(hidden_size=16, mlp_dim=24, num_attention_heads=2)
    config._attn_implementation = "eager"
    transformer = SamTwoWayTransformer(config).eval()
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(PICTURES, PROMPTS, 7, 16, generator=generator)
    pixels = torch.randn(PICTURES, 25, 16, generator=generator)
    positions = torch.randn(1, 25, 16, generator=generator)
    maps = pixels.transpose(1, 2).unflatten(2, (5, 5)).repeat_interleave(PROMPTS, dim=0)
    with torch.inference_mode():
        answers, keys = TwoWay(transformer)(tokens, pixels, positions)
        expected, expected_keys = transformer(
            point_embeddings=tokens.flatten(0, 1).unsqueeze(1),
            image_embeddings=maps,
            image_positional_embeddings=positions.transpose(1, 2).unflatten(2, (5, 5)),
            attention_similarity=None,
        )
    assert torch.allclose(answers.flatten(0, 1), expected[:, 0], atol=1e-5)
    assert torch.allclose(keys.flatten(0, 1), expected_keys[:, 0], atol=1e-5)
