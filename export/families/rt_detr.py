"""RT-DETR checkpoints of both versions as one network.

Code: transformers, Apache-2.0. Weights: PekingU/rtdetr_*, Apache-2.0.
"""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

import numpy as np
from torch import Tensor, nn
from transformers import RTDetrForObjectDetection, RTDetrV2ForObjectDetection
from transformers.models.rt_detr.image_processing_pil_rt_detr import RTDetrImageProcessorPil

from export.checkpoint_files import CONFIG, read_json
from export.checkpoints import Checkpoint
from export.class_names import class_names
from export.errors import InvalidCheckpoint
from export.family import FamilyExport, Options
from export.network import Arrays, Network, sample_pixels
from export.pixels import Normalize
from export.precision import Kept, Policy
from export.processor import Normalization, edges, require, resample
from fovea.families.rt_detr import RtDetrSpec
from fovea.specs import Tolerance

# For configs without one: the default of `post_process_object_detection`.
BOX_THRESHOLD = 0.5
# Stride of the coarsest feature map; positions and anchors are made for its whole pixels.
STRIDE = 32


class Detector(nn.Module):
    """pixel_values uint8 [N, 3, H, W] -> logits [N, Q, C], pred_boxes [N, Q, 4] cxcywh."""

    def __init__(self, model: nn.Module, normal: Normalization) -> None:
        super().__init__()
        self.normalize = Normalize(normal.mean, normal.std)
        self.model = model

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
        out = self.model(pixel_values=self.normalize(pixel_values))
        return out.logits, out.pred_boxes


def read_spec(family: str, config: Any, processor: RTDetrImageProcessorPil) -> RtDetrSpec:
    """The spec of a checkpoint; raises UnsupportedProcessor and InvalidCheckpoint."""
    require(processor, do_resize=True, do_pad=False)
    height, width = edges(processor, "size", "height", "width")
    if height % STRIDE or width % STRIDE:
        raise InvalidCheckpoint(
            f"{family}: expected an image processor that resizes to multiples of {STRIDE}, "
            f"got {height} x {width}"
        )
    anchors = config.anchor_image_size
    if anchors is not None and list(anchors) != [height, width]:
        raise InvalidCheckpoint(
            f"{family}: config.json has anchors for {anchors[0]} x {anchors[1]} pixels, "
            f"the image processor resizes to {height} x {width}"
        )
    return RtDetrSpec(
        image_hw=(height, width),
        num_queries=config.num_queries,
        class_names=class_names(family, config),
        box_threshold=getattr(config, "box_threshold", BOX_THRESHOLD),
        resample=resample(processor),
    )


def _sample(spec: RtDetrSpec, batch: int, variant: int) -> Arrays:
    """Pictures that fill the frame; in the second variant, part of it."""
    height, width = spec.image_hw
    rng = np.random.default_rng((batch, variant))
    filled_hw = [(height, width), (height * 3 // 4, width)][variant]
    return {"pixel_values": sample_pixels(rng, (batch, 3, height, width), filled_hw)}


class RtDetrExport(FamilyExport):
    """RT-DETR of either version; the graph has no suppression, top-k chooses the queries."""

    model_class = RTDetrForObjectDetection
    processor_class = RTDetrImageProcessorPil
    POLICIES: ClassVar[dict[str, Policy]] = {
        "": Policy(
            kept=(
                Kept(
                    "sampling, and its coordinates",
                    operators=("GridSample",),
                    nodes=(r"/encoder_attn/([^/]+|sampling_offsets/.*|attn/.*)$",),
                ),
                Kept(
                    "coordinates: anchors and reference points",
                    nodes=(r"^/model/(model/(decoder/)?)?[^/]+$",),
                ),
                Kept(
                    "box refinement: added to the inverse sigmoid of the last box",
                    operators=("Sigmoid", "Log"),
                    nodes=(r"bbox_", r"query_pos_head"),
                ),
                Kept(
                    "top-k: the scores that choose the queries, and the answer's own",
                    nodes=(r"/enc_output", r"/enc_score_head", r"class_embed"),
                ),
            ),
            quantized=(),
            quantized_reason="its boxes were never tried",
            # Rounding swaps nearly tied queries: those have no matching row.
            fp16=Tolerance(difference=2e-2, rows=0.9),
            int8=Tolerance(),
        ),
    }

    def load_model(self, checkpoint: Checkpoint) -> Any:
        second = read_json(checkpoint.folder / CONFIG).get("model_type") == "rt_detr_v2"
        return checkpoint.load_model(RTDetrV2ForObjectDetection if second else self.model_class)

    def read_spec(
        self, checkpoint: Checkpoint, model: Any, processor: Any, options: Options
    ) -> RtDetrSpec:
        return read_spec(checkpoint.family, model.config, processor)

    def networks(self, role: Any, model: Any, normal: Normalization) -> list[Network]:
        sample = partial(_sample, role.spec)
        return [Network(role.image_network, Detector(model, normal), sample, variants=2)]
