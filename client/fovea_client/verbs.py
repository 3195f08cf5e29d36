"""What each verb sends and how it reads the answer, without any input or output.

A verb is a generator: it yields requests, receives their answers, and returns the result. `Client`
and `AsyncClient` drive the same generators, one with blocking threads, one with awaits.

verb is the deployment's name for it; None is the verb's own.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fovea_client import answers, prompts, scenes
from fovea_client.answers import Answer
from fovea_client.classification import Classification, Question
from fovea_client.errors import InvalidInput
from fovea_client.objects import Objects
from fovea_client.requests import Request, TensorValue
from fovea_client.results import Detections, MainObject, Segmentation, SegmentedDetections
from fovea_client.scenes import SceneSegmentation

T = TypeVar("T")
Steps: TypeAlias = Generator[Request, Answer, T]


def main_object(
    image: bytes,
    labels: str | Iterable[str] | None,
    description: str | None,
    box_threshold: float | None,
    text_threshold: float | None,
    verb: str | None = None,
    detect_verb: str | None = None,
) -> Steps[MainObject]:
    """Two requests for a description: the words in it that name a box become the labels.

    detect_verb: the deployment's name for the verb that finds them.
    """
    if (labels is None) == (description is None):
        raise InvalidInput("expected labels or a description, and not both")
    if description is not None:
        sentences = prompts.to_sentences(description)
        inputs = _grounding_inputs(image, sentences, box_threshold, text_threshold)
        grounded = yield _to(detect_verb, "detect", inputs)
        labels = prompts.distinct(grounded.texts("WORDS"))
        if not labels:
            return answers.nothing_named(grounded)
    asked = prompts.to_labels(labels or ())
    inputs = _grounding_inputs(image, asked, box_threshold, text_threshold)
    return answers.read_main_object((yield _to(verb, "main_object", inputs)), asked)


def detect(
    image: bytes,
    phrases: str | Iterable[str] | None,
    box_threshold: float | None,
    text_threshold: float | None,
    verb: str | None = None,
) -> Steps[Detections]:
    asked = None if phrases is None else prompts.to_labels(phrases)
    inputs = _grounding_inputs(image, asked, box_threshold, text_threshold)
    return answers.read_detections((yield _to(verb, "detect", inputs)), asked)


def detect_and_segment(
    image: bytes,
    phrases: str | Iterable[str] | None,
    box_threshold: float | None,
    text_threshold: float | None,
    verb: str | None = None,
) -> Steps[SegmentedDetections]:
    asked = None if phrases is None else prompts.to_labels(phrases)
    inputs = _grounding_inputs(image, asked, box_threshold, text_threshold)
    request = _to(verb, "detect_and_segment", inputs)
    return answers.read_segmented_detections((yield request), asked)


def segment(
    image: bytes,
    boxes: ArrayLike | None,
    points: ArrayLike | None,
    point_labels: ArrayLike | None,
    verb: str | None = None,
) -> Steps[Segmentation]:
    coords, labels = prompts.to_points(boxes, points, point_labels)
    inputs: dict[str, TensorValue] = {
        "IMAGE": image,
        "POINT_COORDS": coords,
        "POINT_LABELS": labels,
    }
    return answers.read_segmentation((yield _to(verb, "segment", inputs)))


def segment_everything(
    inputs: Mapping[str, TensorValue], verb: str | None = None
) -> Steps[Objects]:
    """inputs: from `objects.to_inputs`."""
    request = _to(verb, "segment_everything", inputs)
    return answers.read_objects((yield request), embedded=False)


def embed_objects(inputs: Mapping[str, TensorValue], verb: str | None = None) -> Steps[Objects]:
    """inputs: from `objects.to_inputs`."""
    request = _to(verb, "embed_objects", inputs)
    return answers.read_objects((yield request), embedded=True)


def segment_scene(
    inputs: Mapping[str, TensorValue], verb: str | None = None
) -> Steps[SceneSegmentation]:
    """inputs: from `scenes.to_inputs`."""
    return scenes.read((yield _to(verb, "segment_scene", inputs)))


def classify(image: bytes, question: Question, verb: str | None = None) -> Steps[Classification]:
    return question.read((yield _to(verb, "classify", question.to_inputs(image))))


def embed_image(image: bytes, verb: str | None = None) -> Steps[NDArray[np.float32]]:
    request = _to(verb, "embed_image", {"IMAGE": image})
    return answers.read_embedding((yield request), "IMAGE_EMBEDS")


def embed_text(text: str, verb: str | None = None) -> Steps[NDArray[np.float32]]:
    request = _to(verb, "embed_text", {"TEXT": prompts.check_text(text)})
    return answers.read_embedding((yield request), "TEXT_EMBEDS")


def embed_modality(
    modality: str, value: TensorValue, verb: str | None = None
) -> Steps[NDArray[np.float32]]:
    """modality: one of `fovea.verbs.MODALITIES`."""
    request = _to(verb, f"embed_{modality}", {modality.upper(): value})
    return answers.read_embedding((yield request), f"{modality.upper()}_EMBEDS")


def _to(verb: str | None, own: str, inputs: Mapping[str, TensorValue]) -> Request:
    name = own if verb is None else verb
    if not isinstance(name, str) or not (name.isascii() and name.isidentifier()):
        raise InvalidInput(f"expected the name of a verb such as {own!r}, got {name!r:.80}")
    return Request(name, inputs)


def _grounding_inputs(
    image: bytes,
    labels: tuple[str, ...] | None,
    box_threshold: float | None,
    text_threshold: float | None,
) -> dict[str, TensorValue]:
    """labels: None is for a detector with its own classes."""
    if labels is None and text_threshold is not None:
        raise InvalidInput("expected phrases with text_threshold, got none")
    inputs: dict[str, TensorValue] = {"IMAGE": image}
    if labels is not None:
        inputs["TEXT"] = labels
    thresholds = {"BOX_THRESHOLD": box_threshold, "TEXT_THRESHOLD": text_threshold}
    for name, value in thresholds.items():
        if value is not None:
            inputs[name] = prompts.check_threshold(name, value)
    return inputs
