"""What the server behind the gateway offers, asked for now and then."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from fovea_client import AsyncClient, Description, FoveaError, UnknownVerb
from fovea_client.models import models_record

from fovea_web.verbs import VERBS, served_paths

# A deployment changes when a server is replaced: no request waits for this to be seen.
FRESH_S = 5.0


class Deployment:
    """The descriptions of all verbs; they are asked for again in the background.

    While the server cannot be asked, what it said last holds; where it never said anything, the
    caller of a verb learns from the verb's own call.
    """

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._verbs: tuple[Description, ...] | None = None
        self._asked = 0.0
        self._asking: asyncio.Task[None] | None = None

    async def verbs(self) -> tuple[Description, ...]:
        """All that can be asked; raises what the client does where nothing is known yet."""
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
        """The names of the verbs of each kind that the gateway knows; its own name first."""
        found: dict[str, list[str]] = {}
        for one in await self.verbs():
            if one.verb in VERBS:
                found.setdefault(one.verb, []).append(one.name)
        return {kind: sorted(names, key=lambda name: name != kind) for kind, names in found.items()}

    async def name_of(self, kind: str, asked: str | None) -> str | None:
        """The deployment's name for a verb; None leaves it to the client.

        Raises UnknownVerb if the kind is not served, or not under the name that was asked.
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
        """Ready for JSON, as `fovea models --json` has it, and the paths."""
        verbs = await self.verbs()
        return {**models_record(verbs), "paths": served_paths(await self.names())}


def unknown(path: str, names: Mapping[str, Any]) -> UnknownVerb:
    """Names what there is."""
    served = ", ".join(served_paths(names)) or "none"
    return UnknownVerb(f"expected a verb that is served ({served}), got {path[:80]!r}")
