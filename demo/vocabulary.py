"""The demo checkpoints' own tokenizers, built from the words of the demo world."""

from __future__ import annotations

import string
from collections import Counter
from itertools import pairwise

from transformers import BertTokenizer, CLIPTokenizer
from transformers.convert_slow_tokenizer import bytes_to_unicode

from demo.things import THINGS
from demo.words import FILLERS

# transformers' GroundingDINO knows its separators by these ids of BERT's vocabulary.
FIXED_BERT_IDS = {
    "[PAD]": 0,
    "[UNK]": 100,
    "[CLS]": 101,
    "[SEP]": 102,
    "[MASK]": 103,
    ".": 1012,
    "?": 1029,
}
BERT_MAX_TOKENS = 64
CLIP_MAX_TOKENS = 16
START, END = "<|startoftext|>", "<|endoftext|>"
END_OF_WORD = "</w>"


def all_words() -> tuple[str, ...]:
    """Every word of the world, each once, things first."""
    names = [name for thing in THINGS for name in thing.names]
    return tuple(dict.fromkeys((*names, *FILLERS)))


def bert_vocabulary() -> dict[str, int]:
    """Token to id: fixed ids, all ASCII characters (also as continuations), then the words."""
    ascii_marks = [c for c in string.printable if not c.isspace() and not c.isupper()]
    tokens = [*ascii_marks, *(f"##{c}" for c in ascii_marks), *all_words()]
    tokens = [t for t in dict.fromkeys(tokens) if t not in FIXED_BERT_IDS]
    vocabulary = dict(FIXED_BERT_IDS)
    taken = set(FIXED_BERT_IDS.values())
    free = (i for i in range(max(FIXED_BERT_IDS["[MASK]"], 0) + 1, 100_000) if i not in taken)
    vocabulary |= dict(zip(tokens, free, strict=False))
    for index in range(max(vocabulary.values())):
        if index not in set(vocabulary.values()):
            vocabulary[f"[unused{index}]"] = index
    return dict(sorted(vocabulary.items(), key=lambda item: item[1]))


def bert_tokenizer() -> BertTokenizer:
    """GroundingDINO's tokenizer."""
    return BertTokenizer(
        vocab=bert_vocabulary(), do_lower_case=True, model_max_length=BERT_MAX_TOKENS
    )


def _merged(pieces: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    result: list[str] = []
    for piece in pieces:
        if result and (result[-1], piece) == pair:
            result[-1] += piece
        else:
            result.append(piece)
    return tuple(result)


def clip_merges() -> list[tuple[str, str]]:
    """Byte-pair merges, most frequent pair first, until every word of the world is one token."""
    words = [(*word[:-1], word[-1] + END_OF_WORD) for word in all_words()]
    merges: list[tuple[str, str]] = []
    while counts := Counter(pair for w in words for pair in pairwise(w)):
        best = max(counts, key=lambda pair: (counts[pair], pair))
        merges.append(best)
        words = [_merged(word, best) for word in words]
    return merges


def clip_vocabulary(merges: list[tuple[str, str]]) -> dict[str, int]:
    """Token to id, in CLIP's order: bytes, bytes that end a word, merges, start, end."""
    byte_marks = list(bytes_to_unicode().values())
    tokens = [*byte_marks, *(mark + END_OF_WORD for mark in byte_marks)]
    tokens += [a + b for a, b in merges]
    tokens += [START, END]
    return {token: index for index, token in enumerate(dict.fromkeys(tokens))}


def clip_tokenizer() -> CLIPTokenizer:
    """CLIP's tokenizer; the end token also pads, as in OpenAI's checkpoints."""
    merges = clip_merges()
    return CLIPTokenizer(
        vocab=clip_vocabulary(merges), merges=merges, model_max_length=CLIP_MAX_TOKENS
    )
