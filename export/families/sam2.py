"""SAM 2 checkpoints as three networks, for pictures; facebook/sam2.1-hiera-tiny and others.

Code: Apache-2.0. Weights: Apache-2.0.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from transformers import Sam2Config, Sam2Model
from transformers.image_processing_backends import PilBackend
from transformers.image_utils import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from export.checkpoints import Checkpoint
from export.errors import InvalidCheckpoint
from export.families import sam
from export.families.dino import fixed
from export.families.sam import SamExport
from export.families.sam_grid import OfGrid, to_input_frame
from export.family import Options
from export.network import Arrays, Network, sample_pixels
from export.pixels import Normalize
from export.precision import Policy
from export.processor import Normalization, edges, require, resample
from fovea.families.sam import IOU_THRESHOLD, POINTS_PER_SIDE, STABILITY_THRESHOLD, SamSpec
from fovea.prompts import PADDING
from fovea.specs import Tolerance

# Added to attention logits, it hides a token; half precision can hold it.
UNSEEN = -1e4


class Sam2ImageProcessorPil(PilBackend):
    """transformers' `Sam2ImageProcessor` for a picture; that one runs on torchvision only."""

    resample = Image.Resampling.BILINEAR
    image_mean = IMAGENET_DEFAULT_MEAN
    image_std = IMAGENET_DEFAULT_STD
    size: ClassVar[dict[str, int]] = {"height": 1024, "width": 1024}
    do_resize = True
    do_rescale = True
    do_normalize = True


class ImageEncoder(nn.Module):
    """pixel_values uint8 [N, 3, S, S] -> maps of three sizes.

    image_embeddings [N, C, E, E], fine_features [N, C / 8, 4E, 4E], middle_features
    [N, C / 4, 2E, 2E]: transformers' `Sam2Model.get_image_embeddings`, the last one first.
    """

    def __init__(self, model: Sam2Model, normal: Normalization) -> None:
        super().__init__()
        self.normalize = Normalize(normal.mean, normal.std)
        self.vision_encoder = model.vision_encoder
        self.fine, self.middle = model.mask_decoder.conv_s0, model.mask_decoder.conv_s1
        self.register_buffer("no_memory", model.no_memory_embedding.detach().view(1, -1, 1, 1))

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        seen = self.vision_encoder(pixel_values=self.normalize(pixel_values))
        fine, middle, coarse = seen.fpn_hidden_states
        return coarse + self.no_memory, self.fine(fine), self.middle(middle)


class MaskDecoder(sam.MaskDecoder):
    """SAM's, with two finer maps of the picture, and one padding token for every prompt.

    SAM 2 was trained with that token behind boxes, too. A prompt's own padding is masked, so that
    its answer does not depend on how many points other prompts of the request have.
    """

    def __init__(self, model: Sam2Model, spec: SamSpec) -> None:
        super().__init__(model, spec)
        decoder = model.mask_decoder.config
        self.delta = decoder.dynamic_multimask_stability_delta
        self.least = (
            decoder.dynamic_multimask_stability_thresh
            if decoder.dynamic_multimask_via_stability
            else 0.0
        )

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        *maps, point_coords, point_labels, valid_hw, original_size_hw = inputs
        coords = to_input_frame(point_coords, valid_hw, original_size_hw)
        ious, masks = self.all_masks(*maps, coords, point_labels)
        return sam.chosen(ious, masks, point_labels, unsure=self.is_unstable(masks[:, :, 0]))

    def is_unstable(self, masks: Tensor) -> Tensor:
        """Whether so much of a mask depends on the threshold that another is used instead.

        [N, P, M, M] -> bool [N, P]. Formula: transformers'
        `Sam2MaskDecoder._dynamic_multimask_via_stability`.
        """
        raised, lowered = (
            (masks > threshold).to(masks.dtype).sum(dim=(-2, -1))
            for threshold in (self.delta, -self.delta)
        )
        return (raised < self.least * lowered) & (lowered > 0)

    def all_masks(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        """For maps, points in the input frame and labels: scores [N, P, 4], [N, P, 4, M, M]."""
        image_embeddings, fine, middle, point_coords, point_labels = inputs
        coords = functional.pad(point_coords, (0, 0, 0, 1))
        labels = functional.pad(point_labels, (0, 1), value=PADDING)
        seen = functional.pad(point_labels != PADDING, (0, 1), value=True)
        points = self._embed_points(coords, labels).flatten(0, 1).unsqueeze(1)
        tokens, pixels = self._attend(image_embeddings, points, seen.flatten(0, 1), labels)
        finer = (sam.per_prompt(one, labels) for one in (fine, middle))
        masks = sam.weighted(self.mask_weights(tokens), self._sharpen(pixels, *finer))
        return self.answer(tokens, masks, point_labels)

    def output_tokens(self) -> Tensor:
        """SAM's, after the token that tells whether there is an object; its output is not used."""
        return torch.cat([self.decoder.obj_score_token.weight, super().output_tokens()])

    def _attend(
        self, image_embeddings: Tensor, points: Tensor, seen: Tensor, labels: Tensor
    ) -> tuple[Tensor, Tensor]:
        """SAM's output tokens [N * P, T, C] and the map [N * P, C, E, E] after the transformer.

        points [N * P, 1, K, C]; only those that are `seen` [N * P, K] count.
        """
        output_tokens = self.output_tokens()
        count = len(output_tokens)
        output_tokens = output_tokens.view(1, 1, count, -1).expand(points.shape[0], -1, -1, -1)
        tokens = torch.cat([output_tokens, points], dim=2)
        all_seen = functional.pad(seen, (count, 0), value=True)
        bias = (1 - all_seen.to(tokens.dtype))[:, None, None] * UNSEEN
        maps = sam.per_prompt(image_embeddings + self.no_mask, labels)
        pixels = maps.flatten(2).transpose(1, 2).unsqueeze(1)
        positions = self.positions.flatten(2).transpose(1, 2).unsqueeze(1)
        answers, pixels = two_way(self.decoder.transformer, tokens, pixels, positions, bias)
        return answers[:, 0, 1:count], pixels.transpose(2, 3).reshape(maps.shape)

    def _sharpen(self, pixels: Tensor, fine: Tensor, middle: Tensor) -> Tensor:
        decoder = self.decoder
        upscaled = decoder.upscale_layer_norm(decoder.upscale_conv1(pixels) + middle)
        return decoder.activation(decoder.upscale_conv2(decoder.activation(upscaled)) + fine)


def two_way(
    transformer: nn.Module, tokens: Tensor, pixels: Tensor, positions: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor]:
    """transformers' `Sam2TwoWayTransformer`, where `bias` says which tokens are seen.

    tokens [B, 1, T, C], pixels [B, 1, E * E, C], positions [1, 1, E * E, C], bias [B, 1, 1, T].
    """
    queries, keys = tokens, pixels
    for layer in transformer.layers:
        if layer.skip_first_layer_pe:
            queries = _attended(layer.self_attn, queries, queries, queries, bias)
        else:
            query = queries + tokens
            queries = queries + _attended(layer.self_attn, query, query, queries, bias)
        queries = layer.layer_norm1(queries)
        to_image = layer.cross_attn_token_to_image
        found = _attended(to_image, queries + tokens, keys + positions, keys)
        queries = layer.layer_norm2(queries + found)
        queries = layer.layer_norm3(queries + layer.mlp(queries))
        to_tokens = layer.cross_attn_image_to_token
        found = _attended(to_tokens, keys + positions, queries + tokens, queries, bias)
        keys = layer.layer_norm4(keys + found)
    last = transformer.final_attn_token_to_image
    found = _attended(last, queries + tokens, keys + positions, keys)
    return transformer.layer_norm_final_attn(queries + found), keys


def _attended(
    attention: nn.Module, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None
) -> Tensor:
    answer, _ = attention(query=query, key=key, value=value, attention_similarity=bias)
    return answer


class GridDecoder(OfGrid, MaskDecoder):
    """The mask decoder for a grid of points."""


def read_spec(config: Sam2Config, processor: Sam2ImageProcessorPil) -> SamSpec:
    """The spec of a checkpoint; raises UnsupportedProcessor and InvalidCheckpoint."""
    require(processor, do_resize=True, do_pad=False, do_center_crop=False)
    resized_hw = edges(processor, "size", "height", "width")
    vision, prompt = config.vision_config, config.prompt_encoder_config
    size, edge = prompt.image_size, prompt.image_size // prompt.patch_size
    if resized_hw != (size, size):
        raise InvalidCheckpoint(
            f"sam2: the model takes {size} x {size} pixels, "
            f"the image processor resizes to {resized_hw[0]} x {resized_hw[1]}"
        )
    maps = [[scale * edge, scale * edge] for scale in (4, 2, 1)]
    if [list(found) for found in vision.backbone_feature_sizes] != maps:
        raise InvalidCheckpoint(
            f"sam2: expected maps of {maps} for pictures of {size} x {size} pixels, "
            f"got backbone_feature_sizes={vision.backbone_feature_sizes}"
        )
    return SamSpec(
        image_size=size,
        embedding_channels=prompt.hidden_size,
        embedding_edge=edge,
        mask_edge=4 * edge,
        resample=resample(processor),
        points_per_side=getattr(config, "points_per_side", POINTS_PER_SIDE),
        iou_threshold=getattr(config, "iou_threshold", IOU_THRESHOLD),
        stability_threshold=getattr(config, "stability_threshold", STABILITY_THRESHOLD),
        min_piece=getattr(config, "min_piece", 0.0),
    )


def sample_image(edge: int, batch: int, variant: int) -> Arrays:
    """Square pictures."""
    rng = np.random.default_rng((batch, variant))
    return {"pixel_values": sample_pixels(rng, (batch, 3, edge, edge), (edge, edge))}


@contextmanager
def fixed_positions(model: Sam2Model, edge: int) -> Iterator[None]:
    """Fix the table of positions while tracing: it is resized bicubically for any picture size."""
    encoder = model.vision_encoder
    patches = edge // encoder.backbone.config.patch_stride[0]
    table = encoder.backbone._get_pos_embed((patches, patches))
    with ExitStack() as stack:
        stack.enter_context(fixed(encoder.backbone, "_get_pos_embed", table))
        # Nothing here reads the neck's positions; only a video's memory does.
        stack.enter_context(fixed(encoder.neck.position_encoding, "forward", torch.zeros(1)))
        yield


class Sam2Export(SamExport):
    """SAM 2 and 2.1; of video checkpoints, only the part for pictures is read."""

    model_class = Sam2Model
    processor_class = Sam2ImageProcessorPil
    POLICIES: ClassVar[dict[str, Policy]] = SamExport.POLICIES | {
        "image_encoder": Policy(
            kept=(),
            quantized=(),
            quantized_reason="its masks were never tried",
            fp16=Tolerance(difference=5e-3),
            int8=Tolerance(),
            bf16_reason="its masks were never tried",
        ),
    }

    def read_spec(
        self, checkpoint: Checkpoint, model: Any, processor: Any, options: Options
    ) -> SamSpec:
        return read_spec(model.config, processor)

    def networks(self, role: Any, model: Any, normal: Normalization) -> list[Network]:
        encoder, *decoders = super().networks(role, model, normal)
        edge = role.spec.image_size
        tracing = partial(fixed_positions, model, edge)
        pictures = partial(sample_image, edge)
        return [replace(encoder, sample=pictures, variants=2, tracing=tracing), *decoders]

    def modules(
        self, model: Any, spec: SamSpec, normal: Normalization
    ) -> tuple[nn.Module, nn.Module, nn.Module]:
        return ImageEncoder(model, normal), MaskDecoder(model, spec), GridDecoder(model, spec)
