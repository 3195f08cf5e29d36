"""The descriptions of the routes in /openapi.json, since FastAPI does not read their bodies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fovea_web import answers
from fovea_web.bodies import FILES, FORM, IMAGE, IMAGE_URL, JSON
from fovea_web.examples import PICTURE
from fovea_web.parameters import Parameters
from fovea_web.pictures import PNG
from fovea_web.problems import MEDIA_TYPE
from fovea_web.stream import NDJSON
from fovea_web.verbs import VERBS, Verb

PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["parameter", "at", "detail"],
                "properties": {
                    "parameter": {"type": "string"},
                    "at": {"type": "array", "items": {"type": "string"}},
                    "detail": {"type": "string"},
                },
            },
        },
    },
}
STATUSES = {
    400: "The body or the picture cannot be read",
    401: "An API key is needed",
    404: "There is no such verb or picture here",
    406: "The verb has no answer of that form",
    408: "The body came too slowly",
    413: "The body or the picture is too large",
    415: "Not a body or a picture of a known kind",
    421: "Addressed to another host",
    422: "The request is wrong",
    429: "Too many requests",
    502: "The server failed",
    503: "The server is not there",
    504: "No answer in time",
}
PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"description": text, "content": {MEDIA_TYPE: {"schema": PROBLEM}}}
    for status, text in STATUSES.items()
}
# The form of OpenAPI 3.1; "format: binary" was 3.0's.
BYTES = {"type": "string", "contentMediaType": "application/octet-stream"}
JPEG = {
    "description": "The picture",
    "content": {"image/jpeg": {"schema": BYTES}},
}


def of_verb(verb: Verb) -> dict[str, Any]:
    """Options of `FastAPI.add_api_route`."""
    schema = _schema(verb.model, takes_image=verb.takes_image, needs_image=verb.takes_image)
    example = {**_picture(verb), **verb.example}
    pictures = {PNG: {"schema": BYTES}} if verb.images else {}
    return _options(schema, example, answers.of(verb.kind), pictures)


def of_embed() -> dict[str, Any]:
    """The same for either embedder."""
    text = VERBS["embed_text"]
    schema = _schema(text.model, takes_image=True, needs_image=False)
    schema.pop("required")
    return _options(schema, dict(text.example), answers.of(text.kind), {})


def of_search(model: type[Parameters]) -> dict[str, Any]:
    """The same for the search."""
    schema = _schema(model, takes_image=True, needs_image=False)
    return _options(schema, {"text": "a red car", "k": 3}, answers.FINDS, {})


def of_batch(verb: Verb) -> dict[str, Any]:
    """The same for many pictures of a verb."""
    line = of_verb(verb)["openapi_extra"]["requestBody"]["content"][JSON]
    text = {"schema": {"type": "string", "description": "Lines of JSON, each a single request's."}}
    out = {"schema": {"type": "string", "description": "Lines with index, id, result or problem."}}
    return {
        "responses": {200: {"description": "The answers", "content": {NDJSON: out}}, **PROBLEMS},
        "openapi_extra": {
            "requestBody": {"required": True, "content": {NDJSON: text}},
            "x-line": line["schema"],
        },
    }


def only(described: Mapping[str, Any], kinds: Mapping[str, Any], *, search: bool) -> dict[str, Any]:
    """A description without the verbs that a deployment lacks, or without the search."""
    gone = {verb.path for kind, verb in VERBS.items() if kind not in kinds}
    kept = {
        path: route
        for path, route in described["paths"].items()
        if path.rpartition("/")[2] not in gone and (search or not path.startswith("/v1/search"))
    }
    return {**described, "paths": kept}


def _picture(verb: Verb) -> dict[str, str]:
    return {IMAGE: PICTURE} if verb.takes_image else {}


def _options(
    schema: dict[str, Any],
    example: Mapping[str, Any],
    answer: dict[str, Any],
    pictures: dict[str, Any],
) -> dict[str, Any]:
    content = {JSON: {"schema": schema, "example": example}, FORM: {"schema": _form(schema)}}
    return {
        "responses": {
            200: {"description": "The answer", "content": {JSON: {"schema": answer}, **pictures}},
            **PROBLEMS,
        },
        "openapi_extra": {"requestBody": {"required": True, "content": content}},
    }


def _schema(model: type[Parameters], *, takes_image: bool, needs_image: bool) -> dict[str, Any]:
    """Schema of a JSON body: one of `image` and `image_url` if a picture is needed."""
    schema = model.model_json_schema()
    if takes_image:
        schema["properties"] = {
            IMAGE: {
                "type": "string",
                "contentEncoding": "base64",
                "description": "JPEG, PNG or WebP: a file in a form, base64 in JSON.",
            },
            IMAGE_URL: {"type": "string", "description": "The picture's address instead."},
            **schema["properties"],
        }
    if needs_image:
        schema["oneOf"] = [{"required": [IMAGE]}, {"required": [IMAGE_URL]}]
    return schema


def _form(schema: dict[str, Any]) -> dict[str, Any]:
    """The same as a form, whose file is bytes."""
    properties = {
        name: BYTES if name in FILES else told for name, told in schema["properties"].items()
    }
    return {**schema, "properties": properties}
