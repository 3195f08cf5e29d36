"""ALIGN's pixels, pooling and scores are those of the checkpoint in transformers."""

import json
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from export import preprocessing, stand_ins
from export.checkpoints import find
from export.errors import InvalidCheckpoint, UnsupportedProcessor
from export.families.align import TEXT_LENGTH, AlignExport
from export.members import MemberExport
from export.preprocessing import PIXEL_TOLERANCE, photograph
from fovea.images import Picture
from fovea.members import Source
from tests.export.embedders import STAND_INS
from tests.export.test_preprocessing import assert_one_grey_level

FOLDER = stand_ins.write("align", "tiny", STAND_INS / "align")["align"]


@pytest.fixture(scope="module")
def checkpoint():
    return find("align", Source(str(FOLDER)))


@pytest.fixture(scope="module")
def opened(checkpoint):
    return MemberExport(checkpoint).open()


@pytest.fixture(scope="module")
def processor(checkpoint):
    return checkpoint.load_image_processor()


@given(st.integers(1, 200), st.integers(1, 200))
def test_pixels_of_any_picture_are_squashed_and_cropped(opened, processor, height, width):
    picture = photograph((height, width))
    theirs = processor(picture, return_tensors="np")["pixel_values"][0]
    pixels, _ = opened.role.geometry.apply(Picture(picture))
    assert_one_grey_level(pixels, (theirs + 1) * 127.5)


def test_values_lie_between_minus_one_and_one(processor):
    normal = AlignExport().normalization(processor)
    assert np.allclose(normal.mean, 0.5) and np.allclose(normal.std, 0.5)


def test_texts_have_the_length_to_which_the_processor_pads(opened):
    assert opened.role.spec.text_length == TEXT_LENGTH == 64


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_pooling_is_over_the_whole_map(tmp_path, pooling):
    folder = configured(tmp_path, vision_config={"pooling_type": pooling})
    found = find("align", Source(str(folder)))
    [image, _] = MemberExport(found).open().networks
    pixels = torch.from_numpy(image.sample(2, 0)["pixel_values"])
    with torch.inference_mode():
        theirs = found.load_model().vision_model(pixels.float() / 127.5 - 1).pooler_output
        ours = image.module(pixels)
    assert torch.allclose(ours, torch.nn.functional.normalize(theirs), atol=1e-5)
    assert (ours[0] - ours[1]).norm() > 0.01


def test_the_scale_of_scores_is_one_over_the_temperature(checkpoint, opened):
    temperature = float(checkpoint.load_model().temperature)
    assert opened.role.spec.logit_scale == pytest.approx(1 / temperature, rel=1e-4)


def configured(tmp_path, **changes):
    folder = shutil.copytree(FOLDER, tmp_path / "changed")
    config = json.loads((folder / "config.json").read_text())
    for name, values in changes.items():
        config[name] |= values
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def processed(tmp_path, **changes):
    folder = shutil.copytree(FOLDER, tmp_path / "processed")
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return find("align", Source(str(folder)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"do_center_crop": False}, "do_center_crop=True, got False"),
        ({"size": {"height": 60, "width": 50}}, "expected a square size, got 60 x 50"),
        ({"size": {"height": 40, "width": 40}}, "a size of at least crop_size=49, got 40"),
        ({"rescale_offsets": True}, "not known here: rescale_offsets=True"),
    ],
)
def test_an_unsupported_processor_is_refused(tmp_path, changes, message):
    with pytest.raises(UnsupportedProcessor, match=message):
        MemberExport(processed(tmp_path, **changes)).open()


@pytest.mark.parametrize(
    "changes",
    [
        {"rescale_offset": False, "rescale_factor": 1 / 255},
        {"do_normalize": True, "image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]},
    ],
)
def test_a_supported_processor_gives_its_pixels(tmp_path, changes):
    found = processed(tmp_path, **changes)
    compared = preprocessing.check(found, MemberExport(found).open().member, {})
    assert compared["grey_levels"] <= PIXEL_TOLERANCE


def test_a_text_model_without_room_is_refused(tmp_path, checkpoint):
    model = checkpoint.load_model()
    model.config.text_config.max_position_embeddings = 32
    with pytest.raises(InvalidCheckpoint, match="text model of 64 tokens or more, got 32"):
        AlignExport().read_spec(checkpoint, model, checkpoint.load_image_processor(), {})
