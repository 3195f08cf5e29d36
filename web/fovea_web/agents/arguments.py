"""The arguments of tools, each once: for the JSON schema that a model reads, and for the check."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fovea_client import InvalidInput
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from fovea.errors import cut

Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Box = Annotated[list[float], Field(min_length=4, max_length=4)]
Point = Annotated[list[float], Field(min_length=2, max_length=2)]
Texts = Annotated[list[str], Field(min_length=1)]

FRAME = "in pixels of the upright picture, x to the right and y down"


@dataclass(frozen=True)
class Argument:
    """A pydantic type, and the description for a language model."""

    type: Any
    help: str


ARGUMENTS: Mapping[str, Argument] = {
    "path": Argument(
        str, "A picture file in one of the allowed folders; list_pictures names them."
    ),
    "image_base64": Argument(str, "The picture itself in base64; a data URI is fine."),
    "labels": Argument(
        Texts,
        "Short noun phrases, one thing each, such as ['man', 'white snowboard']: the objects that "
        "a description names, and likely alternatives.",
    ),
    "description": Argument(
        str, "Instead of labels, a sentence: its words that name something in the picture are used."
    ),
    "phrases": Argument(
        Texts, "Short noun phrases, one thing each, such as ['red car', 'person']."
    ),
    "box_threshold": Argument(
        Fraction, "Least score of a box; lower it to find more, with more mistakes."
    ),
    "boxes": Argument(list[Box], f"[x1, y1, x2, y2] each, {FRAME}: a mask for each."),
    "points": Argument(list[Point], f"[x, y] each, {FRAME}: a mask of the thing at each."),
    "background": Argument(
        list[Point], "Points beside the thing; then all points together mean one thing."
    ),
    "together": Argument(bool, "All points mean one thing, not one each."),
    "points_per_side": Argument(
        Count, "Density of the search: more finds smaller things, and takes longer."
    ),
    "min_area": Argument(Count, "Least pixels of an object."),
    "max_objects": Argument(Count, "Most objects, the surest first."),
    "threshold": Argument(Fraction, "Least score of a segment."),
    "top_k": Argument(Count, "Most classes, the most probable first."),
    "annotated": Argument(bool, "Also return the picture with the results drawn in."),
    "masks": Argument(
        bool, "Also return each mask's outline data (COCO RLE): long, for programs only."
    ),
    "below": Argument(str, "A folder within the allowed ones; default: all of them."),
    "text": Argument(str, "What to look for, such as 'a red car'."),
    "box": Argument(Box, f"[x1, y1, x2, y2] of the thing in the example picture, {FRAME}."),
    "point": Argument(Point, f"[x, y] on the thing in the example picture, {FRAME}."),
    "like": Argument(str, "The id of a result: more like this."),
    "negative": Argument(str, "What it should not be."),
    "scene": Argument(str, "What the whole picture shows, such as 'at night'."),
    "where": Argument(str, "A condition of SQL over the columns, such as \"folder = 'night'\"."),
    "kind": Argument(Literal["object", "picture"], "Find objects (the default) or whole pictures."),
    "grouped": Argument(bool, "Only the best object of each picture."),
    "k": Argument(Annotated[int, Field(ge=1, le=100)], "Most results; 10 by default."),
    "good": Argument(list[str], "Ids of results that were right: the search learns from them."),
    "bad": Argument(list[str], "Ids of results that were wrong."),
}


def model_of(tool: str, names: Collection[str], required: Collection[str] = ()) -> type[BaseModel]:
    """The model of a tool's arguments: only those named."""
    fields: dict[str, Any] = {}
    for name in names:
        argument = ARGUMENTS[name]
        default = ... if name in required else None
        fields[name] = (argument.type, Field(default, description=argument.help))
    config = ConfigDict(extra="forbid", allow_inf_nan=False)
    return create_model(tool, __config__=config, **fields)


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema, without titles, which only repeat names, and without defaults of null."""
    schema = model.model_json_schema()
    schema.pop("title", None)
    for one in schema.get("properties", {}).values():
        one.pop("title", None)
        if one.get("default", ...) is None:
            del one["default"]
    schema.setdefault("properties", {})
    return schema


def check(model: type[BaseModel], arguments: Mapping[str, Any] | None) -> dict[str, Any]:
    """The given arguments; null counts as left out. Raises InvalidInput."""
    given = {name: value for name, value in (arguments or {}).items() if value is not None}
    try:
        checked = model.model_validate(given)
    except ValidationError as error:
        raise InvalidInput(_describe(error, model)) from error
    return checked.model_dump(exclude_unset=True)


def _describe(error: ValidationError, model: type[BaseModel]) -> str:
    """The wrong arguments and the reasons, on one line."""
    parts = []
    for one in error.errors(include_url=False):
        where = ".".join(str(part) for part in one["loc"])
        if one["type"] == "extra_forbidden":
            parts.append(f"{where}: no such argument, expected of {sorted(model.model_fields)}")
        else:
            parts.append(f"{where}: {one['msg']}")
    return cut("; ".join(parts))
