"""The client for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import closing
from types import TracebackType
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fovea_client import batches, objects, prompts, recordings, scenes, verbs
from fovea_client.batches import DEFAULT_CONCURRENCY, Outcome, Pictures, Progress
from fovea_client.calls import Waits
from fovea_client.classification import Classification, Question
from fovea_client.connection import READY_TIMEOUT_S, Connection
from fovea_client.description import Description
from fovea_client.errors import FoveaError
from fovea_client.images import Picture
from fovea_client.objects import Objects
from fovea_client.recordings import Grey, Motion, Sound
from fovea_client.results import Detections, MainObject, Segmentation, SegmentedDetections
from fovea_client.scenes import SceneSegmentation
from fovea_client.verbs import Steps

T = TypeVar("T")


class AsyncClient(Connection):
    """`Client` with awaits: the same verbs, options, results and errors.

    The options are those of `Connection`. Cancelling a task abandons its call, like a passed
    deadline: the call goes on at the server until it is answered. Files are read and pixels encoded
    in a thread. Any event loop may use a client, and several may at once.
    """

    async def main_object(
        self,
        image: Picture,
        labels: str | Iterable[str] | None = None,
        *,
        description: str | None = None,
        box_threshold: float | None = None,
        text_threshold: float | None = None,
        timeout_s: float | None = None,
        verb: str | None = None,
        detect_verb: str | None = None,
    ) -> MainObject:
        """See `Client.main_object`."""
        data = await self._encode_aside(image)
        steps = verbs.main_object(
            data, labels, description, box_threshold, text_threshold, verb, detect_verb
        )
        return await self._run(steps, timeout_s)

    async def detect(
        self,
        image: Picture,
        phrases: str | Iterable[str] | None = None,
        *,
        box_threshold: float | None = None,
        text_threshold: float | None = None,
        timeout_s: float | None = None,
        verb: str | None = None,
    ) -> Detections:
        """See `Client.detect`."""
        data = await self._encode_aside(image)
        steps = verbs.detect(data, phrases, box_threshold, text_threshold, verb)
        return await self._run(steps, timeout_s)

    async def detect_and_segment(
        self,
        image: Picture,
        phrases: str | Iterable[str] | None = None,
        *,
        box_threshold: float | None = None,
        text_threshold: float | None = None,
        timeout_s: float | None = None,
        verb: str | None = None,
    ) -> SegmentedDetections:
        """See `Client.detect_and_segment`."""
        data = await self._encode_aside(image)
        steps = verbs.detect_and_segment(data, phrases, box_threshold, text_threshold, verb)
        return await self._run(steps, timeout_s)

    async def segment(
        self,
        image: Picture,
        *,
        boxes: ArrayLike | None = None,
        points: ArrayLike | None = None,
        point_labels: ArrayLike | None = None,
        timeout_s: float | None = None,
        verb: str | None = None,
    ) -> Segmentation:
        """See `Client.segment`."""
        steps = verbs.segment(await self._encode_aside(image), boxes, points, point_labels, verb)
        return await self._run(steps, timeout_s)

    async def segment_everything(
        self,
        image: Picture,
        *,
        points_per_side: int | None = None,
        iou_threshold: float | None = None,
        stability_threshold: float | None = None,
        min_area: int | None = None,
        min_piece: float | None = None,
        max_objects: int | None = None,
        full_size: bool | None = None,
        timeout_s: float | None = None,
        verb: str | None = None,
    ) -> Objects:
        """See `Client.segment_everything`."""
        inputs = objects.to_inputs(
            await self._encode_aside(image),
            points_per_side,
            iou_threshold,
            stability_threshold,
            min_area,
            min_piece,
            max_objects,
            full_size,
        )
        return await self._run(verbs.segment_everything(inputs, verb), timeout_s)

    async def embed_objects(
        self,
        image: Picture,
        *,
        points_per_side: int | None = None,
        iou_threshold: float | None = None,
        stability_threshold: float | None = None,
        min_area: int | None = None,
        min_piece: float | None = None,
        max_objects: int | None = None,
        full_size: bool | None = None,
        timeout_s: float | None = None,
        verb: str | None = None,
    ) -> Objects:
        """See `Client.embed_objects`."""
        inputs = objects.to_inputs(
            await self._encode_aside(image),
            points_per_side,
            iou_threshold,
            stability_threshold,
            min_area,
            min_piece,
            max_objects,
            full_size,
        )
        return await self._run(verbs.embed_objects(inputs, verb), timeout_s)

    async def segment_scene(
        self,
        image: Picture,
        *,
        threshold: float | None = None,
        label_map: bool = False,
        timeout_s: float | None = None,
        verb: str | None = None,
    ) -> SceneSegmentation:
        """See `Client.segment_scene`."""
        data = await self._encode_aside(image)
        inputs = scenes.to_inputs(data, threshold, label_map=label_map)
        return await self._run(verbs.segment_scene(inputs, verb), timeout_s)

    async def classify(
        self,
        image: Picture,
        labels: str | Iterable[str] | None = None,
        *,
        template: str | None = None,
        top_k: int | None = None,
        timeout_s: float | None = None,
        verb: str | None = None,
    ) -> Classification:
        """See `Client.classify`."""
        question = Question.of(labels, template, top_k)
        data = await self._encode_aside(image)
        return await self._run(verbs.classify(data, question, verb), timeout_s)

    async def embed_image(
        self, image: Picture, *, timeout_s: float | None = None, verb: str | None = None
    ) -> NDArray[np.float32]:
        """See `Client.embed_image`."""
        return await self._run(verbs.embed_image(await self._encode_aside(image), verb), timeout_s)

    async def embed_text(
        self, text: str, *, timeout_s: float | None = None, verb: str | None = None
    ) -> NDArray[np.float32]:
        """See `Client.embed_text`."""
        return await self._run(verbs.embed_text(text, verb), timeout_s)

    async def embed_audio(
        self, audio: Sound, *, timeout_s: float | None = None, verb: str | None = None
    ) -> NDArray[np.float32]:
        """See `Client.embed_audio`."""
        data = await asyncio.to_thread(recordings.encode_sound, audio)
        return await self._run(verbs.embed_modality("audio", data, verb), timeout_s)

    async def embed_depth(
        self, depth: Grey, *, timeout_s: float | None = None, verb: str | None = None
    ) -> NDArray[np.float32]:
        """See `Client.embed_depth`."""
        values = await asyncio.to_thread(recordings.to_grey, "depth", depth)
        return await self._run(verbs.embed_modality("depth", values, verb), timeout_s)

    async def embed_thermal(
        self, thermal: Grey, *, timeout_s: float | None = None, verb: str | None = None
    ) -> NDArray[np.float32]:
        """See `Client.embed_thermal`."""
        values = await asyncio.to_thread(recordings.to_grey, "thermal", thermal)
        return await self._run(verbs.embed_modality("thermal", values, verb), timeout_s)

    async def embed_imu(
        self, imu: Motion, *, timeout_s: float | None = None, verb: str | None = None
    ) -> NDArray[np.float32]:
        """See `Client.embed_imu`."""
        values = await asyncio.to_thread(recordings.to_motion, imu)
        return await self._run(verbs.embed_modality("imu", values, verb), timeout_s)

    def main_object_many(
        self,
        pictures: Pictures,
        labels: str | Iterable[str] | None = None,
        *,
        description: str | None = None,
        box_threshold: float | None = None,
        text_threshold: float | None = None,
        timeout_s: float | None = None,
        verb: str | None = None,
        detect_verb: str | None = None,
        concurrency: int = DEFAULT_CONCURRENCY,
        ordered: bool = True,
        progress: Progress | None = None,
    ) -> AsyncGenerator[Outcome[MainObject], None]:
        """See `Client.main_object_many`."""
        asked = None if labels is None else prompts.to_labels(labels)

        async def call(image: Picture) -> MainObject:
            return await self.main_object(
                image,
                asked,
                description=description,
                box_threshold=box_threshold,
                text_threshold=text_threshold,
                timeout_s=timeout_s,
                verb=verb,
                detect_verb=detect_verb,
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
        """See `Client.map`; leaving the iterator cancels the tasks of the calls in flight.

        >>> async for outcome in client.map(client.embed_image, "photos/"): ...
        """
        return batches.amap_pictures(
            call, pictures, concurrency=concurrency, ordered=ordered, progress=progress
        )

    async def check_ready(self, *, timeout_s: float = READY_TIMEOUT_S) -> None:
        """See `Client.check_ready`."""
        await self._wait(self._check_ready(timeout_s))

    async def is_ready(self, *, timeout_s: float = READY_TIMEOUT_S) -> bool:
        """See `Client.is_ready`."""
        try:
            await self.check_ready(timeout_s=timeout_s)
        except FoveaError:
            return False
        return True

    async def describe(self, verb: str, *, timeout_s: float = READY_TIMEOUT_S) -> Description:
        """See `Client.describe`."""
        return await self._wait(self._describe(verb, timeout_s))

    async def verbs(self, *, timeout_s: float = READY_TIMEOUT_S) -> tuple[Description, ...]:
        """See `Client.verbs`."""
        return await self._wait(self._verbs(timeout_s))

    async def close(self) -> None:
        """End the calls of other tasks with Unavailable; see `Client.close`."""
        self._close()

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
        return await self._wait(self._ask(steps, timeout_s))

    async def _wait(self, waits: Waits[T]) -> T:
        with closing(waits):
            try:
                while True:
                    await next(waits).suspend()
            except StopIteration as end:
                result: T = end.value
                return result
