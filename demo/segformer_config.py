"""The shape of the demo SegFormer, and the processor that goes with it."""

from __future__ import annotations

import torch
from torch import nn
from transformers import SegformerConfig, SegformerForSemanticSegmentation, SwinBackbone
from transformers.models.segformer.image_processing_pil_segformer import SegformerImageProcessorPil

from demo.grounding_dino_config import backbone_config
from demo.pixels import IMAGENET_MEAN, IMAGENET_STD
from demo.stored_scenes import EDGE
from demo.things import LABELS

# The last class is for pixels without a thing.
CLASSES = (*LABELS, "background")
SR_RATIOS = (8, 4, 2, 1)
DECODER_WIDTH = 96


def image_processor() -> SegformerImageProcessorPil:
    """Squashes pictures to a square of `EDGE` pixels, and normalises with ImageNet's values."""
    return SegformerImageProcessorPil(
        size={"height": EDGE, "width": EDGE},
        image_mean=list(IMAGENET_MEAN),
        image_std=list(IMAGENET_STD),
    )


def model_config() -> SegformerConfig:
    """A SegFormer of 1.8 million parameters, as wide and deep as the demo GroundingDINO's Swin."""
    swin = backbone_config()
    stages = len(swin.depths)
    return SegformerConfig(
        hidden_sizes=[swin.embed_dim * 2**stage for stage in range(stages)],
        depths=swin.depths,
        num_attention_heads=swin.num_heads,
        mlp_ratios=[int(swin.mlp_ratio)] * stages,
        sr_ratios=list(SR_RATIOS),
        decoder_hidden_size=DECODER_WIDTH,
        hidden_dropout_prob=0.0,
        classifier_dropout_prob=0.0,
        drop_path_rate=0.0,
        id2label=dict(enumerate(CLASSES)),
        label2id={label: index for index, label in enumerate(CLASSES)},
    )


def new_model(swin: SwinBackbone) -> SegformerForSemanticSegmentation:
    """A SegFormer to train; its layers start as those of a trained Swin of the same widths.

    Where the two differ, it starts as near as possible: keys are means of the positions that they
    replace, a layer's convolution passes values on, and the parts of kernels that Swin lacks are 0.
    """
    model = SegformerForSemanticSegmentation(model_config())
    before: nn.Module | None = None
    for ours, theirs in zip(model.segformer.stages, swin.swin.encoder.layers, strict=True):
        with torch.no_grad():
            if before is None:
                _begin_patches(ours.patch_embeddings, swin.swin.embeddings)
            else:
                _begin_merging(ours.patch_embeddings.proj, before)
            for layer, source in zip(ours.blocks, theirs.blocks, strict=True):
                _begin_layer(layer, source)
        before = theirs.downsample
    for stage, norm in zip(
        model.segformer.stages[-2:], swin.hidden_states_norms.values(), strict=True
    ):
        _copy(stage.layer_norm, norm)
    return model


def _begin_patches(ours: nn.Module, theirs: nn.Module) -> None:
    patches = theirs.patch_embeddings.projection
    edge = patches.kernel_size[0]
    ours.proj.weight.zero_()
    ours.proj.weight[:, :, -edge:, -edge:] = patches.weight
    ours.proj.bias.copy_(patches.bias)
    _copy(ours.layer_norm, theirs.norm)


def _begin_merging(ours: nn.Conv2d, theirs: nn.Module) -> None:
    """Swin normalises four neighbours and joins them, column by column."""
    scaled = theirs.reduction.weight * theirs.norm.weight
    ours.weight.zero_()
    corners = scaled.unflatten(1, (2, 2, -1)).permute(0, 3, 2, 1)
    ours.weight[:, :, -2:, -2:] = corners
    ours.bias.copy_(theirs.reduction.weight @ theirs.norm.bias)


def _begin_layer(ours: nn.Module, theirs: nn.Module) -> None:
    for part in ("layernorm_before", "layernorm_after"):
        _copy(getattr(ours, part), getattr(theirs, part))
    for part in ("q_proj", "k_proj", "v_proj", "o_proj"):
        _copy(getattr(ours.attention, part), getattr(theirs.attention, part))
    for part in ("fc1", "fc2"):
        _copy(getattr(ours.mlp, part), getattr(theirs.mlp, part))
    nn.init.dirac_(ours.mlp.dwconv.dwconv.weight, groups=ours.mlp.dwconv.dwconv.groups)
    nn.init.zeros_(ours.mlp.dwconv.dwconv.bias)
    if ours.attention.sequence_reduction_ratio > 1:
        reduction = ours.attention.sequence_reduction.sequence_reduction
        mean = torch.eye(reduction.in_channels) / reduction.kernel_size[0] ** 2
        reduction.weight.copy_(mean[:, :, None, None].expand_as(reduction.weight))
        nn.init.zeros_(reduction.bias)


def _copy(ours: nn.Module, theirs: nn.Module) -> None:
    ours.load_state_dict(theirs.state_dict())
