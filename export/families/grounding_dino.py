"""GroundingDINO checkpoints as one network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from transformers import GroundingDinoConfig, GroundingDinoForObjectDetection
from transformers.models.grounding_dino import modeling_grounding_dino
from transformers.models.grounding_dino.image_processing_pil_grounding_dino import (
    GroundingDinoImageProcessorPil,
)

from export import canvas
from export.checkpoints import Checkpoint
from export.families.grounding_dino_layers import reordered
from export.family import FamilyExport, Options, TokenPair
from export.network import Arrays, Network, sample_pixels
from export.pixels import Normalize, valid_mask
from export.precision import Kept, Policy
from export.processor import Normalization, resample
from fovea.captions import DELIMITER_IDS, text_self_attention
from fovea.families.grounding_dino import GroundingDino, GroundingDinoSpec
from fovea.roles import Role
from fovea.specs import MASKED_LOGIT, Tolerance
from fovea.tokenizer import PaddedTokenizer

TEXT_BUCKETS = (16, 32, 64, 128, 256)

# For configs without one: the README of IDEA-Research/GroundingDINO.
BOX_THRESHOLD = 0.35
TEXT_THRESHOLD = 0.25


class Detector(nn.Module):
    """A padded picture and a caption -> logits [N, Q, T], pred_boxes [N, Q, 4] cxcywh.

    The text's attention masks and position ids are inputs: transformers computes them with
    operators that ONNX lacks.
    """

    def __init__(self, model: GroundingDinoForObjectDetection, normal: Normalization) -> None:
        super().__init__()
        self.normalize = Normalize(normal.mean, normal.std)
        self.model = model

    def forward(
        self,
        pixel_values: Tensor,
        valid_hw: Tensor,
        input_ids: Tensor,
        attention_mask: Tensor,
        position_ids: Tensor,
        text_self_attention_masks: Tensor,
    ) -> tuple[Tensor, Tensor]:
        valid = valid_mask(valid_hw, pixel_values.shape[2], pixel_values.shape[3])
        with _given_text_attention(text_self_attention_masks, position_ids):
            out = self.model(
                pixel_values=self.normalize(pixel_values) * valid.unsqueeze(1),
                pixel_mask=valid.long(),
                input_ids=input_ids,
                attention_mask=attention_mask,
                token_type_ids=torch.zeros_like(input_ids),
            )
        logits = out.logits[:, :, : input_ids.shape[1]]
        return logits.clamp(min=MASKED_LOGIT), out.pred_boxes


@contextmanager
def _given_text_attention(masks: Tensor, position_ids: Tensor) -> Iterator[None]:
    """Make transformers take the text's attention from here."""
    name = "generate_masks_with_special_tokens_and_transfer_map"
    original = getattr(modeling_grounding_dino, name)
    setattr(modeling_grounding_dino, name, lambda *args, **kwargs: (masks, position_ids))
    try:
        yield
    finally:
        setattr(modeling_grounding_dino, name, original)


def read_spec(
    config: GroundingDinoConfig,
    processor: GroundingDinoImageProcessorPil,
    pad_token_id: int,
    longest_edge: int | None = None,
) -> GroundingDinoSpec:
    """The spec of a checkpoint; see `export.canvas`."""
    placed = canvas.read_canvas(processor, longest_edge)
    return GroundingDinoSpec(
        shortest_edge=placed.shortest,
        longest_edge=placed.longest,
        canvas_hw=placed.hw,
        text_buckets=tuple(bucket for bucket in TEXT_BUCKETS if bucket <= config.max_text_len),
        pad_token_id=pad_token_id,
        num_queries=config.num_queries,
        box_threshold=getattr(config, "box_threshold", BOX_THRESHOLD),
        text_threshold=getattr(config, "text_threshold", TEXT_THRESHOLD),
        resample=resample(processor),
    )


def _sample(spec: GroundingDinoSpec, batch: int, variant: int) -> Arrays:
    """Pictures of several shapes with captions of two phrases, padded to different buckets."""
    rng = np.random.default_rng((batch, variant))
    height, width = spec.canvas_hw
    valid_hw = [(height, width), (height * 3 // 4, width), (height, width * 2 // 3)][variant]
    bucket = spec.text_buckets[variant % min(2, len(spec.text_buckets))]
    input_ids = np.full((batch, bucket), spec.pad_token_id, np.int64)
    cls, sep, dot, _ = DELIMITER_IDS
    for row in input_ids:
        words = rng.integers(sep + 1, dot, 5)
        row[:9] = [cls, *words[:2], dot, *words[2:], dot, sep]
    attention = [text_self_attention(row) for row in input_ids]
    return {
        "pixel_values": sample_pixels(rng, (batch, 3, height, width), valid_hw),
        "valid_hw": np.tile(np.array(valid_hw, np.int32), (batch, 1)),
        "input_ids": input_ids,
        "attention_mask": (input_ids != spec.pad_token_id).astype(np.int64),
        "position_ids": np.stack([positions for _, positions in attention]),
        "text_self_attention_masks": np.stack([masks for masks, _ in attention]),
    }


class GroundingDinoExport(FamilyExport):
    """GroundingDINO; `longest_edge` caps its picture at a square of that edge."""

    model_class = GroundingDinoForObjectDetection
    processor_class = GroundingDinoImageProcessorPil
    OPTIONS: ClassVar[dict[str, type]] = {canvas.LONGEST_EDGE: int}
    TEXTS = ("a cat.", "cat. a red t-shirt.", "Café. st. bernard.", "红色的车 🚗.")
    POLICIES: ClassVar[dict[str, Policy]] = {
        "": Policy(
            kept=(
                Kept("sampling, with GridSample or by gathers", nodes=(r"_attn/attn/",)),
                Kept(
                    "sampling: its coordinates",
                    operators=("GridSample",),
                    nodes=(
                        r"/(deformable_layer/self_attn|encoder_attn)/([^/]+|sampling_offsets/.*)$",
                    ),
                ),
                Kept(
                    "coordinates: positions of pixels, reference points, proposals",
                    nodes=(
                        r"/position_embedding",
                        r"^/[^/]+$",
                        r"^/model/[^/]+$",
                        r"^/model/model/[^/]+$",
                        r"^/model/model/(encoder|decoder|backbone)/[^/]+$",
                        r"^/model/model/backbone/conv_encoder/[^/]+$",
                        r"/reference_points_head",
                    ),
                ),
                Kept(
                    "box refinement: added to the inverse sigmoid of the last box",
                    operators=("Sigmoid", "Log"),
                    nodes=(r"bbox_embed",),
                ),
                Kept(
                    "top-k: the scores that choose the proposals, and the answer's own",
                    nodes=(r"/enc_output", r"class_embed"),
                ),
            ),
            quantized=(r"/backbone/conv_encoder/", r"/text_backbone/"),
            quantized_reason="its transformer broke; the backbones are most of it",
            fp16=Tolerance(difference=1e-2, rows=0.9),
            int8=Tolerance(difference=5e-2, rows=0.8),
            # Four fifths of the rows at full size are within 0.048 by PyTorch's autocast to bf16,
            # which keeps norms and softmax in float32. OpenVINO keeps every activation in bf16.
            bf16=Tolerance(difference=1e-1, rows=0.8),
            grouped=(r"/backbone/conv_encoder/", r"/deformable_layer/fc[12]/"),
        ),
    }

    def read_spec(
        self, checkpoint: Checkpoint, model: Any, processor: Any, options: Options
    ) -> GroundingDinoSpec:
        pad = checkpoint.token_id("[PAD]")
        return read_spec(model.config, processor, pad, options.get(canvas.LONGEST_EDGE))

    def networks(
        self, role: GroundingDino, model: GroundingDinoForObjectDetection, normal: Normalization
    ) -> list[Network]:
        def sample(batch: int, variant: int) -> Arrays:
            return _sample(role.spec, batch, variant)

        detector = Detector(model, normal)
        return [Network(role.image_network, detector, sample, variants=3, tracing=reordered)]

    def processor_arguments(self, processor: Any, options: Options) -> dict[str, Any]:
        return canvas.arguments(processor, options)

    def token_pair(self, checkpoint: Checkpoint, role: Role[Any]) -> TokenPair:
        theirs = self.load_tokenizer(checkpoint)
        tokenizer = PaddedTokenizer(self.read_tokenizer(checkpoint), role.spec.pad_token_id)
        return lambda text: (tokenizer.encode(text), list(theirs(text)["input_ids"]))
