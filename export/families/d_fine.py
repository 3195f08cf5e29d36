"""D-FINE checkpoints as one network: RT-DETR with box edges as distributions.

Code: transformers, Apache-2.0. Weights: ustc-community/dfine-*, Apache-2.0.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from transformers import DFineForObjectDetection

from export.families.rt_detr import RtDetrExport
from export.precision import Kept, Policy


class DFineExport(RtDetrExport):
    """D-FINE; spec and preprocessing are RT-DETR's."""

    model_class = DFineForObjectDetection
    POLICIES: ClassVar[dict[str, Policy]] = {
        part: replace(
            policy,
            kept=(
                *policy.kept,
                Kept(
                    "backbone: of random weights it makes a rounding fifty times as large, and "
                    "trained ones were not tried",
                    nodes=(r"/backbone/",),
                ),
                Kept(
                    "distances: expectations over bins, and the scores that their spread corrects",
                    nodes=(r"/decoder/(integral|lqe_layers)", r"pre_bbox_head"),
                ),
            ),
        )
        for part, policy in RtDetrExport.POLICIES.items()
    }
