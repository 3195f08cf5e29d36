"""What the server behind the gateway offers, refreshed now and then."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from fovea_client import AsyncClient, Description, FoveaError, UnknownVerb
from fovea_client.models import models_record

from fovea_web.verbs import VERBS, served_paths

# A deployment changes when a server is replaced; requests do not wait for the refresh.
FRESH_S = 5.0


class Deployment:
    """The descriptions of all verbs, refreshed in the background.

    While the server cannot be asked, its last answer holds; if it never answered, a verb's caller
    learns from the verb's own call.
    """

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._verbs: tuple[Description, ...] | None = None
        self._asked = 0.0
        self._asking: asyncio.Task[None] | None = None

    async def verbs(self) -> tuple[Description, ...]:
        """All verbs; raises the client's errors if nothing is known yet."""
        if self._verbs is None:
            self._verbs = await self._client.verbs()
            self._asked = time.monotonic()
        elif time.monotonic() - self._asked > FRESH_S and self._asking is None:
            self._asking = asyncio.create_task(self._ask())
        return self._verbs

    async def _ask(self) -> None:
        try:
            self._verbs = await self._client.verbs()
        except FoveaError:
            pass
        finally:
            self._asked, self._asking = time.monotonic(), None

    async def names(self) -> Mapping[str, list[str]]:
        """Names of the verbs of each kind that the gateway knows; a kind's own name first."""
        found: dict[str, list[str]] = {}
        for one in await self.verbs():
            if one.verb in VERBS:
                found.setdefault(one.verb, []).append(one.name)
        return {kind: sorted(names, key=lambda name: name != kind) for kind, names in found.items()}

    async def name_of(self, kind: str, asked: str | None) -> str | None:
        """The deployment's name for a verb; None leaves it to the client.

        Raises UnknownVerb if the kind is not served, or not under the requested name.
        """
        try:
            names = await self.names()
        except FoveaError:
            return asked
        if kind not in names:
            raise unknown(kind.replace("_", "-"), names)
        if asked is not None and asked not in names[kind]:
            raise UnknownVerb(f"expected a verb of {', '.join(names[kind])}, got {asked!r}")
        return asked or names[kind][0]

    async def record(self) -> dict[str, Any]:
        """Ready for JSON, like `fovea models --json`, with the paths."""
        verbs = await self.verbs()
        return {**models_record(verbs), "paths": served_paths(await self.names())}


def unknown(path: str, names: Mapping[str, Any]) -> UnknownVerb:
    """An error that lists the served paths."""
    served = ", ".join(served_paths(names)) or "none"
    return UnknownVerb(f"expected a verb that is served ({served}), got {path[:80]!r}")
