"""MobileSAM like mobile_sam.pt, and a tiny one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import SamConfig, SamModel

from export.checkpoint_files import MOBILE_SAM_WEIGHTS
from export.families.mobile_sam import DECODER, ENCODER, POSITIONS, PROMPTS
from export.families.tiny_vit import TinyVit, TinyVitShape
from export.stand_ins.base import Build, add_noise, settle_batch_norms

TINY_EDGE = 128
# Small weights make all masks alike.
LARGE = 0.3
# transformers' names and segment-anything's: the inverse of `export.families.mobile_sam.RENAMED`.
ORIGINAL = (
    ("shared_embedding.positional_embedding", "pe_layer.positional_encoding_gaussian_matrix"),
    (".point_embed.", ".point_embeddings."),
    (".mask_embed.conv1.", ".mask_downscaling.0."),
    (".mask_embed.layer_norm1.", ".mask_downscaling.1."),
    (".mask_embed.conv2.", ".mask_downscaling.3."),
    (".mask_embed.layer_norm2.", ".mask_downscaling.4."),
    (".mask_embed.conv3.", ".mask_downscaling.6."),
    (".upscale_conv1.", ".output_upscaling.0."),
    (".upscale_layer_norm.", ".output_upscaling.1."),
    (".upscale_conv2.", ".output_upscaling.3."),
    (".layer_norm_final_attn.", ".norm_final_attn."),
    (".layer_norm", ".norm"),
    (".proj_out.", ".layers.2."),
)


@dataclass(frozen=True)
class MobileSam:
    """mobile_sam.pt.

    mlp_dim: of the attention between prompts and picture. edge: of the pixels that batch norms are
    settled on. decoder_std: of the decoder's weights, or None for the initial ones.
    """

    encoder: TinyVitShape
    mlp_dim: int
    edge: int
    decoder_std: float | None = None

    def write(self, folder: Path) -> Path:
        path = folder / MOBILE_SAM_WEIGHTS
        torch.save(upstream_state(self._sam(), self._encoder()), path)
        return path

    def _encoder(self) -> TinyVit:
        encoder = TinyVit(self.encoder)
        with torch.no_grad():
            for name, parameter in encoder.named_parameters():
                if name.endswith("attention_biases"):
                    parameter.normal_()
        add_noise(encoder)
        pixels = torch.randn(2, 3, self.edge, self.edge)
        settle_batch_norms(encoder, lambda: encoder(pixels, self.edge))
        return encoder

    def _sam(self) -> SamModel:
        channels = self.encoder.channels
        decoder = {"hidden_size": channels, "mlp_dim": self.mlp_dim}
        config = SamConfig(
            vision_config={"num_hidden_layers": 0, "num_pos_feats": channels // 2},
            prompt_encoder_config={"hidden_size": channels},
            mask_decoder_config={**decoder, "iou_head_hidden_dim": channels},
        )
        model = SamModel(config)
        add_noise(model)
        with torch.no_grad():
            # Drawn as in segment-anything; transformers draws waves hundreds of times as short.
            model.prompt_encoder.shared_embedding.positional_embedding.normal_()
            for parameter in model.mask_decoder.parameters():
                if self.decoder_std and parameter.ndim > 1:
                    parameter.normal_(0, self.decoder_std)
        return model


def upstream_state(model: SamModel, encoder: nn.Module) -> dict[str, Tensor]:
    """Weights of SAM's prompts and masks, and of an encoder, under upstream's names."""
    state = {ENCODER + key: tensor for key, tensor in encoder.state_dict().items()}
    for key, tensor in model.state_dict().items():
        if key.startswith((PROMPTS, DECODER)):
            state[_original(key)] = tensor
    assert POSITIONS in state
    return state


def _original(key: str) -> str:
    if ("mlps." in key or "_head." in key) and ".layers.0." in key:
        return key.replace(".layers.0.", ".layers.1.")
    if ".proj_in." in key:
        return key.replace(".proj_in.", ".layers.0.")
    for ours, theirs in ORIGINAL:
        key = key.replace(ours, theirs)
    return key


def _tiny() -> MobileSam:
    shape = TinyVitShape((8, 12, 16, 24), (1, 1, 2, 1), (2, 2, 3), (7, 5, 7), channels=32)
    return MobileSam(shape, mlp_dim=32, edge=TINY_EDGE, decoder_std=LARGE)


def _real() -> MobileSam:
    shape = TinyVitShape((64, 128, 160, 320), (2, 2, 6, 2), (4, 5, 10), (7, 14, 7), channels=256)
    return MobileSam(shape, mlp_dim=2048, edge=512)


TINY: dict[str, Build] = {"mobile_sam": _tiny}
REAL: dict[str, Build] = {"mobile_sam": _real}
OPTIONS = {"image_size": TINY_EDGE}
