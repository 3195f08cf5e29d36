"""SigLIP checkpoints as two networks."""

from __future__ import annotations

from functools import partial

import numpy as np
from torch import Tensor, nn
from transformers import SiglipModel
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from export.clip import unit
from export.errors import InvalidCheckpoint
from export.network import Arrays, Network, sample_pixels
from export.pixels import Normalize
from export.processor import edges, normalization, require, resample
from fovea import siglip
from fovea.siglip import SiglipSpec
from fovea.specs import Queue


class ImageEncoder(nn.Module):
    """pixel_values uint8 [N, 3, S, S] -> image_embeds [N, D], of length 1."""

    def __init__(self, model: SiglipModel, spec: SiglipSpec) -> None:
        super().__init__()
        self.normalize = Normalize(spec.mean, spec.std)
        self.vision_model = model.vision_model

    def forward(self, pixel_values: Tensor) -> Tensor:
        return unit(self.vision_model(pixel_values=self.normalize(pixel_values)).pooler_output)


class TextEncoder(nn.Module):
    """input_ids int64 [N, T] -> text_embeds [N, D], of length 1."""

    def __init__(self, model: SiglipModel) -> None:
        super().__init__()
        self.text_model = model.text_model

    def forward(self, input_ids: Tensor) -> Tensor:
        return unit(self.text_model(input_ids=input_ids).pooler_output)


def read_spec(
    model: SiglipModel, processor: SiglipImageProcessorPil, pad_token_id: int
) -> SiglipSpec:
    """The spec of a checkpoint; raises UnsupportedProcessor and InvalidCheckpoint."""
    require(processor, do_resize=True, do_center_crop=False, do_pad=False)
    height, width = edges(processor, "size", "height", "width")
    vision, text = model.config.vision_config, model.config.text_config
    size = vision.image_size
    if (height, width) != (size, size):
        raise InvalidCheckpoint(
            f"siglip: the vision model takes {size} x {size} pixels, "
            f"the image processor resizes to {height} x {width}"
        )
    if not vision.vision_use_head or text.projection_size != vision.hidden_size:
        raise InvalidCheckpoint(
            f"siglip: expected a vision model with a head and vectors of {text.projection_size} "
            f"as the text model has, got vision_use_head={vision.vision_use_head} "
            f"and hidden_size={vision.hidden_size}"
        )
    normal = normalization(processor)
    return SiglipSpec(
        image_size=size,
        mean=normal.mean,
        std=normal.std,
        embed_dim=vision.hidden_size,
        text_length=text.max_position_embeddings,
        pad_token_id=pad_token_id,
        logit_scale=round(float(model.logit_scale.exp()), 6),
        logit_bias=round(float(model.logit_bias), 6),
        resample=resample(processor),
    )


def networks(
    model: SiglipModel,
    spec: SiglipSpec,
    *,
    image_batch_size: int,
    text_batch_size: int,
    queue: Queue,
) -> list[Network]:
    """siglip_image_encoder and siglip_text_encoder."""
    image = siglip.image_encoder(spec, max_batch_size=image_batch_size, queue=queue)
    text = siglip.text_encoder(spec, max_batch_size=text_batch_size, queue=queue)
    vocabulary = model.config.text_config.vocab_size
    sample_text = partial(_sample_text, spec, vocabulary)
    return [
        Network(image, ImageEncoder(model, spec), partial(_sample_image, spec), variants=2),
        Network(text, TextEncoder(model), sample_text, variants=3),
    ]


def _sample_image(spec: SiglipSpec, batch: int, variant: int) -> Arrays:
    edge = spec.image_size
    rng = np.random.default_rng((batch, variant))
    return {"pixel_values": sample_pixels(rng, (batch, 3, edge, edge), (edge, edge))}


def _sample_text(spec: SiglipSpec, vocabulary: int, batch: int, variant: int) -> Arrays:
    """Random tokens that fill a little, half or all of the text, and padding."""
    rng = np.random.default_rng((batch, variant))
    length = (4, spec.text_length // 2, spec.text_length)[variant]
    input_ids = np.full((batch, spec.text_length), spec.pad_token_id, np.int64)
    input_ids[:, :length] = rng.integers(0, vocabulary, (batch, length))
    return {"input_ids": input_ids}
