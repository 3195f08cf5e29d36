"""Reads bodies of requests within their limits: a picture and the parameters beside it.

Nothing is written to disk: a form's file stays in memory, limited in size.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fovea_client import ImageTooLarge
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive

from fovea import images
from fovea.limits import Limits
from fovea_web import parameters
from fovea_web.parameters import Parameter, Parameters
from fovea_web.problems import (
    BodyTooLarge,
    MalformedBody,
    NotAPicture,
    SlowBody,
    UnsupportedBody,
)
from fovea_web.settings import PARAMETER_BYTES, Settings

JSON, FORM = "application/json", "multipart/form-data"
IMAGE, IMAGE_URL = "image", "image_url"
MOST_FIELDS = 4096
# Fields of a form that may be files.
FILES = (
    IMAGE,
    *(name for name, found in parameters.PARAMETERS.items() if found.form == parameters.FILE),
)


@dataclass(frozen=True)
class Body:
    """The content of a request: a form's fields as lists of texts, or a JSON object's unchanged.

    image: encoded bytes. image_url: their address instead.
    """

    fields: Mapping[str, Any]
    form: bool
    image: bytes | None = None
    image_url: str | None = None

    def check(
        self,
        model: type[Parameters],
        table: Mapping[str, Parameter] = parameters.PARAMETERS,
    ) -> dict[str, Any]:
        """The given parameters; raises InvalidParameters."""
        if self.form:
            return parameters.from_form(model, self.fields, table).given()
        return parameters.from_json(model, self.fields).given()


class _InMemory(MultiPartParser):
    """Starlette's parser, whose files would otherwise go to disk from a megabyte on."""

    spool_max_size = 2**62


async def part(receive: Receive, wait_s: float) -> tuple[bytes, bool]:
    """The next bytes of a body, and whether more come.

    Raises asyncio.TimeoutError if none come in time, ClientDisconnect if the caller has left.
    """
    message = await asyncio.wait_for(receive(), wait_s)
    if message["type"] == "http.disconnect":
        raise ClientDisconnect()
    return message.get("body", b""), message.get("more_body", False)


async def chunks(request: Request, settings: Settings) -> AsyncGenerator[bytes, None]:
    """The body as it comes; raises BodyTooLarge and SlowBody as soon as possible."""
    _check_length(request.headers.get("content-length"), settings.body_bytes)
    end, size = time.monotonic() + settings.body_s, 0
    while True:
        left_s = min(settings.body_idle_s, end - time.monotonic())
        try:
            data, more = await part(request.receive, max(left_s, 0.001))
        except asyncio.TimeoutError as error:
            raise SlowBody(
                f"expected the body within {settings.body_s:g} s and without pauses of "
                f"{settings.body_idle_s:g} s, {size} bytes had come",
                headers={"Connection": "close"},
            ) from error
        size += len(data)
        if size > settings.body_bytes:
            raise _too_large(settings.body_bytes, f"more than {settings.body_bytes}")
        yield data
        if not more:
            return


async def read(request: Request, settings: Settings) -> Body:
    """The body of a request for one picture."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == FORM:
        return await _read_form(request, settings)
    if kind == JSON:
        data = b"".join([chunk async for chunk in chunks(request, settings)])
        return from_object(to_object(data))
    raise UnsupportedBody(
        f"expected a body of {FORM} or {JSON}, got {kind[:80] or 'none'}",
        headers={"Accept-Post": f"{FORM}, {JSON}"},
    )


def to_object(data: bytes) -> dict[str, Any]:
    """The JSON object in these bytes; raises MalformedBody."""
    try:
        values = json.loads(data, parse_constant=parameters.no_constant)
    except (ValueError, RecursionError) as error:
        raise MalformedBody(f"expected a JSON object: {error}") from error
    if not isinstance(values, dict):
        raise MalformedBody(f"expected a JSON object, got {type(values).__name__}")
    return values


def from_object(values: Mapping[str, Any]) -> Body:
    """The body of a JSON object; `image` is base64, with or without a data: URI in front."""
    fields = dict(values)
    image, url = fields.pop(IMAGE, None), fields.pop(IMAGE_URL, None)
    _check_url(image, url)
    return Body(fields, False, None if image is None else _from_base64(image), url)


def check_picture(image: bytes) -> bytes:
    """The picture, if it begins like one and is not too large for any server."""
    if len(image) > Limits().image_bytes:
        raise ImageTooLarge(f"expected at most {Limits().image_bytes} bytes, got {len(image)}")
    if not any(start.match(image) for _, start in images.FORMATS.values()):
        expected = ", ".join(images.FORMATS)
        raise NotAPicture(
            f"expected a picture ({expected}), got {len(image)} bytes that begin with "
            f"{image[:12]!r}"
        )
    return image


async def _read_form(request: Request, settings: Settings) -> Body:
    parser = _InMemory(
        request.headers,
        chunks(request, settings),
        max_files=1,
        max_fields=MOST_FIELDS,
        max_part_size=PARAMETER_BYTES,
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise MalformedBody(f"expected {FORM}: {error.message}") from error
    image: bytes | None = None
    fields: dict[str, list[Any]] = {}
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            if name not in FILES:
                raise parameters.wrong(name, f"expected the file as one of {', '.join(FILES)}")
            data = await value.read()
            await value.close()
            if name == IMAGE:
                image = data
            else:
                fields.setdefault(name, []).append(data)
        elif name == IMAGE:
            image = _from_base64(value)
        else:
            fields.setdefault(name, []).append(value)
    urls: Sequence[str] = fields.pop(IMAGE_URL, [])
    url = urls[0] if urls else None
    _check_url(image, url)
    return Body(fields, True, image, url)


def _from_base64(text: Any) -> bytes:
    try:
        return parameters.from_base64(text)
    except ValueError as error:
        raise parameters.wrong(IMAGE, str(error)) from error


def _check_url(image: Any, url: Any) -> None:
    if url is not None and not isinstance(url, str):
        raise parameters.wrong(IMAGE_URL, f"expected an address, got {type(url).__name__}")
    if url is not None and image is not None:
        raise parameters.wrong(IMAGE_URL, f"expected it or {IMAGE!r}, got both")


def _check_length(length: str | None, limit: int) -> None:
    if length is not None and length.isascii() and length.isdigit() and int(length) > limit:
        raise _too_large(limit, length)


def _too_large(limit: int, came: str) -> BodyTooLarge:
    # A refused caller may still be sending; the rest of the body is not waited for.
    close = {"Connection": "close"}
    return BodyTooLarge(f"expected a body of at most {limit} bytes, got {came}", headers=close)
