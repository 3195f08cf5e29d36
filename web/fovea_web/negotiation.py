"""Decides whether a caller gets a picture or JSON."""

from __future__ import annotations

from fovea_web.pictures import PNG
from fovea_web.problems import NotAcceptable
from fovea_web.verbs import Verb

JSON_TYPES = ("application/json", "application/*", "*/*")
PNG_TYPES = (PNG, "image/*")


def wanted_image(verb: Verb, mask: str | None, accept: str | None) -> str | None:
    """The form of the picture, or None for JSON; raises NotAcceptable for an unavailable one."""
    if mask is not None:
        if mask not in verb.images:
            there = ", ".join(verb.images) or "none"
            raise NotAcceptable(f"{verb.path}: expected mask to be one of {there}, got {mask!r}")
        return mask
    if accept is None:
        return None
    json, png = (_quality(accept, types) for types in (JSON_TYPES, PNG_TYPES))
    if png > json and verb.images:
        return verb.images[0]
    if json == 0:
        answers = "application/json or image/png" if verb.images else "application/json"
        raise NotAcceptable(f"{verb.path} answers {answers}, got Accept: {accept[:80]}")
    return None


def _quality(accept: str, types: tuple[str, ...]) -> float:
    """The greatest q of any of the media types (RFC 9110 section 12.5.1); 0 is none."""
    found = [0.0]
    for part in accept.split(","):
        media, *rest = (piece.strip().lower() for piece in part.split(";"))
        weights = [piece[2:] for piece in rest if piece.startswith("q=")]
        if media in types:
            found.append(_number(weights[0]) if weights else 1.0)
    return max(found)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
