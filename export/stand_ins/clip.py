"""CLIP ViT-B/32, like openai/clip-vit-base-patch32; and a tiny one in MetaCLIP's files."""

import json
from dataclasses import dataclass
from pathlib import Path

from transformers import CLIPConfig, CLIPModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from export.stand_ins.base import Build, StandIn, add_noise
from export.stand_ins.tokenizers import CLIP_END, CLIP_START, clip_bpe, clip_tokenizer

# Sizes of the tiny towers.
WIDTH = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
WIDTH |= {"num_attention_heads": 2, "projection_dim": 24}
EDGE, TEXT_LENGTH = 48, 32


@dataclass(frozen=True)
class MetaClip:
    """vocab.json and merges.txt without tokenizer.json, as in facebook/metaclip-b32-400m."""

    hidden_act: str

    def write(self, folder: Path) -> Path:
        vocabulary = write_vocabulary(folder)
        text = {
            **WIDTH,
            "hidden_act": self.hidden_act,
            "vocab_size": len(vocabulary),
            "max_position_embeddings": TEXT_LENGTH,
            "bos_token_id": vocabulary[CLIP_START],
            "eos_token_id": vocabulary[CLIP_END],
        }
        vision = {**WIDTH, "hidden_act": self.hidden_act, "image_size": EDGE, "patch_size": 16}
        config = CLIPConfig(
            text_config=text, vision_config=vision, projection_dim=WIDTH["projection_dim"]
        )
        model = CLIPModel(config)
        add_noise(model)
        model.save_pretrained(folder)
        processor(EDGE).save_pretrained(folder)
        return folder


def write_vocabulary(folder: Path, tokens: int = 0) -> dict[str, int]:
    """Write vocab.json and merges.txt of at least `tokens` tokens; returns the vocabulary."""
    clip_bpe(tokens).save(str(folder))
    told = {"tokenizer_class": "CLIPTokenizer", "model_max_length": TEXT_LENGTH}
    (folder / "tokenizer_config.json").write_text(json.dumps(told))
    vocabulary: dict[str, int] = json.loads((folder / "vocab.json").read_text())
    return vocabulary


def processor(edge: int) -> CLIPImageProcessorPil:
    """CLIP's own processor, for another size."""
    crop_size = {"height": edge, "width": edge}
    return CLIPImageProcessorPil(size={"shortest_edge": edge}, crop_size=crop_size)


def _base() -> StandIn:
    return StandIn(CLIPModel(CLIPConfig()), CLIPImageProcessorPil(), clip_tokenizer(), CLIP_END)


TINY: dict[str, Build] = {"metaclip": lambda: MetaClip("quick_gelu")}
REAL: dict[str, Build] = {"clip": _base}
