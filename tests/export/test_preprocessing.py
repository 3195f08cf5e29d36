"""Pixels and tokens are those of the checkpoints' own transformers processors."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer
from transformers.models.grounding_dino import modeling_grounding_dino
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

from export.checkpoints import SETS, find
from export.pipeline import load
from export.preprocessing import photograph
from export.production import production_pipeline
from fovea import clip, grounding_dino, sam
from fovea.captions import CaptionWriter
from fovea.errors import InvalidText
from fovea.images import Picture
from fovea.tokenizer import PaddedTokenizer
from tests.export.processors import processors

SIZES_HW = [(480, 640), (640, 480), (333, 500), (37, 1000), (1200, 90), (224, 224), (51, 49)]
SIZES_HW += [(1067, 1600), (1080, 1920), (17, 23)]
DEMO = {family: find(family, source) for family, source in SETS["demo"].items()}


@pytest.fixture(scope="module", params=["demo", "production"])
def world(request):
    """A pipeline with the processors it must equal."""
    if request.param == "demo":
        return load(DEMO).pipeline, {f: c.load_image_processor() for f, c in DEMO.items()}
    return production_pipeline(), processors()


def grey_levels(normalized: np.ndarray, spec) -> np.ndarray:
    mean, std = (np.array(v).reshape(3, 1, 1) for v in (spec.mean, spec.std))
    return (np.asarray(normalized) * std + mean) * 255


def assert_one_grey_level(pixels: np.ndarray, expected: np.ndarray) -> None:
    assert pixels.shape == expected.shape
    assert np.abs(pixels - expected).max() <= 1.001


@pytest.mark.parametrize("size_hw", SIZES_HW)
def test_clip_pixels(world, size_hw):
    pipeline, theirs = world
    picture = photograph(size_hw)
    expected = theirs["clip"](picture, return_tensors="np")["pixel_values"][0]
    pixels = clip.preprocess(Picture(picture), pipeline.clip)
    assert_one_grey_level(pixels, grey_levels(expected, pipeline.clip))


@pytest.mark.parametrize("size_hw", SIZES_HW)
def test_grounding_dino_pixels(world, size_hw):
    pipeline, theirs = world
    picture = photograph(size_hw)
    out = theirs["grounding_dino"](picture, return_tensors="np")
    valid = out["pixel_mask"][0].astype(bool)
    height, width = valid.any(axis=1).sum(), valid.any(axis=0).sum()
    pixels, valid_hw = grounding_dino.preprocess(Picture(picture), pipeline.grounding_dino)
    assert valid_hw.tolist() == [height, width]
    expected = grey_levels(out["pixel_values"][0], pipeline.grounding_dino)
    assert_one_grey_level(pixels[:, :height, :width], expected[:, :height, :width])
    assert not pixels[:, height:].any() and not pixels[:, :, width:].any()


@pytest.mark.parametrize("size_hw", SIZES_HW)
def test_sam_pixels(world, size_hw):
    pipeline, theirs = world
    picture = photograph(size_hw)
    out = theirs["sam"](picture, return_tensors="np")
    height, width = (int(edge) for edge in out["reshaped_input_sizes"][0])
    pixels, valid_hw = sam.preprocess(Picture(picture), pipeline.sam)
    assert valid_hw.tolist() == [height, width]
    expected = grey_levels(out["pixel_values"][0], pipeline.sam)
    assert_one_grey_level(pixels[:, :height, :width], expected[:, :height, :width])


WORDS = st.sampled_from(
    ["cat", "a", "red", "van", "snowboarder", "the", "man", "xylophone", "it's"]
)
PHRASES = st.lists(WORDS, min_size=1, max_size=3).map(" ".join)


@given(PHRASES)
def test_clip_tokens_are_those_of_the_checkpoint(phrase):
    spec = load_spec().clip
    theirs = tokenizer("clip")(phrase, padding="max_length", max_length=spec.text_length)
    if len(theirs["input_ids"]) > spec.text_length:
        return
    ids, mask = clip.TextTokens(DEMO["clip"].tokenizer, spec).encode(phrase)
    assert ids.tolist() == theirs["input_ids"]
    assert mask.tolist() == theirs["attention_mask"]


@settings(max_examples=60)
@given(st.lists(PHRASES, min_size=1, max_size=4))
def test_captions_are_those_of_the_checkpoint(phrases):
    spec = load_spec().grounding_dino
    phrases = list(dict.fromkeys(phrases))
    theirs = tokenizer("grounding_dino")(". ".join(phrases) + ".")
    ours = PaddedTokenizer(DEMO["grounding_dino"].tokenizer, spec.pad_token_id)
    writer = CaptionWriter(ours, spec)
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
        torch.tensor(grounding_dino.DELIMITER_IDS),
    )
    assert np.array_equal(tokens.text_self_attention_masks, masks[0].numpy())
    assert np.array_equal(tokens.position_ids, positions[0].numpy())


@pytest.mark.parametrize("size_hw", [(480, 640), (200, 90), (50, 51), (1500, 1000)])
def test_masks_are_upsampled_as_by_the_processor(size_hw):
    spec = production_pipeline().sam
    rng = np.random.default_rng(1)
    low = rng.normal(0, 3, (16, 16)).repeat(16, 0).repeat(16, 1).astype(np.float32)
    reshaped = np.array(SamImageProcessorPil()._get_preprocess_shape(size_hw, spec.image_size))
    theirs = SamImageProcessorPil().post_process_masks(
        torch.from_numpy(low)[None, None, None], [size_hw], [tuple(reshaped.tolist())]
    )
    differing = sam.upsample(low, size_hw, spec) != theirs[0][0, 0].numpy()
    assert differing.mean() < 1e-4


_SPECS = {}


def load_spec():
    if "pipeline" not in _SPECS:
        _SPECS["pipeline"] = load(DEMO).pipeline
    return _SPECS["pipeline"]


def tokenizer(family: str):
    if family not in _SPECS:
        _SPECS[family] = AutoTokenizer.from_pretrained(DEMO[family].folder)
    return _SPECS[family]
