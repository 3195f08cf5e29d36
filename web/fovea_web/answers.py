"""The schema of each verb's answer, for /openapi.json; a test compares it with real answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fovea.verbs import MODALITIES

Schema = dict[str, Any]


def _list(items: Schema, **more: Any) -> Schema:
    return {"type": "array", "items": items, **more}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


NUMBER: Schema = {"type": "number"}
INTEGER: Schema = {"type": "integer"}
TEXT: Schema = {"type": "string"}
BOX = _list(NUMBER, minItems=4, maxItems=4)
SIZE = _list(INTEGER, minItems=2, maxItems=2)
MASK: Schema = {
    "type": "object",
    "description": "COCO's compressed run lengths; pycocotools decodes them.",
    "required": ["size", "counts"],
    "properties": {"size": SIZE, "counts": TEXT},
    "additionalProperties": False,
}
BOXES, MASKS, NUMBERS = _list(BOX), _list(MASK), _list(NUMBER)
INTEGERS, TEXTS = _list(INTEGER), _list(TEXT)

_DETECTIONS = {
    "boxes": BOXES,
    "scores": NUMBERS,
    "phrases": TEXTS,
    "label_indices": _or_null(INTEGERS),
    "size_hw": SIZE,
}
_OBJECTS = {
    "boxes": BOXES,
    "masks": MASKS,
    "scores": NUMBERS,
    "stability": NUMBERS,
    "size_hw": SIZE,
}
_EMBEDDING = {"embedding": NUMBERS}

# By kind: the members of an answer, all of them always there.
MEMBERS: Mapping[str, Mapping[str, Schema]] = {
    "main_object": {
        "found": {"type": "boolean"},
        "label": _or_null(TEXT),
        "label_index": _or_null(INTEGER),
        "label_scores": {"type": "object", "additionalProperties": NUMBER},
        "box": _or_null(BOX),
        "box_score": _or_null(NUMBER),
        "mask": _or_null(MASK),
        "mask_score": _or_null(NUMBER),
        "size_hw": SIZE,
    },
    "detect": _DETECTIONS,
    "detect_and_segment": {**_DETECTIONS, "masks": MASKS, "mask_scores": NUMBERS},
    "segment": {"masks": MASKS, "scores": NUMBERS, "size_hw": SIZE},
    "segment_everything": _OBJECTS,
    "embed_objects": {**_OBJECTS, "embeddings": _list(NUMBERS), "picture_embedding": NUMBERS},
    "segment_scene": {
        "masks": MASKS,
        "labels": TEXTS,
        "label_indices": INTEGERS,
        "scores": NUMBERS,
        "size_hw": SIZE,
    },
    "classify": {"labels": TEXTS, "indices": INTEGERS, "scores": NUMBERS},
    "embed_image": _EMBEDDING,
    "embed_text": _EMBEDDING,
    **{f"embed_{name}": _EMBEDDING for name in MODALITIES},
}

FIND: Schema = {
    "type": "object",
    "required": ["id", "picture", "score", "kind", "path", "size_hw", "box", "mask"],
    "properties": {
        "id": TEXT,
        "picture": {**TEXT, "description": "For /v1/search/pictures/…"},
        "score": NUMBER,
        "kind": {"enum": ["object", "picture"]},
        "path": TEXT,
        "size_hw": SIZE,
        "box": _or_null(BOX),
        "mask": _or_null(MASK),
    },
}
FINDS: Schema = {
    "type": "object",
    "required": ["query", "folded", "finds"],
    "properties": {"query": TEXT, "folded": INTEGER, "finds": _list(FIND)},
}


def of(kind: str) -> Schema:
    """The schema of a verb's answer."""
    members = dict(MEMBERS[kind])
    return {
        "type": "object",
        "required": list(members),
        "properties": members,
        "additionalProperties": False,
    }
