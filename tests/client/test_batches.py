"""Many pictures: order, bounds, laziness, folders, and failures that stay alone."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import grpc
import pytest
from fovea_client import Client, InvalidImage, InvalidInput, InvalidText, ServerError, pictures_in

from tests.client.fake_triton import FakeTriton, Refusal, plausible


def test_outcomes_come_in_input_order_even_when_answers_do_not(
    triton: FakeTriton, client: Client, png: bytes
) -> None:
    pictures = [png + bytes([index]) for index in range(16)]

    def behave(call):
        time.sleep(0.05 if call.inputs["IMAGE"][0, 0][-1] % 4 == 0 else 0)
        return plausible(call)

    triton.behave = behave
    outcomes = list(client.main_object_many(pictures, "cat. dog", concurrency=4))
    assert [outcome.source for outcome in outcomes] == pictures
    assert [outcome.index for outcome in outcomes] == list(range(16))
    assert all(outcome.unwrap().label == "cat" for outcome in outcomes)


def test_unordered_outcomes_come_as_they_are_ready(
    triton: FakeTriton, client: Client, png: bytes
) -> None:
    release = threading.Event()

    def behave(call):
        if call.inputs["IMAGE"][0, 0] == b"slow":
            release.wait(5)
        return plausible(call)

    triton.behave = behave
    outcomes = client.map(
        lambda image: client.detect(image, "cat"), [b"slow", png, png], ordered=False, concurrency=2
    )
    assert [next(outcomes).index, next(outcomes).index] == [1, 2]
    release.set()
    assert next(outcomes).index == 0
    assert next(outcomes, None) is None


@pytest.mark.parametrize("concurrency", [1, 3, 8])
def test_no_more_than_concurrency_are_in_flight(
    triton: FakeTriton, client: Client, png: bytes, concurrency: int
) -> None:
    triton.behave = lambda call: time.sleep(0.02) or plausible(call)
    outcomes = list(client.main_object_many([png] * 24, "cat", concurrency=concurrency))
    assert len(outcomes) == 24
    assert triton.most_in_flight == concurrency


def test_the_input_is_read_as_slots_get_free(client: Client, png: bytes) -> None:
    read = 0

    def pictures():
        nonlocal read
        while True:
            read += 1
            yield png

    outcomes = client.main_object_many(pictures(), "cat", concurrency=2)
    assert read == 0
    for _ in range(5):
        next(outcomes)
    assert read <= 5 + 4
    outcomes.close()


def test_a_failing_picture_stops_no_other(triton: FakeTriton, client: Client, png: bytes) -> None:
    def behave(call):
        if call.inputs["IMAGE"][0, 0] == b"boom":
            return Refusal(grpc.StatusCode.INTERNAL, "boom")
        return plausible(call)

    triton.behave = behave
    pictures = [png, "missing.jpg", b"boom", object(), png]
    outcomes = list(client.main_object_many(pictures, "cat"))
    errors = [type(outcome.error) for outcome in outcomes]
    assert errors == [type(None), InvalidImage, ServerError, InvalidImage, type(None)]
    with pytest.raises(ServerError, match="boom"):
        outcomes[2].unwrap()


def test_other_errors_of_the_caller_are_not_swallowed(client: Client, png: bytes) -> None:
    with pytest.raises(ZeroDivisionError):
        list(client.map(lambda image: 1 / 0, [png]))


def test_wrong_labels_are_refused_before_the_first_picture(client: Client, png: bytes) -> None:
    with pytest.raises(InvalidText):
        client.main_object_many([png], "")
    with pytest.raises(InvalidInput, match="concurrency"):
        client.main_object_many([png], "cat", concurrency=0)
    with pytest.raises(InvalidInput, match="bytes of one"):
        client.main_object_many(png, "cat")


def test_progress_counts_to_the_total(client: Client, png: bytes) -> None:
    seen = []
    progress = lambda done, total: seen.append((done, total))  # noqa: E731
    list(client.main_object_many([png] * 3, "cat", progress=progress))
    list(client.main_object_many(iter([png]), "cat", progress=progress))
    assert seen == [(1, 3), (2, 3), (3, 3), (1, None)]


def test_a_folder_is_its_pictures_sorted_with_subfolders(
    client: Client, png: bytes, tmp_path: Path
) -> None:
    for name in ("b.PNG", "a.png", "notes.txt", ".hidden.png", "sub/c.webp", ".git/d.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(png)
    expected = [tmp_path / name for name in ("a.png", "b.PNG", "sub/c.webp")]
    assert pictures_in(tmp_path) == expected
    outcomes = list(client.main_object_many(tmp_path, "cat"))
    assert [outcome.source for outcome in outcomes] == expected
    assert [outcome.source for outcome in client.main_object_many(expected[0], "cat")] == [
        expected[0]
    ]
    with pytest.raises(InvalidImage, match="folder"):
        pictures_in(tmp_path / "none")
