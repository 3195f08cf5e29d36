"""DINO checkpoints as one network, and what DINOv2 and DINOv3 have in common with them.

transformers' `ViTModel`, as in facebook/dino-vits16. Code: Apache-2.0. Weights: Apache-2.0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn
from transformers import ViTModel
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from export.checkpoint_files import CONFIG, read_json
from export.checkpoints import Checkpoint
from export.errors import InvalidCheckpoint, UnsupportedProcessor
from export.families.clip import sample_image, unit
from export.family import FamilyExport, Options
from export.network import Network
from export.pixels import Normalize
from export.precision import Kept, Policy
from export.processor import Normalization, edges, require, resample
from fovea.families.dino import Dino, DinoSpec
from fovea.specs import Tolerance

POLICIES = {
    "": Policy(
        kept=(Kept("the vector is made of length 1", nodes=(r"^/[^/]+$",)),),
        quantized=(),
        quantized_reason="what it does to neighbours was never measured",
        fp16=Tolerance(difference=2e-3),
        int8=Tolerance(),
        bf16_reason="what it does to neighbours was never measured",
    ),
}


class ImageEncoder(nn.Module):
    """pixel_values uint8 [N, 3, S, S] -> image_embeds [N, D], of length 1."""

    def __init__(self, model: nn.Module, normal: Normalization) -> None:
        super().__init__()
        self.normalize = Normalize(normal.mean, normal.std)
        self.model = model

    def forward(self, pixel_values: Tensor) -> Tensor:
        seen = self.model(pixel_values=self.normalize(pixel_values))
        return unit(seen.last_hidden_state[:, 0])


def read_spec(config: Any, processor: Any) -> DinoSpec:
    """The spec of a processor that squashes the picture or cuts out its middle.

    config: of the model. Raises UnsupportedProcessor and InvalidCheckpoint.
    """
    require(processor, do_resize=True, do_pad=False)
    cropped = bool(getattr(processor, "do_center_crop", False))
    height, width = edges(processor, "crop_size" if cropped else "size", "height", "width")
    (resize_edge,) = edges(processor, "size", "shortest_edge") if cropped else (0,)
    name, patch = type(processor).__name__, config.patch_size
    if height != width:
        raise UnsupportedProcessor(f"{name}: expected a square picture, got {height} x {width}")
    if cropped and resize_edge < height:
        raise UnsupportedProcessor(
            f"{name}: expected a size of at least crop_size={height}, got {resize_edge}"
        )
    if height < (patch if isinstance(patch, int) else max(patch)):
        raise InvalidCheckpoint(
            f"{config.model_type}: a picture of {height} x {width} pixels has no patch of {patch}"
        )
    return DinoSpec(height, config.hidden_size, resize_edge, resample(processor))


def check_architecture(name: str, folder: Path, expected: str) -> None:
    """Raise InvalidCheckpoint if config.json says that the model has a head."""
    got = read_json(folder / CONFIG).get("architectures") or [expected]
    if got != [expected]:
        raise InvalidCheckpoint(
            f"{name}: expected a {expected}, whose answer is a picture's vector, in {folder}, "
            f"got architectures={got}"
        )


@contextmanager
def fixed(module: nn.Module, method: str, value: Any) -> Iterator[None]:
    """Make a module's method return a constant, whatever its arguments."""
    setattr(module, method, lambda *args, **kwargs: value)
    try:
        yield
    finally:
        delattr(module, method)


class DinoExport(FamilyExport):
    """DINO; a ViT with a pooling layer or a classifier is another model."""

    model_class = ViTModel
    processor_class = ViTImageProcessorPil
    POLICIES: ClassVar[dict[str, Policy]] = POLICIES

    def check_files(self, name: str, family: str, path: Path) -> None:
        super().check_files(name, family, path)
        check_architecture(name, path, self.model_class.__name__)

    def load_model(self, checkpoint: Checkpoint) -> Any:
        return checkpoint.load_model(add_pooling_layer=False)

    def read_spec(
        self, checkpoint: Checkpoint, model: Any, processor: Any, options: Options
    ) -> DinoSpec:
        spec = read_spec(model.config, processor)
        expected = model.embeddings.image_size
        if tuple(expected) != (spec.image_size, spec.image_size):
            raise InvalidCheckpoint(
                f"dino: the model takes {expected[0]} x {expected[1]} pixels, "
                f"the image processor gives {spec.image_size} x {spec.image_size}"
            )
        return spec

    def networks(self, role: Dino, model: Any, normal: Normalization) -> list[Network]:
        return [
            Network(
                role.image_network,
                ImageEncoder(model, normal),
                partial(sample_image, role.spec.image_size),
                variants=2,
                tracing=self.tracing(model, role.spec.image_size),
            )
        ]

    def tracing(self, model: Any, edge: int) -> Callable[[], AbstractContextManager[None]]:
        """A context in which the positions for pictures of `edge` pixels are constants."""
        return nullcontext
