"""SigLIP's networks, pixels, tokens and scores equal those of the checkpoint in transformers."""

import shutil

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer, SiglipModel
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from demo.train_siglip import FOLDER
from export.checkpoints import find
from export.errors import InvalidCheckpoint, UnsupportedProcessor
from export.families.clip import TEXTS
from export.families.siglip import SiglipExport, read_spec
from export.parity import check_network
from export.preprocessing import PIXEL_TOLERANCE, SIZES_HW, photograph
from export.processor import normalization
from export.to_onnx import to_onnx
from fovea.errors import InvalidText
from fovea.families.siglip import Siglip
from fovea.images import Picture
from fovea.members import Source
from tests.export.test_networks import normalized, tensors
from tests.export.test_preprocessing import PHRASES, grey_levels

MODEL = SiglipModel.from_pretrained(FOLDER).eval().requires_grad_(False)
PROCESSOR = SiglipImageProcessorPil.from_pretrained(FOLDER)
TOKENIZER = AutoTokenizer.from_pretrained(FOLDER)
SPEC = read_spec(MODEL, PROCESSOR, TOKENIZER.pad_token_id)
CHECKPOINT = find("siglip", Source(str(FOLDER)))
ROLE = Siglip("siglip", SPEC)
NORMAL = normalization(PROCESSOR)


@pytest.fixture(scope="module")
def both():
    return SiglipExport().networks(ROLE, MODEL, NORMAL)


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    shutil.copy(FOLDER / "tokenizer.json", ROLE.file(folder, "tokenizer.json"))
    return ROLE.tokens(folder)


@pytest.mark.parametrize("batch", [1, 3])
def test_embeddings_are_those_of_the_model(both, batch):
    pixels, text = tensors(both[0].sample(batch, 0)), tensors(both[1].sample(batch, 1))
    with torch.inference_mode():
        theirs = MODEL(pixel_values=normalized(pixels["pixel_values"], CHECKPOINT), **text)
        assert torch.allclose(both[0].module(**pixels), theirs.image_embeds, atol=1e-5)
        assert torch.allclose(both[1].module(**text), theirs.text_embeds, atol=1e-5)


def test_the_graphs_do_what_the_networks_do(both, tmp_path):
    for network in both:
        path = tmp_path / network.spec.name / "model.onnx"
        to_onnx(network, path)
        agreements = check_network(network, path, max_batch=3)
        assert {agreement.batch for agreement in agreements} == {1, 2, 3}


@pytest.mark.parametrize("size_hw", SIZES_HW)
def test_the_whole_picture_is_squashed_as_by_the_processor(size_hw):
    picture = photograph(size_hw)
    expected = PROCESSOR(picture, return_tensors="np")["pixel_values"][0]
    pixels, _ = ROLE.geometry.apply(Picture(picture))
    assert pixels.shape == expected.shape
    assert np.abs(pixels - grey_levels(expected, PROCESSOR)).max() <= PIXEL_TOLERANCE


@given(PHRASES | st.sampled_from(TEXTS))
def test_tokens_are_those_of_the_checkpoint(tokens, phrase):
    theirs = TOKENIZER(phrase, padding="max_length")["input_ids"]
    if len(theirs) > SPEC.text_length:
        with pytest.raises(InvalidText, match=f"at most {SPEC.text_length} tokens"):
            tokens.encode(phrase)
        return
    assert tokens.encode(phrase)["input_ids"].tolist() == theirs


@given(st.lists(PHRASES, min_size=1, max_size=5))
def test_an_accepted_label_fits(tokens, phrases):
    try:
        tokens.check(phrases)
    except InvalidText:
        return
    for phrase in phrases:
        assert tokens.encode(phrase)["input_ids"].shape == (SPEC.text_length,)


def test_scores_are_the_sigmoid_of_the_models_logits(both, tokens):
    labels = ["cat", "red van", "a photo of a snowboarder"]
    picture = photograph((120, 200))
    given_pixels = PROCESSOR(picture, return_tensors="pt")["pixel_values"]
    text = TOKENIZER(labels, padding="max_length", return_tensors="pt")
    with torch.inference_mode():
        theirs = MODEL(pixel_values=given_pixels, **text).logits_per_image[0].sigmoid().numpy()
        pixels = torch.from_numpy(ROLE.geometry.apply(Picture(picture))[0])[None]
        image = both[0].module(pixels)[0].numpy()
        ids = torch.from_numpy(np.stack([tokens.encode(label)["input_ids"] for label in labels]))
        texts = both[1].module(ids).numpy()
    ours = ROLE.label_scores(image, texts)
    assert np.allclose(ours, theirs, atol=1e-4)
    alone = ROLE.label_scores(image, texts[1:2])
    assert np.array_equal(alone, ours[1:2]), "a label's score depends on the other labels"


def test_a_processor_of_another_size_is_refused():
    other = SiglipImageProcessorPil(size={"height": 96, "width": 128})
    with pytest.raises(InvalidCheckpoint, match=r"96 x 96 pixels, .* 96 x 128"):
        read_spec(MODEL, other, TOKENIZER.pad_token_id)


def test_a_processor_that_crops_is_refused():
    other = SiglipImageProcessorPil(size={"height": 96, "width": 96}, do_center_crop=True)
    with pytest.raises(UnsupportedProcessor, match="do_center_crop=False, got True"):
        read_spec(MODEL, other, TOKENIZER.pad_token_id)
