"""OpenCLIP in its own layout: a tiny one of each tower, and some well-known ones.

The latter: laion's CLIP-ViT-B-32-laion2B-s34B-b79K and CLIP-convnext_base_w-laion2B-s13B-b82K, and
OpenAI's RN50.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from export.checkpoint_files import OPEN_CLIP_CONFIG, OPEN_CLIP_WEIGHTS
from export.families.open_clip_convolutions import Stages
from export.families.open_clip_files import read_config
from export.stand_ins.base import Build, add_noise, settle_batch_norms
from export.stand_ins.clip import TEXT_LENGTH, write_vocabulary

CLIP_TOKENS = 49_408
SETTLED_ON = 8
TINY_TEXT = {"context_length": TEXT_LENGTH, "width": 32, "heads": 2, "layers": 2}
TINY_STAGES = ((1, 12), (1, 16), (2, 24), (1, 32))
CONVNEXT = {"timm_model_name": "convnext_base", "timm_pool": "", "timm_proj": "linear"}
BASE_STAGES = ((3, 128), (3, 256), (27, 512), (3, 1024))


@dataclass(frozen=True)
class NativeClip:
    """open_clip_config.json, open_clip_model.safetensors, and CLIP's vocabulary.

    vision, text, model: parts of `model_cfg`. stages: of a ConvNeXt. tokens: the least number.
    """

    vision: dict[str, Any]
    text: dict[str, Any]
    model: dict[str, Any]
    preprocess: dict[str, Any] = field(default_factory=dict)
    stages: Stages = ()
    tokens: int = 0

    def write(self, folder: Path) -> Path:
        text = {**self.text, "vocab_size": len(write_vocabulary(folder, self.tokens))}
        config = {
            "model_cfg": {**self.model, "vision_cfg": self.vision, "text_cfg": text},
            "preprocess_cfg": self.preprocess,
        }
        (folder / OPEN_CLIP_CONFIG).write_text(json.dumps(config, indent=1))
        read = read_config("stand-in", folder)
        model = read.build(self.stages)
        add_noise(model)
        pixels = torch.randn(SETTLED_ON, 3, read.image_size, read.image_size)
        settle_batch_norms(model, partial(model.encode_image, pixels))
        save_file(model.state_dict(), folder / OPEN_CLIP_WEIGHTS[0])
        return folder


def _tiny(vision: dict[str, Any], stages: Stages = (), **rest: Any) -> NativeClip:
    preprocess = rest.pop("preprocess", {})
    return NativeClip(vision, TINY_TEXT, {"embed_dim": 24, **rest}, preprocess, stages)


def _real(vision: dict[str, Any], width: int, embed_dim: int, stages: Stages = ()) -> NativeClip:
    text = {"context_length": 77, "width": width, "heads": width // 64, "layers": 12}
    return NativeClip(vision, text, {"embed_dim": embed_dim}, stages=stages, tokens=CLIP_TOKENS)


VIT = {"image_size": 48, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16}
RESNET = {"image_size": 64, "layers": [1, 2, 1, 1], "width": 4, "head_width": 32}
TINY: dict[str, Build] = {
    "open_clip_vit": lambda: _tiny(VIT, quick_gelu=True),
    "open_clip_resnet": lambda: _tiny(RESNET),
    "open_clip_convnext": lambda: _tiny(
        {**CONVNEXT, "image_size": 64}, TINY_STAGES, preprocess={"resize_mode": "squash"}
    ),
}
REAL: dict[str, Build] = {
    "open_clip_vit": lambda: _real({"patch_size": 32}, 512, 512),
    "open_clip_resnet": lambda: _real({"layers": [3, 4, 6, 3], "width": 64}, 512, 1024),
    "open_clip_convnext": lambda: _real({**CONVNEXT, "image_size": 256}, 640, 640, BASE_STAGES),
}
