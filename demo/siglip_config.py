"""The shape of the demo SigLIP, its tokenizer, and its processor."""

from __future__ import annotations

import string

from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers import decoders as token_decoders
from tokenizers.models import Unigram
from transformers import (
    PreTrainedTokenizerFast,
    SiglipConfig,
    SiglipProcessor,
    SiglipTextConfig,
    SiglipVisionConfig,
)
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from demo.clip_config import EDGE, TEXT_TOWER, VISION_TOWER
from demo.vocabulary import all_words

MAX_TOKENS = 16
UNKNOWN, END = "<unk>", "</s>"
WORD_START = "▁"
# Log probabilities: a whole word of the world is always likelier than its characters.
_WORD_SCORE, _CHARACTER_SCORE = -2.0, -10.0


def tokenizer() -> PreTrainedTokenizerFast:
    """Unigram pieces like SentencePiece's, with SigLIP's rules.

    Text is lower-cased and loses its punctuation; "</s>" ends it and pads it to `MAX_TOKENS`.
    There is no attention mask: the model reads the last position, padding or not.
    """
    characters = string.ascii_lowercase + string.digits
    pieces = [(UNKNOWN, 0.0), (END, 0.0), (WORD_START, _CHARACTER_SCORE)]
    pieces += [(character, _CHARACTER_SCORE) for character in characters]
    pieces += [(WORD_START + word, _WORD_SCORE) for word in all_words()]
    backend = Tokenizer(Unigram(list(dict(pieces).items()), unk_id=0))
    backend.normalizer = normalizers.Sequence(
        [
            normalizers.Lowercase(),
            normalizers.Replace(Regex(f"[{''.join(map(_escaped, string.punctuation))}]"), ""),
            normalizers.Replace(Regex(r"\s+"), " "),
            normalizers.Strip(),
        ]
    )
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = token_decoders.Metaspace()
    end = backend.token_to_id(END)
    backend.post_processor = processors.TemplateProcessing(
        single=f"$A {END}", special_tokens=[(END, end)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        unk_token=UNKNOWN,
        eos_token=END,
        pad_token=END,
        model_max_length=MAX_TOKENS,
        model_input_names=["input_ids"],
    )


def _escaped(character: str) -> str:
    return f"\\{character}"


def processor() -> SiglipProcessor:
    """The whole picture, squashed to a square of 96 pixels, bicubic, to [-1, 1]."""
    image_processor = SiglipImageProcessorPil(size={"height": EDGE, "width": EDGE})
    return SiglipProcessor(image_processor, tokenizer())


def model_config() -> SiglipConfig:
    """A SigLIP of about 1.3 million parameters: the demo CLIP's widths, no class token."""
    words = tokenizer()
    # The two embeddings are as wide as the towers, so these must be equal.
    text = SiglipTextConfig(
        **TEXT_TOWER | {"hidden_size": VISION_TOWER["hidden_size"], "intermediate_size": 256},
        vocab_size=len(words),
        max_position_embeddings=MAX_TOKENS,
        pad_token_id=words.pad_token_id,
        bos_token_id=words.eos_token_id,
        eos_token_id=words.eos_token_id,
    )
    vision = SiglipVisionConfig(**VISION_TOWER, image_size=EDGE)
    return SiglipConfig(text_config=text.to_dict(), vision_config=vision.to_dict())
