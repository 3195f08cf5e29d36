"""HQ-SAM checkpoints as three networks: SAM's, with early features that sharpen each mask.

Source: Ke et al., "Segment Anything in High Quality" (NeurIPS 2023), github.com/SysCV/sam-hq,
`segment_anything/modeling/mask_decoder_hq.py`. `SamHQModel.forward` of transformers is not the
reference: up to 5.23 it upscales the picture's embedding from before the transformer. Only its
weights and configuration, which are right, are used.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import SamHQConfig, SamHQModel
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil
from transformers.models.sam_hq.modeling_sam_hq import SamHQMaskDecoder
from transformers.utils import ModelOutput

from export.checkpoints import Checkpoint
from export.errors import InvalidCheckpoint
from export.families import sam
from export.families.sam import SamExport
from export.families.sam_grid import OfGrid, to_input_frame
from export.family import Options
from export.processor import Normalization
from fovea.families.sam import SamSpec


class HqFeatures(nn.Module):
    """image_embeddings [N, C, E, E], early_features [N, E, E, V] -> hq_features [N, c, 4E, 4E].

    early_features come from the first vision layer with global attention. Prompts play no part in
    this, so it belongs to the image encoder.
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

    def __init__(self, model: SamHQModel, spec: SamSpec, normal: Normalization) -> None:
        super().__init__(model, spec, normal)
        self.hq_features = HqFeatures(model.mask_decoder)

    def outputs(self, seen: ModelOutput) -> tuple[Tensor, Tensor]:
        embeddings = seen.last_hidden_state
        return embeddings, self.hq_features(embeddings, seen.intermediate_embeddings[0])


class MaskDecoder(sam.MaskDecoder):
    """SAM's, with hq_features after image_embeddings; the HQ mask is added to each of the masks.

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
        valid_hw: Tensor,
        original_size_hw: Tensor,
    ) -> tuple[Tensor, Tensor]:
        coords = to_input_frame(point_coords, valid_hw, original_size_hw)
        answers = self.all_masks(image_embeddings, hq_features, coords, point_labels)
        return sam.chosen(*answers, point_labels)

    def all_masks(
        self,
        image_embeddings: Tensor,
        hq_features: Tensor,
        point_coords: Tensor,
        point_labels: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """For points in the input frame: iou_scores [N, P, 4] and logits [N, P, 4, M, M]."""
        tokens, upscaled = self.transform(image_embeddings, point_coords, point_labels)
        masks = sam.weighted(self.mask_weights(tokens), upscaled)
        hq_masks = self.hq_mask(tokens, upscaled, sam.per_prompt(hq_features, point_labels))
        return self.answer(tokens, masks + hq_masks, point_labels)

    def hq_mask(self, tokens: Tensor, upscaled: Tensor, hq_features: Tensor) -> Tensor:
        """[N * P, T, C], [N * P, c, M, M] twice -> the HQ mask of each prompt, [N * P, 1, M, M]."""
        hq_weights = self.decoder.hq_mask_mlp(tokens[:, -1:])
        return sam.weighted(hq_weights, self.hq_map(upscaled) + hq_features)

    def output_tokens(self) -> Tensor:
        return torch.cat([super().output_tokens(), self.decoder.hq_token.weight])


class GridDecoder(OfGrid, sam.ManyPrompts, MaskDecoder):
    """The mask decoder for a grid of points."""


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


class HqSamExport(SamExport):
    """HQ-SAM in transformers' layout, with SAM's policies."""

    model_class = SamHQModel

    def read_spec(
        self, checkpoint: Checkpoint, model: Any, processor: Any, options: Options
    ) -> SamSpec:
        return read_spec(model.config, processor)

    def modules(
        self, model: Any, spec: SamSpec, normal: Normalization
    ) -> tuple[nn.Module, nn.Module, nn.Module]:
        return (
            ImageEncoder(model, spec, normal),
            MaskDecoder(model, spec),
            GridDecoder(model, spec),
        )
