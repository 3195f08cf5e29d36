"""CLIP checkpoints as two networks."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

import numpy as np
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from export.checkpoints import Checkpoint
from export.errors import InvalidCheckpoint, UnsupportedProcessor
from export.family import FamilyExport, Options, TokenPair
from export.network import Arrays, Network, sample_pixels
from export.pixels import Normalize
from export.precision import Kept, Policy
from export.processor import Normalization, edges, require, resample
from fovea.families.clip import Clip, ClipSpec
from fovea.roles import Role
from fovea.specs import Tolerance
from fovea.tokenizer import PaddedTokenizer

# Texts whose tokens are compared.
TEXTS = (
    "a photo of a cat",
    "It's a Red T-shirt!",
    "  two   spaces ",
    "café, naïve",
    "St. Bernard",
    "80's 3/4",
    "红色的车 🚗",
)


class ImageEncoder(nn.Module):
    """pixel_values uint8 [N, 3, S, S] -> image_embeds [N, D], of length 1."""

    def __init__(self, model: CLIPModel, normal: Normalization) -> None:
        super().__init__()
        self.normalize = Normalize(normal.mean, normal.std)
        self.vision_model = model.vision_model
        self.projection = model.visual_projection

    def forward(self, pixel_values: Tensor) -> Tensor:
        features = self.vision_model(pixel_values=self.normalize(pixel_values)).pooler_output
        return unit(self.projection(features))


class TextEncoder(nn.Module):
    """input_ids, attention_mask int64 [N, T] -> text_embeds [N, D], of length 1."""

    def __init__(self, model: CLIPModel) -> None:
        super().__init__()
        self.text_model = model.text_model
        self.projection = model.text_projection

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        features = self.text_model(input_ids=input_ids, attention_mask=attention_mask)
        return unit(self.projection(features.pooler_output))


def unit(embeds: Tensor) -> Tensor:
    """Scale vectors [..., D] to length 1."""
    return embeds / embeds.pow(2).sum(dim=-1, keepdim=True).sqrt()


def read_spec(
    config: CLIPConfig, processor: CLIPImageProcessorPil, pad_token_id: int, logit_scale: float
) -> ClipSpec:
    """The spec of a checkpoint; `logit_scale` is the factor itself, not its logarithm.

    Raises UnsupportedProcessor and InvalidCheckpoint.
    """
    size = config.vision_config.image_size
    squashes = dict(processor.size).get("height") is not None
    resized = edges(processor, "size", *(("height", "width") if squashes else ("shortest_edge",)))
    cropped = resized != (size, size)
    require(processor, do_resize=True, do_pad=False)
    if cropped:
        require(processor, do_center_crop=True)
    height, width = edges(processor, "crop_size", "height", "width") if cropped else resized
    if (height, width) != (size, size):
        raise InvalidCheckpoint(
            f"clip: the vision model takes {size} x {size} pixels, crop_size is {height} x {width}"
        )
    if min(resized) < size:
        raise UnsupportedProcessor(
            f"{type(processor).__name__}: expected a size of at least crop_size={size}, "
            f"got {min(resized)}"
        )
    return ClipSpec(
        image_size=size,
        embed_dim=config.projection_dim,
        text_length=config.text_config.max_position_embeddings,
        pad_token_id=pad_token_id,
        logit_scale=round(logit_scale, 4),
        resize_edge=0 if squashes else resized[0],
        resample=resample(processor),
        squashed_hw=resized if squashes else (),
    )


def sample_image(edge: int, batch: int, variant: int) -> Arrays:
    """Square pictures."""
    rng = np.random.default_rng((batch, variant))
    return {"pixel_values": sample_pixels(rng, (batch, 3, edge, edge), (edge, edge))}


def sample_tokens(config: Any, spec: Any, batch: int, variant: int) -> Arrays:
    """Random tokens that fill a little, half or all of the text.

    config: of the text model, with bos_token_id, eos_token_id and vocab_size. spec: with
    text_length and pad_token_id.
    """
    rng = np.random.default_rng((batch, variant))
    length = (4, spec.text_length // 2, spec.text_length)[variant]
    input_ids = np.full((batch, spec.text_length), spec.pad_token_id, np.int64)
    special = {config.bos_token_id, config.eos_token_id, spec.pad_token_id}
    words = [i for i in range(config.vocab_size) if i not in special]
    input_ids[:, 0] = config.bos_token_id
    input_ids[:, 1 : length - 1] = rng.choice(words, (batch, length - 2))
    input_ids[:, length - 1] = config.eos_token_id
    attention_mask = np.zeros_like(input_ids)
    attention_mask[:, :length] = 1
    return {"input_ids": input_ids, "attention_mask": attention_mask}


def sample_text(spec: Any, vocabulary: int, batch: int, variant: int) -> Arrays:
    """Random tokens without start and end marks, filling a little, half or all of the text.

    spec: with text_length and pad_token_id.
    """
    rng = np.random.default_rng((batch, variant))
    length = (4, spec.text_length // 2, spec.text_length)[variant]
    input_ids = np.full((batch, spec.text_length), spec.pad_token_id, np.int64)
    input_ids[:, :length] = rng.integers(0, vocabulary, (batch, length))
    attention_mask = np.zeros_like(input_ids)
    attention_mask[:, :length] = 1
    return {"input_ids": input_ids, "attention_mask": attention_mask}


def padded_token_pair(family: FamilyExport, checkpoint: Checkpoint, role: Role[Any]) -> TokenPair:
    """Texts padded to the spec's length, as the checkpoint's tokenizer pads them."""
    spec = role.spec
    theirs = family.load_tokenizer(checkpoint)
    tokenizer = PaddedTokenizer(family.read_tokenizer(checkpoint), spec.pad_token_id)

    def encode(text: str) -> tuple[list[int], list[int]]:
        ids = tokenizer.encode(text)
        length = max(len(ids), spec.text_length)
        padded = theirs(text, padding="max_length", max_length=length, truncation=False)
        return tokenizer.pad(ids, length)[0].tolist(), list(padded["input_ids"])

    return encode


class ClipExport(FamilyExport):
    """CLIP, and checkpoints in its layout."""

    model_class = CLIPModel
    processor_class = CLIPImageProcessorPil
    TEXTS = TEXTS
    POLICIES: ClassVar[dict[str, Policy]] = {
        "image_encoder": Policy(
            kept=(Kept("the embedding's length is made 1", nodes=(r"^/[^/]+$",)),),
            quantized=(r".",),
            quantized_reason="a single vector per picture, averaged over many tokens",
            fp16=Tolerance(difference=2e-3),
            int8=Tolerance(difference=5e-2),
            bf16=Tolerance(difference=1e-2),
        ),
        "text_encoder": Policy(
            kept=(Kept("the embedding's length is made 1", nodes=(r"^/[^/]+$",)),),
            quantized=(r".",),
            quantized_reason="a single vector per text",
            fp16=Tolerance(difference=2e-3),
            int8=Tolerance(difference=5e-2),
            bf16=Tolerance(difference=1e-2),
        ),
    }

    def read_spec(
        self, checkpoint: Checkpoint, model: Any, processor: Any, options: Options
    ) -> ClipSpec:
        pad, scale = checkpoint.pad_token_id(), float(model.logit_scale.exp())
        return read_spec(model.config, processor, pad, scale)

    def networks(self, role: Clip, model: CLIPModel, normal: Normalization) -> list[Network]:
        edge, text_config = role.spec.image_size, model.config.text_config
        return [
            Network(
                role.image_network,
                ImageEncoder(model, normal),
                partial(sample_image, edge),
                variants=2,
            ),
            Network(
                role.text_network,
                TextEncoder(model),
                partial(sample_tokens, text_config, role.spec),
                variants=3,
            ),
        ]

    def token_pair(self, checkpoint: Checkpoint, role: Role[Any]) -> TokenPair:
        return padded_token_pair(self, checkpoint, role)
