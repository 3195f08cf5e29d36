"""Checkpoints of the production architectures with seeded random weights.

For parity and speed where the hub cannot be reached: the same classes and sizes as the real
ones, in the same folders of files, so they go through the very same code.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    CLIPConfig,
    CLIPModel,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    PreTrainedTokenizerFast,
    SamConfig,
    SamModel,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.grounding_dino.image_processing_pil_grounding_dino import (
    GroundingDinoImageProcessorPil,
)
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

from export.deployments import read_deployment
from fovea.deployment_file import DeploymentFile

# How commands name the deployment.
STAND_IN = "stand-in"
# Heads that start at zero would make parity vacuous: everything gets a little noise.
NOISE = 0.02
# GroundingDINO starts with nearly no fusion of text and picture; trained ones have some.
FUSION = 0.1


# Written last; its name changes with what a stand-in's folder holds.
DONE = ".complete-2"


def stand_in(folder: Path) -> DeploymentFile:
    """The production deployment, with stand-ins below `folder` for its checkpoints."""
    deployment = read_deployment("production").with_checkpoints(write_stand_ins(folder))
    return replace(deployment, name=STAND_IN)


def write_stand_ins(folder: Path, seed: int = 0) -> dict[str, str]:
    """Write the three checkpoints below `folder` unless there; returns member -> folder."""
    builders = {"clip": _clip, "grounding_dino": _grounding_dino, "sam": _sam}
    for family, build in builders.items():
        target = folder / family
        if not (target / DONE).is_file():
            torch.manual_seed(seed)
            model, processor, tokenizer = build()
            add_noise(model)
            processor.save_pretrained(target)
            if tokenizer is not None:
                pad = {"clip": "<|endoftext|>", "grounding_dino": "[PAD]"}[family]
                plain = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=pad)
                plain.save_pretrained(target)
            model.save_pretrained(target)
            (target / DONE).touch()
    return {family: str(folder / family) for family in builders}


def _clip() -> tuple[Any, Any, Tokenizer]:
    return CLIPModel(CLIPConfig()), CLIPImageProcessorPil(), clip_tokenizer()


def _grounding_dino() -> tuple[Any, Any, Tokenizer]:
    model = GroundingDinoForObjectDetection(GroundingDinoConfig())
    return model, GroundingDinoImageProcessorPil(), bert_tokenizer()


def _sam() -> tuple[Any, Any, None]:
    return SamModel(SamConfig()), SamImageProcessorPil(), None


def add_noise(model: torch.nn.Module) -> None:
    """Move every parameter a little, and let GroundingDINO fuse text and picture."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.add_(NOISE * torch.randn_like(parameter))
            if name.endswith(("vision_param", "text_param")):
                parameter.fill_(FUSION)


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
