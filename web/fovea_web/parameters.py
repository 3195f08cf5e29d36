"""The parameters of all verbs: one table, and a model for each verb made from it.

The signature of a verb's method of `AsyncClient` decides which of them it takes.
"""

from __future__ import annotations

import base64
import binascii
import inspect
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import Len
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    ValidationError,
    WithJsonSchema,
    create_model,
)

from fovea_web.problems import InvalidParameters

INT32_MAX = 2**31 - 1
_DATA_URI = re.compile(r"data:[\w.+/-]*;base64,", re.ASCII)


def from_base64(value: Any) -> bytes:
    """Decodes base64, with or without a data: URI prefix; returns bytes (a form's file) unchanged.

    Raises ValueError for anything else.
    """
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise ValueError(f"expected base64, got {type(value).__name__}")
    match = _DATA_URI.match(value)
    encoded = value[match.end() :] if match else value
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"expected base64, got {value!r:.40}: {error}") from error


Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0, le=INT32_MAX)]
Name = Annotated[str, Field(pattern="^[A-Za-z_][A-Za-z0-9_]*$", max_length=64)]
Texts = str | list[str]
Box = Annotated[list[FiniteFloat], Len(4, 4)]
Point = Annotated[list[FiniteFloat], Len(2, 2)]
Label = Literal[0, 1]
Boxes = Box | Annotated[list[Box], Len(1)]
PointSets = Annotated[list[Annotated[list[Point], Len(1)]], Len(1)]
Points = Point | Annotated[list[Point], Len(1)] | PointSets
PointLabels = list[Label] | list[list[Label]]

Rows = Annotated[list[list[FiniteFloat]], Len(1)]
File = Annotated[
    bytes,
    BeforeValidator(from_base64),
    WithJsonSchema({"type": "string", "contentEncoding": "base64"}),
]

# How to read a form's field: unchanged; as texts; as JSON or numbers with commas; as a file.
TEXT, TEXTS, VALUE, FILE = "text", "texts", "value", "file"


@dataclass(frozen=True)
class Parameter:
    """type: of its value. form: how to read a form's field. text: its description."""

    type: Any
    form: str
    text: str


PARAMETERS: Mapping[str, Parameter] = {
    "labels": Parameter(
        Texts, TEXTS, "Each label is taken literally; one string is split at its '.'."
    ),
    "phrases": Parameter(
        Texts, TEXTS, "What to look for: labels, or one string that is split at its '.'."
    ),
    "description": Parameter(str, TEXT, "A sentence instead of labels: its words are tried."),
    "text": Parameter(str, TEXT, "A text, taken literally."),
    "audio": Parameter(File, FILE, "A WAV file of 16,000 samples a second."),
    "depth": Parameter(File | Rows, FILE, "A grey PNG of 8 or 16 bits, or rows of numbers."),
    "thermal": Parameter(File | Rows, FILE, "A grey PNG of 8 or 16 bits, or rows of numbers."),
    "imu": Parameter(Rows, VALUE, "An IMU recording, one row for each axis."),
    "box_threshold": Parameter(Share, VALUE, "The least score of a box."),
    "text_threshold": Parameter(
        Share, VALUE, "The least score of a description's word that names a box."
    ),
    "boxes": Parameter(Boxes, VALUE, "Boxes [left, top, right, bottom] in pixels, one or several."),
    "points": Parameter(
        Points,
        VALUE,
        "Points [x, y] in pixels: one, several that mean a thing each, or lists of points that "
        "mean one thing each.",
    ),
    "point_labels": Parameter(
        PointLabels, VALUE, "1 for a point on the thing, 0 for one beside it; like the points."
    ),
    "points_per_side": Parameter(Count, VALUE, "Points of the grid along each edge."),
    "iou_threshold": Parameter(Share, VALUE, "The least estimated IoU of a mask."),
    "stability_threshold": Parameter(Share, VALUE, "The least stability of a mask."),
    "min_area": Parameter(Count, VALUE, "The least pixels of a mask."),
    "min_piece": Parameter(Share, VALUE, "The least share of its mask of a connected piece."),
    "max_objects": Parameter(Count, VALUE, "The most objects."),
    "full_size": Parameter(
        bool, VALUE, "Judge masks at the picture's size, as transformers does; takes time."
    ),
    "threshold": Parameter(Share, VALUE, "The least score of a segment."),
    "template": Parameter(str, TEXT, "A text with {} for each label."),
    "top_k": Parameter(Annotated[int, Field(ge=1, le=INT32_MAX)], VALUE, "The most labels."),
    "verb": Parameter(Name, TEXT, "The deployment's name for the verb, if it has several."),
    "detect_verb": Parameter(Name, TEXT, "The verb that finds a description's words."),
}
# A request also has the picture and its deadline (a header); a label map is no JSON.
NOT_PARAMETERS = ("self", "image", "timeout_s", "label_map")


class Parameters(BaseModel):
    """The parameters of one verb; those not given are None."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    def given(self) -> dict[str, Any]:
        """The sent parameters, by name."""
        return self.model_dump(exclude_none=True)


def names_of(method: Callable[..., Any]) -> list[str]:
    """The parameters of a client's method, except for the picture and the deadline."""
    found = inspect.signature(method).parameters
    return [name for name in found if name not in NOT_PARAMETERS]


def model(
    title: str,
    names: Iterable[str],
    table: Mapping[str, Parameter] = PARAMETERS,
    required: Sequence[str] = (),
) -> type[Parameters]:
    """A model with these parameters; only the `required` ones must be given."""
    fields: dict[str, Any] = {}
    for name in names:
        parameter = table[name]
        if name in required:
            fields[name] = (parameter.type, Field(description=parameter.text))
        else:
            fields[name] = (parameter.type | None, Field(None, description=parameter.text))
    made: type[Parameters] = create_model(title, __base__=Parameters, **fields)
    return made


def from_json(made: type[Parameters], values: Mapping[str, Any]) -> Parameters:
    """Checked parameters from a JSON object; raises InvalidParameters."""
    return _checked(made, values, strict=True)


def from_form(
    made: type[Parameters],
    values: Mapping[str, Sequence[Any]],
    table: Mapping[str, Parameter] = PARAMETERS,
) -> Parameters:
    """Checked parameters from a form's fields; raises InvalidParameters."""
    read = {
        name: _from_texts(name, texts, table[name].form if name in table else TEXT)
        for name, texts in values.items()
    }
    return _checked(made, read, strict=False)


def _from_texts(name: str, texts: Sequence[Any], form: str) -> Any:
    """texts: a field's values; a file's value is its bytes."""
    if len(texts) > 1 and form in (TEXT, FILE):
        raise wrong(name, "expected once, got several")
    if form in (TEXT, FILE):
        return texts[0]
    if form == TEXTS:
        single = len(texts) == 1
        listed = single and texts[0].lstrip().startswith("[")
        return _parse(name, texts[0]) if listed else texts[0] if single else list(texts)
    parsed = [_parse(name, text) for text in texts]
    return parsed[0] if len(parsed) == 1 else parsed


def _parse(name: str, text: str) -> Any:
    """JSON, or numbers with commas between them; refuses constants that are not JSON."""
    bare = "," in text and not text.lstrip().startswith(("[", "{", '"'))
    try:
        return json.loads(f"[{text}]" if bare else text, parse_constant=no_constant)
    except (ValueError, RecursionError) as error:
        raise wrong(name, f"expected JSON or numbers such as 1,2, got {text!r:.80}") from error


def no_constant(name: str) -> Any:
    """Refuse NaN and the infinities, which Python would accept."""
    raise ValueError(f"{name} is no JSON")


def wrong(name: str, message: str) -> InvalidParameters:
    """The error for one wrong parameter."""
    return InvalidParameters(f"{name}: {message}", more={"errors": [_error([name], message)]})


def _checked(made: type[Parameters], values: Mapping[str, Any], *, strict: bool) -> Parameters:
    try:
        return made.model_validate(dict(values), strict=strict)
    except ValidationError as error:
        raise invalid(error.errors(include_url=False, include_context=False)) from error


def invalid(errors: Iterable[Any]) -> InvalidParameters:
    """The errors of pydantic or FastAPI, each with its place and the given value."""
    found = [_error([str(part) for part in one["loc"]], one["msg"]) for one in errors]
    first = found[0]
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return InvalidParameters(
        f"{first['parameter']}: {first['detail']}{more}", more={"errors": found}
    )


def _error(place: Sequence[str], message: str) -> dict[str, Any]:
    return {"parameter": place[0] if place else "body", "at": list(place), "detail": message}
