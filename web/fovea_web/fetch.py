"""Pictures at addresses, fetched only from hosts that were allowed."""

from __future__ import annotations

from fovea_web.problems import InvalidUrl
from fovea_web.settings import Settings


class Fetcher:
    """Fetches from `settings.url_hosts`."""

    def __init__(self, settings: Settings) -> None:
        self._hosts = settings.url_hosts

    async def fetch(self, url: str) -> bytes:
        """The bytes at an address; raises InvalidUrl and FetchFailed."""
        raise InvalidUrl("expected a picture in the request: this gateway fetches from nowhere")
