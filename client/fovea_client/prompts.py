"""Converts words, boxes and points to the form that the server takes."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fovea import prompts as wire
from fovea import text
from fovea_client.errors import InvalidPrompt, InvalidText, InvalidThreshold

_SENTENCE_END = re.compile(r"[.!?]+(?=\s|$)|[;\n]")

Points = tuple[NDArray[np.float32], NDArray[np.int32]]


def to_labels(labels: str | Iterable[str]) -> tuple[str, ...]:
    """Labels as TEXT, one per element, unchanged; a single string is split at '.'.

    Raises InvalidText for none, and names one that is empty, no str, or not encodable.
    """
    if isinstance(labels, str):
        return tuple(text.split_phrases(check_text(labels)))
    checked = tuple(_check_label(index, label) for index, label in enumerate(labels))
    if not checked:
        raise InvalidText("expected at least one label such as 'cat', got none")
    return checked


def to_sentences(description: str) -> tuple[str, ...]:
    """A description as labels that are its sentences; InvalidText for an empty one."""
    parts = _SENTENCE_END.split(check_text(description))
    return tuple(part.strip() for part in parts if part.strip())


def distinct(words: Iterable[str]) -> tuple[str, ...]:
    """Each word once, in the order given, ignoring case."""
    first: dict[str, str] = {}
    for word in words:
        first.setdefault(word.lower(), word)
    return tuple(word for word in first.values() if word.strip())


def check_text(value: str) -> str:
    """`value` for embed_text; InvalidText if it is empty or cannot be UTF-8."""
    if not isinstance(value, str) or not value.strip():
        raise InvalidText(f"expected a text, got {value!r}")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidText(f"expected a text that UTF-8 can encode, got {value!r:.80}") from error
    return value


def check_threshold(name: str, value: float) -> float:
    """`value`; raises InvalidThreshold unless it is within [0, 1]."""
    if not 0 <= value <= 1:
        raise InvalidThreshold(f"{name}: expected a number within [0, 1], got {value}")
    return float(value)


def to_points(
    boxes: ArrayLike | None, points: ArrayLike | None, point_labels: ArrayLike | None
) -> Points:
    """Boxes and points in original pixels as POINT_COORDS [P, K, 2] and POINT_LABELS [P, K].

    boxes: xyxy, [4] or [P, 4]: one per prompt.
    points: xy, [2] or [P, 2]: one per prompt; [P, K, 2]: K points in each prompt.
    point_labels: [P] or [P, K] like the points: 1 is on the thing (the default), 0 beside it.
    With both, prompt i is box i with the points i. Raises InvalidPrompt.
    """
    if boxes is None and points is None:
        raise InvalidPrompt("expected boxes or points, got neither")
    if points is None and point_labels is not None:
        raise InvalidPrompt("expected points with point_labels, got none")
    parts: list[Points] = []
    if points is not None:
        parts.append(_from_points(points, point_labels))
    if boxes is not None:
        parts.append(_from_boxes(boxes))
    counts = [len(labels) for _, labels in parts]
    if len(set(counts)) > 1:
        raise InvalidPrompt(f"expected as many boxes as points, got {counts[1]} and {counts[0]}")
    coords, labels = (np.concatenate(part, axis=1) for part in zip(*parts, strict=True))
    return coords, labels


def _check_label(index: int, label: str) -> str:
    try:
        return check_text(label)
    except InvalidText as error:
        raise InvalidText(f"label {index}: {error}") from error


def _from_boxes(boxes: ArrayLike) -> Points:
    array = _to_floats("boxes", boxes)
    if array.ndim == 1:
        array = array[None]
    if array.ndim != 2 or array.shape[1] != 4 or not len(array):
        raise InvalidPrompt(f"expected boxes xyxy [4] or [P, 4], got {list(array.shape)}")
    if (array[:, 2:] <= array[:, :2]).any():
        raise InvalidPrompt(
            f"expected boxes with left < right and top < bottom, got {array.tolist()}"
        )
    return wire.box_prompts(array)


def _from_points(points: ArrayLike, point_labels: ArrayLike | None) -> Points:
    coords = _to_floats("points", points)
    if coords.ndim == 1:
        coords = coords[None]
    if coords.ndim == 2:
        coords = coords[:, None]
    if coords.ndim != 3 or coords.shape[2] != 2 or not coords.size:
        raise InvalidPrompt(
            f"expected points xy [2], [P, 2] or [P, K, 2], got {list(coords.shape)}"
        )
    if point_labels is None:
        return coords, np.full(coords.shape[:2], wire.FOREGROUND, np.int32)
    labels = np.asarray(point_labels)
    if labels.size != coords.shape[0] * coords.shape[1]:
        raise InvalidPrompt(
            f"expected point_labels {list(coords.shape[:2])}, got {list(labels.shape)}"
        )
    if not np.isin(labels, (wire.FOREGROUND, wire.BACKGROUND)).all():
        raise InvalidPrompt(f"expected point_labels 1 or 0, got {labels.tolist()}")
    return coords, labels.reshape(coords.shape[:2]).astype(np.int32)


def _to_floats(name: str, values: ArrayLike) -> NDArray[np.float32]:
    try:
        array = np.asarray(values, np.float32)
    except (TypeError, ValueError) as error:
        raise InvalidPrompt(f"expected {name} as numbers, all of one shape: {error}") from error
    if not np.isfinite(array).all():
        raise InvalidPrompt(f"expected finite {name}, got {array.tolist()}")
    return array
