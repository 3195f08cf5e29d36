"""Tokenizers with the special tokens of real checkpoints, over single characters."""

from __future__ import annotations

from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE, WordPiece
from transformers import XLMRobertaTokenizer
from transformers.convert_slow_tokenizer import bytes_to_unicode

CLIP_START, CLIP_END = "<|startoftext|>", "<|endoftext|>"


def clip_tokenizer() -> Tokenizer:
    """CLIP's special tokens and vocabulary size over single characters."""
    characters = [chr(code) for code in range(33, 127)]
    words = [*characters, *(f"{character}</w>" for character in characters)]
    filler = [f"<|filler{i}|>" for i in range(49406 - len(words))]
    vocabulary = {token: i for i, token in enumerate([*words, *filler, CLIP_START, CLIP_END])}
    tokenizer = Tokenizer(BPE(vocabulary, [], unk_token=CLIP_END, end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{CLIP_START} $A {CLIP_END}",
        special_tokens=[(token, vocabulary[token]) for token in (CLIP_START, CLIP_END)],
    )
    return tokenizer


def clip_bpe(tokens: int = 0) -> BPE:
    """CLIP's byte pairs: all bytes, each also at the end of a word, and a few merges.

    tokens: the least number of them.
    """
    merges = [("c", "a"), ("ca", "t</w>"), ("p", "h"), ("o", "t"), ("ph", "ot")]
    alphabet = list(bytes_to_unicode().values())
    words = [*alphabet, *(f"{byte}</w>" for byte in alphabet), *(a + b for a, b in merges)]
    words += [f"<|filler{i}|>" for i in range(tokens - len(words) - 2)]
    vocabulary = {token: i for i, token in enumerate([*words, CLIP_START, CLIP_END])}
    return BPE(vocabulary, merges)


def xlm_roberta_tokenizer(tokens: int = 0) -> XLMRobertaTokenizer:
    """XLM-R's special tokens and one-character pieces, filled up to `tokens` tokens."""
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    pieces = ["▁", "▁a", "▁photo", *(chr(code) for code in (*range(33, 127), *range(0xE0, 0xFF)))]
    filler = [f"<filler{i}>" for i in range(tokens - len(special) - len(pieces) - 1)]
    # As in SentencePiece's own lists, later pieces are less likely.
    scores = [(piece, -1.0 - i / 100) for i, piece in enumerate([*pieces, *filler])]
    vocabulary = [*((token, 0.0) for token in special), *scores, ("<mask>", 0.0)]
    return XLMRobertaTokenizer(vocab=vocabulary)


def bert_tokenizer() -> Tokenizer:
    """BERT's special tokens, '.' and '?' at their ids, over single characters."""
    fixed = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 1012: ".", 1029: "?"}
    letters = [chr(code) for code in range(97, 123)] + [chr(code) for code in range(48, 58)]
    words = iter([*letters, *(f"##{letter}" for letter in letters)])
    vocabulary = {}
    for i in range(30522):
        token = fixed.get(i) or (next(words, None) if i > 1029 else None)
        vocabulary[token or f"[unused{i}]"] = i
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 101), ("[SEP]", 102)]
    )
    return tokenizer
