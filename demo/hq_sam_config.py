"""The shape of the demo HQ-SAM, and the processor that goes with it."""

from __future__ import annotations

import torch
from transformers import SamHQConfig, SamHQModel, SamHQProcessor, SamModel

from demo import sam_config


def processor() -> SamHQProcessor:
    """The demo SAM's."""
    return SamHQProcessor(sam_config.processor().image_processor)


def model_config() -> SamHQConfig:
    """The demo SAM's, with the HQ part's half million parameters."""
    config = sam_config.model_config()
    decoder = config.mask_decoder_config.to_dict() | {"vit_dim": sam_config.ENCODER_WIDTH}
    return SamHQConfig(
        vision_config=_settings(config.vision_config.to_dict()),
        prompt_encoder_config=_settings(config.prompt_encoder_config.to_dict()),
        mask_decoder_config=_settings(decoder),
    )


def _settings(values: dict) -> dict:
    """Without the name of SAM's own class."""
    return {name: value for name, value in values.items() if name != "model_type"}


def new_model(sam: SamModel) -> SamHQModel:
    """An HQ-SAM to train: a SAM, frozen, whose HQ mask is zero at first."""
    model = SamHQModel(model_config())
    fit = model.load_state_dict(sam.state_dict(), strict=False)
    if fit.unexpected_keys:
        raise ValueError(f"expected the weights of a SAM, got also {fit.unexpected_keys}")
    model.requires_grad_(False)
    for name in fit.missing_keys:
        model.get_parameter(name).requires_grad_(True)
    with torch.no_grad():
        last = model.mask_decoder.hq_mask_mlp.proj_out
        last.weight.zero_()
        last.bias.zero_()
    return model
