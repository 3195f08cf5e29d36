"""How a picture becomes a network's pixels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fovea.geometry import Geometry
from fovea.images import BILINEAR, Picture

CROP = Geometry("shortest_edge", (36,), (32, 32), int(BILINEAR), crop=True)
LONGEST = Geometry("longest_edge", (64,), (64, 64), int(BILINEAR))
ASPECT = Geometry("aspect", (48, 64), (64, 64), int(BILINEAR))
SQUASH = Geometry("squash", (40, 56), (40, 56), int(BILINEAR))
ALL = (CROP, LONGEST, ASPECT, SQUASH)


@given(st.integers(1, 300), st.integers(1, 300), st.sampled_from(ALL))
def test_any_picture_fills_the_part_that_is_said_to_be_valid(height, width, geometry):
    picture = Picture(Image.new("RGB", (width, height), (255, 255, 255)))
    pixels, valid_hw = geometry.apply(picture)
    assert pixels.dtype == np.uint8
    assert pixels.shape == geometry.pixels.shape == (3, *geometry.output_hw)
    rows, columns = valid_hw.tolist()
    assert (pixels[:, :rows, :columns] == 255).all()
    assert not pixels[:, rows:].any() and not pixels[:, :, columns:].any()


@pytest.mark.parametrize(
    ("geometry", "size_hw", "resized", "valid"),
    [
        (CROP, (72, 144), (36, 72), [32, 32]),
        (LONGEST, (72, 144), (32, 64), [32, 64]),
        (ASPECT, (72, 144), (32, 64), [32, 64]),
        (ASPECT, (72, 90), (48, 60), [48, 60]),
        (SQUASH, (72, 144), (40, 56), [40, 56]),
    ],
)
def test_each_rule_gives_the_size_that_it_says(geometry, size_hw, resized, valid):
    assert geometry.resized_hw(size_hw) == resized
    picture = Picture(Image.new("RGB", size_hw[::-1]))
    assert geometry.apply(picture)[1].tolist() == valid


def test_different_geometries_have_different_tensors():
    others = [Geometry("longest_edge", (64,), (64, 64), int(Image.Resampling.BICUBIC)), *ALL]
    assert len({geometry.pixels.name for geometry in others}) == len(others)
    assert LONGEST.pixels.name == "pixels_longest_edge_64_to_64x64_bilinear"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (("fit", (64,), (64, 64), 2), "expected a rule of shortest_edge"),
        (("aspect", (64,), (64, 64), 2), "aspect: expected 2 edges"),
        (("shortest_edge", (64,), (32, 64), 2, True), "square crop"),
    ],
)
def test_an_invalid_geometry_is_refused(fields, said):
    with pytest.raises(ValueError, match=said):
        Geometry(*fields)
