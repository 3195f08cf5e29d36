"""imagebind_huge.pth: reads the weights, renames them, and builds the model for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import isqrt

import torch
from torch import Tensor

from export.checkpoints import Checkpoint
from export.errors import InvalidCheckpoint
from export.families.imagebind_towers import HEADS, ImageBindModel, ModalityTower
from export.families.open_clip_towers import Shape, VisionTransformer

WEIGHTS = "imagebind_huge.pth"
# Attention heads of the encoders of pictures and texts; they cannot be read from the weights.
CLIP_HEADS = 16
EPS = 1e-6
# The modules that make a modality's patches.
STEMS = {"audio": "rgbt_stem", "depth": "depth_stem", "thermal": "rgbt_stem", "imu": "imu_stem"}


def _beginnings(name: str) -> dict[str, str]:
    """Upstream's prefix -> the prefix here, for the weights of a modality's tower.

    The IMU's tower has no module for its positions, and a dropout before the projection.
    """
    preprocessor, tower = f"modality_preprocessors.{name}", f"modalities.{name}"
    places, projection = ("", 3) if name == "imu" else ("pos_embedding_helper.", 2)
    return {
        f"{preprocessor}.cls_token": f"{tower}.cls_token",
        f"{preprocessor}.{places}pos_embed": f"{tower}.pos_embed",
        f"{preprocessor}.{STEMS[name]}.proj.": f"{tower}.stem.",
        f"{preprocessor}.{STEMS[name]}.norm_layer.": f"{tower}.stem_norm.",
        f"modality_trunks.{name}.blocks.": f"{tower}.transformer.resblocks.",
        f"modality_heads.{name}.0.": f"{tower}.ln_post.",
        f"modality_heads.{name}.{projection}.": f"{tower}.proj.",
    }


# Prefixes of weight names: upstream's -> those of `ImageBindModel`.
BEGINNINGS = {
    "modality_preprocessors.vision.cls_token": "visual.class_embedding",
    "modality_preprocessors.vision.rgbt_stem.proj.1.": "visual.conv1.",
    "modality_preprocessors.vision.pos_embedding_helper.pos_embed": "visual.positional_embedding",
    "modality_trunks.vision.pre_transformer_layer.0.": "visual.ln_pre.",
    "modality_trunks.vision.blocks.": "visual.transformer.resblocks.",
    "modality_heads.vision.0.": "visual.ln_post.",
    "modality_heads.vision.2.weight": "visual.proj",
    "modality_preprocessors.text.token_embedding.": "token_embedding.",
    "modality_preprocessors.text.pos_embed": "positional_embedding",
    "modality_trunks.text.blocks.": "transformer.resblocks.",
    "modality_heads.text.proj.0.": "ln_final.",
    "modality_heads.text.proj.1.weight": "text_projection",
    "modality_postprocessors.text.1.log_logit_scale": "logit_scale",
    **{theirs: ours for name in HEADS for theirs, ours in _beginnings(name).items()},
}
PLACES = "modality_preprocessors.vision.pos_embedding_helper.pos_embed"
STEM = "modality_preprocessors.vision.rgbt_stem.proj.1.weight"
# Names within the blocks.
PARTS = {".norm_1.": ".ln_1.", ".norm_2.": ".ln_2.", ".fc1.": ".c_fc.", ".fc2.": ".c_proj."}

State = Mapping[str, Tensor]


def open_clip_state(upstream: State) -> dict[str, Tensor]:
    """The weights of all encoders; those for pictures and texts have OpenCLIP's names.

    Upstream treats a picture as a video of equal frames: the kernel over them is their sum.
    """
    state = {}
    for key in upstream:
        name = _open_clip_name(key)
        if not name:
            continue
        tensor = upstream[key].float()
        if name == "visual.conv1.weight":
            tensor = tensor.sum(dim=2)
        elif name in ("visual.proj", "text_projection"):
            tensor = tensor.T
        elif name == "visual.class_embedding":
            tensor = tensor.flatten()
        elif name.endswith("positional_embedding"):
            tensor = tensor[0]
        state[name] = tensor
    return state


def _open_clip_name(key: str) -> str:
    """The name for a key; "" if it is not a weight of an encoder."""
    for theirs, ours in BEGINNINGS.items():
        if key.startswith(theirs):
            name = ours + key.removeprefix(theirs)
            for part, ours_part in PARTS.items():
                name = name.replace(part, ours_part)
            return name
    return ""


def build(state: State) -> ImageBindModel:
    """The model for these weights, renamed by `open_clip_state`; raises KeyError."""
    places = len(state["visual.positional_embedding"])
    patch = state["visual.conv1.weight"].shape[-1]
    vision, text = (_shape(state, tower, CLIP_HEADS) for tower in ("visual.", ""))
    dim = state["visual.proj"].shape[1]
    tower = VisionTransformer(vision, edge(places, patch), patch, dim)
    length, vocabulary = (
        len(state[name]) for name in ("positional_embedding", "token_embedding.weight")
    )
    modalities = {name: _modality(state, name, dim) for name in HEADS}
    return ImageBindModel(tower, text, length, vocabulary, dim, modalities=modalities)


def _modality(state: State, name: str, dim: int) -> ModalityTower:
    tower = f"modalities.{name}."
    patch = state[f"{tower}stem.weight"].shape[-1]
    shape = replace(_shape(state, tower, HEADS[name]), bias_kv=True)
    return ModalityTower(name, shape, patch, dim)


def edge(places: int, patch: int) -> int:
    """Edge of the picture in pixels; one of the places is the class token's."""
    return isqrt(places - 1) * patch


def read(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Upstream's weights, memory-mapped; raises InvalidCheckpoint."""
    path = checkpoint.folder / WEIGHTS
    try:
        read = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        missing = [key for key in (PLACES, STEM) if key not in read]
    except Exception as error:  # a pickle may break in many ways
        raise InvalidCheckpoint(f"{checkpoint.name}: {path}: no weights: {error}") from error
    if missing:
        raise InvalidCheckpoint(
            f"{checkpoint.name}: the weights in {path} are not those of ImageBind: "
            f"missing {', '.join(missing)}"
        )
    return dict(read)


def _shape(state: State, tower: str, heads: int) -> Shape:
    blocks = f"{tower}transformer.resblocks."
    layers = sum(key.startswith(blocks) and key.endswith("ln_1.weight") for key in state)
    hidden, width = state[f"{blocks}0.mlp.c_fc.weight"].shape
    return Shape(width, layers, heads, hidden, quick_gelu=False, eps=EPS)
