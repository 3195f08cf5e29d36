"""OpenCLIP checkpoints in open_clip's own layout as two networks.

The tower for pictures is a ViT, CLIP's ResNet or a ConvNeXt. Compared with the answers of
open_clip 3.3.0 for tiny models of each kind (`tests/export/open_clip_reference.py`). Its tokenizer
also repairs broken Unicode and HTML entities first, which tokenizer.json does not.

Code: MIT. Weights: mostly MIT, by checkpoint.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from torch import Tensor, nn
from transformers import CLIPTokenizer

from export.checkpoint_files import (
    OPEN_CLIP_CONFIG,
    OPEN_CLIP_WEIGHTS,
    SIDE_FILES,
    TOKENIZER,
    has_file,
)
from export.checkpoints import Checkpoint
from export.errors import CheckpointUnavailable, InvalidCheckpoint
from export.families.clip import TEXTS, ClipExport, sample_image, unit
from export.families.open_clip_files import (
    Processor,
    load,
    read_config,
    weights_path,
)
from export.families.open_clip_towers import OpenClipModel
from export.family import FamilyExport, Options, TokenPair
from export.network import Arrays, Network
from export.pixels import Normalize
from export.precision import Policy
from export.processor import Normalization
from fovea.families.clip import ClipSpec
from fovea.families.open_clip import OpenClip
from fovea.roles import Role
from fovea.specs import Tolerance
from fovea.tokenizer import PaddedTokenizer

# open_clip pads with it, whatever the tokenizer would use.
PAD = 0


class ImageEncoder(nn.Module):
    """pixel_values uint8 [N, 3, S, S] -> image_embeds [N, D], of length 1."""

    def __init__(self, model: OpenClipModel, normal: Normalization) -> None:
        super().__init__()
        self.normalize = Normalize(normal.mean, normal.std)
        self.visual = model.visual

    def forward(self, pixel_values: Tensor) -> Tensor:
        return unit(self.visual(self.normalize(pixel_values)))


class TextEncoder(nn.Module):
    """input_ids int64 [N, T] -> text_embeds [N, D], of length 1."""

    def __init__(self, model: OpenClipModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor) -> Tensor:
        return unit(self.model.encode_text(input_ids))


def sample_text(spec: ClipSpec, vocabulary: int, batch: int, variant: int) -> Arrays:
    """Random tokens that fill a little, half or all of the text, the largest at their end."""
    rng = np.random.default_rng((batch, variant))
    length = (4, spec.text_length // 2, spec.text_length)[variant]
    input_ids = np.full((batch, spec.text_length), PAD, np.int64)
    input_ids[:, : length - 1] = rng.integers(1, vocabulary - 1, (batch, length - 1))
    input_ids[:, length - 1] = vocabulary - 1
    return {"input_ids": input_ids}


class OpenClipExport(FamilyExport):
    """open_clip_config.json and open_clip_model.safetensors; networks run as CLIP's do."""

    WEIGHTS = OPEN_CLIP_WEIGHTS
    TEXTS = TEXTS
    POLICIES: ClassVar[dict[str, Policy]] = {
        "image_encoder": replace(
            ClipExport.POLICIES["image_encoder"],
            quantized=(),
            quantized_reason="its convolutional towers were never tried in int8",
            fp16=Tolerance(difference=5e-3),  # a ResNet has no layer norm to undo its rounding
        ),
        "text_encoder": ClipExport.POLICIES["text_encoder"],
    }

    def files(self, path: Path) -> list[Path]:
        side = {one for pattern in SIDE_FILES for one in path.glob(pattern) if one.is_file()}
        return sorted(side | {weights_path(path)})

    def check_files(self, name: str, family: str, path: Path) -> None:
        if not (path / OPEN_CLIP_CONFIG).is_file():
            raise CheckpointUnavailable(f"{name}: expected {OPEN_CLIP_CONFIG} in {path}, got none")
        if not has_file(path, TOKENIZER):
            raise CheckpointUnavailable(
                f"{name}: expected {TOKENIZER} in {path}, got none: open_clip has CLIP's tokens "
                "in its package; copy the file from openai/clip-vit-base-patch32"
            )
        read_config(name, path)
        weights_path(path)

    def load_model(self, checkpoint: Checkpoint) -> OpenClipModel:
        model = load(checkpoint.name, checkpoint.folder)
        return model.eval().requires_grad_(False)

    def load_processor(self, checkpoint: Checkpoint) -> Processor:
        return read_config(checkpoint.name, checkpoint.folder).processor()

    def normalization(self, processor: Any) -> Normalization:
        return Normalization(processor.mean, processor.std)

    def load_tokenizer(self, checkpoint: Checkpoint) -> Any:
        try:
            return CLIPTokenizer.from_pretrained(checkpoint.folder, local_files_only=True)
        except Exception as error:  # it tries several formats, each with its own errors
            raise InvalidCheckpoint(
                f"{checkpoint.name}: no tokenizer of CLIP in {checkpoint.folder}: {error}"
            ) from error

    def read_spec(
        self, checkpoint: Checkpoint, model: Any, processor: Any, options: Options
    ) -> ClipSpec:
        vocabulary = model.token_embedding.num_embeddings
        end = self.load_tokenizer(checkpoint).eos_token_id
        if end != vocabulary - 1:
            raise InvalidCheckpoint(
                f"{checkpoint.name}: a text is read at its largest token, which of {vocabulary} "
                f"is {vocabulary - 1}; the tokenizer ends it with {end}"
            )
        size = processor.size
        return ClipSpec(
            image_size=size,
            embed_dim=model.text_projection.shape[1],
            text_length=len(model.positional_embedding),
            pad_token_id=PAD,
            logit_scale=round(float(model.logit_scale.exp()), 4),
            resample=processor.resample,
            squashed_hw=(size, size) if processor.squash else (),
        )

    def networks(self, role: OpenClip, model: Any, normal: Normalization) -> list[Network]:
        pictures = partial(sample_image, role.spec.image_size)
        texts = partial(sample_text, role.spec, model.token_embedding.num_embeddings)
        image, text = ImageEncoder(model, normal), TextEncoder(model)
        return [
            Network(role.image_network, image, pictures, variants=2),
            Network(role.text_network, text, texts, variants=3),
        ]

    def token_pair(self, checkpoint: Checkpoint, role: Role[Any]) -> TokenPair:
        theirs = self.load_tokenizer(checkpoint)
        ours = PaddedTokenizer(self.read_tokenizer(checkpoint), PAD)
        return lambda text: (ours.encode(text), list(theirs(text)["input_ids"]))
