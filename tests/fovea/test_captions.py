"""Labels to captions and back, with the demo checkpoint's own tokenizer."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fovea.captions import DELIMITER_IDS, NO_LABEL, CaptionWriter, words_of
from fovea.errors import InvalidText
from fovea.families.grounding_dino import select_boxes
from fovea.text import bare, caption_form, same_words, surely_fits
from fovea.tokenizer import PaddedTokenizer
from tests.deployments import TINY

TOKENIZER = PaddedTokenizer(Path("demo/checkpoints/grounding_dino/tokenizer.json"), 0)
CLIP_TOKENIZER = PaddedTokenizer(Path("demo/checkpoints/clip/tokenizer.json"), 0)
WRITER = CaptionWriter(TOKENIZER, TINY.member("grounding_dino").spec.text_buckets)

ODD = [
    "t-shirt",
    "man's hat",
    "café",
    "🐱",
    "c++",
    "cat/dog",
    "#1 fan",
    "猫",
    "St. Bernard",
    "what?",
]
ODD += ["Red Car", "[SEP]", "naïve  İstanbul", "'quoted'", "a.b"]


def answer_of(caption, logits):
    """The label index that these logits give for one box."""
    found = select_boxes(
        logits[None],
        np.full((1, 4), 0.5, np.float32),
        caption.token_spans[:, 0],
        (10, 10),
        box_threshold=0,
        nms_iou=1,
        max_boxes=1,
    )
    return found.label_indices.tolist(), found.probabilities


def seen(caption, tokens):
    """Logits that are high at these tokens."""
    return np.where(tokens, 4, -50).astype(np.float32)


@pytest.mark.parametrize("label", ODD)
def test_a_visible_label_is_answered_whatever_its_characters(label):
    caption = WRITER.write({0: "dog", 5: label})
    own = caption.token_spans[:, 0] == 5
    assert own.any()
    assert answer_of(caption, seen(caption, own))[0] == [5]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), max_size=4))
def test_any_labels_are_answered_by_one_of_them_or_refused(labels):
    try:
        caption = WRITER.write(dict(enumerate(labels)))
    except InvalidText as error:
        assert "expected" in str(error)
        return
    if not labels:
        return
    delimiters = np.isin(caption.input_ids, DELIMITER_IDS)
    assert (caption.token_spans[delimiters, 0] == NO_LABEL).all()
    for index, start, end in caption.token_spans[caption.token_spans[:, 0] >= 0].tolist():
        assert 0 <= start < end <= len(labels[index])
    logits = np.random.default_rng(len(labels)).normal(size=len(caption.input_ids))
    [index], _ = answer_of(caption, logits.astype(np.float32))
    assert 0 <= index < len(labels)


def test_equal_labels_are_one_with_the_first_index():
    caption = WRITER.write({0: "dog", 1: "Red Cat", 2: "red  cat."})
    assert set(caption.token_spans[:, 0].tolist()) == {-1, 0, 1}


def test_a_caption_that_is_too_long_says_how_many_labels_fit():
    with pytest.raises(InvalidText, match=r"at most 32 tokens .*the first 10 of 80 labels fit"):
        WRITER.write(dict(enumerate(f"cat{chr(0x4E00 + i)}" for i in range(80))))


def test_a_long_label_is_named():
    WRITER.check(["cat", "cat " * 29])
    with pytest.raises(InvalidText, match=r"label 1 'cat cat .*…': expected at most 32 tokens"):
        WRITER.check(["cat", "cat " * 30])


@pytest.mark.parametrize(
    ("sentence", "scores", "expected"),
    [
        ("The man skiing on his snowboard", {"man": 0.9, "skiing": 0.2}, "man"),
        ("a Red Car and a dog", {"Red": 0.5, "Car": 0.9, "and": 0.8, "dog": 0.7}, "Red Car"),
        ("cars, vans and automobiles", {"cars": 0.8, "vans": 0.9, "automobiles": 0.7}, "vans"),
        ("the dog", {"the": 0.9, "dog": 0.6}, "dog"),
        ("a t-shirt here", {"t-shirt": 0.6}, "t-shirt"),
        ("it is there", {"there": 0.6}, "there"),
        ("a unicorn", {"unicorn": 0.2}, ""),
    ],
)
def test_a_box_answers_whole_words_of_a_sentence(sentence, scores, expected):
    caption = WRITER.write({0: sentence})
    spans = caption.token_spans[caption.token_spans[:, 0] == 0, 1:]
    probabilities = [scores.get(sentence[start:end], 0.1) for start, end in spans.tolist()]
    assert words_of(sentence, spans, np.array(probabilities, np.float32), 0.3) == expected


@given(st.text(st.characters(codec="ascii"), max_size=40), st.integers(1, 30))
def test_a_label_that_surely_fits_has_tokens_and_not_more(label, tokens):
    if surely_fits(label, tokens):
        [piece] = TOKENIZER.pieces([bare(caption_form(label))])
        assert 1 <= len(piece.ids) <= tokens
        assert len(CLIP_TOKENIZER.pieces([same_words(label)])[0].ids) <= tokens
