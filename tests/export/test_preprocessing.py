"""Pixels and tokens are those of the checkpoints' own transformers processors."""

from functools import lru_cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.grounding_dino import modeling_grounding_dino
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

from demo import clip_config
from export.checkpoints import find
from export.deployments import read_deployment
from export.families.clip import read_spec
from export.members import MemberExport
from export.preprocessing import photograph
from export.processor import normalization
from export.production import production_deployment
from fovea.captions import DELIMITER_IDS, CaptionWriter
from fovea.errors import InvalidText
from fovea.families import sam
from fovea.families.clip import Clip, ClipTokens
from fovea.images import Picture
from fovea.members import Member
from fovea.tokenizer import PaddedTokenizer
from tests.export.processors import processors

SIZES_HW = [(480, 640), (640, 480), (333, 500), (37, 1000), (1200, 90), (224, 224), (51, 49)]
SIZES_HW += [(1067, 1600), (1080, 1920), (17, 23)]
DEMO = {name: find(name, source) for name, source in read_deployment("demo").members.items()}


@pytest.fixture(scope="module", params=["demo", "production"])
def world(request):
    """Each member's geometry, and the processor that it must equal."""
    if request.param == "demo":
        members = [member(name) for name in DEMO]
        theirs = {name: checkpoint.load_image_processor() for name, checkpoint in DEMO.items()}
    else:
        members, theirs = production_deployment().members, processors()
    return {one.name: one.play().geometry for one in members}, theirs


def grey_levels(normalized: np.ndarray, processor) -> np.ndarray:
    normal = normalization(processor)
    mean, std = (np.array(v).reshape(3, 1, 1) for v in (normal.mean, normal.std))
    return (np.asarray(normalized) * std + mean) * 255


def assert_one_grey_level(pixels: np.ndarray, expected: np.ndarray) -> None:
    assert pixels.shape == expected.shape
    assert np.abs(pixels - expected).max() <= 1.001


@pytest.mark.parametrize("size_hw", SIZES_HW)
def test_clip_pixels(world, size_hw):
    geometries, theirs = world
    picture = photograph(size_hw)
    expected = theirs["clip"](picture, return_tensors="np")["pixel_values"][0]
    pixels, valid_hw = geometries["clip"].apply(Picture(picture))
    assert_one_grey_level(pixels, grey_levels(expected, theirs["clip"]))
    assert tuple(valid_hw) == pixels.shape[1:]


@pytest.mark.parametrize("size_hw", [(480, 640), (333, 500), (37, 1000), (17, 23)])
@pytest.mark.parametrize(
    ("squashed_hw", "crop"), [((96, 96), False), ((96, 96), True), ((128, 96), True)]
)
def test_pixels_of_a_clip_that_squashes_its_pictures(size_hw, squashed_hw, crop):
    theirs = CLIPImageProcessorPil(
        size=dict(zip(("height", "width"), squashed_hw, strict=True)),
        crop_size={"height": 96, "width": 96},
        do_center_crop=crop,
    )
    picture = photograph(size_hw)
    spec = read_spec(clip_config.model_config(), theirs, 0, 100.0)
    pixels, _ = Clip("clip", spec).geometry.apply(Picture(picture))
    expected = theirs(picture, return_tensors="np")["pixel_values"][0]
    assert_one_grey_level(pixels, grey_levels(expected, theirs))


@pytest.mark.parametrize("size_hw", SIZES_HW)
def test_grounding_dino_pixels(world, size_hw):
    geometries, theirs = world
    picture = photograph(size_hw)
    out = theirs["grounding_dino"](picture, return_tensors="np")
    valid = out["pixel_mask"][0].astype(bool)
    height, width = valid.any(axis=1).sum(), valid.any(axis=0).sum()
    pixels, valid_hw = geometries["grounding_dino"].apply(Picture(picture))
    assert valid_hw.tolist() == [height, width]
    expected = grey_levels(out["pixel_values"][0], theirs["grounding_dino"])
    assert_one_grey_level(pixels[:, :height, :width], expected[:, :height, :width])
    assert not pixels[:, height:].any() and not pixels[:, :, width:].any()


@pytest.mark.parametrize("size_hw", SIZES_HW)
def test_sam_pixels(world, size_hw):
    geometries, theirs = world
    picture = photograph(size_hw)
    out = theirs["sam"](picture, return_tensors="np")
    height, width = (int(edge) for edge in out["reshaped_input_sizes"][0])
    pixels, valid_hw = geometries["sam"].apply(Picture(picture))
    assert valid_hw.tolist() == [height, width]
    expected = grey_levels(out["pixel_values"][0], theirs["sam"])
    assert_one_grey_level(pixels[:, :height, :width], expected[:, :height, :width])
    assert not pixels[:, height:].any() and not pixels[:, :, width:].any()


WORDS = st.sampled_from(
    ["cat", "a", "red", "van", "snowboarder", "the", "man", "xylophone", "it's"]
)
PHRASES = st.lists(WORDS, min_size=1, max_size=3).map(" ".join)


@given(PHRASES)
def test_clip_tokens_are_those_of_the_checkpoint(phrase):
    spec = member("clip").spec
    theirs = tokenizer("clip")(phrase, padding="max_length", max_length=spec.text_length)
    if len(theirs["input_ids"]) > spec.text_length:
        return
    ours = ClipTokens(DEMO["clip"].folder / "tokenizer.json", spec).encode(phrase)
    assert {name: array.tolist() for name, array in ours.items()} == {
        name: theirs[name] for name in ("input_ids", "attention_mask")
    }


@settings(max_examples=60)
@given(st.lists(PHRASES, min_size=1, max_size=4))
def test_captions_are_those_of_the_checkpoint(phrases):
    spec = member("grounding_dino").spec
    phrases = list(dict.fromkeys(phrases))
    theirs = tokenizer("grounding_dino")(". ".join(phrases) + ".")
    ours = PaddedTokenizer(DEMO["grounding_dino"].read_tokenizer(), spec.pad_token_id)
    writer = CaptionWriter(ours, spec.text_buckets)
    length = len(theirs["input_ids"])
    if length > max(spec.text_buckets):
        with pytest.raises(InvalidText):
            writer.write(dict(enumerate(phrases)))
        return
    tokens = writer.write(dict(enumerate(phrases)))
    assert tokens.input_ids[:length].tolist() == theirs["input_ids"]
    assert tokens.attention_mask.tolist() == [1] * length + [0] * (len(tokens.input_ids) - length)
    masks, positions = modeling_grounding_dino.generate_masks_with_special_tokens_and_transfer_map(
        torch.from_numpy(tokens.input_ids)[None],
        torch.tensor(DELIMITER_IDS),
    )
    assert np.array_equal(tokens.text_self_attention_masks, masks[0].numpy())
    assert np.array_equal(tokens.position_ids, positions[0].numpy())


@pytest.mark.parametrize("size_hw", [(480, 640), (200, 90), (50, 51), (1500, 1000)])
def test_masks_are_upsampled_as_by_the_processor(size_hw):
    size = production_deployment().member("sam").spec.image_size
    rng = np.random.default_rng(1)
    low = rng.normal(0, 3, (16, 16)).repeat(16, 0).repeat(16, 1).astype(np.float32)
    reshaped = np.array(SamImageProcessorPil()._get_preprocess_shape(size_hw, size))
    theirs = SamImageProcessorPil().post_process_masks(
        torch.from_numpy(low)[None, None, None], [size_hw], [tuple(reshaped.tolist())]
    )
    differing = sam.upsample(low, size_hw, size) != theirs[0][0, 0].numpy()
    assert differing.mean() < 1e-4


@lru_cache(None)
def member(name: str) -> Member:
    return MemberExport(DEMO[name]).open().member


@lru_cache(None)
def tokenizer(name: str):
    return AutoTokenizer.from_pretrained(DEMO[name].folder)
