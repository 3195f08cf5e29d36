"""OWL-ViT checkpoints, such as google/owlvit-base-patch32.

Code: Apache-2.0. Weights: Apache-2.0.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from transformers import OwlViTForObjectDetection
from transformers.models.owlvit.image_processing_pil_owlvit import OwlViTImageProcessorPil

from export.checkpoints import Checkpoint
from export.families import owl
from export.family import Options
from export.processor import require, resample
from fovea.families.owlvit import OwlvitSpec


def read_spec(config: Any, processor: OwlViTImageProcessorPil, pad_token_id: int) -> OwlvitSpec:
    """The spec of a checkpoint; raises UnsupportedProcessor and InvalidCheckpoint."""
    require(processor, do_pad=False)
    found = owl.read_spec(config, processor, pad_token_id)
    return OwlvitSpec(**asdict(found), resample=resample(processor))


class OwlvitExport(owl.OwlExport):
    """OWL-ViT."""

    model_class = OwlViTForObjectDetection
    processor_class = OwlViTImageProcessorPil
    TOWERS = "owlvit"

    def read_spec(
        self, checkpoint: Checkpoint, model: Any, processor: Any, options: Options
    ) -> OwlvitSpec:
        return read_spec(model.config, processor, checkpoint.pad_token_id())
