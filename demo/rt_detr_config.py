"""The shape of the demo RT-DETR, and the processor that goes with it."""

from __future__ import annotations

from transformers import ConvNextForImageClassification, RTDetrConfig, RTDetrForObjectDetection
from transformers.models.rt_detr.image_processing_pil_rt_detr import RTDetrImageProcessorPil

from demo import convnext_config
from demo.pixels import IMAGENET_MEAN, IMAGENET_STD
from demo.things import LABELS

EDGE = 160
STRIDES = (8, 16, 32)
# Of the demo ConvNeXt, the stages with these strides.
STAGES = ("stage2", "stage3", "stage4")
WIDTH = 64


def image_processor() -> RTDetrImageProcessorPil:
    """Squashed to 160 x 160 pixels, and normalised as the backbone was trained."""
    return RTDetrImageProcessorPil(
        size={"height": EDGE, "width": EDGE},
        do_normalize=True,
        image_mean=list(IMAGENET_MEAN),
        image_std=list(IMAGENET_STD),
    )


def model_config() -> RTDetrConfig:
    """An RT-DETR of about 1.5 million parameters, whose backbone is the demo ConvNeXt."""
    backbone = convnext_config.backbone_config(STAGES)
    return RTDetrConfig(
        backbone_config=backbone,
        encoder_in_channels=backbone.hidden_sizes[1:],
        feat_strides=list(STRIDES),
        encoder_hidden_dim=WIDTH,
        encoder_ffn_dim=2 * WIDTH,
        encoder_attention_heads=4,
        hidden_expansion=0.5,
        d_model=WIDTH,
        decoder_in_channels=[WIDTH] * len(STRIDES),
        decoder_ffn_dim=2 * WIDTH,
        decoder_attention_heads=4,
        decoder_layers=2,
        num_queries=40,
        num_denoising=0,
        id2label=dict(enumerate(LABELS)),
        label2id={label: index for index, label in enumerate(LABELS)},
    )


def new_model(classifier: ConvNextForImageClassification) -> RTDetrForObjectDetection:
    """An RT-DETR to train, whose backbone is a trained classifier's."""
    model = RTDetrForObjectDetection(model_config())
    backbone = model.model.backbone.model
    ours = backbone.state_dict()
    known = {key: value for key, value in classifier.convnext.state_dict().items() if key in ours}
    backbone.load_state_dict(ours | known)
    return model
