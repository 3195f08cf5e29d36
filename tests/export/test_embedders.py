"""Embedders in transformers' layout answer like transformers, from the picture to the score."""

import numpy as np
import pytest
import torch

from export import families
from tests.export.embedders import LABELS, PICTURES, serve, spread

# family, checkpoint, and how transformers' pipeline turns logits into scores.
CHECKPOINTS = [
    ("align", "align", "softmax"),
    ("clip", "metaclip", "softmax"),
    ("metaclip_2", "metaclip_2", "softmax"),
    ("siglip", "siglip_sentencepiece", "sigmoid"),
    ("siglip", "siglip_2", "sigmoid"),
]


@pytest.fixture(scope="module", params=CHECKPOINTS, ids=lambda param: param[1])
def given(request, tmp_path_factory):
    family, name, scores = request.param
    return serve(family, name, tmp_path_factory.mktemp(name)), scores


@pytest.fixture(scope="module")
def theirs(given):
    served, _ = given
    family, checkpoint = families.load(served.checkpoint.family), served.checkpoint
    processor, tokenizer = family.load_processor(checkpoint), family.load_tokenizer(checkpoint)
    pixels = processor(list(PICTURES), return_tensors="pt")["pixel_values"]
    length = served.role.spec.text_length
    text = tokenizer(list(LABELS), padding="max_length", max_length=length, return_tensors="pt")
    with torch.inference_mode():
        return family.load_model(checkpoint)(pixel_values=pixels, **text)


def test_vectors_are_those_of_the_model(given, theirs):
    images, texts = given[0].embed_images(), given[0].embed_texts()
    assert np.allclose(images, theirs.image_embeds.numpy(), atol=1e-4)
    assert np.allclose(texts, theirs.text_embeds.numpy(), atol=1e-5)
    assert min(spread(images), spread(texts)) > 0.01


def test_scores_are_those_of_the_models_logits(given, theirs):
    served, function = given
    logits = theirs.logits_per_image
    expected = logits.sigmoid() if function == "sigmoid" else logits.softmax(dim=1)
    assert np.allclose(served.label_scores(), expected.numpy(), atol=1e-3)
