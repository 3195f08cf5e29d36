"""What OWL-ViT and OWLv2 share: one network for pictures, one for labels."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

import numpy as np
from torch import Tensor, nn

from export.checkpoints import Checkpoint
from export.errors import InvalidCheckpoint
from export.families.clip import TEXTS, ClipExport, padded_token_pair, sample_tokens, unit
from export.family import FamilyExport, TokenPair
from export.network import Arrays, Network, sample_pixels
from export.pixels import Normalize
from export.precision import Kept, Policy
from export.processor import Normalization, edges, require
from fovea.families.owl import Owl, OwlSpec
from fovea.roles import Role
from fovea.specs import Tolerance

# For configs without one: transformers' default of `threshold`.
BOX_THRESHOLD = 0.1


class ImageEncoder(nn.Module):
    """pixel_values uint8 [N, 3, S, S] -> for each of Q patches, what labels are compared with.

    class_embeds [N, Q, D] of length 1, logit_shift and logit_scale [N, Q], pred_boxes [N, Q, 4]
    cxcywh as fractions of the square; OWLv2 also has objectness_logits [N, Q].
    """

    def __init__(self, model: Any, normal: Normalization) -> None:
        super().__init__()
        self.normalize = Normalize(normal.mean, normal.std)
        self.model = model

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, ...]:
        model, head = self.model, self.model.class_head
        grid, _ = model.image_embedder(self.normalize(pixel_values))
        patches = grid.flatten(1, 2)
        answers = (
            unit(head.dense0(patches)),
            head.logit_shift(patches).squeeze(-1),
            head.elu(head.logit_scale(patches)).squeeze(-1) + 1,
            model.box_predictor(patches, grid),
        )
        if hasattr(model, "objectness_predictor"):
            return (*answers, model.objectness_predictor(patches))
        return answers


class TextEncoder(nn.Module):
    """input_ids, attention_mask int64 [N, T] -> text_embeds [N, D], of length 1.

    towers: the model without its heads.
    """

    def __init__(self, towers: Any) -> None:
        super().__init__()
        self.text_model = towers.text_model
        self.projection = towers.text_projection

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        seen = self.text_model(input_ids=input_ids, attention_mask=attention_mask)
        return unit(self.projection(seen.pooler_output))


def read_spec(config: Any, processor: Any, pad_token_id: int) -> OwlSpec:
    """The spec of a checkpoint; raises UnsupportedProcessor and InvalidCheckpoint."""
    require(processor, do_resize=True, do_rescale=True, do_center_crop=False)
    height, width = edges(processor, "size", "height", "width")
    vision, text = config.vision_config, config.text_config
    if (height, width) != (vision.image_size, vision.image_size):
        raise InvalidCheckpoint(
            f"{config.model_type}: the vision model takes {vision.image_size} x "
            f"{vision.image_size} pixels, the image processor resizes to {height} x {width}"
        )
    if config.projection_dim != text.hidden_size:
        raise InvalidCheckpoint(
            f"{config.model_type}: the class head compares vectors of {text.hidden_size} "
            f"(text hidden_size), labels have projection_dim={config.projection_dim}"
        )
    return OwlSpec(
        image_size=vision.image_size,
        num_queries=(vision.image_size // vision.patch_size) ** 2,
        embed_dim=config.projection_dim,
        text_length=text.max_position_embeddings,
        pad_token_id=pad_token_id,
        box_threshold=getattr(config, "box_threshold", BOX_THRESHOLD),
    )


def _sample_image(edge: int, batch: int, variant: int) -> Arrays:
    """Pictures that fill the square, or only part of it."""
    rng = np.random.default_rng((batch, variant))
    valid_hw = [(edge, edge), (edge * 3 // 4, edge)][variant]
    return {"pixel_values": sample_pixels(rng, (batch, 3, edge, edge), valid_hw)}


class OwlExport(FamilyExport):
    """The image network is one graph for any labels.

    TOWERS: the model's name for its part without heads.
    """

    TOWERS: ClassVar[str]
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

    def networks(self, role: Owl[Any], model: Any, normal: Normalization) -> list[Network]:
        sample_pictures = partial(_sample_image, role.spec.image_size)
        sample_text = partial(sample_tokens, model.config.text_config, role.spec)
        image, text = ImageEncoder(model, normal), TextEncoder(getattr(model, self.TOWERS))
        return [
            Network(role.image_network, image, sample_pictures, variants=2),
            Network(role.text_network, text, sample_text, variants=3),
        ]

    def token_pair(self, checkpoint: Checkpoint, role: Role[Any]) -> TokenPair:
        return padded_token_pair(self, checkpoint, role)
