"""ImageBind's encoders of pictures and texts as two networks.

Both have OpenCLIP's architecture (Girdhar et al., "ImageBind: One Embedding Space To Bind Them
All", CVPR 2023), so OpenCLIP's modules take the weights and upstream's package is not needed.
Compared with upstream's answers for a tiny model (`tests/export/imagebind_reference.py`).
A folder holds imagebind_huge.pth and CLIP's tokenizer; a deployment names the family.

Upstream's code and weights: CC-BY-NC-SA 4.0: not for commercial use.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isqrt
from pathlib import Path

import torch
from torch import Tensor

from export.checkpoint_files import SIDE_FILES, TOKENIZER, has_file
from export.checkpoints import Checkpoint
from export.errors import CheckpointUnavailable, InvalidCheckpoint
from export.families.open_clip import OpenClipExport
from export.families.open_clip_files import MEAN, STD, Processor
from export.families.open_clip_towers import OpenClipModel, Shape, VisionTransformer
from fovea.images import BICUBIC

WEIGHTS = "imagebind_huge.pth"
# Attention heads of each encoder; the weights do not show them.
HEADS = 16
EPS = 1e-6
# Upstream caps the scale of scores here, whatever the weights say (`LearnableLogitScaling`).
MAX_LOGIT_SCALE = 100.0

# Prefixes of weight names: upstream's, and OpenCLIP's.
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
}
PLACES = "modality_preprocessors.vision.pos_embedding_helper.pos_embed"
STEM = "modality_preprocessors.vision.rgbt_stem.proj.1.weight"
# Names within the blocks.
PARTS = {".norm_1.": ".ln_1.", ".norm_2.": ".ln_2.", ".fc1.": ".c_fc.", ".fc2.": ".c_proj."}

State = Mapping[str, Tensor]


def open_clip_state(upstream: State) -> dict[str, Tensor]:
    """The weights of the two encoders under OpenCLIP's names, without the other modalities.

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
    """ "" for a weight of another modality."""
    for theirs, ours in BEGINNINGS.items():
        if key.startswith(theirs):
            name = ours + key.removeprefix(theirs)
            for part, ours_part in PARTS.items():
                name = name.replace(part, ours_part)
            return name
    return ""


def build(state: State) -> OpenClipModel:
    """The model of these weights, which have OpenCLIP's names; raises KeyError."""
    places = len(state["visual.positional_embedding"])
    patch = state["visual.conv1.weight"].shape[-1]
    vision, text = _shape(state, "visual."), _shape(state, "")
    dim = state["visual.proj"].shape[1]
    tower = VisionTransformer(vision, _edge(places, patch), patch, dim)
    length, vocabulary = (
        len(state[name]) for name in ("positional_embedding", "token_embedding.weight")
    )
    return OpenClipModel(tower, text, length, vocabulary, dim)


def _edge(places: int, patch: int) -> int:
    """Edge of the picture in pixels; one of the places is the class token's."""
    return isqrt(places - 1) * patch


def _read(checkpoint: Checkpoint) -> dict[str, Tensor]:
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


def _shape(state: State, tower: str) -> Shape:
    blocks = f"{tower}transformer.resblocks."
    layers = sum(key.startswith(blocks) and key.endswith("ln_1.weight") for key in state)
    hidden, width = state[f"{blocks}0.mlp.c_fc.weight"].shape
    return Shape(width, layers, HEADS, hidden, quick_gelu=False, eps=EPS)


class ImageBindExport(OpenClipExport):
    """ImageBind; its networks run as CLIP's do."""

    WEIGHTS = (WEIGHTS,)

    def files(self, path: Path) -> list[Path]:
        side = {one for pattern in SIDE_FILES for one in path.glob(pattern) if one.is_file()}
        return sorted(side | {path / WEIGHTS})

    def check_files(self, name: str, family: str, path: Path) -> None:
        missing = [file for file in (WEIGHTS, TOKENIZER) if not has_file(path, file)]
        if missing:
            raise CheckpointUnavailable(
                f"{name}: expected a folder with {WEIGHTS} and {TOKENIZER}, missing "
                f"{', '.join(missing)} in {path}: the weights are at "
                "https://dl.fbaipublicfiles.com/imagebind/imagebind_huge.pth, the tokens are "
                "CLIP's; copy the file from openai/clip-vit-base-patch32"
            )

    def load_model(self, checkpoint: Checkpoint) -> OpenClipModel:
        try:
            state = open_clip_state(_read(checkpoint))
            model = build(state)
            model.load_state_dict(state)
        except (KeyError, RuntimeError) as error:  # torch's for names and shapes that differ
            raise InvalidCheckpoint(
                f"{checkpoint.name}: the weights in {checkpoint.folder / WEIGHTS} are not those "
                f"of ImageBind: {error}"
            ) from error
        model.logit_scale.data.clamp_(max=torch.tensor(MAX_LOGIT_SCALE).log())
        return model.eval().requires_grad_(False)

    def load_processor(self, checkpoint: Checkpoint) -> Processor:
        read = _read(checkpoint)
        size = _edge(read[PLACES].shape[1], read[STEM].shape[-1])
        return Processor(size, MEAN, STD, int(BICUBIC), squash=False)
