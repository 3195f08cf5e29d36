"""Compares two answers of a network in what users see: boxes, labels, masks, directions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.network import Arrays
from fovea import boxes
from fovea.roles import LOW_RES_MASKS

Floats = NDArray[np.float32]
# The rows of a picture that count: the most confident answers.
TOP_ROWS = 20
MATCHED_IOU = 0.9
# IoU is the same in any frame; this one keeps fractions of the picture.
UNIT_HW = (1, 1)
# Least agreement that counts as the same answer, each between 0 and 1.
FLOORS = {"cosine": 0.999, "boxes_matched": 0.95, "labels_same": 0.95, "mask_iou": 0.97}


def task_terms(expected: Arrays, got: Arrays) -> dict[str, float]:
    """Agreement in one batch: the worst row or the share of rows; all NaN count as 0.

    The names of the tensors tell whether they are boxes, masks, or vectors.
    """
    if "pred_boxes" in expected:
        terms = _detections(expected, got)
    elif LOW_RES_MASKS in expected:
        terms = _masks(expected, got)
    else:
        terms = {"cosine": min(_cosine(expected[name], got[name]) for name in expected)}
    return {name: float(np.nan_to_num(value)) for name, value in terms.items()}


def below(terms: dict[str, float]) -> list[str]:
    """The terms below their floors, with both figures."""
    return [
        f"{name} is {value:.4f}, expected {FLOORS[name]:g} or more"
        for name, value in terms.items()
        if not value >= FLOORS[name]
    ]


def _cosine(expected: Floats, got: Floats) -> float:
    """The smallest cosine of a row."""
    x, y = (a.reshape(len(a), -1).astype(np.float64) for a in (expected, got))
    norms = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    return float(((x * y).sum(axis=1) / np.maximum(norms, 1e-12)).min())


def _detections(expected: Arrays, got: Arrays) -> dict[str, Any]:
    """The share of the most confident rows with a box in the same place and the same token."""
    matched, same = [], []
    for picture in range(len(expected["logits"])):
        scores = expected["logits"][picture].max(axis=1)
        top = np.argsort(-scores, kind="stable")[:TOP_ROWS]
        ious = boxes.pairwise_iou(
            boxes.to_xyxy(expected["pred_boxes"][picture][top], UNIT_HW),
            boxes.to_xyxy(got["pred_boxes"][picture], UNIT_HW),
        )
        # If several rows lie on one object, the one with the same token counts.
        tokens = expected["logits"][picture][top].argmax(axis=1)
        fits = ious > MATCHED_IOU
        agrees = tokens[:, None] == got["logits"][picture].argmax(axis=1)[None]
        matched.append(fits.any(axis=1).mean())
        same.append((fits & agrees).any(axis=1).mean())
    return {"boxes_matched": np.mean(matched), "labels_same": np.mean(same)}


def _masks(expected: Arrays, got: Arrays) -> dict[str, Any]:
    """Mean IoU of the masks, one for each prompt."""
    left, right = (answer[LOW_RES_MASKS] > 0 for answer in (expected, got))
    union = (left | right).sum(axis=(-2, -1))
    shared = (left & right).sum(axis=(-2, -1))
    return {"mask_iou": np.where(union == 0, 1.0, shared / np.maximum(union, 1)).mean()}
