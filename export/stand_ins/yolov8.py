"""A file with the outputs of ultralytics' `yolo export format=onnx`."""

import torch
from torch import Tensor

from export.stand_ins.anchors import Anchors, OnnxFile
from export.stand_ins.base import Build

NAMES = {0: "person", 1: "bicycle", 2: "traffic light"}
IMAGE_HW = (64, 96)


class Predictions(Anchors):
    """pixels within [0, 1] -> [N, 4 + C, A]: cxcywh in pixels, and the classes' probabilities."""

    def forward(self, pixels: Tensor) -> Tensor:
        boxes, scores = super().forward(pixels)
        low, high = boxes.split(2, dim=2)
        cxcywh = torch.cat([(low + high) / 2, high - low], dim=2)
        return torch.cat([cxcywh, scores], dim=2).transpose(1, 2)


def _tiny() -> OnnxFile:
    return OnnxFile(
        Predictions(classes=len(NAMES), width=8),
        torch.zeros(1, 3, *IMAGE_HW),
        "images",
        ("output0",),
        {"task": "detect", "names": str(NAMES), "imgsz": str(list(IMAGE_HW)), "stride": "32"},
    )


TINY: dict[str, Build] = {"yolov8": _tiny}
