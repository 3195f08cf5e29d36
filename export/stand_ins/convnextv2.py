"""ConvNeXt V2: one like facebook/convnextv2-tiny-1k-224, and a small one."""

from transformers import ConvNextV2Config, ConvNextV2ForImageClassification
from transformers.models.convnext.image_processing_pil_convnext import ConvNextImageProcessorPil

from export.stand_ins.base import Build, StandIn
from export.stand_ins.convnext import IMAGENET_CLASSES, imagenet_processor, small_config


def _tiny() -> StandIn:
    model = ConvNextV2ForImageClassification(small_config(ConvNextV2Config))
    return StandIn(model, ConvNextImageProcessorPil(size={"shortest_edge": 32}))


def _base() -> StandIn:
    model = ConvNextV2ForImageClassification(ConvNextV2Config(num_labels=IMAGENET_CLASSES))
    return StandIn(model, imagenet_processor())


TINY: dict[str, Build] = {"convnextv2_tiny": _tiny}
REAL: dict[str, Build] = {"convnextv2": _base}
