"""The tools of a deployment: one for each served verb, under the verb's name there.

A tool's arguments follow from its members: an open detector takes phrases, one with its own classes
does not. embed_image, embed_text and embed_objects are no tools, because a language model has no
use for vectors; `fovea_web.agents.finding` uses them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fovea_client import Description, InvalidInput, MemberDescription
from fovea_client.blocking import BlockingVerbs
from pydantic import BaseModel

from fovea_web.agents import arguments, pictures, replies
from fovea_web.agents.pictures import Folders

SHOWN_CLASSES = 60
# Roles whose members have their own classes, and take no words.
CLOSED_ROLES = ("detector", "classifier")
PICTURE = ("path", "image_base64")
OBJECT_SETTINGS = ("points_per_side", "min_area", "max_objects")


@dataclass(frozen=True)
class Reply:
    """record: ready for JSON. jpeg: a picture in base64."""

    record: Mapping[str, Any]
    jpeg: str | None = None


@dataclass(frozen=True)
class Tool:
    """A tool for a language model. description: written for it. call: takes checked arguments."""

    name: str
    title: str
    description: str
    arguments: type[BaseModel]
    call: Callable[[dict[str, Any]], Reply]


@dataclass(frozen=True)
class Kind:
    """How a verb is described and called.

    given: its arguments besides those of the picture. masks: whether its answer has masks. drawn:
    whether there is something to draw.
    """

    title: str
    description: str
    given: tuple[str, ...] = ()
    masks: bool = True
    drawn: bool = True


KINDS: Mapping[str, Kind] = {
    "main_object": Kind(
        "Find and cut out the main object",
        "Tells which of several things a picture is about, and finds its box and mask. Name the "
        "objects of the user's description yourself, and pass them as labels: for 'the man who "
        "rides the white board' ['man', 'white snowboard']. label_scores are probabilities among "
        "these labels only, so add likely alternatives. found=false: none of them is there.",
        ("labels", "description", "box_threshold"),
    ),
    "detect": Kind(
        "Find objects",
        "Finds all objects of the named kinds, with a box each; count says how many. "
        "Name the objects of the user's description as short noun phrases.",
        ("phrases", "box_threshold"),
        masks=False,
    ),
    "detect_and_segment": Kind(
        "Find objects and cut them out",
        "Finds all objects of the named kinds, with a box and a mask each: use it if "
        "sizes or shapes matter. Name the objects of the user's description as short noun phrases.",
        ("phrases", "box_threshold"),
    ),
    "segment": Kind(
        "Cut out what is at a point or in a box",
        "Cuts out the things that points or boxes mark, in their order.",
        ("boxes", "points", "background", "together"),
    ),
    "segment_everything": Kind(
        "Cut out everything",
        "Finds every object in the picture, without any labels.",
        OBJECT_SETTINGS,
    ),
    "segment_scene": Kind(
        "Divide the scene into its parts",
        "Divides the whole picture into segments, each of one of the model's own classes.",
        ("threshold",),
    ),
    "classify": Kind(
        "Describe what a picture shows",
        "Tells what the picture shows as a whole, most probable first.",
        ("labels", "top_k"),
        masks=False,
        drawn=False,
    ),
}


def of_deployment(
    client: BlockingVerbs, folders: Folders | None, verbs: Sequence[Description]
) -> list[Tool]:
    """A tool for each of the verbs, and one that lists the pictures of the folders."""
    found = [_of_verb(client, folders, verb, verbs) for verb in verbs if verb.verb in KINDS]
    return [*found, *([] if folders is None else [_list_pictures(folders)])]


def picture_arguments(folders: Folders | None) -> tuple[str, ...]:
    """The ways to pass a picture."""
    return PICTURE if folders is not None else PICTURE[1:]


def picture_of(given: dict[str, Any], folders: Folders | None) -> bytes | None:
    """Take the picture out of a tool's arguments; None if there is none.

    Raises InvalidInput for two, InvalidImage, ImageTooLarge.
    """
    path, encoded = given.pop("path", None), given.pop("image_base64", None)
    if path is not None and encoded is not None:
        raise InvalidInput("expected path or image_base64, got both")
    if path is not None and folders is not None:
        return folders.read(path)
    return None if encoded is None else pictures.decode(encoded)


def _of_verb(
    client: BlockingVerbs,
    folders: Folders | None,
    verb: Description,
    verbs: Sequence[Description],
) -> Tool:
    kind = KINDS[verb.verb]
    asks = _VerbCall(verb, verbs)
    shown = (*(("annotated",) if kind.drawn else ()), *(("masks",) if kind.masks else ()))
    names = (*picture_arguments(folders), *(n for n in kind.given if asks.takes(n)), *shown)
    required = [name for name in asks.required if name in names]
    if folders is None:
        required.append("image_base64")

    def call(given: dict[str, Any]) -> Reply:
        annotated, masks = given.pop("annotated", False), given.pop("masks", False)
        image = picture_of(given, folders)
        if image is None:
            raise InvalidInput("expected a picture, as path or image_base64, got none")
        result = getattr(client, verb.verb)(image, **asks.to_call(given), verb=verb.name)
        jpeg = replies.to_jpeg(image, result) if annotated else None
        return Reply(replies.to_record(result, masks=masks), jpeg)

    return Tool(
        verb.name,
        kind.title,
        f"{kind.description} {_answered_by(verb)}",
        arguments.model_of(verb.name, names, required),
        call,
    )


@dataclass(frozen=True)
class _VerbCall:
    """A verb's inputs and how to send them, given its members."""

    verb: Description
    verbs: Sequence[Description]

    def takes(self, name: str) -> bool:
        if name in ("phrases", "labels"):
            return not self._knows_classes
        if name == "top_k":
            return self._knows_classes
        return name != "description" or self._detect_verb is not None

    @property
    def required(self) -> tuple[str, ...]:
        return ("phrases", "labels") if self.verb.verb != "main_object" else ()

    def to_call(self, given: dict[str, Any]) -> dict[str, Any]:
        """The keyword arguments of the client's method."""
        if self.verb.verb == "segment":
            return _prompts(**given)
        if given.get("description") is not None:
            return {**given, "detect_verb": self._detect_verb}
        return given

    @property
    def _knows_classes(self) -> bool:
        return any(member.role in CLOSED_ROLES for member in self.verb.members.values())

    @property
    def _detect_verb(self) -> str | None:
        """The verb that finds a description's words with the same detector."""
        mine = self.verb.members.get("detects")
        same = [v.name for v in self.verbs if v.verb == "detect" and v.members["detects"] == mine]
        return same[0] if same else None


def _prompts(
    *, boxes: Any = None, points: Any = None, background: Any = None, together: bool = False
) -> dict[str, Any]:
    """Boxes, points and point_labels of `Client.segment`."""
    coords = [*(points or ()), *(background or ())]
    labels: list[Any] = [1] * len(points or ()) + [0] * len(background or ())
    if (together or background) and coords:
        coords, labels = [coords], [labels]
    return {"boxes": boxes or None, "points": coords or None, "point_labels": labels or None}


def _answered_by(verb: Description) -> str:
    told = ", ".join(dict.fromkeys(member.name for member in verb.members.values()))
    classes = [name for member in verb.members.values() for name in _classes(member)]
    known = f" It knows these classes: {', '.join(classes)}." if classes else ""
    return f"Answered by {told}.{known}"


def _classes(member: MemberDescription) -> list[str]:
    names = member.class_names
    more = len(names) - SHOWN_CLASSES
    return [*names[:SHOWN_CLASSES], *([f"and {more} more"] if more > 0 else [])]


def _list_pictures(folders: Folders) -> Tool:
    def call(given: dict[str, Any]) -> Reply:
        found = folders.pictures(given.get("below", ""))
        record: dict[str, Any] = {"count": len(found), "pictures": found[: pictures.LISTED]}
        if len(found) > pictures.LISTED:
            record["not_told"] = len(found) - pictures.LISTED
        return Reply(record)

    return Tool(
        "list_pictures",
        "List pictures",
        "Lists the picture files that the other tools accept as path.",
        arguments.model_of("list_pictures", ("below",)),
        call,
    )
