import pytest
from hypothesis import given
from hypothesis import strategies as st

from fovea.errors import InvalidText
from fovea.limits import Limits
from fovea.text import caption, decode_text, split_phrases

LIMITS = Limits()


def test_phrases_are_split_lowered_and_each_kept_once():
    assert split_phrases("A Cat.  dog! . a  cat.", LIMITS) == ["a cat", "dog"]


def test_the_caption_ends_with_a_period():
    assert caption(["cat", "red van"]) == "cat. red van."


@pytest.mark.parametrize("text", ["", " ", "...", " . ! ."])
def test_no_phrase_is_refused(text):
    with pytest.raises(InvalidText, match="expected at least one phrase"):
        split_phrases(text, LIMITS)


def test_too_many_phrases_are_refused():
    text = ". ".join(f"thing {i}" for i in range(65))
    with pytest.raises(InvalidText, match="expected at most 64 phrases, got 65"):
        split_phrases(text, LIMITS)


def test_text_that_is_too_long_or_not_utf8_is_refused():
    with pytest.raises(InvalidText, match="at most 2000 characters, got 2001"):
        decode_text(b"a" * 2001, LIMITS)
    with pytest.raises(InvalidText, match="expected UTF-8"):
        decode_text(b"\xff\xfe", LIMITS)


@given(st.text(max_size=200))
def test_splitting_a_caption_gives_its_phrases_again(text):
    try:
        phrases = split_phrases(text, LIMITS)
    except InvalidText:
        return
    assert split_phrases(caption(phrases), LIMITS) == phrases
