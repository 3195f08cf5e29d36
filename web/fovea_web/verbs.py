"""The verbs by path: one row for each verb of the client."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from fovea_client import AsyncClient

from fovea_web import parameters
from fovea_web.examples import GREY, MOTION, SOUND
from fovea_web.parameters import Parameters

CUTOUT, DRAWING = "png", "drawing"


@dataclass(frozen=True)
class Verb:
    """A verb over HTTP.

    kind: the deployment's name for what it does; the client's method has the same name.
    images: the pictures that it can answer with instead of JSON, the one for `Accept: image/png`
    first. summary: in the documentation. example: parameters that find something in a picture.
    takes_image: a verb without a picture requires the first parameter of the client's method.
    """

    kind: str
    summary: str
    images: tuple[str, ...]
    example: Mapping[str, Any]
    takes_image: bool = True

    @property
    def path(self) -> str:
        """The path after /v1/."""
        return self.kind.replace("_", "-")

    @cached_property
    def model(self) -> type[Parameters]:
        """The model of its parameters."""
        names = parameters.names_of(getattr(AsyncClient, self.kind))
        title = "".join(part.title() for part in self.kind.split("_"))
        return parameters.model(title, names, required=() if self.takes_image else names[:1])


ONE, ALL = (CUTOUT, DRAWING), (DRAWING,)

VERBS: Mapping[str, Verb] = {
    verb.kind: verb
    for verb in (
        Verb(
            "main_object",
            "Which of the labels is the picture about, with its box and its mask.",
            ONE,
            {"labels": ["ball", "cow"]},
        ),
        Verb("detect", "Boxes of the named things.", ALL, {"phrases": ["ball", "cow"]}),
        Verb(
            "detect_and_segment",
            "The boxes of detect, and the mask in each.",
            ONE,
            {"phrases": ["ball", "cow"]},
        ),
        Verb("segment", "The mask that each point or box marks.", ONE, {"points": [[32, 32]]}),
        Verb("segment_everything", "The mask of every object.", ALL, {"max_objects": 8}),
        Verb("segment_scene", "Masks of the segmenter's own classes.", ALL, {}),
        Verb("classify", "What the picture shows, best first.", (), {"labels": ["ball", "cow"]}),
        Verb("embed_image", "The embedder's vector of a picture.", (), {}),
        Verb("embed_text", "The embedder's vector of a text.", (), {"text": "a red ball"}, False),
        Verb("embed_audio", "The embedder's vector of a sound.", (), {"audio": SOUND}, False),
        Verb(
            "embed_depth", "The embedder's vector of a depth picture.", (), {"depth": GREY}, False
        ),
        Verb("embed_thermal", "The same of a thermal picture.", (), {"thermal": GREY}, False),
        Verb("embed_imu", "The same of an IMU recording.", (), {"imu": MOTION}, False),
        Verb(
            "embed_objects",
            "The mask of every object, and the vector of each and of the picture.",
            ALL,
            {"max_objects": 2},
        ),
    )
}
# Either of two verbs under one path: of a picture or of a text.
EMBED = "embed"


def served_paths(kinds: Mapping[str, Any]) -> list[str]:
    """The paths of those kinds that a deployment has."""
    paths = [f"/v1/{verb.path}" for kind, verb in VERBS.items() if kind in kinds]
    either = "embed_image" in kinds or "embed_text" in kinds
    return [*paths, f"/v1/{EMBED}"] if either else paths
