"""The routes of the verbs, all made from the table in `fovea_web.verbs`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Header, Query, Request
from fovea_client import AsyncClient
from fovea_client.console import to_record
from starlette.responses import Response

from fovea_web import bodies, openapi, parameters, trace
from fovea_web.bodies import Body
from fovea_web.deployment import Deployment, unknown
from fovea_web.fetch import Fetcher
from fovea_web.gate import ADMIT
from fovea_web.json_text import dump
from fovea_web.negotiation import wanted_image
from fovea_web.pictures import PNG, render
from fovea_web.settings import Settings
from fovea_web.stream import Batch
from fovea_web.verbs import EMBED, VERBS, Verb

TIMEOUT = "X-Timeout-S"
Mask = Annotated[
    Literal["png", "drawing"] | None,
    Query(description="The cut-out, or the drawing, as a PNG instead of JSON."),
]
Timeout = Annotated[
    float | None,
    Header(alias=TIMEOUT, gt=0, description="Seconds that the caller waits for an answer."),
]


class Answers:
    """Answers requests with the server's results."""

    def __init__(
        self, settings: Settings, client: AsyncClient, deployment: Deployment, fetcher: Fetcher
    ) -> None:
        self.settings, self.client = settings, client
        self.deployment, self._fetcher = deployment, fetcher

    def timeout_s(self, asked: float | None) -> float:
        """Seconds for a call; raises InvalidParameters for more than the gateway allows."""
        most = self.settings.max_timeout_s
        if asked is None:
            return min(self.settings.timeout_s, most)
        if not 0 < asked <= most:
            raise parameters.wrong(TIMEOUT, f"expected at most {most:g} seconds, got {asked:g}")
        return asked

    async def answer(
        self, verb: Verb, request: Request, mask: str | None, asked_s: float | None
    ) -> Response:
        """Handle a request, from its body to a response."""
        form = wanted_image(verb, mask, request.headers.get("accept"))
        timeout_s = self.timeout_s(asked_s)
        clock = _Clock()
        body = await bodies.read(request, self.settings)
        clock.lap("read")
        image = await self.image(verb, body)
        result = await self.ask(verb, body, image, timeout_s)
        clock.lap("call")
        if form is None:
            content, media_type = dump(to_record(result)), bodies.JSON
        else:
            assert image is not None  # a verb without one never answers with a picture
            content, media_type = await asyncio.to_thread(render, form, image, result), PNG
        return Response(content, media_type=media_type, headers=clock.headers("encode"))

    async def image(self, verb: Verb, body: Body) -> bytes | None:
        """The picture for a verb; raises an error if one is missing or not allowed."""
        if not verb.takes_image and (body.image, body.image_url) != (None, None):
            raise parameters.wrong(bodies.IMAGE, "expected none for this verb")
        image = await self.optional_image(body)
        if verb.takes_image and image is None:
            raise parameters.wrong(bodies.IMAGE, "expected a picture, got none")
        return image

    async def optional_image(self, body: Body) -> bytes | None:
        """The picture of a request, if it has one."""
        image = body.image
        if body.image_url is not None:
            image = await self._fetcher.fetch(body.image_url)
        return None if image is None else bodies.check_picture(image)

    async def ask(self, verb: Verb, body: Body, image: bytes | None, timeout_s: float) -> Any:
        """The client's result."""
        given = body.check(verb.model)
        name = await self.deployment.name_of(verb.kind, given.get("verb"))
        if name is not None:
            given["verb"] = name
        method = getattr(self.client, verb.kind)
        pictures = () if image is None else (image,)
        return await method(*pictures, **given, timeout_s=timeout_s)


class _Clock:
    """Times the steps of a request, for the header Server-Timing."""

    def __init__(self) -> None:
        self._last = time.perf_counter()
        self._steps: list[str] = []

    def lap(self, name: str) -> None:
        """End a step."""
        now = time.perf_counter()
        self._steps.append(f"{name};dur={1000 * (now - self._last):.1f}")
        self._last = now

    def headers(self, last: str) -> dict[str, str]:
        """The headers, including the step that ends now."""
        self.lap(last)
        return {"Server-Timing": ", ".join(self._steps)}


def to_json(record: Mapping[str, Any]) -> Response:
    """A record as JSON."""
    return Response(dump(record), media_type=bodies.JSON)


def add_routes(app: FastAPI, answers: Answers) -> None:
    """Add a route for each verb, one for embed, and one that lists the verbs."""
    for verb in VERBS.values():
        _add_verb(app, answers, verb)
    _add_embed(app, answers)
    _add_unknown(app, answers)


def _add_verb(app: FastAPI, answers: Answers, verb: Verb) -> None:
    async def ask(request: Request, mask: Mask = None, timeout_s: Timeout = None) -> Response:
        trace.follow(request.headers)
        return await answers.answer(verb, request, mask, timeout_s)

    async def ask_for_json(request: Request, timeout_s: Timeout = None) -> Response:
        trace.follow(request.headers)
        return await answers.answer(verb, request, None, timeout_s)

    async def ask_for_many(request: Request, timeout_s: Timeout = None) -> Response:
        trace.follow(request.headers)
        seconds = answers.timeout_s(timeout_s)

        async def work(body: Body) -> Any:
            image = await answers.image(verb, body)
            return to_record(await answers.ask(verb, body, image, seconds))

        return Batch(answers.settings, work, request.scope[ADMIT])

    app.add_api_route(
        f"/v1/batch/{verb.path}",
        ask_for_many,
        methods=["POST"],
        summary=f"{verb.path} for many pictures: a line of JSON for each.",
        operation_id=f"batch_{verb.kind}",
        **openapi.of_batch(verb),
    )
    app.add_api_route(
        f"/v1/{verb.path}",
        ask if verb.images else ask_for_json,
        methods=["POST"],
        summary=verb.summary,
        operation_id=verb.kind,
        **openapi.of_verb(verb),
    )


def _add_embed(app: FastAPI, answers: Answers) -> None:
    async def ask(request: Request, timeout_s: Timeout = None) -> Response:
        trace.follow(request.headers)
        seconds = answers.timeout_s(timeout_s)
        body = await bodies.read(request, answers.settings)
        pictured = body.image is not None or body.image_url is not None
        verb = VERBS["embed_image" if pictured else "embed_text"]
        image = await answers.image(verb, body)
        return to_json(to_record(await answers.ask(verb, body, image, seconds)))

    app.add_api_route(
        f"/v1/{EMBED}",
        ask,
        methods=["POST"],
        summary="The embedder's vector of a picture or of a text.",
        operation_id=EMBED,
        **openapi.of_embed(),
    )


def _add_unknown(app: FastAPI, answers: Answers) -> None:
    async def refuse(path: str) -> Response:
        raise unknown(path, await answers.deployment.names())

    for path in ("/v1/{path}", "/v1/batch/{path}"):
        app.add_api_route(path, refuse, methods=["POST"], include_in_schema=False)
