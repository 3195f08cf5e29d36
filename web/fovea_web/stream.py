"""Many pictures in one request: lines of JSON in, lines of JSON out as they come.

A line is the body of a single request, with an `id` of the caller's choice. Reading follows the
work: a line is read when one of a few places is free, and if a caller does not read the answers,
nothing more is read from it. An error is reported in a line's answer, and the others go on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from fovea_client import FoveaError
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from fovea_web import bodies, problems
from fovea_web.bodies import Body
from fovea_web.json_text import dump
from fovea_web.problems import BodyTooLarge, Refused, SlowBody
from fovea_web.settings import Settings

log = logging.getLogger("fovea_web")

NDJSON = "application/x-ndjson"
ID = "id"

Record = dict[str, Any]


@dataclass(frozen=True)
class Line:
    """index: from 0, without empty lines. data: without its end; None if it was too long."""

    index: int
    data: bytes | None


async def lines(receive: Receive, settings: Settings) -> AsyncGenerator[Line, None]:
    """The lines of a body as they come; raises SlowBody if nothing comes for too long.

    Of a line that is too long, only its position is kept.
    """
    held, dropped, index = bytearray(), False, 0
    async with aclosing(_chunks(receive, settings.body_idle_s)) as chunks:
        async for chunk in chunks:
            for part in chunk.splitlines(keepends=True):
                dropped = dropped or len(held) + len(part) > settings.body_bytes
                held = bytearray() if dropped else held + part
                if not part.endswith(b"\n"):
                    continue
                if dropped or held.strip():
                    yield Line(index, None if dropped else bytes(held))
                    index += 1
                held, dropped = bytearray(), False
    if dropped or held.strip():
        yield Line(index, None if dropped else bytes(held))


async def _chunks(receive: Receive, idle_s: float) -> AsyncGenerator[bytes, None]:
    """The body without a limit: it is never held as a whole."""
    more = True
    while more:
        try:
            data, more = await bodies.part(receive, idle_s)
        except asyncio.TimeoutError as error:
            raise SlowBody(f"expected more of the body within {idle_s:g} s") from error
        yield data


class Batch(Response):
    """The answer to a stream of lines, sent while they are still coming.

    work: returns the record for a line's body. admit: awaited before each line, so that it counts
    like a request. `settings.lines` are processed at once.
    """

    media_type = NDJSON

    def __init__(
        self,
        settings: Settings,
        work: Callable[[Body], Awaitable[Record]],
        admit: Callable[[], Awaitable[None]],
    ) -> None:
        super().__init__()
        del self.headers["content-length"]
        self._settings, self._work, self._admit = settings, work, admit
        # As many answers may wait for the caller as lines are processed; None is the end.
        self._answers: asyncio.Queue[Record | None] = asyncio.Queue(settings.lines)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reading = asyncio.create_task(self._read(receive))
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        try:
            # The answer begins with its first line: a caller may wait for a word before it
            # continues.
            record = await self._answers.get()
            await send(start)
            while record is not None:
                line = dump(record) + b"\n"
                await send({"type": "http.response.body", "body": line, "more_body": True})
                record = await self._answers.get()
            await send({"type": "http.response.body", "body": b""})
        finally:
            reading.cancel()

    async def _read(self, receive: Receive) -> None:
        """Start the work on each line as a place gets free; end the answers when all is done."""
        working: set[asyncio.Task[None]] = set()
        try:
            try:
                await self._start_all(receive, working)
            except ClientDisconnect:
                pass  # running work ends by itself
            except SlowBody as error:
                await self._answers.put({"problem": problems.to_problem(error)})
            await asyncio.gather(*working)
            await self._answers.put(None)
        finally:
            for task in working:
                task.cancel()

    async def _start_all(self, receive: Receive, working: set[asyncio.Task[None]]) -> None:
        places = asyncio.Semaphore(self._settings.lines)

        def end(task: asyncio.Task[None]) -> None:
            working.discard(task)
            places.release()

        async with aclosing(lines(receive, self._settings)) as incoming:
            async for line in incoming:
                await places.acquire()
                await self._admit()
                task = asyncio.create_task(self._answer(line))
                working.add(task)
                task.add_done_callback(end)

    async def _answer(self, line: Line) -> None:
        """Put the result of one line into the queue of answers."""
        record: Record = {"index": line.index}
        try:
            body = self._body(line, record)
            record["result"] = await self._work(body)
        except (FoveaError, Refused) as error:
            record["problem"] = problems.to_problem(error)
        except Exception as error:
            log.exception("line %d failed", line.index)
            record["problem"] = problems.to_problem(error)
        await self._answers.put(record)

    def _body(self, line: Line, record: Record) -> Body:
        """The body of a line; its id goes into the record as soon as it is known."""
        if line.data is None:
            raise BodyTooLarge(f"expected lines of at most {self._settings.body_bytes} bytes")
        values = bodies.to_object(line.data)
        if ID in values:
            record[ID] = values.pop(ID)
        return bodies.from_object(values)
