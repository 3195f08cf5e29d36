"""Tokenizers of the vocabularies that checkpoints have, over single characters."""

from __future__ import annotations

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors


def clip_tokenizer() -> Tokenizer:
    """CLIP's special tokens and vocabulary size over single characters."""
    characters = [chr(code) for code in range(33, 127)]
    words = [*characters, *(f"{character}</w>" for character in characters)]
    start, end = "<|startoftext|>", "<|endoftext|>"
    filler = [f"<|filler{i}|>" for i in range(49406 - len(words))]
    vocabulary = {token: i for i, token in enumerate([*words, *filler, start, end])}
    tokenizer = Tokenizer(models.BPE(vocabulary, [], unk_token=end, end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}",
        special_tokens=[(start, vocabulary[start]), (end, vocabulary[end])],
    )
    return tokenizer


def bert_tokenizer() -> Tokenizer:
    """BERT's special tokens, '.' and '?' at their ids, over single characters."""
    fixed = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 1012: ".", 1029: "?"}
    letters = [chr(code) for code in range(97, 123)] + [chr(code) for code in range(48, 58)]
    words = iter([*letters, *(f"##{letter}" for letter in letters)])
    vocabulary = {}
    for i in range(30522):
        token = fixed.get(i) or (next(words, None) if i > 1029 else None)
        vocabulary[token or f"[unused{i}]"] = i
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 101), ("[SEP]", 102)]
    )
    return tokenizer
