"""SigLIP checkpoints as two networks, and SigLIP 2 checkpoints of a fixed resolution.

SigLIP 2 reads Gemma's tokens, which distinguish upper case, though it was trained on lower case:
lower-case labels work best, as in transformers' pipeline.

Code and weights: Apache-2.0.
"""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import SiglipModel, SiglipTokenizer
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from export.checkpoints import Checkpoint, backend_of
from export.errors import InvalidCheckpoint
from export.families.clip import (
    TEXTS,
    ClipExport,
    padded_token_pair,
    sample_image,
    sample_text,
    unit,
)
from export.family import FamilyExport, Options, TokenPair
from export.network import Arrays, Network
from export.pixels import Normalize
from export.precision import Policy
from export.processor import Normalization, edges, require, resample
from fovea.families.siglip import SiglipSpec
from fovea.roles import Role


class ImageEncoder(nn.Module):
    """pixel_values uint8 [N, 3, S, S] -> image_embeds [N, D], of length 1."""

    def __init__(self, model: SiglipModel, normal: Normalization) -> None:
        super().__init__()
        self.normalize = Normalize(normal.mean, normal.std)
        self.vision_model = model.vision_model

    def forward(self, pixel_values: Tensor) -> Tensor:
        return unit(self.vision_model(pixel_values=self.normalize(pixel_values)).pooler_output)


class TextEncoder(nn.Module):
    """input_ids int64 [N, T] -> text_embeds [N, D], of length 1."""

    def __init__(self, model: SiglipModel) -> None:
        super().__init__()
        self.text_model = model.text_model

    def forward(self, input_ids: Tensor) -> Tensor:
        return unit(self.text_model(input_ids=input_ids).pooler_output)


def read_spec(
    model: SiglipModel, processor: SiglipImageProcessorPil, pad_token_id: int
) -> SiglipSpec:
    """The spec of a checkpoint; raises UnsupportedProcessor and InvalidCheckpoint."""
    require(processor, do_resize=True, do_center_crop=False, do_pad=False)
    height, width = edges(processor, "size", "height", "width")
    vision, text = model.config.vision_config, model.config.text_config
    size = vision.image_size
    if (height, width) != (size, size):
        raise InvalidCheckpoint(
            f"siglip: the vision model takes {size} x {size} pixels, "
            f"the image processor resizes to {height} x {width}"
        )
    if not vision.vision_use_head or text.projection_size != vision.hidden_size:
        raise InvalidCheckpoint(
            f"siglip: expected a vision model with a head and vectors of {text.projection_size} "
            f"as the text model has, got vision_use_head={vision.vision_use_head} "
            f"and hidden_size={vision.hidden_size}"
        )
    return SiglipSpec(
        image_size=size,
        embed_dim=vision.hidden_size,
        text_length=text.max_position_embeddings,
        pad_token_id=pad_token_id,
        logit_scale=round(float(model.logit_scale.exp()), 6),
        logit_bias=round(float(model.logit_bias), 6),
        resample=resample(processor),
    )


def _sample_text(spec: SiglipSpec, vocabulary: int, batch: int, variant: int) -> Arrays:
    """`sample_text`, without the mask that the network does not take."""
    return {"input_ids": sample_text(spec, vocabulary, batch, variant)["input_ids"]}


class SiglipExport(FamilyExport):
    """SigLIP; it runs in lower precision as CLIP does."""

    model_class = SiglipModel
    processor_class = SiglipImageProcessorPil
    TEXTS = TEXTS
    POLICIES: ClassVar[dict[str, Policy]] = ClipExport.POLICIES

    def read_tokenizer(self, checkpoint: Checkpoint) -> Tokenizer:
        """transformers' own tokenizer: its class for SigLIP 2 rewrites tokenizer.json."""
        theirs = self.load_tokenizer(checkpoint)
        slow = isinstance(theirs, SiglipTokenizer)
        return checkpoint.read_tokenizer() if slow else backend_of(theirs)

    def read_spec(
        self, checkpoint: Checkpoint, model: Any, processor: Any, options: Options
    ) -> SiglipSpec:
        return read_spec(model, processor, checkpoint.pad_token_id())

    def networks(self, role: Any, model: Any, normal: Normalization) -> list[Network]:
        sample_pictures = partial(sample_image, role.spec.image_size)
        sample_text = partial(_sample_text, role.spec, model.config.text_config.vocab_size)
        image, text = ImageEncoder(model, normal), TextEncoder(model)
        return [
            Network(role.image_network, image, sample_pictures, variants=2),
            Network(role.text_network, text, sample_text, variants=3),
        ]

    def token_pair(self, checkpoint: Checkpoint, role: Role[Any]) -> TokenPair:
        return padded_token_pair(self, checkpoint, role)
