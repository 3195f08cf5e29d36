"""The demo tokenizers know the world's words and handle all others."""

from __future__ import annotations

import string

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("transformers")

from demo.captions import random_caption
from demo.things import INDEX_OF_NAME
from demo.vocabulary import (
    FIXED_BERT_IDS,
    all_words,
    bert_tokenizer,
    bert_vocabulary,
    clip_tokenizer,
)

BERT, CLIP = bert_tokenizer(), clip_tokenizer()
WORDS = st.text(string.ascii_lowercase, min_size=1, max_size=12)


def test_separators_keep_the_ids_that_transformers_expects() -> None:
    vocabulary = bert_vocabulary()
    assert {token: vocabulary[token] for token in FIXED_BERT_IDS} == FIXED_BERT_IDS
    assert sorted(vocabulary.values()) == list(range(len(vocabulary)))


@pytest.mark.parametrize("word", all_words())
def test_a_word_of_the_world_is_one_token(word: str) -> None:
    assert len(BERT(word).input_ids) == 3
    assert len(CLIP(word).input_ids) == 3


@settings(max_examples=50)
@given(word=WORDS)
def test_any_word_can_be_tokenized(word: str) -> None:
    assert BERT.unk_token_id not in BERT(word).input_ids
    ids = CLIP(word).input_ids
    assert ids[-1] == CLIP.eos_token_id and CLIP.eos_token_id not in ids[:-1]


@settings(max_examples=50)
@given(seed=st.integers(0, 10**9))
def test_captions_end_with_a_stop_and_point_at_their_nouns(seed: int) -> None:
    caption = random_caption(np.random.default_rng(seed), [0, 5, 9])
    assert caption.text.endswith(".")
    for start, end, thing in caption.nouns:
        assert INDEX_OF_NAME[caption.text[start:end]] == thing
    assert len(BERT(caption.text).input_ids) <= BERT.model_max_length
