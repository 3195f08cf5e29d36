"""Rate limits for callers: a moving window for each, kept in memory."""

from __future__ import annotations

import asyncio
import math
import time

from fovea_client import InvalidInput
from limits import RateLimitItem, parse
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import MovingWindowRateLimiter

from fovea_web.problems import RateLimited


class Rates:
    """One rate for all callers, each with its own window."""

    def __init__(self, rate: str) -> None:
        self._item = to_item(rate)
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    async def check(self, caller: str) -> None:
        """Count one request; raises RateLimited if it is one too many."""
        if not await self._limiter.hit(self._item, caller):
            wait_s = await self._wait_s(caller)
            raise RateLimited(f"expected at most {self._item}", retry_after_s=math.ceil(wait_s))

    async def wait(self, caller: str) -> None:
        """Count one request, once there is room for it."""
        while not await self._limiter.hit(self._item, caller):
            await asyncio.sleep(max(0.01, await self._wait_s(caller)))

    async def _wait_s(self, caller: str) -> float:
        stats = await self._limiter.get_window_stats(self._item, caller)
        return stats.reset_time - time.time()


def to_item(rate: str) -> RateLimitItem:
    """A rate such as "600/minute"; raises InvalidInput."""
    try:
        return parse(rate)
    except ValueError as error:
        raise InvalidInput(f"expected a rate such as 600/minute, got {rate!r}") from error
