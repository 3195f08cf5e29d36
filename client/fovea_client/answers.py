"""Turns the tensors of an answer into results."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import InferResult

from fovea_client.errors import ServerError
from fovea_client.masks import Mask
from fovea_client.objects import Objects
from fovea_client.results import Detections, MainObject, Segmentation, SegmentedDetections


class Answer:
    """The tensors of one answer by name, without batch axis.

    read: returns a tensor, or None for a missing one.
    """

    def __init__(self, model: str, read: Callable[[str], NDArray[Any] | None]) -> None:
        self._model, self._read = model, read

    def array(self, name: str) -> NDArray[Any]:
        """The tensor; raises ServerError if the server did not send it."""
        row = self._read(name)
        if row is None:
            raise ServerError(f"expected {name} in the answer of {self._model!r}, got none")
        return row

    def texts(self, name: str) -> tuple[str, ...]:
        return tuple(text.decode("utf-8", "replace") for text in self.array(name))

    def size_hw(self) -> tuple[int, int]:
        height, width = self.array("IMAGE_SIZE").tolist()
        return height, width

    def masks(self) -> tuple[Mask, ...]:
        size_hw = self.size_hw()
        return tuple(Mask(bytes(counts), size_hw) for counts in self.array("MASKS"))


def read_response(response: Any) -> Answer:
    """A ModelInferResponse; tensors are decoded on demand."""
    result = InferResult(response)

    def read(name: str) -> NDArray[Any] | None:
        batch = result.as_numpy(name)
        return batch[0] if batch is not None and len(batch) == 1 else None

    return Answer(str(response.model_name), read)


def read_main_object(answer: Answer, labels: tuple[str, ...]) -> MainObject:
    scores = dict(zip(labels, answer.array("LABEL_SCORES").tolist(), strict=True))
    boxes, masks = answer.array("BOXES"), answer.masks()
    found = len(boxes) > 0
    index = int(answer.array("LABEL_INDEX")[0])
    return MainObject(
        found=found,
        label=labels[index],
        label_scores=dict(sorted(scores.items(), key=lambda item: -item[1])),
        box=boxes[0] if found else None,
        box_score=float(answer.array("SCORES")[0]) if found else None,
        mask=masks[0] if found else None,
        mask_score=float(answer.array("MASK_SCORES")[0]) if found else None,
        size_hw=answer.size_hw(),
        label_index=index,
    )


def nothing_named(answer: Answer) -> MainObject:
    """The answer if nothing of a description is in the picture."""
    return MainObject(False, None, {}, None, None, None, None, answer.size_hw())


def read_detections(answer: Answer, labels: tuple[str, ...] | None) -> Detections:
    """labels: the requested ones, or None for a detector with its own classes."""
    indices = answer.array("LABEL_INDICES")
    if labels is None:
        phrases = answer.texts("PHRASES")
    else:
        phrases = tuple(labels[index] for index in indices.tolist())
    return Detections(
        boxes=answer.array("BOXES"),
        scores=answer.array("SCORES"),
        phrases=phrases,
        size_hw=answer.size_hw(),
        label_indices=indices,
    )


def read_segmented_detections(
    answer: Answer, labels: tuple[str, ...] | None
) -> SegmentedDetections:
    return SegmentedDetections(
        **vars(read_detections(answer, labels)),
        masks=answer.masks(),
        mask_scores=answer.array("MASK_SCORES"),
    )


def read_segmentation(answer: Answer) -> Segmentation:
    return Segmentation(
        masks=answer.masks(), scores=answer.array("MASK_SCORES"), size_hw=answer.size_hw()
    )


def read_objects(answer: Answer, *, embedded: bool) -> Objects:
    return Objects(
        boxes=answer.array("BOXES"),
        masks=answer.masks(),
        scores=answer.array("MASK_SCORES"),
        stability=answer.array("STABILITY"),
        size_hw=answer.size_hw(),
        embeddings=read_embedding(answer, "EMBEDDINGS") if embedded else None,
        picture_embedding=read_embedding(answer, "PICTURE_EMBEDDING") if embedded else None,
    )


def read_embedding(answer: Answer, name: str) -> NDArray[np.float32]:
    return np.array(answer.array(name), np.float32)
