"""The loss of the demo's DETRs: one-to-one on the decoder, dense on the encoder.

transformers' own loss is not used: it offsets the labels of a batch by one map only. The
dense part makes training from scratch possible; one-to-one matching alone learns too slowly.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from transformers import GroundingDinoForObjectDetection
from transformers.models.grounding_dino.modeling_grounding_dino import (
    GroundingDinoModelOutput,
)

FOCAL_GAMMA = 2.0
FOCAL_ALPHA = 0.25
CLASS_WEIGHT, BOX_WEIGHT, GIOU_WEIGHT = 2.0, 5.0, 2.0
MIDDLE = 0.6
LEVEL_STRIDES = (16, 32, 64)
QUALITY_FLOOR = 0.3


@dataclass(frozen=True, eq=False)
class Targets:
    """The truth that a batch should detect.

    Attributes:
        boxes: per picture float32 (n, 4), cxcywh relative to the picture without its padding.
        tokens: per picture float32 (n, T), 1 at the tokens that name the box.
        text_mask: bool (N, T).
        sizes_hw: per picture, height and width in pixels without the padding.
    """

    boxes: list[torch.Tensor]
    tokens: list[torch.Tensor]
    text_mask: torch.Tensor
    sizes_hw: list[tuple[int, int]]

    @property
    def count(self) -> int:
        """Boxes in the batch, at least 1."""
        return max(1, sum(len(b) for b in self.boxes))


def corners(boxes: torch.Tensor) -> torch.Tensor:
    """cxcywh to xyxy, (..., 4)."""
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat((centre - half, centre + half), -1)


def iou_and_giou(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """IoU and generalised IoU of broadcast cxcywh boxes (..., 4)."""
    p, q = corners(a), corners(b)
    inner = (torch.minimum(p[..., 2:], q[..., 2:]) - torch.maximum(p[..., :2], q[..., :2])).clamp(0)
    outer = torch.maximum(p[..., 2:], q[..., 2:]) - torch.minimum(p[..., :2], q[..., :2])
    shared = inner.prod(-1)
    union = a[..., 2:].prod(-1) + b[..., 2:].prod(-1) - shared
    hull = outer.clamp(0).prod(-1) + 1e-7
    iou = shared / (union + 1e-7)
    return iou, iou - (hull - union) / hull


def focal(logits: torch.Tensor, target: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Summed focal loss towards soft targets; logits, target (..., T), mask broadcasts to them."""
    logits = logits.masked_fill(~mask, 0.0)
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    distance = (target - logits.sigmoid()).abs() ** FOCAL_GAMMA
    weight = torch.where(target > 0, 1 - FOCAL_ALPHA, FOCAL_ALPHA)
    return (weight * distance * entropy * mask).sum()


def box_loss(predicted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Summed L1 and GIoU loss of matching rows (n, 4)."""
    _, giou = iou_and_giou(predicted, target)
    return BOX_WEIGHT * (predicted - target).abs().sum() + GIOU_WEIGHT * (1 - giou).sum()


def layer_outputs(
    model: GroundingDinoForObjectDetection, outputs: GroundingDinoModelOutput, mask: torch.Tensor
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Logits (N, Q, T) and boxes (N, Q, 4) of every decoder layer, as the class computes them."""
    result = []
    length = mask.shape[1]
    for level in range(outputs.intermediate_hidden_states.shape[1]):
        hidden = outputs.intermediate_hidden_states[:, level]
        before = outputs.intermediate_reference_points[:, level - 1]
        reference = outputs.init_reference_points if level == 0 else before
        text = outputs.encoder_last_hidden_state_text
        logits = model.class_embed[level](hidden, text, mask)[..., :length]
        boxes = (model.bbox_embed[level](hidden) + torch.logit(reference, eps=1e-5)).sigmoid()
        result.append((logits, boxes))
    return result


@torch.no_grad()
def match(
    logits: torch.Tensor,
    boxes: torch.Tensor,
    tokens: torch.Tensor,
    target: torch.Tensor,
    mask: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """One-to-one assignment for one picture: query indices and target indices."""
    probability = logits.masked_fill(~mask, -50.0).sigmoid()
    named = (tokens / tokens.sum(1, keepdim=True)).T
    positive = FOCAL_ALPHA * (1 - probability) ** 2 * -(probability + 1e-8).log()
    negative = (1 - FOCAL_ALPHA) * probability**2 * -(1 - probability + 1e-8).log()
    _, giou = iou_and_giou(boxes[:, None], target[None])
    cost = CLASS_WEIGHT * ((positive - negative) @ named)
    cost = cost + BOX_WEIGHT * torch.cdist(boxes, target, p=1) - GIOU_WEIGHT * giou
    rows, columns = linear_sum_assignment(cost.numpy())
    return torch.from_numpy(rows), torch.from_numpy(columns)


def decoder_loss(logits: torch.Tensor, boxes: torch.Tensor, targets: Targets) -> torch.Tensor:
    """One-to-one classification; boxes of every query that already overlaps a target learn too."""
    logits, boxes = logits.float(), boxes.float()
    soft = torch.zeros_like(logits)
    regression = boxes.sum() * 0
    for index, (target, tokens) in enumerate(zip(targets.boxes, targets.tokens, strict=True)):
        if not len(target):
            continue
        rows, columns = match(logits[index], boxes[index], tokens, target, targets.text_mask[index])
        iou, _ = iou_and_giou(boxes[index, :, None].detach(), target[None])
        quality = QUALITY_FLOOR + (1 - QUALITY_FLOOR) * iou[rows, columns]
        soft[index, rows] = tokens[columns] * quality[:, None]
        regression = regression + box_loss(boxes[index, rows], target[columns])
        best, nearest = iou.max(1)
        near = best > 0.4
        near[rows] = False
        share = 0.5 * len(rows) / max(1, int(near.sum()))
        regression = regression + share * box_loss(boxes[index, near], target[nearest[near]])
    return (CLASS_WEIGHT * focal(logits, soft, targets.text_mask[:, None]) + regression) / (
        targets.count
    )


def cell_centres(edge: int, strides: tuple[int, ...] = LEVEL_STRIDES) -> torch.Tensor:
    """Centres of all encoder cells in pixels of the padded square, (cells, 2) as x, y."""
    levels = []
    for stride in strides:
        ticks = (torch.arange(-(-edge // stride)) + 0.5) * stride
        y, x = torch.meshgrid(ticks, ticks, indexing="ij")
        levels.append(torch.stack((x, y), -1).reshape(-1, 2))
    return torch.cat(levels)


def dense_loss(logits: torch.Tensor, boxes: torch.Tensor, targets: Targets,
               centres: torch.Tensor) -> torch.Tensor:  # fmt: skip
    """Every encoder cell in the middle of a named box is positive for its tokens.

    Args:
        logits: (N, cells, T).
        boxes: (N, cells, 4) cxcywh.
        targets: the truth.
        centres: `cell_centres`.
    """
    logits, boxes = logits.float(), boxes.float()
    soft = torch.zeros_like(logits)
    usable = torch.isfinite(logits).any(-1, keepdim=True) & targets.text_mask[:, None]
    positives, regression = 1, boxes.sum() * 0
    for index, (target, tokens) in enumerate(zip(targets.boxes, targets.tokens, strict=True)):
        if not len(target):
            continue
        height, width = targets.sizes_hw[index]
        place = centres / torch.tensor([width, height])
        offset = (place[:, None] - target[None, :, :2]).abs() / target[None, :, 2:]
        inside = offset.amax(-1) < MIDDLE / 2
        area = torch.where(inside, target[:, 2:].prod(-1), torch.inf)
        cells = inside.any(1).nonzero()[:, 0]
        owner = area[cells].argmin(1)
        iou, _ = iou_and_giou(boxes[index, cells].detach(), target[owner])
        quality = QUALITY_FLOOR + (1 - QUALITY_FLOOR) * iou
        soft[index, cells] = tokens[owner] * quality[:, None]
        regression = regression + box_loss(boxes[index, cells], target[owner])
        positives += len(cells)
    return (CLASS_WEIGHT * focal(logits, soft, usable) + regression) / positives
