"""Answers for language models: few words and whole pixels instead of tensors and masks."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping
from typing import Any

from fovea_client import Classification, Detections, MainObject, Mask, Segmentation
from fovea_client.draw import Result, draw
from fovea_client.objects import Objects
from fovea_client.results import SegmentedDetections
from fovea_client.scenes import SceneSegmentation
from PIL import Image

# Most objects in an answer; the rest are only counted.
TOLD = 100
SCORE_DIGITS = 3
EDGE_PX, JPEG_QUALITY = 1024, 85

Record = dict[str, Any]


def to_record(result: Any, *, masks: bool = False) -> Record:
    """A result, ready for JSON: boxes as whole pixels xyxy, a mask as its area in pixels.

    masks: whether to add each mask as COCO RLE.
    """
    if isinstance(result, Classification):
        return {"labels": _pairs(zip(result.labels, result.scores.tolist(), strict=True))}
    if isinstance(result, MainObject):
        return _main_object(result, masks=masks)
    return _objects(result, masks=masks)


def to_jpeg(picture: bytes, result: Result) -> str:
    """The picture with the result drawn in, no edge longer than EDGE_PX, as JPEG in base64."""
    return encode_jpeg(draw(picture, result))


def encode_jpeg(image: Image.Image) -> str:
    """A picture, no edge longer than EDGE_PX, as JPEG in base64."""
    image.thumbnail((EDGE_PX, EDGE_PX), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def to_box(box: Any) -> list[int]:
    """Whole pixels, xyxy."""
    return [round(edge) for edge in box.tolist()]


def _main_object(result: MainObject, *, masks: bool) -> Record:
    record: Record = {"found": result.found, "label": result.label}
    if result.box is not None and result.mask is not None:
        record |= {
            "box": to_box(result.box),
            "box_score": _score(result.box_score),
            **_mask(result.mask, whole=masks),
        }
    return record | {
        "label_scores": {label: _score(score) for label, score in result.label_scores.items()},
        "picture": _size(result.size_hw),
    }


def _objects(
    result: Detections | Segmentation | Objects | SceneSegmentation, *, masks: bool
) -> Record:
    found = list(_each(result, masks=masks))
    record: Record = {"count": len(found), "objects": found[:TOLD]}
    if len(found) > TOLD:
        record["not_told"] = len(found) - TOLD
    return record | {"picture": _size(result.size_hw)}


def _each(
    result: Detections | Segmentation | Objects | SceneSegmentation, *, masks: bool
) -> Iterable[Record]:
    for index, score in enumerate(result.scores.tolist()):
        one: Record = {}
        if isinstance(result, Detections):
            one["label"] = result.phrases[index]
        elif isinstance(result, SceneSegmentation):
            one["label"] = result.labels[index]
        one["score"] = _score(score)
        if isinstance(result, (Detections, Objects)):
            one["box"] = to_box(result.boxes[index])
        else:
            one["box"] = to_box(result.masks[index].box())
        if not isinstance(result, Detections) or isinstance(result, SegmentedDetections):
            one |= _mask(result.masks[index], whole=masks)
        yield one


def _mask(mask: Mask, *, whole: bool) -> Record:
    record: Record = {"mask_area": mask.area}
    return record | {"mask": mask.to_coco()} if whole else record


def _pairs(scored: Iterable[tuple[str, float]]) -> list[Mapping[str, Any]]:
    return [{"label": label, "score": _score(score)} for label, score in scored]


def _size(size_hw: tuple[int, int]) -> Record:
    return {"width": size_hw[1], "height": size_hw[0]}


def _score(score: float | None) -> float | None:
    return None if score is None else round(score, SCORE_DIGITS)
