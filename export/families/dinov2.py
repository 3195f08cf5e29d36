"""DINOv2 checkpoints, with registers and without, as one network.

transformers' `Dinov2Model` and `Dinov2WithRegistersModel`, as in facebook/dinov2-base and
facebook/dinov2-with-registers-base. Code: Apache-2.0. Weights: Apache-2.0.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import Dinov2Model, Dinov2WithRegistersModel
from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil

from export.checkpoint_files import CONFIG, read_json
from export.checkpoints import Checkpoint
from export.families.dino import DinoExport, check_architecture, fixed, read_spec
from export.family import Options
from fovea.families.dino import DinoSpec

CLASSES = {cls.config_class.model_type: cls for cls in (Dinov2Model, Dinov2WithRegistersModel)}


def _class_of(folder: Path) -> Any:
    return CLASSES[read_json(folder / CONFIG)["model_type"]]


class Dinov2Export(DinoExport):
    """DINOv2; its table of positions is resized to the picture's size while tracing.

    In the graph that would be a bicubic Resize, with registers an antialiased one, which opset 17
    does not have.
    """

    model_class = Dinov2Model
    processor_class = BitImageProcessorPil

    def check_files(self, name: str, family: str, path: Path) -> None:
        super(DinoExport, self).check_files(name, family, path)
        check_architecture(name, path, _class_of(path).__name__)

    def load_model(self, checkpoint: Checkpoint) -> Any:
        return checkpoint.load_model(_class_of(checkpoint.folder))

    def read_spec(
        self, checkpoint: Checkpoint, model: Any, processor: Any, options: Options
    ) -> DinoSpec:
        return read_spec(model.config, processor)

    def tracing(self, model: Any, edge: int) -> Callable[[], AbstractContextManager[None]]:
        embeddings = model.embeddings
        height, width = embeddings.patch_embeddings.patch_size
        patches = (edge // height) * (edge // width)
        tokens = torch.empty(1, 1 + patches, model.config.hidden_size)
        table = embeddings.interpolate_pos_encoding(tokens, edge, edge)
        return partial(fixed, embeddings, "interpolate_pos_encoding", table)
