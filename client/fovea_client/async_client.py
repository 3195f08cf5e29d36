"""The client for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from types import TracebackType
from typing import TypeVar

import grpc
import grpc.aio
import numpy as np
from numpy.typing import ArrayLike, NDArray

from fovea_client import batches, prompts, verbs
from fovea_client.answers import Answer
from fovea_client.batches import DEFAULT_CONCURRENCY, Outcome, Pictures, Progress
from fovea_client.connection import READY_REQUEST, READY_TIMEOUT_S, Connection
from fovea_client.errors import Unavailable
from fovea_client.images import Picture
from fovea_client.requests import Request
from fovea_client.results import Detections, MainObject, Segmentation, SegmentedDetections
from fovea_client.retry import Attempts, Deadline
from fovea_client.verbs import Steps

T = TypeVar("T")


class AsyncClient(Connection):
    """`Client` with awaits: the same verbs, options, results and errors.

    The options are those of `Connection`. Cancelling a call cancels it at the server. Files are
    read and pixels encoded in a thread. A client belongs to the event loop of its first call.
    """

    _grpc = grpc.aio

    async def main_object(
        self,
        image: Picture,
        labels: str | Iterable[str] | None = None,
        *,
        description: str | None = None,
        box_threshold: float | None = None,
        text_threshold: float | None = None,
        timeout_s: float | None = None,
    ) -> MainObject:
        """See `Client.main_object`."""
        data = await self._encode_aside(image)
        steps = verbs.main_object(data, labels, description, box_threshold, text_threshold)
        return await self._run(steps, timeout_s)

    async def detect(
        self,
        image: Picture,
        phrases: str | Iterable[str],
        *,
        box_threshold: float | None = None,
        text_threshold: float | None = None,
        timeout_s: float | None = None,
    ) -> Detections:
        """See `Client.detect`."""
        data = await self._encode_aside(image)
        steps = verbs.detect(data, phrases, box_threshold, text_threshold)
        return await self._run(steps, timeout_s)

    async def detect_and_segment(
        self,
        image: Picture,
        phrases: str | Iterable[str],
        *,
        box_threshold: float | None = None,
        text_threshold: float | None = None,
        timeout_s: float | None = None,
    ) -> SegmentedDetections:
        """See `Client.detect_and_segment`."""
        data = await self._encode_aside(image)
        steps = verbs.detect_and_segment(data, phrases, box_threshold, text_threshold)
        return await self._run(steps, timeout_s)

    async def segment(
        self,
        image: Picture,
        *,
        boxes: ArrayLike | None = None,
        points: ArrayLike | None = None,
        point_labels: ArrayLike | None = None,
        timeout_s: float | None = None,
    ) -> Segmentation:
        """See `Client.segment`."""
        steps = verbs.segment(await self._encode_aside(image), boxes, points, point_labels)
        return await self._run(steps, timeout_s)

    async def embed_image(
        self, image: Picture, *, timeout_s: float | None = None
    ) -> NDArray[np.float32]:
        """See `Client.embed_image`."""
        return await self._run(verbs.embed_image(await self._encode_aside(image)), timeout_s)

    async def embed_text(self, text: str, *, timeout_s: float | None = None) -> NDArray[np.float32]:
        """See `Client.embed_text`."""
        return await self._run(verbs.embed_text(text), timeout_s)

    def main_object_many(
        self,
        pictures: Pictures,
        labels: str | Iterable[str] | None = None,
        *,
        description: str | None = None,
        box_threshold: float | None = None,
        text_threshold: float | None = None,
        timeout_s: float | None = None,
        concurrency: int = DEFAULT_CONCURRENCY,
        ordered: bool = True,
        progress: Progress | None = None,
    ) -> AsyncGenerator[Outcome[MainObject], None]:
        """See `Client.main_object_many`."""
        text = None if labels is None else prompts.join_phrases(labels)

        async def call(image: Picture) -> MainObject:
            return await self.main_object(
                image,
                text,
                description=description,
                box_threshold=box_threshold,
                text_threshold=text_threshold,
                timeout_s=timeout_s,
            )

        return self.map(call, pictures, concurrency=concurrency, ordered=ordered, progress=progress)

    def map(
        self,
        call: Callable[[Picture], Awaitable[T]],
        pictures: Pictures,
        *,
        concurrency: int = DEFAULT_CONCURRENCY,
        ordered: bool = True,
        progress: Progress | None = None,
    ) -> AsyncGenerator[Outcome[T], None]:
        """See `Client.map`; leaving the iterator cancels the calls in flight.

        >>> async for outcome in client.map(client.embed_image, "photos/"): ...
        """
        return batches.amap_pictures(
            call, pictures, concurrency=concurrency, ordered=ordered, progress=progress
        )

    async def is_ready(self, *, timeout_s: float = READY_TIMEOUT_S) -> bool:
        """See `Client.is_ready`."""
        try:
            answer = await self._stub.ServerReady(READY_REQUEST, **self._options(timeout_s))
        except (grpc.RpcError, Unavailable):
            return False
        return bool(answer.ready)

    async def close(self) -> None:
        """Closes the channel; calls in flight in other tasks are cancelled."""
        opened = self._close()
        if opened is not None:
            await opened.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def _encode_aside(self, image: Picture) -> bytes:
        if isinstance(image, bytes):
            return image
        return await asyncio.to_thread(self._encode, image)

    async def _run(self, steps: Steps[T], timeout_s: float | None) -> T:
        deadline = self._deadline(timeout_s)
        try:
            request = next(steps)
            while True:
                request = steps.send(await self._infer(request, deadline))
        except StopIteration as end:
            result: T = end.value
            return result

    async def _infer(self, request: Request, deadline: Deadline) -> Answer:
        attempts = Attempts(self.retry, deadline)
        while True:
            left_s = attempts.timeout_s()
            try:
                return Answer(
                    await self._stub.ModelInfer(request.message(left_s), **self._options(left_s))
                )
            except grpc.RpcError as error:
                delay_s = attempts.delay_after(self._translate(error))
            await asyncio.sleep(delay_s)
