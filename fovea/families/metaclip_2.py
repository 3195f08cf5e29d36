"""MetaCLIP 2: CLIP for texts in any language, with XLM-R's tokens."""

from __future__ import annotations

from pathlib import Path

from fovea.families.clip import Clip
from fovea.roles import TOKENIZER
from fovea.tokenizer import FixedLengthTexts

# A text's start and end, and SentencePiece's mark of a word's start, which stands for no
# character.
SPECIAL_TOKENS = 3


class MetaClip2(Clip):
    """CLIP with other tokens."""

    def tokens(self, folder: Path) -> FixedLengthTexts:
        spec, path = self.spec, self.file(folder, TOKENIZER)
        return FixedLengthTexts(path, spec.pad_token_id, spec.text_length, SPECIAL_TOKENS)
