"""The shape of the demo HQ-SAM, and its processor."""

from __future__ import annotations

import torch
from transformers import SamHQConfig, SamHQModel, SamHQProcessor, SamModel

from demo import sam_config


def processor() -> SamHQProcessor:
    """The demo SAM's processor."""
    return SamHQProcessor(sam_config.processor().image_processor)


def model_config() -> SamHQConfig:
    """The demo SAM's, with half a million parameters for the HQ part."""
    config = sam_config.model_config()
    decoder = config.mask_decoder_config.to_dict() | {"vit_dim": sam_config.ENCODER_WIDTH}
    return SamHQConfig(
        vision_config=_settings(config.vision_config.to_dict()),
        prompt_encoder_config=_settings(config.prompt_encoder_config.to_dict()),
        mask_decoder_config=_settings(decoder),
    )


def _settings(values: dict) -> dict:
    """The settings without the name of SAM's own class."""
    return {name: value for name, value in values.items() if name != "model_type"}


def new_model(sam: SamModel) -> SamHQModel:
    """An HQ-SAM to train: a frozen SAM whose HQ mask is zero at first.

    The HQ token and its MLP start as those of SAM's mask 0, so they know from the start which
    object is meant; only the last convolutions of the finer map are zero. The token stays fixed, so
    the transformer's output for a prompt never changes, and can be kept.
    """
    model = SamHQModel(model_config())
    fit = model.load_state_dict(sam.state_dict(), strict=False)
    if fit.unexpected_keys:
        raise ValueError(f"expected the weights of a SAM, got also {fit.unexpected_keys}")
    decoder = model.mask_decoder
    decoder.hq_mask_mlp.load_state_dict(decoder.output_hypernetworks_mlps[0].state_dict())
    with torch.no_grad():
        decoder.hq_token.weight.copy_(decoder.mask_tokens.weight[:1])
        for last in (decoder.encoder_conv2, decoder.compress_vit_conv2, decoder.mask_conv2):
            last.weight.zero_()
            last.bias.zero_()
    model.requires_grad_(False)
    for name in fit.missing_keys:
        parameter = model.get_parameter(name)
        parameter.requires_grad_(parameter is not decoder.hq_token.weight)
    return model
