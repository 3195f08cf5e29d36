"""GroundingDINO's caption of labels, and which label and which of its words a box answers.

Every token of a caption knows its label and its word in that label. A box is named by the requested
label with the most probable token, so nothing else can come back.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fovea import text
from fovea.errors import InvalidText
from fovea.tokenizer import PaddedTokenizer, Piece

# Fixed in transformers' GroundingDinoModel, whatever the vocabulary: [CLS], [SEP], '.', '?'.
DELIMITER_IDS = (101, 102, 1012, 1029)

# Stands for a label's index, for tokens without a label.
NO_LABEL = -1

_NO_SPAN = (NO_LABEL, 0, 0)
DELIMITERS = frozenset(DELIMITER_IDS)
# [CLS], [SEP], and the '.' after a label.
SPECIAL_TOKENS = 3
_WORD = re.compile(r"\w+(?:[-'’]\w+)*|[^\w\s]")

# Words that stand between the things of an English sentence, and never name one.
_FUNCTION_WORDS = """
a an the this that these those and or nor but with without of in on at by to for from as into onto
over under near beside behind between before after above below next front is are was were be been
being has have had his her its their my your our he she it they we you who which what where there
here some any each every no not
"""
FUNCTION_WORDS = frozenset(_FUNCTION_WORDS.split())


@dataclass(frozen=True)
class Caption:
    """A tokenized caption of T tokens, as the network takes it.

    input_ids, attention_mask, position_ids: int64 [T]; text_self_attention_masks: bool [T, T].
    token_spans, for naming boxes: int32 [T, 3], the index of each token's label (-1: none), and the
    characters [start, end) of its word in that label.
    """

    input_ids: NDArray[np.int64]
    attention_mask: NDArray[np.int64]
    position_ids: NDArray[np.int64]
    text_self_attention_masks: NDArray[np.bool_]
    token_spans: NDArray[np.int32]


class CaptionWriter:
    """Writes labels as a caption for a checkpoint's tokenizer."""

    def __init__(self, tokenizer: PaddedTokenizer, text_buckets: tuple[int, ...]) -> None:
        self._tokenizer = tokenizer
        self._text_buckets = text_buckets
        self._start, self._end = tokenizer.encode("")
        [self._period] = tokenizer.pieces(["."])[0].ids
        self._room = text_buckets[-1]

    def write(self, labels: Mapping[int, str]) -> Caption:
        """The caption of labels by index, "cat. dog.", padded to the smallest bucket that holds it.

        It ends with '.', since padding changes the boxes otherwise. Labels with the same words
        share their tokens, which carry the first one's index. Raises InvalidText for a label
        without tokens, and if no bucket holds the caption.
        """
        ids, spans = [self._start], [_NO_SPAN]
        written: set[str] = set()
        fitting = 0
        pieces = self._pieces(labels)
        for (index, label), (form, piece) in zip(labels.items(), pieces, strict=True):
            if (words := text.same_words(form)) not in written:
                written.add(words)
                ids += [*piece.ids, self._period]
                spans += [(index, *word) for word in _words(label, form, piece.offsets)]
                spans += [_NO_SPAN]
            fitting += len(ids) < self._room
        ids, spans = [*ids, self._end], [*spans, _NO_SPAN]
        if fitting < len(labels):
            raise InvalidText(
                f"expected at most {self._room} tokens in the caption of all labels, got "
                f"{len(ids)}: the first {fitting} of {len(labels)} labels fit"
            )
        return self._padded(ids, spans)

    def check(self, labels: Sequence[str]) -> None:
        """Raise InvalidText unless each label fits into a caption alone."""
        room = self._room - SPECIAL_TOKENS
        unsure = {i: label for i, label in enumerate(labels) if not text.surely_fits(label, room)}
        for index, (_, piece) in zip(unsure, self._pieces(unsure), strict=True):
            tokens = len(piece.ids) + SPECIAL_TOKENS
            if tokens > self._room:
                named = text.name_label(index, labels[index])
                raise InvalidText(f"{named}: expected at most {self._room} tokens, got {tokens}")

    def _pieces(self, labels: Mapping[int, str]) -> list[tuple[str, Piece]]:
        """Each label's form in a caption, and its tokens."""
        forms = [text.bare(text.caption_form(label)) for label in labels.values()]
        pieces = self._tokenizer.pieces(forms)
        for (index, label), piece in zip(labels.items(), pieces, strict=True):
            if not piece.ids or not DELIMITERS.isdisjoint(piece.ids):
                raise InvalidText(f"{text.name_label(index, label)}: expected words, got none")
        return list(zip(forms, pieces, strict=True))

    def _padded(self, ids: list[int], spans: list[tuple[int, int, int]]) -> Caption:
        length = next(bucket for bucket in self._text_buckets if bucket >= len(ids))
        input_ids, attention_mask = self._tokenizer.pad(ids, length)
        masks, position_ids = text_self_attention(input_ids)
        token_spans = np.full((length, 3), _NO_SPAN, np.int32)
        token_spans[: len(spans)] = spans
        return Caption(input_ids, attention_mask, position_ids, masks, token_spans)


def _words(label: str, form: str, offsets: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """For each token of `form`, a string within the label, the label's word that holds it."""
    shift = text.caption_form(label).index(form)
    words = [match.span() for match in _WORD.finditer(label)]
    found = []
    for start, end in offsets:
        place = start + shift
        inside = (word for word in words if word[0] <= place < word[1])
        found.append(next(inside, (place, end + shift)))
    return found


def words_of(
    label: str,
    words: NDArray[np.int32],
    probabilities: NDArray[np.float32],
    threshold: float,
) -> str:
    """The words of a label that a box answers, as they are written there.

    The most probable word and its neighbours, all above the threshold; function words and
    punctuation end them. Empty if there are none.

    words: [K, 2], for each of the label's tokens. probabilities: [K].
    """
    scores: dict[tuple[int, int], float] = {}
    for (start, end), score in zip(words.tolist(), probabilities.tolist(), strict=True):
        scores[start, end] = max(score, scores.get((start, end), 0.0))
    naming = {span: score for span, score in scores.items() if _can_name(label[slice(*span)])}
    naming = naming or scores
    if max(naming.values()) <= threshold:
        return ""
    spans = list(naming)
    first = last = spans.index(max(naming, key=lambda span: naming[span]))

    def joined(left: int, right: int, added: int) -> bool:
        between = label[spans[left][1] : spans[right][0]]
        return naming[spans[added]] > threshold and not between.strip()

    while first > 0 and joined(first - 1, first, first - 1):
        first -= 1
    while last + 1 < len(spans) and joined(last, last + 1, last + 1):
        last += 1
    return label[spans[first][0] : spans[last][1]]


def _can_name(word: str) -> bool:
    return word.lower() not in FUNCTION_WORDS and any(map(str.isalnum, word))


def text_self_attention(
    input_ids: NDArray[np.int64],
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Which tokens attend to each other (those of one phrase), and positions within phrases.

    input_ids [T] -> masks bool [T, T], position_ids int64 [T]. Equals transformers'
    `generate_masks_with_special_tokens_and_transfer_map`, whose operators ONNX lacks.
    """
    length = len(input_ids)
    masks = np.eye(length, dtype=np.bool_)
    position_ids = np.zeros(length, np.int64)
    previous = -1
    for column in np.flatnonzero(np.isin(input_ids, DELIMITER_IDS)).tolist():
        phrase = slice(previous + 1, column + 1)
        if column not in (0, length - 1):
            masks[phrase, phrase] = True
            position_ids[phrase] = np.arange(column - previous)
        previous = column
    return masks, position_ids
