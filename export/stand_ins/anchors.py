"""A small anchor-based detector, written as the kind of ONNX file that users bring."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

FILE = "model.onnx"
STRIDES = (8, 16, 32)
# Distances from an anchor to a box's edges are an expectation over this many bins, in strides.
BINS = 8


class Anchors(nn.Module):
    """pixels float32 [N, 3, H, W] -> boxes xyxy in pixels [N, A, 4], scores [N, A, C].

    Built like anchor-free detectors: at each place of three strides, distances to the four edges as
    distributions, and a logit for each class. Shapes are read as numbers, so a traced graph keeps
    the batch that it was traced with.
    """

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(*(_convolution(i, o) for i, o in ((3, width), (width, width))))
        self.stages = nn.ModuleList(_convolution(width, width) for _ in STRIDES)
        self.heads = nn.ModuleList(nn.Conv2d(width, 4 * BINS + classes, 1) for _ in STRIDES)
        self.classes = classes
        # Large enough that answers differ from place to place, and from class to class.
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        features, boxes, scores = self.stem(pixels), [], []
        for stride, stage, head in zip(STRIDES, self.stages, self.heads, strict=True):
            features = stage(features)
            answer = head(features)
            batch, _, height, width = (int(edge) for edge in answer.shape)
            distances, logits = answer.split((4 * BINS, self.classes), dim=1)
            bins = distances.reshape(batch, 4, BINS, height * width).softmax(dim=2)
            edges = (bins * torch.arange(BINS).view(1, 1, BINS, 1)).sum(dim=2) * stride
            boxes.append(_boxes(edges, _centres(height, width) * stride))
            scores.append(logits.reshape(batch, self.classes, height * width).sigmoid())
        return (torch.cat(part, dim=2).transpose(1, 2) for part in (boxes, scores))


def _convolution(channels: int, width: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(channels, width, 3, stride=2, padding=1), nn.SiLU())


def _centres(height: int, width: int) -> Tensor:
    """x, y of each place, in strides: [2, H * W]."""
    rows, columns = torch.meshgrid(
        torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij"
    )
    return torch.stack([columns.flatten(), rows.flatten()])


def _boxes(edges: Tensor, centres: Tensor) -> Tensor:
    """Distances to left, top, right, bottom [N, 4, P] around centres [2, P] -> xyxy [N, 4, P]."""
    return torch.cat([centres - edges[:, :2], centres + edges[:, 2:]], dim=1)


@dataclass(frozen=True)
class OnnxFile:
    """An ONNX file with a batch of 1, and what its writer says in its metadata."""

    model: nn.Module
    sample: Tensor
    input: str
    outputs: tuple[str, ...]
    metadata: Mapping[str, str]

    def write(self, folder: Path) -> Path:
        path = folder / FILE
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                self.model.eval(),
                (self.sample,),
                str(path),
                input_names=[self.input],
                output_names=list(self.outputs),
                opset_version=18,
                dynamo=False,
            )
        model = onnx.load(str(path))
        for key, value in self.metadata.items():
            model.metadata_props.add(key=key, value=value)
        onnx.save(model, str(path))
        return path
