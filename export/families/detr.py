"""DETR checkpoints as one network.

Code: transformers, Apache-2.0. Weights: facebook/detr-*, Apache-2.0.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from torch import Tensor, nn
from transformers import DetrForObjectDetection
from transformers.models.detr.image_processing_pil_detr import DetrImageProcessorPil

from export import canvas
from export.checkpoint_files import CONFIG, read_json
from export.checkpoints import Checkpoint
from export.class_names import class_names
from export.errors import InvalidCheckpoint
from export.family import FamilyExport, Options
from export.network import Arrays, Network, sample_pixels
from export.pixels import Normalize, valid_mask
from export.precision import Kept, Policy
from export.processor import Normalization, resample
from fovea.families.detr import DetrSpec
from fovea.specs import Tolerance

# For configs without one: the default of `post_process_object_detection`.
BOX_THRESHOLD = 0.5


class Detector(nn.Module):
    """A padded picture -> logits [N, Q, C + 1], pred_boxes [N, Q, 4] cxcywh of the picture."""

    def __init__(self, model: DetrForObjectDetection, normal: Normalization) -> None:
        super().__init__()
        self.normalize = Normalize(normal.mean, normal.std)
        self.model = model

    def forward(self, pixel_values: Tensor, valid_hw: Tensor) -> tuple[Tensor, Tensor]:
        valid = valid_mask(valid_hw, pixel_values.shape[2], pixel_values.shape[3])
        pixels = self.normalize(pixel_values) * valid.unsqueeze(1)
        out = self.model(pixel_values=pixels, pixel_mask=valid.long())
        return out.logits, out.pred_boxes


def read_spec(
    config: Any, processor: DetrImageProcessorPil, longest_edge: int | None = None
) -> DetrSpec:
    """The spec of a checkpoint; see `export.canvas`."""
    placed = canvas.read_canvas(processor, longest_edge)
    return DetrSpec(
        shortest_edge=placed.shortest,
        longest_edge=placed.longest,
        canvas_hw=placed.hw,
        num_queries=config.num_queries,
        class_names=class_names("detr", config),
        box_threshold=getattr(config, "box_threshold", BOX_THRESHOLD),
        resample=resample(processor),
    )


def _sample(spec: DetrSpec, batch: int, variant: int) -> Arrays:
    """Pictures of several shapes on the canvas."""
    rng = np.random.default_rng((batch, variant))
    height, width = spec.canvas_hw
    valid_hw = [(height, width), (height * 3 // 4, width), (height, width * 2 // 3)][variant]
    return {
        "pixel_values": sample_pixels(rng, (batch, 3, height, width), valid_hw),
        "valid_hw": np.tile(np.array(valid_hw, np.int32), (batch, 1)),
    }


class DetrExport(FamilyExport):
    """DETR; `longest_edge` caps its picture at a square of that edge."""

    model_class = DetrForObjectDetection
    processor_class = DetrImageProcessorPil
    OPTIONS: ClassVar[dict[str, type]] = {canvas.LONGEST_EDGE: int}
    POLICIES: ClassVar[dict[str, Policy]] = {
        "": Policy(
            kept=(
                Kept("positions of pixels", nodes=(r"/position_embedding",)),
                Kept("boxes: fractions of the picture", nodes=(r"bbox_predictor",)),
            ),
            quantized=(),
            quantized_reason="its boxes were never tried",
            fp16=Tolerance(difference=2e-2),
            int8=Tolerance(),
        ),
    }

    def check_files(self, name: str, family: str, path: Path) -> None:
        super().check_files(name, family, path)
        config = read_json(path / CONFIG)
        backbone = config.get("backbone_config") or {}
        kind = backbone.get("model_type")
        if kind == "timm_backbone" or (kind is None and config.get("use_timm_backbone", True)):
            raise InvalidCheckpoint(
                f"{name}: expected a checkpoint whose backbone is transformers' own, got one of "
                f"timm's in {path}: take the revision that has it, as in "
                "facebook/detr-resnet-50@no_timm"
            )

    def read_spec(
        self, checkpoint: Checkpoint, model: Any, processor: Any, options: Options
    ) -> DetrSpec:
        return read_spec(model.config, processor, options.get(canvas.LONGEST_EDGE))

    def networks(self, role: Any, model: Any, normal: Normalization) -> list[Network]:
        sample = partial(_sample, role.spec)
        return [Network(role.image_network, Detector(model, normal), sample, variants=3)]

    def processor_arguments(self, processor: Any, options: Options) -> dict[str, Any]:
        return canvas.arguments(processor, options)
