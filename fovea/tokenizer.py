"""Reads the checkpoint's own tokenizer.json."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from fovea import text
from fovea.errors import InvalidText


@dataclass(frozen=True)
class Piece:
    """Tokens of a text without special ones: their ids, and their characters [start, end)."""

    ids: list[int]
    offsets: list[tuple[int, int]]


class PaddedTokenizer:
    """A tokenizer, or its tokenizer.json, whose sequences are padded to fixed lengths."""

    def __init__(self, tokenizer: Path | Tokenizer, pad_token_id: int) -> None:
        self._tokenizer = (
            Tokenizer.from_file(str(tokenizer)) if isinstance(tokenizer, Path) else tokenizer
        )
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self.pad_token_id = pad_token_id

    def encode(self, value: str) -> list[int]:
        """Token ids with the checkpoint's own special tokens, unpadded."""
        return list(self._tokenizer.encode(value).ids)

    def pieces(self, texts: Sequence[str]) -> list[Piece]:
        """Tokens of each text, without special tokens."""
        encoded = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [Piece(list(one.ids), list(one.offsets)) for one in encoded]

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """The number of tokens of each text, special tokens included."""
        return [len(encoding.ids) for encoding in self._tokenizer.encode_batch(list(texts))]

    def pad(self, ids: list[int], length: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """input_ids and attention_mask, both int64 [length]."""
        input_ids = np.full(length, self.pad_token_id, np.int64)
        attention_mask = np.zeros(length, np.int64)
        input_ids[: len(ids)] = ids
        attention_mask[: len(ids)] = 1
        return input_ids, attention_mask


class FixedLengthTexts:
    """Texts as tokens of a tokenizer.json, all of one length; longer ones are refused.

    special_tokens: how many come with each text's tokens. mask: whether the network takes a mask of
    the padding.
    """

    def __init__(
        self,
        path: Path,
        pad_token_id: int,
        length: int,
        special_tokens: int,
        *,
        mask: bool = True,
    ) -> None:
        self._tokenizer = PaddedTokenizer(path, pad_token_id)
        self._length, self._room = length, length - special_tokens
        self._mask = mask

    def encode(self, value: str) -> dict[str, NDArray[Any]]:
        """input_ids and, if `mask`, attention_mask, int64 [T] each; raises InvalidText."""
        if not value.strip():
            raise InvalidText("expected text, got none")
        ids = self._tokenizer.encode(value)
        if len(ids) > self._length:
            raise InvalidText(f"expected at most {self._length} tokens, got {len(ids)}")
        input_ids, attention_mask = self._tokenizer.pad(ids, self._length)
        masks = {"attention_mask": attention_mask} if self._mask else {}
        return {"input_ids": input_ids, **masks}

    def check(self, labels: Sequence[str]) -> None:
        """Raise InvalidText unless each label fits; see `text.same_words`."""
        unsure = {
            index: label
            for index, label in enumerate(labels)
            if not text.surely_fits(label, self._room)
        }
        lengths = self._tokenizer.lengths([text.same_words(label) for label in unsure.values()])
        for index, length in zip(unsure, lengths, strict=True):
            if length > self._length:
                named = text.name_label(index, labels[index])
                raise InvalidText(f"{named}: expected at most {self._length} tokens, got {length}")
