"""OWLv2 checkpoints, such as google/owlv2-base-patch16-ensemble.

Code: Apache-2.0. Weights: Apache-2.0.
"""

from __future__ import annotations

from typing import Any

from transformers import Owlv2ForObjectDetection
from transformers.models.owlv2.image_processing_pil_owlv2 import Owlv2ImageProcessorPil

from export.checkpoints import Checkpoint
from export.errors import UnsupportedProcessor
from export.families import owl
from export.family import Options
from export.processor import require
from fovea.families.owl import OwlSpec


def read_spec(config: Any, processor: Owlv2ImageProcessorPil, pad_token_id: int) -> OwlSpec:
    """The spec of a checkpoint; raises UnsupportedProcessor and InvalidCheckpoint."""
    require(processor, do_pad=True)
    if not processor.resample:
        # The processor only asks whether to smooth before shrinking, whatever the filter.
        raise UnsupportedProcessor(
            f"{type(processor).__name__}: expected resample to name a filter that smooths, "
            f"got {processor.resample!r}"
        )
    return owl.read_spec(config, processor, pad_token_id)


class Owlv2Export(owl.OwlExport):
    """OWLv2."""

    model_class = Owlv2ForObjectDetection
    processor_class = Owlv2ImageProcessorPil
    TOWERS = "owlv2"

    def read_spec(
        self, checkpoint: Checkpoint, model: Any, processor: Any, options: Options
    ) -> OwlSpec:
        return read_spec(model.config, processor, checkpoint.pad_token_id())
