"""A file with the outputs of super-gradients' `export(postprocessing=False)`."""

import torch
from torch import Tensor

from export.stand_ins.anchors import Anchors, OnnxFile
from export.stand_ins.base import Build

OPTIONS = {"names": "person, bicycle, traffic light"}
CLASSES = 3


class BoxesAndScores(Anchors):
    """pixels uint8 [N, 3, H, W] -> boxes xyxy in pixels [N, A, 4], scores [N, A, C]."""

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        boxes, scores = super().forward(pixels.float() / 255)
        return boxes, scores


def _tiny() -> OnnxFile:
    return OnnxFile(
        BoxesAndScores(classes=CLASSES, width=8),
        torch.zeros(1, 3, 64, 64, dtype=torch.uint8),
        "input",
        ("boxes_1234", "scores_1235"),
        {},
    )


TINY: dict[str, Build] = {"yolo_nas": _tiny}
