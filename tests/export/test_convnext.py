"""What is special about ConvNeXt: its crop below 384 pixels, and none from there on."""

from __future__ import annotations

import numpy as np
import pytest
from transformers import ConvNextConfig
from transformers.models.convnext.image_processing_pil_convnext import ConvNextImageProcessorPil

from export.errors import UnsupportedProcessor
from export.families.convnext import read_spec
from export.preprocessing import PIXEL_TOLERANCE, SIZES_HW, photograph
from export.stand_ins.convnext import small_config
from fovea.families.convnext import ConvNext
from fovea.images import Picture
from tests.export.test_preprocessing import grey_levels

CONFIG = small_config(ConvNextConfig)


def geometry(processor):
    return ConvNext("convnext", read_spec("convnext", CONFIG, processor)).geometry


def processor(edge: int, **more) -> ConvNextImageProcessorPil:
    return ConvNextImageProcessorPil(size={"shortest_edge": edge}, **more)


@pytest.mark.parametrize(
    ("edge", "more", "resized_hw"),
    [
        (224, {}, (256, 341)),
        (224, {"crop_pct": 0.95}, (235, 313)),
        (64, {"crop_pct": 1.0}, (64, 85)),
        (384, {}, (384, 384)),
        (384, {"crop_pct": None}, (384, 384)),
        (512, {"crop_pct": 0.5}, (512, 512)),
    ],
)
def test_the_middle_is_cut_out_below_384_pixels_and_all_is_squashed_from_there_on(
    edge, more, resized_hw
):
    wanted = geometry(processor(edge, **more))
    assert wanted.resized_hw((480, 640)) == resized_hw
    assert wanted.output_hw == (edge, edge)


@pytest.mark.parametrize("settings", [(96, 0.875), (224, 0.9), (384, 0.9)])
@pytest.mark.parametrize("size_hw", SIZES_HW)
def test_pixels_are_those_of_the_processor(size_hw, settings):
    edge, crop_pct = settings
    theirs, picture = processor(edge, crop_pct=crop_pct), photograph(size_hw)
    expected = theirs(picture, return_tensors="np")["pixel_values"][0]
    pixels, _ = geometry(theirs).apply(Picture(picture))
    assert pixels.shape == expected.shape
    assert np.abs(pixels - grey_levels(expected, theirs)).max() <= PIXEL_TOLERANCE


@pytest.mark.parametrize("crop_pct", [None, 0, 1.1, "all"])
def test_a_crop_pct_that_crops_nothing_out_is_refused(crop_pct):
    with pytest.raises(UnsupportedProcessor, match=f"a crop_pct above 0 and up to 1.*{crop_pct!r}"):
        geometry(processor(224, crop_pct=crop_pct))


def test_a_second_crop_is_refused():
    with pytest.raises(UnsupportedProcessor, match="do_center_crop=False, got True"):
        geometry(processor(224, do_center_crop=True, crop_size={"height": 200, "width": 200}))
