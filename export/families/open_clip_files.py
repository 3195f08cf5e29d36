"""open_clip's own files: open_clip_config.json, and the weights beside it.

Fields that change answers are honoured or refused by name; the others only matter in training.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from export.checkpoint_files import OPEN_CLIP_CONFIG, OPEN_CLIP_WEIGHTS, read_json
from export.errors import CheckpointUnavailable, InvalidCheckpoint, UnsupportedProcessor
from export.families.open_clip_convolutions import ConvNext, ModifiedResNet, Stages
from export.families.open_clip_towers import OpenClipModel, Shape, VisionTransformer
from fovea.images import crop_start, shortest_edge_size

# timm's plain ConvNeXts, by the eps of their layer norms; the weights show depths and widths.
CONVNEXTS = {
    "convnext_tiny": 1e-6,
    "convnext_small": 1e-6,
    "convnext_base": 1e-6,
    "convnext_large": 1e-6,
    "convnext_xlarge": 1e-6,
    "convnext_xxlarge": 1e-5,
}
_SCALE = re.compile(r"visual\.trunk\.stages\.(\d)\.blocks\.\d+\.gamma")
# open_clip's own defaults, OpenAI's.
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
FILTERS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "random": Image.Resampling.BICUBIC,  # outside of training
}

_MODEL = {"embed_dim", "vision_cfg", "text_cfg", "quick_gelu", "custom_text", "init_logit_scale"}
_VISION = {"image_size", "layers", "width", "head_width", "mlp_ratio", "patch_size", "norm_kwargs"}
_VISION |= {"timm_model_name", "timm_pool", "timm_proj", "timm_proj_bias"}
_TEXT = {"context_length", "vocab_size", "width", "heads", "layers", "mlp_ratio", "norm_kwargs"}
_OF_TRAINING = {"patch_dropout", "timm_drop", "timm_drop_path", "timm_model_pretrained"}
_OF_TRAINING |= {"attn_pooler_queries", "attn_pooler_heads", "output_tokens", "eos_id"}
# Values of refused fields that change no answers.
_NEUTRAL = {"pool_type": ("tok", "argmax"), "pos_embed_type": ("learnable",)}
_NEUTRAL |= {"proj_type": ("linear",), "block_type": ("default",), "pad_id": (0,)}
_PREPROCESS = {"size", "mode", "mean", "std", "interpolation", "resize_mode", "fill_color"}


@dataclass(frozen=True)
class Processor:
    """open_clip's `image_transform`, outside of training.

    squash: to size x size; otherwise the shortest edge becomes size, and the middle is cut out.
    """

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resample: int
    squash: bool

    def __call__(self, picture: Image.Image, return_tensors: str = "np") -> dict[str, Any]:
        """pixel_values float32 [1, 3, S, S], normalised."""
        edge, filter_ = self.size, Image.Resampling(self.resample)
        if self.squash:
            made = picture.resize((edge, edge), filter_)
        else:
            height, width = shortest_edge_size((picture.height, picture.width), edge)
            top, left = (crop_start(length, edge, to_even=True) for length in (height, width))
            resized = picture.resize((width, height), filter_)
            made = resized.crop((left, top, left + edge, top + edge))
        pixels = np.asarray(made.convert("RGB"), np.float32) / 255
        normal = (pixels - np.array(self.mean)) / np.array(self.std)
        values = normal.transpose(2, 0, 1)[None].astype(np.float32)
        return {"pixel_values": torch.from_numpy(values) if return_tensors == "pt" else values}


@dataclass(frozen=True)
class Config:
    """The content of open_clip_config.json. name: of the member, for messages."""

    name: str
    model: Mapping[str, Any]
    preprocess: Mapping[str, Any]

    @property
    def embed_dim(self) -> int:
        return int(self.model["embed_dim"])

    @property
    def is_timm(self) -> bool:
        """Whether the tower for pictures is one of timm's."""
        return bool(self.model["vision_cfg"].get("timm_model_name"))

    @property
    def image_size(self) -> int:
        """Edge of the square picture; raises InvalidCheckpoint."""
        return _square(self.name, self.model["vision_cfg"].get("image_size", 224))

    def build(self, stages: Stages = ()) -> OpenClipModel:
        """The model with random weights; stages: of a ConvNeXt. Raises InvalidCheckpoint."""
        text = self.model["text_cfg"]
        quick = bool(self.model.get("quick_gelu"))
        shape = _shape(text, heads=text.get("heads", 8), default=512, quick_gelu=quick)
        length, vocabulary = text.get("context_length", 77), text.get("vocab_size", 49408)
        visual = self._convnext(stages) if self.is_timm else self._tower(quick_gelu=quick)
        return OpenClipModel(visual, shape, length, vocabulary, self.embed_dim)

    def processor(self) -> Processor:
        """The processor of `preprocess_cfg`; raises UnsupportedProcessor and InvalidCheckpoint."""
        said = self.preprocess
        _refuse(self.name, "preprocess_cfg", said, _PREPROCESS, UnsupportedProcessor)
        mode, name = said.get("resize_mode") or "shortest", said.get("interpolation") or "bicubic"
        known = mode in ("shortest", "squash") and name in FILTERS
        if not known or said.get("mode", "RGB") != "RGB":
            raise UnsupportedProcessor(
                f"{self.name}: expected preprocess_cfg with mode RGB, resize_mode shortest or "
                f"squash and interpolation {' or '.join(FILTERS)}, got {dict(said)}"
            )
        size = _square(self.name, said.get("size") or self.image_size)
        if size != self.image_size:
            raise InvalidCheckpoint(
                f"{self.name}: the vision tower takes {self.image_size} x {self.image_size} "
                f"pixels, preprocess_cfg has {size}"
            )
        mean, std = _channels(said.get("mean") or MEAN), _channels(said.get("std") or STD)
        return Processor(size, mean, std, int(FILTERS[name]), squash=mode == "squash")

    def _tower(self, *, quick_gelu: bool) -> nn.Module:
        vision, size, dim = self.model["vision_cfg"], self.image_size, self.embed_dim
        width, layers = vision.get("width", 768), vision.get("layers", 12)
        head_width = vision.get("head_width", 64)
        if isinstance(layers, list):
            heads = width * 32 // head_width
            return ModifiedResNet(tuple(layers), width, heads, size, dim)
        shape = _shape(vision, heads=width // head_width, default=768, quick_gelu=quick_gelu)
        return VisionTransformer(shape, size, vision.get("patch_size", 16), dim)

    def _convnext(self, stages: Stages) -> nn.Module:
        vision = self.model["vision_cfg"]
        return ConvNext(
            stages,
            self.embed_dim,
            mlp=vision.get("timm_proj") == "mlp",
            bias=bool(vision.get("timm_proj_bias")),
            eps=CONVNEXTS[vision["timm_model_name"]],
        )


def read_config(name: str, folder: Path) -> Config:
    """Read the config; raises InvalidCheckpoint for settings that are not supported here."""
    read = read_json(folder / OPEN_CLIP_CONFIG)
    model = read.get("model_cfg")
    towers = ("vision_cfg", "text_cfg")
    whole = isinstance(model, dict) and all(isinstance(model.get(t), dict) for t in towers)
    if not whole or "embed_dim" not in model:
        raise InvalidCheckpoint(
            f"{name}: expected {OPEN_CLIP_CONFIG} with model_cfg of embed_dim, "
            f"{' and '.join(towers)}, got {sorted(model or read)}"
        )
    _refuse(name, "model_cfg", model, _MODEL, InvalidCheckpoint)
    _refuse(name, "vision_cfg", model["vision_cfg"], _VISION, InvalidCheckpoint)
    _refuse(name, "text_cfg", model["text_cfg"], _TEXT, InvalidCheckpoint)
    _check_trunk(name, model["vision_cfg"])
    return Config(name, model, read.get("preprocess_cfg") or {})


def _check_trunk(name: str, vision: Mapping[str, Any]) -> None:
    trunk, pool = vision.get("timm_model_name"), vision.get("timm_pool", "avg")
    projection = vision.get("timm_proj", "linear")
    if trunk and not (
        trunk in CONVNEXTS and pool in ("", "avg") and projection in ("linear", "mlp")
    ):
        raise InvalidCheckpoint(
            f"{name}: expected a ViT, a ResNet or of timm's trunks one of {', '.join(CONVNEXTS)} "
            f"with an average and a projection, got {trunk!r} with timm_pool={pool!r} and "
            f"timm_proj={projection!r}; if the checkpoint is in transformers' layout as well "
            "(SigLIP's are), name that one"
        )


def _refuse(
    name: str, part: str, said: Mapping[str, Any], known: set[str], error: type[Exception]
) -> None:
    unknown = sorted(
        key
        for key, value in said.items()
        if value and key not in known | _OF_TRAINING and value not in _NEUTRAL.get(key, ())
    )
    if unknown:
        shown = ", ".join(f"{key}={said[key]!r}" for key in unknown)
        raise error(f"{name}: {OPEN_CLIP_CONFIG}: {part} is not honoured here for {shown}")


def _shape(said: Mapping[str, Any], *, heads: int, default: int, quick_gelu: bool) -> Shape:
    width = said.get("width", default)
    hidden = int(width * said.get("mlp_ratio", 4.0))
    eps = (said.get("norm_kwargs") or {}).get("eps", 1e-5)
    return Shape(width, said.get("layers", 12), heads, hidden, quick_gelu, eps)


def _square(name: str, size: Any) -> int:
    edges = {*size} if isinstance(size, list) else {size}
    if len(edges) != 1:
        raise InvalidCheckpoint(f"{name}: expected square pictures, got {size}")
    return int(edges.pop())


def _channels(value: Any) -> tuple[float, ...]:
    return tuple(value) if isinstance(value, (list, tuple)) else (float(value),) * 3


def weights_path(folder: Path) -> Path:
    """The safetensors file if there is one; raises CheckpointUnavailable."""
    found = next((folder / name for name in OPEN_CLIP_WEIGHTS if (folder / name).is_file()), None)
    if found is None:
        raise CheckpointUnavailable(
            f"{folder}: expected one of {', '.join(OPEN_CLIP_WEIGHTS)}, got none"
        )
    return found


def load(name: str, folder: Path) -> OpenClipModel:
    """The model with all of its weights; raises InvalidCheckpoint."""
    path = weights_path(folder)
    try:
        state = _state(path)
        model = read_config(name, folder).build(_stages(state))
        model.load_state_dict(state)
    except InvalidCheckpoint:
        raise
    except Exception as error:  # each file format has its own; torch names keys that differ
        raise InvalidCheckpoint(
            f"{name}: the weights in {path} are not those that {OPEN_CLIP_CONFIG} says: {error}"
        ) from error
    return model


def _state(path: Path) -> dict[str, Tensor]:
    """Tensors by the names that the modules here have."""
    if path.suffix == ".safetensors":
        read = load_file(path)
    else:
        read = torch.load(path, map_location="cpu", weights_only=True)
        read = read.get("state_dict", read)
    # The prefixes of DataParallel, and of models whose text transformer is a separate module.
    plain = {key.removeprefix("module.").removeprefix("text."): read[key] for key in read}
    return {key: one.float() if one.is_floating_point() else one for key, one in plain.items()}


def _stages(state: Mapping[str, Tensor]) -> Stages:
    """Blocks and widths of a ConvNeXt's stages, read from its weights."""
    scales: dict[str, list[int]] = {}
    for key, tensor in state.items():
        if (found := _SCALE.fullmatch(key)) is not None:
            scales.setdefault(found[1], []).append(len(tensor))
    return tuple((len(widths), widths[0]) for _, widths in sorted(scales.items()))
