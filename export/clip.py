"""CLIP checkpoints as two networks."""

from __future__ import annotations

from functools import partial

import numpy as np
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, Owlv2TextConfig
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from export.errors import InvalidCheckpoint, UnsupportedProcessor
from export.network import Arrays, Network, sample_pixels
from export.pixels import Normalize
from export.processor import edges, normalization, require, resample
from fovea import clip
from fovea.clip import ClipSpec
from fovea.owlv2 import Owlv2Spec
from fovea.pipeline import PipelineSpec


class ImageEncoder(nn.Module):
    """pixel_values uint8 [N, 3, S, S] -> image_embeds [N, D], of length 1."""

    def __init__(self, model: CLIPModel, spec: ClipSpec) -> None:
        super().__init__()
        self.normalize = Normalize(spec.mean, spec.std)
        self.vision_model = model.vision_model
        self.projection = model.visual_projection

    def forward(self, pixel_values: Tensor) -> Tensor:
        features = self.vision_model(pixel_values=self.normalize(pixel_values)).pooler_output
        return unit(self.projection(features))


class TextEncoder(nn.Module):
    """input_ids, attention_mask int64 [N, T] -> text_embeds [N, D], of length 1."""

    def __init__(self, model: CLIPModel) -> None:
        super().__init__()
        self.text_model = model.text_model
        self.projection = model.text_projection

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        features = self.text_model(input_ids=input_ids, attention_mask=attention_mask)
        return unit(self.projection(features.pooler_output))


def unit(embeds: Tensor) -> Tensor:
    """Vectors [..., D], made of length 1."""
    return embeds / embeds.pow(2).sum(dim=-1, keepdim=True).sqrt()


def read_spec(
    config: CLIPConfig, processor: CLIPImageProcessorPil, pad_token_id: int, logit_scale: float
) -> ClipSpec:
    """The spec of a checkpoint; `logit_scale` is the factor itself, not its logarithm.

    Raises UnsupportedProcessor and InvalidCheckpoint.
    """
    require(processor, do_resize=True, do_center_crop=True, do_pad=False)
    (resize_edge,) = edges(processor, "size", "shortest_edge")
    height, width = edges(processor, "crop_size", "height", "width")
    size = config.vision_config.image_size
    if (height, width) != (size, size):
        raise InvalidCheckpoint(
            f"clip: the vision model takes {size} x {size} pixels, crop_size is {height} x {width}"
        )
    if resize_edge < size:
        raise UnsupportedProcessor(
            f"{type(processor).__name__}: expected a size of at least crop_size={size}, "
            f"got {resize_edge}"
        )
    normal = normalization(processor)
    return ClipSpec(
        image_size=size,
        mean=normal.mean,
        std=normal.std,
        embed_dim=config.projection_dim,
        text_length=config.text_config.max_position_embeddings,
        pad_token_id=pad_token_id,
        logit_scale=round(logit_scale, 4),
        resize_edge=resize_edge,
        resample=resample(processor),
    )


def networks(model: CLIPModel, pipeline: PipelineSpec) -> list[Network]:
    """clip_image_encoder and clip_text_encoder."""
    spec, sizes, queue = pipeline.clip, pipeline.batch_sizes, pipeline.queues.inner
    image = clip.image_encoder(spec, max_batch_size=sizes.clip_image_encoder, queue=queue)
    text = clip.text_encoder(spec, max_batch_size=sizes.clip_text_encoder, queue=queue)

    def sample_image(batch: int, variant: int) -> Arrays:
        edge = spec.image_size
        rng = np.random.default_rng((batch, variant))
        return {"pixel_values": sample_pixels(rng, (batch, 3, edge, edge), (edge, edge))}

    sample_text = partial(sample_tokens, model.config.text_config, spec)
    return [
        Network(image, ImageEncoder(model, spec), sample_image, variants=2),
        Network(text, TextEncoder(model), sample_text, variants=3),
    ]


def sample_tokens(
    config: CLIPTextConfig | Owlv2TextConfig, spec: ClipSpec | Owlv2Spec, batch: int, variant: int
) -> Arrays:
    """Random tokens of lengths that fill a little, half or all of the text."""
    rng = np.random.default_rng((batch, variant))
    length = (4, spec.text_length // 2, spec.text_length)[variant]
    input_ids = np.full((batch, spec.text_length), spec.pad_token_id, np.int64)
    special = {config.bos_token_id, config.eos_token_id, spec.pad_token_id}
    words = [i for i in range(config.vocab_size) if i not in special]
    input_ids[:, 0] = config.bos_token_id
    input_ids[:, 1 : length - 1] = rng.choice(words, (batch, length - 2))
    input_ids[:, length - 1] = config.eos_token_id
    attention_mask = np.zeros_like(input_ids)
    attention_mask[:, :length] = 1
    return {"input_ids": input_ids, "attention_mask": attention_mask}
