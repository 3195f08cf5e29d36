"""AsyncClient: the same answers and errors, in any event loop."""

from __future__ import annotations

import asyncio
import inspect
import time
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path

import grpc
import numpy as np
import pytest
from fovea_client import (
    AsyncClient,
    Client,
    DeadlineExceeded,
    InvalidImage,
    LocalClient,
    Overloaded,
    Unavailable,
)

from tests.client.conftest import QUICK
from tests.client.fake_triton import MODELS, SQUARE, FakeTriton, Refusal, plausible
from tests.recordings import GREY, MOTION, SOUNDS


def test_every_verb_answers(triton: FakeTriton, png: bytes, pixels: np.ndarray) -> None:
    async def scenario() -> None:
        async with AsyncClient(triton.url) as client:
            assert await client.is_ready()
            thing = await client.main_object(png, ["cat", "dog"])
            assert thing.label == "cat"
            assert np.array_equal(thing.mask.to_numpy(), SQUARE)
            assert (await client.main_object(pixels, description="A cat")).label == "A cat"
            assert len(await client.detect(png, "cat. dog")) == 2
            assert len((await client.detect_and_segment(png, "cat")).masks) == 1
            assert len(await client.segment(png, points=[[1, 1], [2, 2]])) == 2
            assert (await client.embed_image(png)).shape == (3,)
            assert (await client.embed_text("cat")).shape == (3,)

    asyncio.run(scenario())


def test_headers_may_differ_by_caller(triton: FakeTriton) -> None:
    asking: ContextVar[str] = ContextVar("asking", default="nobody")

    async def ask(client: AsyncClient, name: str) -> None:
        asking.set(name)
        await client.embed_text(name)

    async def scenario() -> None:
        async with AsyncClient(triton.url, headers=lambda: {"X-Asking": asking.get()}) as client:
            await asyncio.gather(ask(client, "alice"), ask(client, "bob"))

    asyncio.run(scenario())
    assert {call.text(): call.metadata["x-asking"] for call in triton.calls} == {
        "alice": "alice",
        "bob": "bob",
    }


def methods(client: type) -> set[str]:
    return {n for n in dir(client) if not n.startswith("_") and callable(getattr(client, n))}


@pytest.mark.parametrize("other", [AsyncClient, LocalClient])
def test_all_clients_have_the_same_verbs_and_options(other: type) -> None:
    for name in methods(Client):
        parameters = inspect.signature(getattr(Client, name)).parameters
        others = inspect.signature(getattr(other, name)).parameters
        assert list(parameters) == list(others), name
        assert [p.default for p in parameters.values()] == [p.default for p in others.values()]
    assert methods(Client) == methods(other) >= {"main_object", "map", "check_ready", "close"}


def test_retries_and_deadlines_are_those_of_the_blocking_client(
    triton: FakeTriton, png: bytes
) -> None:
    full = Refusal(grpc.StatusCode.UNAVAILABLE, "Exceeds maximum queue size")

    async def scenario() -> None:
        async with AsyncClient(triton.url, retry=QUICK, timeout_s=2) as client:
            triton.first = [full, full]
            assert len(await client.detect(png, "cat")) == 1
            assert len(triton.calls) == 3
            triton.behave = lambda call: full
            with pytest.raises((Overloaded, DeadlineExceeded), match="maximum queue size"):
                await client.detect(png, "cat", timeout_s=0.2)
            triton.behave = lambda call: time.sleep(0.4) or plausible(call)
            with pytest.raises(DeadlineExceeded):
                await client.detect(png, "cat", timeout_s=0.2)
            triton.stop()
            with pytest.raises((Unavailable, DeadlineExceeded), match=triton.url):
                await client.detect(png, "cat", timeout_s=0.2)
            assert not await client.is_ready()
        with pytest.raises(Unavailable, match="closed"):
            await client.detect(png, "cat")

    asyncio.run(scenario())


def test_many_pictures_come_in_order_and_bounded(triton: FakeTriton, png: bytes) -> None:
    triton.behave = lambda call: time.sleep(0.02) or plausible(call)
    pictures = [png, Path("missing.png"), *[png] * 18]

    async def scenario() -> None:
        seen = []
        async with AsyncClient(triton.url) as client:
            outcomes = client.main_object_many(pictures, "cat", concurrency=4)
            async for outcome in outcomes:
                seen.append(outcome)
        assert [outcome.index for outcome in seen] == list(range(20))
        assert isinstance(seen[1].error, InvalidImage)
        assert all(outcome.unwrap().found for outcome in seen if outcome.index != 1)

    asyncio.run(scenario())
    assert triton.most_in_flight == 4


def test_a_client_outlives_its_event_loop(triton: FakeTriton) -> None:
    client = AsyncClient(triton.url)

    async def once() -> int:
        return len(await client.embed_text("cat"))

    assert [asyncio.run(once()) for _ in range(3)] == [3, 3, 3]
    asyncio.run(client.close())


def test_several_event_loops_share_a_client(triton: FakeTriton) -> None:
    client = AsyncClient(triton.url)

    async def many() -> int:
        return len(await asyncio.gather(*[client.embed_text("cat") for _ in range(20)]))

    with ThreadPoolExecutor(4) as pool:
        answered = [pool.submit(asyncio.run, many()) for _ in range(4)]
        assert [one.result() for one in answered] == [20] * 4
    asyncio.run(client.close())


def test_each_verb_is_called_by_the_deployments_name(triton: FakeTriton, png: bytes) -> None:
    triton.behave = lambda call: plausible(replace(call, model=call.model.removesuffix("_2")))

    async def scenario() -> None:
        async with AsyncClient(triton.url) as client:
            await client.main_object(png, "cat", verb="main_object_2")
            await client.detect(png, "cat", verb="detect_2")
            await client.detect_and_segment(png, "cat", verb="detect_and_segment_2")
            await client.segment(png, points=(1, 1), verb="segment_2")
            await client.segment_everything(png, verb="segment_everything_2")
            await client.embed_objects(png, verb="embed_objects_2")
            await client.segment_scene(png, verb="segment_scene_2")
            await client.classify(png, "cat", verb="classify_2")
            await client.embed_image(png, verb="embed_image_2")
            await client.embed_text("cat", verb="embed_text_2")
            await client.embed_audio(SOUNDS[0], verb="embed_audio_2")
            await client.embed_depth(GREY[0], verb="embed_depth_2")
            await client.embed_thermal(GREY[0], verb="embed_thermal_2")
            await client.embed_imu(MOTION[0], verb="embed_imu_2")

    asyncio.run(scenario())
    assert [call.model for call in triton.calls] == [f"{own}_2" for own in MODELS]
