"""SigLIP ViT-B/16, like google/siglip-base-patch16-224; and tiny ones of both versions.

The SigLIP 2 is one of a fixed resolution: SigLIP with Gemma's tokens.
"""

from __future__ import annotations

import io
import string
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sentencepiece import SentencePieceProcessor, SentencePieceTrainer
from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import Unigram
from transformers import GemmaTokenizer, SiglipConfig, SiglipModel, SiglipTokenizer
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from export.stand_ins.base import Build, StandIn

TINY_EDGE, TINY_TOKENS = 48, 32
TINY_TOWER = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
# The vocabulary is as large as these sentences allow.
SENTENCES = ("a photo of a cat", "the red dog and the van", "it is a t shirt", *string.digits)
SENTENCES += tuple(string.ascii_lowercase)
PIECES = 60
# "</s>" ends a text and pads it.
ENDS = {"bos_token_id": 1, "eos_token_id": 1, "pad_token_id": 1}


@dataclass(frozen=True)
class SentencePiece:
    """A StandIn with spiece.model, and the tokenizer.json that was once made from it."""

    stand_in: StandIn
    model: bytes

    def write(self, folder: Path) -> Path:
        self.stand_in.write(folder)
        (folder / "spiece.model").write_bytes(self.model)
        theirs = SiglipTokenizer(
            str(folder / "spiece.model"),
            model_input_names=["input_ids"],
            model_max_length=TINY_TOKENS,
        )
        theirs.save_pretrained(folder)
        _converted(theirs.sp_model).save(str(folder / "tokenizer.json"))
        return folder


def sentencepiece() -> bytes:
    """A small spiece.model with SigLIP's special tokens."""
    written = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES),
        model_writer=written,
        vocab_size=PIECES,
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    return written.getvalue()


def _converted(pieces: SentencePieceProcessor) -> Tokenizer:
    """A tokenizer.json like SigLIP's: lower case, no punctuation, single spaces."""
    scored = [(pieces.id_to_piece(i), pieces.get_score(i)) for i in range(len(pieces))]
    made = Tokenizer(Unigram(scored, unk_id=pieces.unk_id()))
    punctuation = "".join(f"\\{mark}" for mark in string.punctuation)
    made.normalizer = normalizers.Sequence(
        [
            normalizers.NFKC(),
            normalizers.Lowercase(),
            normalizers.Replace(Regex(f"[{punctuation}]"), ""),
            normalizers.Replace(Regex(r"\s+"), " "),
            normalizers.Strip(),
        ]
    )
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", pieces.eos_id())]
    )
    return made


def gemma_tokenizer() -> GemmaTokenizer:
    """Gemma's special tokens, bytes and single characters, as in SigLIP 2."""
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    pieces = ["▁", *(chr(code) for code in range(33, 127)), *(f"<0x{i:02X}>" for i in range(256))]
    merges = [("c", "a"), ("ca", "t"), ("▁", "cat")]
    tokens = dict.fromkeys([*special, *pieces, *(a + b for a, b in merges)])
    return GemmaTokenizer(
        vocab={token: i for i, token in enumerate(tokens)},
        merges=merges,
        padding_side="right",
        add_bos_token=False,
        add_eos_token=True,
        model_input_names=["input_ids"],
        model_max_length=TINY_TOKENS,
    )


def _tiny(vocab_size: int, ids: Mapping[str, int], **tokenizer: Any) -> StandIn:
    text = {**TINY_TOWER, **ids, "vocab_size": vocab_size, "projection_size": 32}
    text["max_position_embeddings"] = TINY_TOKENS
    vision = {**TINY_TOWER, "image_size": TINY_EDGE, "patch_size": 16}
    model = SiglipModel(SiglipConfig(text_config=text, vision_config=vision))
    processor = SiglipImageProcessorPil(size={"height": TINY_EDGE, "width": TINY_EDGE})
    return StandIn(model, processor, **tokenizer)


def _version_1() -> SentencePiece:
    return SentencePiece(_tiny(PIECES, ENDS), sentencepiece())


def _version_2() -> StandIn:
    tokenizer = gemma_tokenizer()
    ids = {"bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0}
    return _tiny(len(tokenizer), ids, tokenizer=tokenizer)


def _base() -> SentencePiece:
    model = SiglipModel(SiglipConfig(text_config=dict(ENDS)))
    return SentencePiece(StandIn(model, SiglipImageProcessorPil()), sentencepiece())


TINY: dict[str, Build] = {"siglip_sentencepiece": _version_1, "siglip_2": _version_2}
REAL: dict[str, Build] = {"siglip": _base}
