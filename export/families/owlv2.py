"""OWLv2 checkpoints as two networks: one for pictures, one for labels."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

import numpy as np
from torch import Tensor, nn
from transformers import Owlv2Config, Owlv2ForObjectDetection
from transformers.models.owlv2.image_processing_pil_owlv2 import Owlv2ImageProcessorPil

from export.checkpoints import Checkpoint
from export.errors import InvalidCheckpoint, UnsupportedProcessor
from export.families.clip import TEXTS, ClipExport, padded_token_pair, sample_tokens, unit
from export.family import FamilyExport, Options, TokenPair
from export.network import Arrays, Network, sample_pixels
from export.pixels import Normalize
from export.precision import Kept, Policy
from export.processor import Normalization, edges, require
from fovea.families.owlv2 import Owlv2Spec
from fovea.roles import Role
from fovea.specs import Tolerance

# For checkpoints whose config does not say: transformers' default of `threshold`.
BOX_THRESHOLD = 0.1


class ImageEncoder(nn.Module):
    """pixel_values uint8 [N, 3, S, S] -> of each of Q patches, what labels are compared with.

    class_embeds [N, Q, D] of length 1, logit_shift and logit_scale [N, Q], pred_boxes [N, Q, 4]
    cxcywh of the padded square, objectness_logits [N, Q].
    """

    def __init__(self, model: Owlv2ForObjectDetection, normal: Normalization) -> None:
        super().__init__()
        self.normalize = Normalize(normal.mean, normal.std)
        self.model = model

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, ...]:
        model, head = self.model, self.model.class_head
        grid, _ = model.image_embedder(self.normalize(pixel_values))
        patches = grid.flatten(1, 2)
        return (
            unit(head.dense0(patches)),
            head.logit_shift(patches).squeeze(-1),
            head.elu(head.logit_scale(patches)).squeeze(-1) + 1,
            model.box_predictor(patches, grid),
            model.objectness_predictor(patches),
        )


class TextEncoder(nn.Module):
    """input_ids, attention_mask int64 [N, T] -> text_embeds [N, D], of length 1."""

    def __init__(self, model: Owlv2ForObjectDetection) -> None:
        super().__init__()
        self.text_model = model.owlv2.text_model
        self.projection = model.owlv2.text_projection

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        seen = self.text_model(input_ids=input_ids, attention_mask=attention_mask)
        return unit(self.projection(seen.pooler_output))


def read_spec(
    config: Owlv2Config, processor: Owlv2ImageProcessorPil, pad_token_id: int
) -> Owlv2Spec:
    """The spec of a checkpoint; raises UnsupportedProcessor and InvalidCheckpoint."""
    require(processor, do_resize=True, do_pad=True, do_rescale=True, do_center_crop=False)
    height, width = edges(processor, "size", "height", "width")
    vision, text = config.vision_config, config.text_config
    if (height, width) != (vision.image_size, vision.image_size):
        raise InvalidCheckpoint(
            f"owlv2: the vision model takes {vision.image_size} x {vision.image_size} pixels, "
            f"the image processor resizes to {height} x {width}"
        )
    if not processor.resample:
        # The processor takes it for whether to smooth before shrinking, whatever the filter.
        raise UnsupportedProcessor(
            f"{type(processor).__name__}: expected resample to name a filter that smooths, "
            f"got {processor.resample!r}"
        )
    if config.projection_dim != text.hidden_size:
        raise InvalidCheckpoint(
            f"owlv2: the class head compares vectors of {text.hidden_size} (text hidden_size), "
            f"labels have projection_dim={config.projection_dim}"
        )
    return Owlv2Spec(
        image_size=vision.image_size,
        num_queries=(vision.image_size // vision.patch_size) ** 2,
        embed_dim=config.projection_dim,
        text_length=text.max_position_embeddings,
        pad_token_id=pad_token_id,
        box_threshold=getattr(config, "box_threshold", BOX_THRESHOLD),
    )


def _sample_image(spec: Owlv2Spec, batch: int, variant: int) -> Arrays:
    """Pictures that fill the square, or lie in it."""
    edge = spec.image_size
    rng = np.random.default_rng((batch, variant))
    valid_hw = [(edge, edge), (edge * 3 // 4, edge)][variant]
    return {"pixel_values": sample_pixels(rng, (batch, 3, edge, edge), valid_hw)}


class Owlv2Export(FamilyExport):
    """OWLv2, whose image network is one graph for any labels."""

    model_class = Owlv2ForObjectDetection
    processor_class = Owlv2ImageProcessorPil
    TEXTS = TEXTS
    POLICIES: ClassVar[dict[str, Policy]] = {
        "image_encoder": Policy(
            kept=(
                Kept("vectors are made of length 1, and boxes of places", nodes=(r"^/[^/]+$",)),
                Kept("boxes: added to the inverse sigmoid of places", nodes=(r"box_head",)),
                Kept("logits: a scale that multiplies cosines", nodes=(r"logit_scale",)),
            ),
            quantized=(),
            quantized_reason="its boxes were never tried",
            fp16=Tolerance(difference=1e-2),
            int8=Tolerance(),
        ),
        "text_encoder": ClipExport.POLICIES["text_encoder"],
    }

    def read_spec(
        self, checkpoint: Checkpoint, model: Any, processor: Any, options: Options
    ) -> Owlv2Spec:
        return read_spec(model.config, processor, checkpoint.pad_token_id())

    def networks(self, role: Any, model: Any, normal: Normalization) -> list[Network]:
        sample_pictures = partial(_sample_image, role.spec)
        text_config = model.config.text_config
        sample_text = partial(sample_tokens, text_config, role.spec)
        image, text = ImageEncoder(model, normal), TextEncoder(model)
        return [
            Network(role.image_network, image, sample_pictures, variants=2),
            Network(role.text_network, text, sample_text, variants=3),
        ]

    def token_pair(self, checkpoint: Checkpoint, role: Role[Any]) -> TokenPair:
        return padded_token_pair(self, checkpoint, role)
