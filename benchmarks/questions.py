"""What is asked: held-out scenes of the demo world as JPEG, with words and prompts."""

from __future__ import annotations

import inspect
import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from fovea_client import Client, verbs
from fovea_client.requests import Request
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
    """Held-out scenes, all different."""
    return [to_question(make_trial(seed)) for seed in seeds]


@dataclass(frozen=True)
class Verb:
    """A verb of the client. arguments: makes its keyword arguments from a question."""

    name: str
    arguments: Callable[[Question], dict[str, Any]]

    def ask(self, client: Client, question: Question) -> object:
        """Call the verb as users do."""
        return getattr(client, self.name)(**self.arguments(question))

    def request(self, question: Question) -> Request:
        """The request that the client would send."""
        verb = getattr(verbs, self.name)
        optional = dict.fromkeys(inspect.signature(verb).parameters)
        return next(verb(**optional | self.arguments(question)))


VERBS = (
    Verb("main_object", lambda q: {"image": q.jpeg, "labels": q.labels}),
    Verb("detect", lambda q: {"image": q.jpeg, "phrases": q.labels}),
    Verb("segment", lambda q: {"image": q.jpeg, "boxes": q.box_xyxy}),
    Verb("detect_and_segment", lambda q: {"image": q.jpeg, "phrases": q.labels}),
    Verb("embed_image", lambda q: {"image": q.jpeg}),
    Verb("embed_text", lambda q: {"text": ". ".join(q.labels)}),
)
