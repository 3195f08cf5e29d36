"""The gateway as an ASGI application."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fovea_client import AsyncClient, FoveaError, RetryPolicy
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles

from fovea import __version__
from fovea.limits import Limits
from fovea_web import openapi, parameters, problems, samples, trace
from fovea_web.deployment import Deployment
from fovea_web.fetch import Fetcher
from fovea_web.gate import Admitted, Observed
from fovea_web.keys import Keys
from fovea_web.metrics import Metrics
from fovea_web.openapi import PROBLEMS
from fovea_web.problems import MethodNotAllowed, NotFound, Refused
from fovea_web.rates import Rates
from fovea_web.routes import Answers, add_routes, to_json
from fovea_web.search import Search, add_search
from fovea_web.settings import Settings

PAGE, REFERENCE = (Path(__file__).parent / name for name in ("page", "reference"))
# Restarts take seconds, and Retry-After tells the caller about them, so few tries are enough.
RETRY = RetryPolicy(attempts=4)


def make_app(settings: Settings) -> FastAPI:
    """The gateway; raises InvalidInput for invalid settings, InvalidStore without a store."""
    client = AsyncClient(
        settings.url,
        timeout_s=settings.timeout_s,
        retry=RETRY,
        headers=trace.current,
    )
    keys, rates = None if settings.keys is None else Keys(settings.keys), Rates(settings.rate)
    metrics = Metrics()
    search = None if settings.store is None else Search(settings)
    deployment = Deployment(client)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None, None]:
        yield
        await client.close()
        if search is not None:
            search.close()

    app = FastAPI(title="fovea", version=__version__, lifespan=lifespan, openapi_url=None)
    answers = Answers(
        settings, client, deployment, Fetcher(settings.url_hosts, Limits().image_bytes)
    )
    _add_problems(app)
    _add_own(app, client, deployment, search, metrics)
    add_search(app, answers, search)
    samples.add(app, settings.samples)
    add_routes(app, answers)
    _add_reference(app, deployment, searches=search is not None)
    _add_page(app)
    app.add_middleware(Admitted, settings=settings, keys=keys, rates=rates)
    app.add_middleware(Observed, metrics=metrics)
    return app


def _add_problems(app: FastAPI) -> None:
    async def refuse(request: Request, error: Exception) -> Response:
        return problems.to_response(error)

    async def refuse_parameters(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        found = [{**one, "loc": one["loc"][1:]} for one in error.errors()]
        return problems.to_response(parameters.invalid(found))

    async def refuse_path(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if error.status_code == 405:
            words = f"{request.url.path} has no {request.method}"
            return problems.to_response(MethodNotAllowed(words, headers=error.headers))
        return problems.to_response(NotFound(f"there is nothing at {request.url.path[:200]}"))

    async def leave(request: Request, error: Exception) -> Response:
        return Response(status_code=499)  # nobody reads it; the metrics count it

    for kind in (FoveaError, Refused):
        app.add_exception_handler(kind, refuse)
    app.add_exception_handler(RequestValidationError, refuse_parameters)
    app.add_exception_handler(HTTPException, refuse_path)
    app.add_exception_handler(ClientDisconnect, leave)


def _add_own(
    app: FastAPI,
    client: AsyncClient,
    deployment: Deployment,
    search: Search | None,
    metrics: Metrics,
) -> None:
    @app.get("/v1/deployment", summary="The verbs and their members.", responses=PROBLEMS)
    async def tell() -> Response:
        record: dict[str, Any] = await deployment.record()
        record["search"] = None if search is None else await search.record(deployment)
        return to_json(record)

    @app.get("/health/live", summary="Whether the gateway runs.")
    async def live() -> Response:
        return to_json({"live": True})

    @app.get(
        "/health/ready",
        summary="Whether the server and its verbs are ready.",
        responses=PROBLEMS,
    )
    async def ready() -> Response:
        await client.check_ready()
        return to_json({"ready": True})

    @app.get("/metrics", include_in_schema=False)
    async def count() -> Response:
        return metrics.response()


def _add_page(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return FileResponse(PAGE / "index.html", headers={"Cache-Control": "no-cache"})

    app.mount("/static", StaticFiles(directory=PAGE), name="static")


def _add_reference(app: FastAPI, deployment: Deployment, *, searches: bool) -> None:
    @app.get("/openapi.json", include_in_schema=False)
    async def describe() -> Response:
        """Describe the served verbs, or all while the server cannot be asked."""
        with suppress(FoveaError):
            kinds = await deployment.names()
            return to_json(openapi.only(app.openapi(), kinds, search=searches))
        return to_json(app.openapi())

    @app.get("/docs", include_in_schema=False)
    async def reference() -> Response:
        return FileResponse(REFERENCE / "index.html", headers={"Cache-Control": "no-cache"})

    @app.get("/problems/{name}", include_in_schema=False)
    async def explain(name: str) -> Response:
        found = problems.explain(name)
        if found is None:
            raise NotFound(f"there is no problem {name[:80]!r}")
        return to_json(found)

    app.mount("/docs", StaticFiles(directory=REFERENCE), name="docs")
