"""Phrases and captions, and the checkpoint's own tokenizer.json."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from fovea.errors import InvalidText
from fovea.limits import Limits

_EDGE_PUNCTUATION = " \t\r\n!?,;:\"'"


def decode_text(raw: bytes, limits: Limits) -> str:
    """UTF-8 bytes of a TEXT tensor as str; InvalidText if too long or not UTF-8."""
    if len(raw) > 4 * limits.text_chars:
        raise InvalidText(f"expected at most {limits.text_chars} characters, got {len(raw)} bytes")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidText(f"expected UTF-8 text, got {raw[:20]!r}") from error
    if len(text) > limits.text_chars:
        raise InvalidText(
            f"expected at most {limits.text_chars} characters, got {len(text)} characters"
        )
    return text


def split_phrases(text: str, limits: Limits) -> list[str]:
    """Phrases of "a cat. a dog." in lower case, each once, in the order given.

    Phrases are separated by '.', as in GroundingDINO's captions. Raises InvalidText when there
    is none, or more than `limits.phrases`.
    """
    parts = (" ".join(part.lower().split()).strip(_EDGE_PUNCTUATION) for part in text.split("."))
    phrases = list(dict.fromkeys(part for part in parts if part))
    if not phrases:
        raise InvalidText(f"expected at least one phrase such as 'cat. dog.', got {text[:40]!r}")
    if len(phrases) > limits.phrases:
        raise InvalidText(f"expected at most {limits.phrases} phrases, got {len(phrases)}")
    return phrases


def caption(phrases: list[str]) -> str:
    """GroundingDINO's caption, "cat. dog.": it must end with '.', or padding changes the boxes."""
    return ". ".join(phrases) + "."


class PaddedTokenizer:
    """A tokenizer.json whose sequences are padded to fixed lengths."""

    def __init__(self, path: Path, pad_token_id: int) -> None:
        self._tokenizer = Tokenizer.from_file(str(path))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self.pad_token_id = pad_token_id

    def encode(self, text: str) -> list[int]:
        """Token ids with the checkpoint's own special tokens, unpadded."""
        return list(self._tokenizer.encode(text).ids)

    def decode(self, ids: list[int]) -> str:
        return str(self._tokenizer.decode(ids)).strip()

    def pad(self, ids: list[int], length: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """input_ids and attention_mask, both int64 [length]."""
        input_ids = np.full(length, self.pad_token_id, np.int64)
        attention_mask = np.zeros(length, np.int64)
        input_ids[: len(ids)] = ids
        attention_mask[: len(ids)] = 1
        return input_ids, attention_mask
