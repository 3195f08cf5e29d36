"""What /openapi.json says of the routes, whose bodies FastAPI does not read itself."""

from __future__ import annotations

from typing import Any

from fovea_web.bodies import FORM, IMAGE, IMAGE_URL, JSON
from fovea_web.parameters import Parameters
from fovea_web.pictures import PNG
from fovea_web.problems import MEDIA_TYPE
from fovea_web.verbs import VERBS, Verb

PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {"type": "array", "items": {"type": "object"}},
    },
}
STATUSES = {
    400: "The body or the picture cannot be read",
    404: "The server has no such verb",
    406: "The verb has no answer of that form",
    408: "The body came too slowly",
    413: "The body or the picture is too large",
    415: "Not a body or a picture of a known kind",
    422: "The request is wrong",
    429: "Too many requests",
    502: "The server failed",
    503: "The server is not there",
    504: "No answer in time",
}


def of_verb(verb: Verb) -> dict[str, Any]:
    """Options of `FastAPI.add_api_route`."""
    pictures = {PNG: {"schema": {"type": "string", "format": "binary"}}} if verb.images else {}
    return _options(_schema(verb.model, verb.takes_image, verb.takes_image), pictures)


def of_embed() -> dict[str, Any]:
    """Likewise of either embedder."""
    schema = _schema(VERBS["embed_text"].model, True, False)
    schema["required"] = []
    return _options(schema, {})


def of_search(model: type[Parameters]) -> dict[str, Any]:
    """Likewise of the search."""
    return _options(_schema(model, True, False), {})


def _options(schema: dict[str, Any], pictures: dict[str, Any]) -> dict[str, Any]:
    body = {"required": True, "content": {kind: {"schema": schema} for kind in (FORM, JSON)}}
    problem = {MEDIA_TYPE: {"schema": PROBLEM}}
    return {
        "responses": {
            200: {"description": "The answer", "content": {JSON: {"schema": {}}, **pictures}},
            **{code: {"description": text, "content": problem} for code, text in STATUSES.items()},
        },
        "openapi_extra": {"requestBody": body},
    }


def _schema(model: type[Parameters], takes_image: bool, needs_image: bool) -> dict[str, Any]:
    schema = model.model_json_schema()
    if takes_image:
        schema["properties"] |= {
            IMAGE: {
                "type": "string",
                "description": "JPEG, PNG or WebP: a file in a form, base64 in JSON.",
            },
            IMAGE_URL: {"type": "string", "description": "Where the picture is instead."},
        }
    return schema
