"""What is asked: held-out scenes of the demo world as JPEG, with words and prompts."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from fovea_client import Client, verbs
from fovea_client.verbs import Steps
from PIL import Image

from demo.evaluate import Trial, make_trial

JPEG_QUALITY = 92
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Question:
    """An encoded picture, its candidate labels, and the box of something in it (pixels)."""

    jpeg: bytes
    labels: list[str]
    box_xyxy: Box

    @property
    def image(self) -> Image.Image:
        """The picture, decoded."""
        return Image.open(io.BytesIO(self.jpeg)).convert("RGB")


def to_question(trial: Trial) -> Question:
    """The scene as a caller would send it."""
    return Question(to_jpeg(trial.image), trial.candidates, trial.named.box_xyxy)


def to_jpeg(image: Image.Image) -> bytes:
    """The picture as JPEG."""
    out = io.BytesIO()
    image.save(out, "JPEG", quality=JPEG_QUALITY)
    return out.getvalue()


def questions(seeds: Iterable[int]) -> list[Question]:
    """Held-out scenes, each other than all others."""
    return [to_question(make_trial(seed)) for seed in seeds]


@dataclass(frozen=True)
class Verb:
    """A verb of the client, and the same request without the client around it.

    cached: part of its answer, SAM's embedding of the picture, is kept by the response cache.
    """

    name: str
    ask: Callable[[Client, Question], object]
    steps: Callable[[Question], Steps[Any]]
    cached: bool = False


VERBS = (
    Verb(
        "main_object",
        lambda client, q: client.main_object(q.jpeg, q.labels),
        lambda q: verbs.main_object(q.jpeg, q.labels, None, None, None),
        cached=True,
    ),
    Verb(
        "detect",
        lambda client, q: client.detect(q.jpeg, q.labels),
        lambda q: verbs.detect(q.jpeg, q.labels, None, None),
    ),
    Verb(
        "segment",
        lambda client, q: client.segment(q.jpeg, boxes=q.box_xyxy),
        lambda q: verbs.segment(q.jpeg, q.box_xyxy, None, None),
        cached=True,
    ),
    Verb(
        "detect_and_segment",
        lambda client, q: client.detect_and_segment(q.jpeg, q.labels),
        lambda q: verbs.detect_and_segment(q.jpeg, q.labels, None, None),
        cached=True,
    ),
    Verb(
        "embed_image",
        lambda client, q: client.embed_image(q.jpeg),
        lambda q: verbs.embed_image(q.jpeg),
    ),
    Verb(
        "embed_text",
        lambda client, q: client.embed_text(". ".join(q.labels)),
        lambda q: verbs.embed_text(". ".join(q.labels)),
    ),
)
