"""SAM checkpoints as three networks: an image encoder, a prompt decoder and a grid decoder."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, SamConfig, SamHQConfig, SamModel
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil
from transformers.utils import ModelOutput

from export.checkpoints import Checkpoint
from export.errors import InvalidCheckpoint
from export.families.sam_grid import OfGrid, sample_grid, to_input_frame
from export.families.two_way import TwoWay
from export.family import FamilyExport, Options
from export.network import Arrays, Network, sample_pixels
from export.pixels import Normalize, valid_mask
from export.precision import Kept, Policy
from export.processor import Normalization, edges, require, resample
from fovea.families.sam import (
    IOU_THRESHOLD,
    POINTS_PER_SIDE,
    STABILITY_THRESHOLD,
    Sam,
    SamSpec,
)
from fovea.prompts import PADDING
from fovea.specs import Tolerance


class ImageEncoder(nn.Module):
    """pixel_values uint8 [N, 3, S, S], valid_hw int32 [N, 2] -> image_embeddings [N, C, E, E]."""

    def __init__(self, model: PreTrainedModel, spec: SamSpec, normal: Normalization) -> None:
        super().__init__()
        self.size = spec.image_size
        self.normalize = Normalize(normal.mean, normal.std)
        self.vision_encoder = model.vision_encoder

    def forward(self, pixel_values: Tensor, valid_hw: Tensor) -> Tensor | tuple[Tensor, ...]:
        valid = valid_mask(valid_hw, self.size, self.size).unsqueeze(1)
        pixels = self.normalize(pixel_values) * valid
        return self.outputs(self.vision_encoder(pixel_values=pixels))

    def outputs(self, seen: ModelOutput) -> Tensor | tuple[Tensor, ...]:
        """The graph's outputs, from the vision encoder's."""
        return seen.last_hidden_state


class MaskDecoder(nn.Module):
    """One mask for each of P prompts of K points on each of N pictures.

    image_embeddings [N, C, E, E], point_coords [N, P, K, 2] in pixels of pictures of
    original_size_hw [N, 2] that fill valid_hw [N, 2] of the canvas, point_labels int32 [N, P, K]
    -> iou_scores [N, P], low_res_masks [N, P, M, M]. Equal to SamModel's for a box (labels 2, 3)
    and for points (with the padding point, label -1), but without its `repeat_interleave`, which
    neither batches in ONNX nor builds in TensorRT.
    """

    def __init__(self, model: PreTrainedModel, spec: SamSpec) -> None:
        super().__init__()
        self.size = spec.image_size
        self.decoder = model.mask_decoder
        prompt = model.prompt_encoder
        self.shared_embedding = prompt.shared_embedding
        self.register_buffer("label_embeds", label_embeds(prompt).detach())
        self.register_buffer("no_mask", prompt.no_mask_embed.weight.detach().view(1, -1, 1, 1))
        self.register_buffer("positions", model.get_image_wide_positional_embeddings().detach())

    def forward(
        self,
        image_embeddings: Tensor,
        point_coords: Tensor,
        point_labels: Tensor,
        valid_hw: Tensor,
        original_size_hw: Tensor,
    ) -> tuple[Tensor, Tensor]:
        coords = to_input_frame(point_coords, valid_hw, original_size_hw)
        return chosen(*self.all_masks(image_embeddings, coords, point_labels), point_labels)

    def all_masks(
        self, image_embeddings: Tensor, point_coords: Tensor, point_labels: Tensor
    ) -> tuple[Tensor, Tensor]:
        """For points in the input frame: iou_scores [N, P, 4] and logits [N, P, 4, M, M]."""
        tokens, upscaled = self.transform(image_embeddings, point_coords, point_labels)
        masks = weighted(self.mask_weights(tokens), upscaled)
        return self.answer(tokens, masks, point_labels)

    def output_tokens(self) -> Tensor:
        """The learned tokens before the prompt's: one for the scores, one for each mask, [T, C]."""
        return torch.cat([self.decoder.iou_token.weight, self.decoder.mask_tokens.weight])

    def transform(
        self, image_embeddings: Tensor, point_coords: Tensor, point_labels: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The output tokens [N * P, T, C] and the map [N * P, c, M, M] after the transformer."""
        points = self._embed_points(point_coords, point_labels).flatten(0, 1).unsqueeze(1)
        images = per_prompt(image_embeddings + self.no_mask, point_labels)
        output_tokens = self.output_tokens()
        count = len(output_tokens)
        output_tokens = output_tokens.view(1, 1, count, -1).expand(points.shape[0], -1, -1, -1)
        tokens = torch.cat([output_tokens, points], dim=2)
        answers, pixels = self.decoder.transformer(
            point_embeddings=tokens,
            image_embeddings=images,
            image_positional_embeddings=self.positions.expand(points.shape[0], -1, -1, -1),
            attention_similarity=None,
        )
        upscaled = self._upscale(pixels.transpose(2, 3).reshape(images.shape))
        return answers[:, 0, :count], upscaled

    def mask_weights(self, tokens: Tensor) -> Tensor:
        """[N * P, T, C] -> how each mask weighs the map's channels, [N * P, 4, c]."""
        each = enumerate(self.decoder.output_hypernetworks_mlps, start=1)
        return torch.stack([mlp(tokens[:, i]) for i, mlp in each], dim=1)

    def answer(self, tokens: Tensor, masks: Tensor, point_labels: Tensor) -> tuple[Tensor, Tensor]:
        """The predicted IoU of each mask and the masks, by prompt: [N, P, 4, …]."""
        ious = self.decoder.iou_prediction_head(tokens[:, 0])
        split = (point_labels.shape[0], point_labels.shape[1])
        return ious.view(*split, *ious.shape[1:]), masks.view(*split, *masks.shape[1:])

    def _embed_points(self, point_coords: Tensor, point_labels: Tensor) -> Tensor:
        centred = (point_coords + 0.5) / self.size
        encoded = self.shared_embedding(centred)
        real = (point_labels >= 0).unsqueeze(-1).to(encoded.dtype)
        return encoded * real + self.label_embeds[(point_labels + 1).long()]

    def _upscale(self, images: Tensor) -> Tensor:
        decoder = self.decoder
        upscaled = decoder.activation(decoder.upscale_layer_norm(decoder.upscale_conv1(images)))
        return decoder.activation(decoder.upscale_conv2(upscaled))


class ManyPrompts(MaskDecoder):
    """A mask decoder that computes what depends on the picture alone once for all prompts.

    Its answers are the mask decoder's, except for rounding.
    """

    def __init__(self, model: PreTrainedModel, spec: SamSpec) -> None:
        super().__init__(model, spec)
        self.two_way = TwoWay(self.decoder.transformer)

    def transform(
        self, image_embeddings: Tensor, point_coords: Tensor, point_labels: Tensor
    ) -> tuple[Tensor, Tensor]:
        points = self._embed_points(point_coords, point_labels)
        output_tokens = self.output_tokens()
        count = len(output_tokens)
        output_tokens = output_tokens.view(1, 1, count, -1).expand(*points.shape[:2], -1, -1)
        tokens = torch.cat([output_tokens, points], dim=2)
        image = (image_embeddings + self.no_mask).flatten(2).transpose(1, 2)
        positions = self.positions.flatten(2).transpose(1, 2)
        answers, pixels = self.two_way(tokens, image, positions)
        maps = pixels.transpose(2, 3).reshape(-1, *image_embeddings.shape[1:])
        return answers[:, :, :count].flatten(0, 1), self._upscale(maps)


class GridDecoder(OfGrid, ManyPrompts):
    """The mask decoder for a grid of points."""


def label_embeds(prompt: nn.Module) -> Tensor:
    """The prompt encoder's vector for points of each label, from PADDING on: [5, C].

    SAM has a module for each label, SAM 2 one for all.
    """
    points = prompt.point_embed
    each = (points,) if isinstance(points, nn.Embedding) else points
    return torch.cat([prompt.not_a_point_embed.weight, *(one.weight for one in each)])


def chosen(
    iou_scores: Tensor, masks: Tensor, point_labels: Tensor, unsure: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """One of the four masks of each prompt: [N, P, 4], [N, P, 4, M, M] -> [N, P], [N, P, M, M].

    A box or several points mean one thing: mask 0. A single point is ambiguous: the best scored of
    masks 1 to 3 (segment-anything, `multimask_output`). unsure: bool [N, P], prompts whose mask 0
    is not to be used either.
    """
    ambiguous = (point_labels != PADDING).sum(dim=-1) == 1
    if unsure is not None:
        ambiguous = ambiguous | unsure
    best = 1 + iou_scores[..., 1:].argmax(dim=-1)
    index = (best * ambiguous.to(best.dtype)).unsqueeze(-1)
    scores = iou_scores.gather(2, index)[:, :, 0]  # a squeeze would be traced as an If
    of_masks = index[..., None, None].expand(-1, -1, 1, *masks.shape[3:])
    return scores, masks.gather(2, of_masks)[:, :, 0]


def per_prompt(maps: Tensor, point_labels: Tensor) -> Tensor:
    """Repeat each picture's map for each of its prompts: [N, …], [N, P, K] -> [N * P, …]."""
    prompts = point_labels.shape[1]
    return maps.unsqueeze(1).expand(-1, prompts, -1, -1, -1).flatten(0, 1)


def weighted(weights: Tensor, upscaled: Tensor) -> Tensor:
    """Weighted sums of a map's channels: [N, T, c], [N, c, M, M] -> [N, T, M, M]."""
    masks = weights @ upscaled.flatten(2)
    return masks.view(*masks.shape[:2], *upscaled.shape[2:])


def read_spec(config: SamConfig | SamHQConfig, processor: SamImageProcessorPil) -> SamSpec:
    """The spec of a checkpoint; raises UnsupportedProcessor and InvalidCheckpoint."""
    require(processor, do_resize=True, do_pad=True, do_center_crop=False)
    (longest_edge,) = edges(processor, "size", "longest_edge")
    padded_hw = edges(processor, "pad_size", "height", "width")
    size = config.vision_config.image_size
    if not size == longest_edge == padded_hw[0] == padded_hw[1]:
        raise InvalidCheckpoint(
            f"sam: the vision model takes {size} x {size} pixels, the image processor resizes to "
            f"{longest_edge} and pads to {padded_hw[0]} x {padded_hw[1]}: set size and pad_size "
            f"in preprocessor_config.json to {size}"
        )
    prompt = config.prompt_encoder_config
    return SamSpec(
        image_size=size,
        embedding_channels=prompt.hidden_size,
        embedding_edge=prompt.image_embedding_size,
        mask_edge=4 * prompt.image_embedding_size,
        resample=resample(processor),
        points_per_side=getattr(config, "points_per_side", POINTS_PER_SIDE),
        iou_threshold=getattr(config, "iou_threshold", IOU_THRESHOLD),
        stability_threshold=getattr(config, "stability_threshold", STABILITY_THRESHOLD),
        min_piece=getattr(config, "min_piece", 0.0),
    )


def sample_image(spec: SamSpec, batch: int, variant: int) -> Arrays:
    """Landscape, portrait and square pictures on the square."""
    edge = spec.image_size
    rng = np.random.default_rng((batch, variant))
    valid = [(edge, edge), (edge, edge * 3 // 4), (edge // 2, edge)][variant]
    pixels = sample_pixels(rng, (batch, 3, edge, edge), valid)
    return {"pixel_values": pixels, "valid_hw": np.tile(np.array(valid, np.int32), (batch, 1))}


def sample_maps(role: Sam, batch: int, variant: int) -> Arrays:
    """Maps like those that the image encoder gives the decoders."""
    rng = np.random.default_rng((batch, variant))
    return {
        tensor.name: rng.normal(0, 1, (batch, *tensor.shape)).astype(np.float32)
        for tensor in role.embeddings
    }


def sample_prompts(spec: SamSpec, batch: int, variant: int) -> Arrays:
    """One box, three single points, or two prompts of two points with padding."""
    rng = np.random.default_rng((batch, variant))
    labels = [[[2, 3]], [[1, -1]] * 3, [[1, 0, -1]] * 2][variant]
    point_labels = np.tile(np.array(labels, np.int32), (batch, 1, 1))
    coords = np.sort(rng.uniform(0, spec.image_size, (*point_labels.shape, 2)), axis=2)
    edge = spec.image_size
    valid_hw = [(edge, edge), (edge, edge * 3 // 4), (edge // 2, edge)][variant]
    original_hw = [2 * valid_hw[0] + variant, 2 * valid_hw[1] - variant]
    coords[point_labels == PADDING] = 0
    return {
        "point_coords": coords.astype(np.float32),
        "point_labels": point_labels,
        "valid_hw": np.tile(np.array(valid_hw, np.int32), (batch, 1)),
        "original_size_hw": np.tile(np.array(original_hw, np.int32), (batch, 1)),
    }


# For either decoder.
KEPT_IN_DECODERS = (
    Kept(
        "coordinates: a pixel of 1024 is below half's resolution",
        nodes=(r"^/shared_embedding/", r"^/[^/]+$"),
    ),
    Kept("the scores that choose among three masks", nodes=(r"iou_prediction_head",)),
)


class SamExport(FamilyExport):
    """SAM, with a ViT of any size."""

    model_class = SamModel
    processor_class = SamImageProcessorPil
    POLICIES: ClassVar[dict[str, Policy]] = {
        "image_encoder": Policy(
            kept=(),
            quantized=(r".",),
            quantized_reason="the embedding goes into a decoder that stays fp32",
            fp16=Tolerance(difference=5e-3),
            int8=Tolerance(difference=1e-1),
            bf16=Tolerance(difference=5e-2),
            grouped=(r".",),
        ),
        "mask_decoder": Policy(
            kept=KEPT_IN_DECODERS,
            quantized=(),
            quantized_reason="its masks broke (agreement 0.8 of the area), and it is the smallest",
            fp16=Tolerance(difference=3e-2),
            int8=Tolerance(),
            bf16_reason="coordinates: bf16 has 4 pixels at 1024; and it is the smallest",
        ),
        "grid_decoder": Policy(
            kept=KEPT_IN_DECODERS,
            quantized=(),
            quantized_reason="as the mask decoder",
            fp16=Tolerance(difference=3e-2, rows=0.9),
            int8=Tolerance(),
            bf16_reason="as the mask decoder",
        ),
    }

    def read_spec(
        self, checkpoint: Checkpoint, model: Any, processor: Any, options: Options
    ) -> SamSpec:
        return read_spec(model.config, processor)

    def networks(self, role: Any, model: Any, normal: Normalization) -> list[Network]:
        encoder, decoder, grid_decoder = self.modules(model, role.spec, normal)
        pictures = partial(sample_image, role.spec)

        def sample(of: Callable[[SamSpec, int, int], Arrays], batch: int, variant: int) -> Arrays:
            return sample_maps(role, batch, variant) | of(role.spec, batch, variant)

        return [
            Network(role.image_network, encoder, pictures, variants=3),
            Network(role.decoder, decoder, partial(sample, sample_prompts), variants=3),
            Network(role.grid_decoder, grid_decoder, partial(sample, sample_grid), variants=3),
        ]

    def modules(
        self, model: Any, spec: SamSpec, normal: Normalization
    ) -> tuple[nn.Module, nn.Module, nn.Module]:
        """The image encoder, the mask decoder and the grid decoder."""
        return (
            ImageEncoder(model, spec, normal),
            MaskDecoder(model, spec),
            GridDecoder(model, spec),
        )
