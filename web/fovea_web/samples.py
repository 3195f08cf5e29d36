"""Sample pictures for the page."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fovea_client.batches import PICTURE_SUFFIXES
from starlette.responses import FileResponse, Response

from fovea_web.openapi import PROBLEMS
from fovea_web.problems import NotFound
from fovea_web.routes import to_json

# Labels of the pictures, as written by `python -m demo.samples`.
TRUTH = "truth.json"
MAX_AGE = {"Cache-Control": "max-age=3600"}


def add(app: FastAPI, folder: Path | None) -> None:
    """Add routes to the pictures of a folder, by name only; None adds none."""
    found = {} if folder is None else _find(folder)

    @app.get(
        "/v1/samples", summary="The sample pictures, with labels that fit them.", responses=PROBLEMS
    )
    async def offer() -> Response:
        return to_json({"samples": list(found.values())})

    @app.get("/samples/{name}", include_in_schema=False)
    async def show(name: str) -> Response:
        if folder is None or name not in found:
            raise NotFound(f"there is no sample {name[:80]!r}")
        return FileResponse(folder / name, headers=MAX_AGE)


def _find(folder: Path) -> dict[str, dict[str, Any]]:
    """The record of each picture: name, url, labels, description."""
    known: dict[str, Any] = {}
    with suppress(OSError, ValueError):
        known = {one["file"]: one for one in json.loads((folder / TRUTH).read_text("utf-8"))}
    names = sorted(p.name for p in folder.iterdir() if p.suffix.lower() in PICTURE_SUFFIXES)
    return {
        name: {
            "name": name,
            "url": f"/samples/{name}",
            "labels": known.get(name, {}).get("candidates", []),
            "description": known.get(name, {}).get("description"),
        }
        for name in names
    }
