import pytest
from hypothesis import given
from hypothesis import strategies as st

from fovea.errors import InvalidText
from fovea.limits import Limits
from fovea.text import bare, caption_form, decode_labels, decode_text, split_phrases

LIMITS = Limits()


def test_phrases_of_one_string_are_split_as_written_and_each_kept_once():
    assert split_phrases("A Cat.  dog! . A Cat.", LIMITS) == ["A Cat", "dog!"]


@pytest.mark.parametrize("text", ["", " ", "...", " .  . "])
def test_no_phrase_is_refused(text):
    with pytest.raises(InvalidText, match="expected at least one phrase"):
        split_phrases(text, LIMITS)


@pytest.mark.parametrize("number", [80, 1203])
def test_the_labels_of_coco_and_of_lvis_are_taken(number):
    labels = [f"thing {i}" for i in range(number)]
    assert split_phrases(". ".join(labels), LIMITS) == labels
    assert decode_labels([label.encode() for label in labels], LIMITS) == labels


def test_too_many_labels_are_refused():
    with pytest.raises(InvalidText, match="expected at most 2048 labels, got 2049"):
        decode_labels([b"x"] * 2049, LIMITS)
    with pytest.raises(InvalidText, match="at most 65536 bytes, got 66000"):
        decode_labels([b"x" * 1000] * 66, LIMITS)
    with pytest.raises(InvalidText, match="at least one label"):
        decode_labels([], LIMITS)


@pytest.mark.parametrize(
    ("element", "expected"),
    [
        (b"\xff\xfe", "label 1: expected UTF-8"),
        (b"cat\0", "label 1: .*control characters"),
        (b"a" * 2001, "label 1: .*at most 2000 characters, got 2001"),
        (b"a" * 60_000, "label 1: .*at most 2000 characters, got 60000 bytes"),
        (b" \n", "label 1 .*expected words, got none"),
        (b"?! .", r"label 1 '\?! \.': expected words, got none"),
    ],
)
def test_a_wrong_label_is_named_by_its_index(element, expected):
    with pytest.raises(InvalidText, match=expected):
        decode_labels([b"cat", element], LIMITS)


def test_text_that_is_too_long_or_not_utf8_is_refused():
    with pytest.raises(InvalidText, match="at most 2000 characters, got 2001"):
        decode_text(b"a" * 2001, LIMITS)
    with pytest.raises(InvalidText, match="expected UTF-8"):
        decode_text(b"\xff\xfe", LIMITS)


@given(st.text(max_size=60))
def test_in_a_caption_characters_keep_their_places_and_none_separates(label):
    form = caption_form(label)
    assert len(form) == len(label)
    assert not set(".?") & set(form)
    assert bare(form) in form
