"""ALIGN checkpoints as two networks.

Code: Apache-2.0 (transformers). Weights: kakaobrain/align-base states no licence.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from torch import Tensor, nn
from transformers import AlignModel
from transformers.models.align.processing_align import AlignProcessor
from transformers.models.efficientnet.image_processing_pil_efficientnet import (
    EfficientNetImageProcessorPil,
)

from export.checkpoints import Checkpoint
from export.errors import InvalidCheckpoint, UnsupportedProcessor
from export.families.clip import (
    TEXTS,
    ClipExport,
    padded_token_pair,
    sample_image,
    sample_text,
    unit,
)
from export.families.efficientnet import normalization_of
from export.family import FamilyExport, Options, TokenPair
from export.network import Network
from export.pixels import Normalize
from export.precision import Policy
from export.processor import Normalization, edges, require, resample
from fovea.families.align import Align
from fovea.families.clip import ClipSpec
from fovea.roles import Role

# The length that the processor pads texts to.
TEXT_LENGTH = int(AlignProcessor.text_kwargs["max_length"])


class ImageEncoder(nn.Module):
    """pixel_values uint8 [N, 3, S, S] -> image_embeds [N, D], of length 1.

    The model's pooling window is as large as its channel count, which TensorRT and OpenVINO refuse:
    here it is the mean, or the maximum, over the whole map.
    """

    def __init__(self, model: AlignModel, normal: Normalization) -> None:
        super().__init__()
        self.normalize = Normalize(normal.mean, normal.std)
        self.embeddings = model.vision_model.embeddings
        self.encoder = model.vision_model.encoder
        mean = model.config.vision_config.pooling_type == "mean"
        self.pooler = nn.AdaptiveAvgPool2d(1) if mean else nn.AdaptiveMaxPool2d(1)

    def forward(self, pixel_values: Tensor) -> Tensor:
        seen = self.encoder(self.embeddings(self.normalize(pixel_values)))[0]
        return unit(self.pooler(seen).flatten(1))


class TextEncoder(nn.Module):
    """input_ids, attention_mask int64 [N, T] -> text_embeds [N, D], of length 1.

    A text is one segment: token types are the model's own, zeros.
    """

    def __init__(self, model: AlignModel) -> None:
        super().__init__()
        self.text_model = model.text_model
        self.projection = model.text_projection

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        states = self.text_model(input_ids=input_ids, attention_mask=attention_mask)
        return unit(self.projection(states.last_hidden_state[:, 0]))


def read_spec(
    model: AlignModel, processor: EfficientNetImageProcessorPil, pad_token_id: int
) -> ClipSpec:
    """The spec of a checkpoint; raises UnsupportedProcessor and InvalidCheckpoint."""
    require(processor, do_resize=True, do_center_crop=True, do_pad=False)
    resized, edge = (_square(processor, name) for name in ("size", "crop_size"))
    if resized < edge:
        raise UnsupportedProcessor(
            f"{type(processor).__name__}: expected a size of at least crop_size={edge}, "
            f"got {resized}"
        )
    width, text = model.text_projection.out_features, model.config.text_config
    seen = model.vision_model.encoder.blocks[-1].projection.project_conv.out_channels
    if seen != width:
        raise InvalidCheckpoint(
            f"align: expected a projection_dim of {seen} as vectors of pictures have, got {width}"
        )
    if text.max_position_embeddings < TEXT_LENGTH:
        raise InvalidCheckpoint(
            f"align: expected a text model of {TEXT_LENGTH} tokens or more, "
            f"got {text.max_position_embeddings}"
        )
    return ClipSpec(
        image_size=edge,
        embed_dim=width,
        text_length=TEXT_LENGTH,
        pad_token_id=pad_token_id,
        logit_scale=round(1 / float(model.temperature), 4),
        resample=resample(processor),
        squashed_hw=(resized, resized),
    )


def _square(processor: EfficientNetImageProcessorPil, name: str) -> int:
    height, width = edges(processor, name, "height", "width")
    if height != width:
        raise UnsupportedProcessor(
            f"{type(processor).__name__}: expected a square {name}, got {height} x {width}"
        )
    return height


class AlignExport(FamilyExport):
    """ALIGN; runs in lower precision as CLIP does, but its convolutions were not tried in int8."""

    model_class = AlignModel
    processor_class = EfficientNetImageProcessorPil
    SETTINGS = ("include_top", "rescale_offset")
    TEXTS = TEXTS
    POLICIES: ClassVar[dict[str, Policy]] = {
        "image_encoder": replace(
            ClipExport.POLICIES["image_encoder"],
            quantized=(),
            quantized_reason="its depthwise convolutions were never tried in int8",
        ),
        "text_encoder": ClipExport.POLICIES["text_encoder"],
    }

    def read_spec(
        self, checkpoint: Checkpoint, model: Any, processor: Any, options: Options
    ) -> ClipSpec:
        return read_spec(model, processor, checkpoint.pad_token_id())

    def normalization(self, processor: Any) -> Normalization:
        return normalization_of(processor)

    def networks(self, role: Align, model: Any, normal: Normalization) -> list[Network]:
        pictures = partial(sample_image, role.spec.image_size)
        texts = partial(sample_text, role.spec, model.config.text_config.vocab_size)
        image, text = ImageEncoder(model, normal), TextEncoder(model)
        return [
            Network(role.image_network, image, pictures, variants=2),
            Network(role.text_network, text, texts, variants=3),
        ]

    def token_pair(self, checkpoint: Checkpoint, role: Role[Any]) -> TokenPair:
        return padded_token_pair(self, checkpoint, role)
