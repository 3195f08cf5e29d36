"""SAM checkpoints as two networks: an image encoder, and one decoder for points and boxes."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from transformers import SamConfig, SamModel
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

from export.errors import InvalidCheckpoint
from export.network import Arrays, Network, sample_pixels
from export.pixels import Normalize, valid_mask
from export.processor import edges, normalization, require, resample
from fovea import sam
from fovea.pipeline import PipelineSpec
from fovea.prompts import PADDING
from fovea.sam import SamSpec


class ImageEncoder(nn.Module):
    """pixel_values uint8 [N, 3, S, S], valid_hw int32 [N, 2] -> image_embeddings [N, C, E, E]."""

    def __init__(self, model: SamModel, spec: SamSpec) -> None:
        super().__init__()
        self.size = spec.image_size
        self.normalize = Normalize(spec.mean, spec.std)
        self.vision_encoder = model.vision_encoder

    def forward(self, pixel_values: Tensor, valid_hw: Tensor) -> Tensor:
        valid = valid_mask(valid_hw, self.size, self.size).unsqueeze(1)
        pixels = self.normalize(pixel_values) * valid
        return self.vision_encoder(pixel_values=pixels).last_hidden_state


class MaskDecoder(nn.Module):
    """All four masks for P prompts of K points on each of N pictures.

    image_embeddings [N, C, E, E], point_coords [N, P, K, 2] in the input frame, point_labels
    int32 [N, P, K] -> iou_scores [N, P, 4], low_res_masks [N, P, 4, M, M]. Equal to SamModel's
    for a box (labels 2, 3) and for points (with the padding point, label -1), but without its
    `repeat_interleave`, which neither batches in ONNX nor builds in TensorRT.
    """

    def __init__(self, model: SamModel, spec: SamSpec) -> None:
        super().__init__()
        self.size = spec.image_size
        self.decoder = model.mask_decoder
        prompt = model.prompt_encoder
        self.shared_embedding = prompt.shared_embedding
        label_embeds = [prompt.not_a_point_embed, *prompt.point_embed]
        self.register_buffer("label_embeds", torch.cat([e.weight for e in label_embeds]).detach())
        self.register_buffer("no_mask", prompt.no_mask_embed.weight.detach().view(1, -1, 1, 1))
        self.register_buffer("positions", model.get_image_wide_positional_embeddings().detach())

    def forward(
        self, image_embeddings: Tensor, point_coords: Tensor, point_labels: Tensor
    ) -> tuple[Tensor, Tensor]:
        pictures, prompts = point_labels.shape[0], point_labels.shape[1]
        points = self._embed_points(point_coords, point_labels).flatten(0, 1).unsqueeze(1)
        images = image_embeddings + self.no_mask
        images = images.unsqueeze(1).expand(-1, prompts, -1, -1, -1).flatten(0, 1)
        tokens = torch.cat([self.decoder.iou_token.weight, self.decoder.mask_tokens.weight])
        tokens = tokens.view(1, 1, *tokens.shape).expand(points.shape[0], -1, -1, -1)
        tokens = torch.cat([tokens, points], dim=2)
        answers, pixels = self.decoder.transformer(
            point_embeddings=tokens,
            image_embeddings=images,
            image_positional_embeddings=self.positions.expand(points.shape[0], -1, -1, -1),
            attention_similarity=None,
        )
        masks = self._masks(answers[:, 0, 1 : 1 + self.decoder.num_mask_tokens], pixels, images)
        ious = self.decoder.iou_prediction_head(answers[:, 0, 0])
        split = (pictures, prompts)
        return ious.view(*split, *ious.shape[1:]), masks.view(*split, *masks.shape[1:])

    def _embed_points(self, point_coords: Tensor, point_labels: Tensor) -> Tensor:
        centred = (point_coords + 0.5) / self.size
        encoded = self.shared_embedding(centred)
        real = (point_labels >= 0).unsqueeze(-1).to(encoded.dtype)
        return encoded * real + self.label_embeds[(point_labels + 1).long()]

    def _masks(self, mask_tokens: Tensor, pixels: Tensor, images: Tensor) -> Tensor:
        decoder = self.decoder
        upscaled = pixels.transpose(2, 3).reshape(images.shape)
        upscaled = decoder.activation(decoder.upscale_layer_norm(decoder.upscale_conv1(upscaled)))
        upscaled = decoder.activation(decoder.upscale_conv2(upscaled))
        weights = torch.stack(
            [mlp(mask_tokens[:, i]) for i, mlp in enumerate(decoder.output_hypernetworks_mlps)],
            dim=1,
        )
        masks = weights @ upscaled.flatten(2)
        return masks.view(*masks.shape[:2], *upscaled.shape[2:])


def read_spec(config: SamConfig, processor: SamImageProcessorPil) -> SamSpec:
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
    normal = normalization(processor)
    return SamSpec(
        image_size=size,
        mean=normal.mean,
        std=normal.std,
        embedding_channels=prompt.hidden_size,
        embedding_edge=prompt.image_embedding_size,
        mask_edge=4 * prompt.image_embedding_size,
        resample=resample(processor),
    )


def networks(model: SamModel, pipeline: PipelineSpec) -> list[Network]:
    """sam_image_encoder and sam_mask_decoder."""
    spec, sizes, queue = pipeline.sam, pipeline.batch_sizes, pipeline.queues.inner
    encoder = sam.image_encoder(spec, max_batch_size=sizes.sam_image_encoder, queue=queue)
    decoder = sam.mask_decoder(spec, max_batch_size=sizes.sam_mask_decoder, queue=queue)

    def sample_image(batch: int, variant: int) -> Arrays:
        edge = spec.image_size
        rng = np.random.default_rng((batch, variant))
        valid = [(edge, edge), (edge, edge * 3 // 4), (edge // 2, edge)][variant]
        pixels = sample_pixels(rng, (batch, 3, edge, edge), valid)
        return {"pixel_values": pixels, "valid_hw": np.tile(np.array(valid, np.int32), (batch, 1))}

    def sample_prompts(batch: int, variant: int) -> Arrays:
        return _sample_prompts(spec, batch, variant)

    return [
        Network(encoder, ImageEncoder(model, spec), sample_image, variants=3),
        Network(decoder, MaskDecoder(model, spec), sample_prompts, variants=3),
    ]


def _sample_prompts(spec: SamSpec, batch: int, variant: int) -> Arrays:
    """One box, three single points, or two prompts of two points and their padding."""
    rng = np.random.default_rng((batch, variant))
    shape = (spec.embedding_channels, spec.embedding_edge, spec.embedding_edge)
    labels = [[[2, 3]], [[1, -1]] * 3, [[1, 0, -1]] * 2][variant]
    point_labels = np.tile(np.array(labels, np.int32), (batch, 1, 1))
    coords = np.sort(rng.uniform(0, spec.image_size, (*point_labels.shape, 2)), axis=2)
    coords[point_labels == PADDING] = 0
    return {
        "image_embeddings": rng.normal(0, 1, (batch, *shape)).astype(np.float32),
        "point_coords": coords.astype(np.float32),
        "point_labels": point_labels,
    }
