"""Object search over HTTP: `fovea_search.Index` in its own threads."""

from __future__ import annotations

import asyncio
import contextvars
import hashlib
import io
import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, TypeVar

from annotated_types import Len
from fastapi import FastAPI, Query, Request
from fovea_client import Client, DeadlineExceeded, FoveaError
from fovea_client.connection import DEFAULT_RETRY
from fovea_client.images import load
from pydantic import Field, FiniteFloat
from starlette.responses import Response

from fovea_web import bodies, openapi, parameters, trace
from fovea_web.deployment import Deployment
from fovea_web.parameters import TEXT, TEXTS, VALUE, Parameter
from fovea_web.problems import NotFound
from fovea_web.routes import Answers, Timeout, to_json
from fovea_web.settings import Settings

T = TypeVar("T")

# Searches and pictures at once; each takes a core for some milliseconds.
THREADS = 4
MOST_FINDS = 200
EDGE, MOST_EDGE = 512, 2048
JPEG_QUALITY = 88
SECONDS_KEPT = 3600
_PICTURE = re.compile(r"[0-9a-f]{64}")

Words = Annotated[str, Field(max_length=2000)]
Id = Annotated[str, Field(pattern=r"^[0-9a-f]{6,64}(:\d{1,6})?$")]
Ids = Annotated[list[Id], Len(0, 200)]
Weight = Annotated[FiniteFloat, Field(ge=0, le=100)]

# Fields of `fovea_search.Query`; names that differ here are mapped below.
SEARCH: Mapping[str, Parameter] = {
    "text": Parameter(Words, TEXT, "What to look for."),
    "box": Parameter(parameters.Box, VALUE, "The thing in the picture, as [left, top, right, …]."),
    "point": Parameter(parameters.Point, VALUE, "A point [x, y] on the thing in the picture."),
    "like": Parameter(Id, TEXT, "The id of a result: more like this."),
    "alpha": Parameter(parameters.Share, VALUE, "The weight of the picture beside the text."),
    "not": Parameter(Words, TEXT, "What it should not be."),
    "beta": Parameter(Weight, VALUE, "The weight of what it should not be."),
    "scene": Parameter(Words, TEXT, "What the whole picture shows."),
    "scene_weight": Parameter(Weight, VALUE, "The weight of the scene."),
    "where": Parameter(Words, TEXT, "A condition of SQL over the index's columns."),
    "pictures": Parameter(bool, VALUE, "Whole pictures, not objects."),
    "group": Parameter(bool, VALUE, "The best object of each picture."),
    "k": Parameter(Annotated[int, Field(ge=1, le=MOST_FINDS)], VALUE, "The most results."),
    "min_score": Parameter(FiniteFloat, VALUE, "The least score."),
    "same": Parameter(
        Annotated[float, Field(ge=-1, le=1)],
        VALUE,
        "The cosine above which near-duplicates merge; 1 shows all.",
    ),
    "templates": Parameter(
        Words | Annotated[list[Words], Len(1, 16)], TEXTS, "Texts with {}, averaged."
    ),
    "good": Parameter(Ids, TEXTS, "Ids of good results."),
    "bad": Parameter(Ids, TEXTS, "Ids of bad results."),
}
_RENAMED = {"not": "negative", "group": "grouped"}
MODEL = parameters.model("Search", SEARCH, SEARCH)


class Search:
    """An open index."""

    def __init__(self, settings: Settings) -> None:
        """Raises InvalidStore if there is none, and ModuleNotFoundError without the package."""
        from fovea_search import Index

        client = Client(
            settings.url,
            timeout_s=settings.timeout_s,
            retry=DEFAULT_RETRY,
            headers=trace.current,
        )
        self._client = client
        self._index = Index.open(str(settings.store), client=client)
        self._pool = ThreadPoolExecutor(THREADS, "search")

    def close(self) -> None:
        """End the threads once their work is done."""
        self._pool.shutdown(wait=False)
        self._client.close()

    async def find(self, image: bytes | None, given: dict[str, Any], timeout_s: float) -> Any:
        """The finds; raises the index's errors."""
        query = _to_query(image, given)
        return await self._run(lambda: _to_record(self._index.find(query)), timeout_s)

    async def picture(self, id: str, edge: int, timeout_s: float) -> bytes:
        """A JPEG of a picture of the index, at most `edge` pixels long; raises NotFound."""
        return await self._run(lambda: self._picture(id, edge), timeout_s)

    async def record(self, deployment: Deployment) -> dict[str, int] | None:
        """The size of the index; None if the server's embedder is not the index's."""
        made_by = self._index.store.made_by
        verbs = await deployment.verbs()
        embedders = {
            one.fingerprints.get("embeds", "") for one in verbs if one.verb == "embed_text"
        }
        if made_by.embedder not in embedders:
            return None
        return await self._run(self._count, 10.0)

    def _count(self) -> dict[str, int]:
        store = self._index.store
        kinds = {"objects": "object", "pictures": "picture"}
        return {name: store.count(f"kind = '{kind}'") for name, kind in kinds.items()}

    def _picture(self, id: str, edge: int) -> bytes:
        data = _read(self._index.store, id)
        image = load(data)
        image.thumbnail((edge, edge))
        file = io.BytesIO()
        image.save(file, "JPEG", quality=JPEG_QUALITY)
        return file.getvalue()

    async def _run(self, work: Callable[[], T], timeout_s: float) -> T:
        """A thread's result; if it is too late, the work goes on and its result is dropped."""
        context = contextvars.copy_context()
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._pool, lambda: context.run(work))
        try:
            return await asyncio.wait_for(future, timeout_s)
        except asyncio.TimeoutError as error:
            raise DeadlineExceeded(f"no answer of the index within {timeout_s:g} s") from error


def _to_record(finds: Any) -> dict[str, Any]:
    """The record of `fovea search --json`, with the name of each find's picture."""
    record: dict[str, Any] = finds.to_dict()
    for told, find in zip(record["finds"], finds, strict=True):
        told["picture"] = find.picture
    return record


def _to_query(image: bytes | None, given: dict[str, Any]) -> Any:
    from fovea_search import Query
    from fovea_search.records import OBJECT, PICTURE

    options = {_RENAMED.get(name, name): value for name, value in given.items()}
    options["kind"] = PICTURE if options.pop("pictures", False) else OBJECT
    if "same" in options:
        same = options.pop("same")
        options["fold"] = same if same < 1 else None
    for name in ("templates", "good", "bad"):
        if isinstance(options.get(name), str):
            options[name] = [options[name]]
    return Query(image=image, **options)


def _read(store: Any, id: str) -> bytes:
    """The bytes of a picture, from where it was indexed; raises NotFound if they are gone."""
    from fovea_search import sources

    rows = [row for batch in store.pictures([id], ["path"]) for row in batch.to_pylist()]
    if not rows:
        raise NotFound(f"there is no picture {id} in the index")
    try:
        data = sources.read(rows[0]["path"])
    except (OSError, FoveaError, ImportError) as error:
        raise NotFound(f"the picture {id} is not where it was indexed") from error
    if hashlib.sha256(data).hexdigest() != id:
        raise NotFound(f"the picture {id} has changed since it was indexed")
    return data


def add_search(app: FastAPI, answers: Answers, search: Search | None) -> None:
    """Add the routes of the search; without an index they answer that there is none."""

    def opened() -> Search:
        if search is None:
            raise NotFound("this gateway has no index: fovea web --store FOLDER")
        return search

    async def find(request: Request, timeout_s: Timeout = None) -> Response:
        trace.follow(request.headers)
        seconds, index = answers.timeout_s(timeout_s), opened()
        body = await bodies.read(request, answers.settings)
        image = await answers.optional_image(body)
        return to_json(await index.find(image, body.check(MODEL, SEARCH), seconds))

    app.add_api_route(
        "/v1/search",
        find,
        methods=["POST"],
        summary="Objects, or pictures, of the index, by words, by examples, or by both.",
        operation_id="search",
        **openapi.of_search(MODEL),
    )

    @app.get(
        "/v1/search/pictures/{picture}",
        summary="A picture of the index, as a JPEG.",
        responses={**openapi.PROBLEMS, 200: openapi.JPEG},
    )
    async def show(
        picture: str, edge: Annotated[int, Query(ge=16, le=MOST_EDGE)] = EDGE
    ) -> Response:
        if not _PICTURE.fullmatch(picture):
            raise NotFound("expected the SHA-256 of a picture, in hex")
        data = await opened().picture(picture, edge, answers.settings.timeout_s)
        headers = {"Cache-Control": f"private, max-age={SECONDS_KEPT}, immutable"}
        return Response(data, media_type="image/jpeg", headers=headers)
