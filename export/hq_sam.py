"""HQ-SAM checkpoints as two networks: SAM's, with early features that sharpen each mask.

Source: Ke et al., "Segment Anything in High Quality" (NeurIPS 2023), github.com/SysCV/sam-hq,
`segment_anything/modeling/mask_decoder_hq.py`. `SamHQModel.forward` of transformers is not the
reference: up to 5.23 it upscales the picture's embedding as it was before the transformer. Its
weights and configuration are right, and are all that is used of it.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from transformers import SamHQConfig, SamHQModel
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil
from transformers.models.sam_hq.modeling_sam_hq import SamHQMaskDecoder
from transformers.utils import ModelOutput

from export import sam
from export.errors import InvalidCheckpoint
from export.network import Arrays, Network
from fovea import hq_sam
from fovea.sam import SamSpec
from fovea.specs import Queue


class HqFeatures(nn.Module):
    """image_embeddings [N, C, E, E], early_features [N, E, E, V] -> hq_features [N, c, 4E, 4E].

    early_features are those of the first vision layer with global attention. The prompts have no
    part in this, so that it belongs to the image encoder.
    """

    def __init__(self, decoder: SamHQMaskDecoder) -> None:
        super().__init__()
        self.encode = nn.Sequential(
            decoder.encoder_conv1, decoder.encoder_norm, decoder.activation, decoder.encoder_conv2
        )
        self.compress = nn.Sequential(
            decoder.compress_vit_conv1,
            decoder.compress_vit_norm,
            decoder.activation,
            decoder.compress_vit_conv2,
        )

    def forward(self, image_embeddings: Tensor, early_features: Tensor) -> Tensor:
        return self.encode(image_embeddings) + self.compress(early_features.permute(0, 3, 1, 2))


class ImageEncoder(sam.ImageEncoder):
    """As SAM's -> image_embeddings [N, C, E, E], hq_features [N, c, 4E, 4E]."""

    def __init__(self, model: SamHQModel, spec: SamSpec) -> None:
        super().__init__(model, spec)
        self.hq_features = HqFeatures(model.mask_decoder)

    def outputs(self, seen: ModelOutput) -> tuple[Tensor, Tensor]:
        embeddings = seen.last_hidden_state
        return embeddings, self.hq_features(embeddings, seen.intermediate_embeddings[0])


class MaskDecoder(sam.MaskDecoder):
    """As SAM's, with hq_features after image_embeddings: to each of the masks comes the HQ mask.

    So upstream's answer with `hq_token_only=False` is mask 0 of these (`multimask_output=False`),
    or the one of masks 1 to 3 with the highest score. The scores are SAM's own.
    """

    def __init__(self, model: SamHQModel, spec: SamSpec) -> None:
        super().__init__(model, spec)
        decoder = model.mask_decoder
        self.hq_map = nn.Sequential(
            decoder.mask_conv1, decoder.mask_norm, decoder.activation, decoder.mask_conv2
        )

    def forward(
        self,
        image_embeddings: Tensor,
        hq_features: Tensor,
        point_coords: Tensor,
        point_labels: Tensor,
    ) -> tuple[Tensor, Tensor]:
        tokens, upscaled = self.transform(image_embeddings, point_coords, point_labels)
        masks = sam.weighted(self.mask_weights(tokens), upscaled)
        hq_upscaled = self.hq_map(upscaled) + sam.per_prompt(hq_features, point_labels)
        hq_weights = self.decoder.hq_mask_mlp(tokens[:, -1:])
        return self.answer(tokens, masks + sam.weighted(hq_weights, hq_upscaled), point_labels)

    def output_tokens(self) -> Tensor:
        return torch.cat([super().output_tokens(), self.decoder.hq_token.weight])


def read_spec(config: SamHQConfig, processor: SamImageProcessorPil) -> SamSpec:
    """The spec of a checkpoint; raises UnsupportedProcessor and InvalidCheckpoint."""
    vision, decoder = config.vision_config, config.mask_decoder_config
    if vision.hidden_size != decoder.vit_dim:
        raise InvalidCheckpoint(
            f"hq_sam: the mask decoder wants features of vit_dim={decoder.vit_dim} channels, "
            f"the vision model has hidden_size={vision.hidden_size}"
        )
    if vision.window_size and not vision.global_attn_indexes:
        raise InvalidCheckpoint(
            "hq_sam: expected a vision layer with global attention, "
            f"got window_size={vision.window_size} and no global_attn_indexes"
        )
    return sam.read_spec(config, processor)


def networks(
    model: SamHQModel,
    spec: SamSpec,
    *,
    encoder_batch_size: int,
    decoder_batch_size: int,
    queue: Queue,
) -> list[Network]:
    """hq_sam_image_encoder and hq_sam_mask_decoder."""
    encoder = hq_sam.image_encoder(spec, max_batch_size=encoder_batch_size, queue=queue)
    decoder = hq_sam.mask_decoder(spec, max_batch_size=decoder_batch_size, queue=queue)
    sample_image = partial(sam.sample_image, spec)
    return [
        Network(encoder, ImageEncoder(model, spec), sample_image, variants=3),
        Network(decoder, MaskDecoder(model, spec), partial(_sample_prompts, spec), variants=3),
    ]


def _sample_prompts(spec: SamSpec, batch: int, variant: int) -> Arrays:
    rng = np.random.default_rng((batch, variant))
    shape = (batch, *hq_sam.hq_tensor(spec).shape)
    features = rng.normal(0, 1, shape).astype(np.float32)
    return sam.sample_prompts(spec, batch, variant) | {"hq_features": features}
