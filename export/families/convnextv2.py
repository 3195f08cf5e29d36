"""ConvNeXt V2 checkpoints as one network.

Code: Apache-2.0 (transformers). Weights: Apache-2.0 by the hub's facebook/convnextv2-tiny-1k-224;
the release of the same weights in timm says CC-BY-NC 4.0: not for commercial use.
"""

from __future__ import annotations

from transformers import ConvNextV2ForImageClassification

from export.families.convnext import ConvNextExport


class ConvNextV2Export(ConvNextExport):
    """ConvNeXt V2, with ConvNeXt's image processor."""

    model_class = ConvNextV2ForImageClassification
