"""What is special about EfficientNet: it divides by std twice, and pools with a huge window."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import EfficientNetConfig, EfficientNetForImageClassification
from transformers.models.efficientnet.image_processing_pil_efficientnet import (
    EfficientNetImageProcessorPil,
)

from export.errors import UnsupportedProcessor
from export.families.efficientnet import LogitsOfEfficientNet, normalization_of, read_spec
from export.pixels import Normalize

SIZE = {"height": 8, "width": 8}
LEVELS = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
GREY_LEVEL = 1 / 255


@given(
    do_normalize=st.booleans(),
    do_rescale=st.booleans(),
    include_top=st.booleans(),
    rescale_offset=st.booleans(),
    rescale_factor=st.sampled_from([1 / 255, 1 / 127.5]),
    image_std=st.sampled_from([[0.4785, 0.4733, 0.4743], [0.2, 0.5, 0.9]]),
)
def test_all_that_the_processor_does_to_a_value_is_one_mean_and_std(**settings):
    processor = EfficientNetImageProcessorPil(size=SIZE, do_resize=False, **settings)
    expected = torch.from_numpy(processor(LEVELS, return_tensors="np")["pixel_values"])
    normal = normalization_of(processor)
    pixels = torch.from_numpy(LEVELS.transpose(2, 0, 1).copy())[None]
    ours = Normalize(normal.mean, normal.std)(pixels)
    std = torch.tensor(normal.std).view(1, 3, 1, 1)
    assert ((ours - expected) * std).abs().max() < GREY_LEVEL / 10


def test_the_hubs_settings_square_std():
    processor = EfficientNetImageProcessorPil(size=SIZE)
    assert normalization_of(processor).std == pytest.approx([s**2 for s in processor.image_std])
    assert normalization_of(processor).mean == pytest.approx(processor.image_mean)


@pytest.mark.parametrize("pooling_type", ["mean", "max"])
def test_logits_are_those_of_the_model_however_it_pools(pooling_type):
    config = EfficientNetConfig(
        pooling_type=pooling_type,
        num_labels=3,
        width_coefficient=0.25,
        depth_coefficient=0.25,
        hidden_dim=320,
        initializer_range=0.2,
    )
    torch.manual_seed(0)
    model = EfficientNetForImageClassification(config).eval()
    normal = normalization_of(EfficientNetImageProcessorPil(size=SIZE))
    pixels = torch.randint(0, 256, (2, 3, 70, 70), dtype=torch.uint8)
    ours = LogitsOfEfficientNet(model, normal)
    with torch.inference_mode():
        theirs = model(pixel_values=ours.normalize(pixels)).logits
        torch.testing.assert_close(ours(pixels), theirs)
    assert not any(isinstance(module, torch.nn.AvgPool2d) for module in ours.modules())


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"size": {"height": 8, "width": 9}}, "expected a square size, got 8 x 9"),
        ({"size": SIZE, "do_center_crop": True}, "do_center_crop=False, got True"),
        ({"size": {"shortest_edge": 8}}, "expected size with height, width"),
    ],
)
def test_a_processor_with_other_settings_is_refused(settings, said):
    with pytest.raises(UnsupportedProcessor, match=said):
        read_spec(EfficientNetConfig(), EfficientNetImageProcessorPil(**settings))
