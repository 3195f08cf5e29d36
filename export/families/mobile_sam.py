"""MobileSAM checkpoints, in the file that upstream publishes: mobile_sam.pt.

A TinyViT replaces SAM's image encoder; prompts and masks are SAM's, so transformers' modules take
those weights. A checkpoint is that file, or a folder that holds it. TinyViT has no position table,
so `image_size` may be less than the 1024 pixels that it was trained on: faster, with coarser masks.
Compared with upstream's answers for a tiny model (`tests/export/mobile_sam_reference.py`).

Code and weights: Apache-2.0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import isqrt
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import SamConfig, SamModel
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

from export.checkpoint_files import MOBILE_SAM_WEIGHTS
from export.checkpoints import Checkpoint
from export.errors import CheckpointUnavailable, InvalidCheckpoint, InvalidOption
from export.families import sam
from export.families.sam import SamExport
from export.families.tiny_vit import STRIDE, TinyVit, TinyVitShape
from export.family import Options
from export.pixels import valid_mask
from export.processor import Normalization, resample
from fovea.families.sam import SamSpec

WHERE = "https://github.com/ChaoningZhang/MobileSAM/tree/master/weights"
IMAGE_SIZE = 1024
ENCODER, PROMPTS, DECODER = "image_encoder.", "prompt_encoder.", "mask_decoder."
# Upstream's epsilon of the norms around attention; transformers' default differs.
ATTENTION_EPS = 1e-5
# Weights of the classifier that TinyViT was before.
UNUSED = ("image_encoder.norm_head.", "image_encoder.head.")
POSITIONS = "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"
# segment-anything's names, and transformers'.
RENAMED = (
    (r"pe_layer\.positional_encoding_gaussian_matrix", "shared_embedding.positional_embedding"),
    (r"\.point_embeddings\.", ".point_embed."),
    (r"\.mask_downscaling\.0\.", ".mask_embed.conv1."),
    (r"\.mask_downscaling\.1\.", ".mask_embed.layer_norm1."),
    (r"\.mask_downscaling\.3\.", ".mask_embed.conv2."),
    (r"\.mask_downscaling\.4\.", ".mask_embed.layer_norm2."),
    (r"\.mask_downscaling\.6\.", ".mask_embed.conv3."),
    (r"\.output_upscaling\.0\.", ".upscale_conv1."),
    (r"\.output_upscaling\.1\.", ".upscale_layer_norm."),
    (r"\.output_upscaling\.3\.", ".upscale_conv2."),
    (r"\.norm(\d)\.", r".layer_norm\1."),
    (r"\.norm_final_attn\.", ".layer_norm_final_attn."),
    (r"(mlps\.\d+|head)\.layers\.0\.", r"\1.proj_in."),
    (r"(mlps\.\d+|head)\.layers\.2\.", r"\1.proj_out."),
    (r"(mlps\.\d+|head)\.layers\.1\.", r"\1.layers.0."),
)

State = Mapping[str, Tensor]


class ImageEncoder(sam.ImageEncoder):
    """pixel_values uint8 [N, 3, S, S], valid_hw int32 [N, 2] -> image_embeddings [N, C, E, E]."""

    def forward(self, pixel_values: Tensor, valid_hw: Tensor) -> Tensor:
        valid = valid_mask(valid_hw, self.size, self.size).unsqueeze(1)
        return self.vision_encoder(self.normalize(pixel_values) * valid, self.size)


def transformers_state(upstream: State) -> dict[str, Tensor]:
    """Weights of prompts and masks under the names of transformers' `SamModel`."""
    state = {}
    for key, tensor in upstream.items():
        if key.startswith((PROMPTS, DECODER)):
            name = key
            for theirs, ours in RENAMED:
                name = re.sub(theirs, ours, name)
            state[name] = tensor.float()
    state["shared_image_embedding.positional_embedding"] = upstream[POSITIONS].float()
    return state


def build(upstream: State) -> SamModel:
    """The model of these weights; raises KeyError and RuntimeError if they do not fit."""
    hidden = 2 * upstream[POSITIONS].shape[1]
    mask_channels = len(upstream["prompt_encoder.mask_downscaling.3.weight"])
    config = SamConfig(
        # Its vision encoder only serves to set the other sizes, and is replaced.
        vision_config={
            "hidden_size": STRIDE,
            "num_hidden_layers": 0,
            "num_attention_heads": 1,
            "output_channels": hidden,
            "image_size": STRIDE,
            "num_pos_feats": hidden // 2,
        },
        prompt_encoder_config={"hidden_size": hidden, "mask_input_channels": mask_channels},
        mask_decoder_config={
            "hidden_size": hidden,
            "layer_norm_eps": ATTENTION_EPS,
            "mlp_dim": len(upstream["mask_decoder.transformer.layers.0.mlp.lin1.weight"]),
            "iou_head_hidden_dim": len(
                upstream["mask_decoder.iou_prediction_head.layers.0.weight"]
            ),
        },
    )
    model = SamModel(config)
    model.vision_encoder = nn.Identity()
    model.load_state_dict(transformers_state(upstream))
    model.vision_encoder = TinyVit(shape_of(upstream))
    seen = {
        key.removeprefix(ENCODER): tensor.float()
        for key, tensor in upstream.items()
        if key.startswith(ENCODER) and not key.startswith(UNUSED)
    }
    model.vision_encoder.load_state_dict(seen)
    return model


def shape_of(upstream: State) -> TinyVitShape:
    """The encoder's sizes, read from its weights."""
    stages = 1 + max(int(key.split(".")[2]) for key in upstream if f"{ENCODER}layers." in key)
    layers = [f"{ENCODER}layers.{stage}." for stage in range(stages)]
    first = f"{layers[0]}blocks.0.conv1.c.weight"
    biases = [upstream[f"{layer}blocks.0.attn.attention_biases"] for layer in layers[1:]]
    norms = [upstream[f"{layer}blocks.0.attn.norm.weight"] for layer in layers[1:]]
    return TinyVitShape(
        widths=(upstream[first].shape[1], *(len(norm) for norm in norms)),
        depths=tuple(_blocks(upstream, f"{layer}blocks.") for layer in layers),
        heads=tuple(len(one) for one in biases),
        windows=tuple(isqrt(one.shape[1]) for one in biases),
        channels=len(upstream[f"{ENCODER}neck.0.weight"]),
    )


def _blocks(upstream: State, prefix: str) -> int:
    return 1 + max(
        int(key.removeprefix(prefix).split(".")[0]) for key in upstream if key.startswith(prefix)
    )


def weights_of(path: Path) -> Path:
    """The checkpoint's file: the path itself, or in the folder at the path."""
    return path / MOBILE_SAM_WEIGHTS if path.is_dir() else path


class MobileSamExport(SamExport):
    """MobileSAM; `image_size` sets the edge of its square input."""

    WEIGHTS = (MOBILE_SAM_WEIGHTS,)
    OPTIONS: ClassVar[Mapping[str, type]] = {"image_size": int}

    def files(self, path: Path) -> list[Path]:
        return [weights_of(path)]

    def check_files(self, name: str, family: str, path: Path) -> None:
        if not weights_of(path).is_file():
            raise CheckpointUnavailable(
                f"{name}: expected {MOBILE_SAM_WEIGHTS}, or a folder with it, got {path}: "
                f"the file is at {WHERE}"
            )

    def load_model(self, checkpoint: Checkpoint) -> SamModel:
        path = weights_of(checkpoint.folder)
        try:
            read = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except Exception as error:  # a pickle may break in many ways
            raise InvalidCheckpoint(f"{checkpoint.name}: {path}: no weights: {error}") from error
        try:
            return build(read).eval().requires_grad_(False)
        except (AttributeError, KeyError, RuntimeError, ValueError) as error:
            raise InvalidCheckpoint(
                f"{checkpoint.name}: the weights in {path} are not those of MobileSAM, as {WHERE} "
                f"has them: {error}"
            ) from error

    def load_processor(self, checkpoint: Checkpoint) -> SamImageProcessorPil:
        """SAM's own, which upstream kept."""
        return SamImageProcessorPil()

    def processor_arguments(self, processor: Any, options: Options) -> dict[str, Any]:
        edge = options.get("image_size", IMAGE_SIZE)
        return {"size": {"longest_edge": edge}, "pad_size": {"height": edge, "width": edge}}

    def read_spec(
        self, checkpoint: Checkpoint, model: Any, processor: Any, options: Options
    ) -> SamSpec:
        size = options.get("image_size", IMAGE_SIZE)
        if size < STRIDE or size % STRIDE:
            raise InvalidOption(
                f"{checkpoint.name}: expected an image_size that is a multiple of {STRIDE}, "
                f"got {size}"
            )
        edge = size // STRIDE
        return SamSpec(
            image_size=size,
            embedding_channels=model.config.prompt_encoder_config.hidden_size,
            embedding_edge=edge,
            mask_edge=4 * edge,
            resample=resample(processor),
        )

    def modules(
        self, model: Any, spec: SamSpec, normal: Normalization
    ) -> tuple[nn.Module, nn.Module, nn.Module]:
        # The positions of cells follow from their number, which the option sets.
        model.config.prompt_encoder_config.image_embedding_size = spec.embedding_edge
        _, decoder, grid_decoder = super().modules(model, spec, normal)
        return ImageEncoder(model, spec, normal), decoder, grid_decoder
