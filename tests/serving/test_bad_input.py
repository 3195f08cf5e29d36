"""Each bad input gets its own typed error; the requests beside it are answered."""

import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from fovea_client import (
    Client,
    ImageTooLarge,
    InvalidImage,
    InvalidInput,
    InvalidPrompt,
    InvalidText,
    InvalidThreshold,
)
from PIL import Image
from tritonclient.utils import InferenceServerException

from tests.fovea.test_images import png_header
from tests.serving import requests

pytestmark = pytest.mark.server

FRAME = [[0.0, 0.0], [100.0, 100.0]]
MANY = [f"thing {i}" for i in range(2049)]


def prompt(coords, labels=((2, 3),)):
    return [requests.floats("POINT_COORDS", coords), requests.ints("POINT_LABELS", labels)]


# what is wrong -> what is sent besides the picture (or instead of it, or of everything), and the
# error
BAD_PROMPTS = {
    "a box outside the picture": (prompt([[[0, 0], [9000, 10]]]), InvalidPrompt),
    "a box inside out": (prompt([[[50, 50], [10, 10]]]), InvalidPrompt),
    "a NaN point": (prompt([[[np.nan, 5], [0, 0]]], [[1, -1]]), InvalidPrompt),
    "an unknown point label": (prompt([[[1, 5], [0, 0]]], [[9, -1]]), InvalidPrompt),
    "labels of another shape": (prompt([FRAME], [[2, 3, 1]]), InvalidPrompt),
    "as many NaN points as there may be": (
        prompt(np.full((128, 16, 2), np.nan), np.ones((128, 16))),
        InvalidPrompt,
    ),
    "as many unknown labels": (prompt(np.ones((128, 16, 2)), np.full((128, 16), 9)), InvalidPrompt),
    "too many prompts": (prompt([FRAME] * 129, [[2, 3]] * 129), InvalidPrompt),
}
BAD_TEXTS = {
    "empty text": ("", InvalidText),
    "only punctuation": (" . ! .", InvalidText),
    "too many labels": (MANY, InvalidText),
    "no label": ([], InvalidText),
    "an empty label among others": (["cat", " "], InvalidText),
    "a label with NUL": (["cat", "do\0g"], InvalidText),
    "a megabyte": ("a" * 1_000_000, InvalidText),
    "text that is not UTF-8": (b"\xff\xfe\xfa", InvalidText),
    "text that is too long": ("a" * 3000, InvalidText),
    "a phrase of too many tokens": ("z " * 200, InvalidText),
}
BAD_PICTURES = {
    "no bytes": (b"", InvalidImage),
    "not an image": (b"hello, this is no picture", InvalidImage),
    "a 30,000 x 30,000 header": (png_header(30_000, 30_000), ImageTooLarge),
    "too many bytes": (b"\xff" * (33 * 1024 * 1024), ImageTooLarge),
}
BAD_TENSORS = {
    "a wrong dtype": lambda picture: [
        requests.image(picture),
        requests.tensor("POINT_COORDS", np.zeros((1, 2, 2), np.float64)),
        requests.ints("POINT_LABELS", [[2, 3]]),
    ],
    "a wrong shape": lambda picture: [
        requests.image(picture),
        requests.floats("POINT_COORDS", np.zeros((1, 2, 3))),
        requests.ints("POINT_LABELS", [[2, 3]]),
    ],
    "a missing input": lambda picture: [requests.image(picture)],
    "an unknown input": lambda picture: [
        requests.image(picture),
        *prompt([FRAME]),
        requests.floats("MOOD", [1.0]),
    ],
}


def plain_png(width: int, height: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (width, height), (90, 120, 30)).save(out, "PNG")
    return out.getvalue()


@pytest.fixture(scope="module")
def picture(samples) -> bytes:
    return samples[0][0].read_bytes()


@pytest.fixture(scope="module")
def refuse(triton_client, picture):
    """Send a bad request amid good ones, which are answered; returns the bad one's error."""

    def neighbour(_: int) -> dict:
        good = [requests.image(picture), *prompt([FRAME])]
        return requests.outputs(triton_client.infer("segment", good))

    def send(verb: str, inputs: list) -> InvalidInput:
        with ThreadPoolExecutor(7) as pool:
            beside = pool.map(neighbour, range(6))
            with pytest.raises(InferenceServerException) as caught:
                triton_client.infer(verb, inputs)
            assert all(len(answer["MASKS"]) == 1 for answer in beside)
        assert "INVALID_ARGUMENT" in caught.value.status()
        return InvalidInput.from_message(caught.value.message())

    return send


@pytest.mark.parametrize("name", BAD_PROMPTS)
def test_bad_prompts(name, refuse, picture):
    inputs, error = BAD_PROMPTS[name]
    assert type(refuse("segment", [requests.image(picture), *inputs])) is error


def test_more_masks_than_one_request_may_have(refuse):
    boxes = [[[0, 0], [7000, 7000]]] * 11
    inputs = [requests.image(plain_png(7000, 7000)), *prompt(boxes, [[2, 3]] * 11)]
    error = refuse("segment", inputs)
    assert type(error) is InvalidPrompt
    assert "at most 10 prompts on 7000x7000 pixels" in str(error)


@pytest.mark.parametrize("size_wh", [(600, 1), (1, 600), (3000, 1), (40_000, 1)])
def test_thin_pictures_are_answered(size_wh, client: Client):
    data = plain_png(*size_wh)
    found = client.segment(data, points=[(0.5, 0.5)])
    assert [mask.size_hw for mask in found.masks] == [size_wh[::-1]]
    assert client.main_object(data, ["car"]).label == "car"


@pytest.mark.parametrize("verb", ["main_object", "detect", "detect_and_segment"])
@pytest.mark.parametrize("name", BAD_TEXTS)
def test_bad_texts(name, verb, refuse, picture):
    value, error = BAD_TEXTS[name]
    values = value if isinstance(value, list) else [value]
    inputs = [requests.image(picture), requests.text(*values)]
    assert type(refuse(verb, inputs)) is error


@pytest.mark.parametrize("name", BAD_PICTURES)
def test_bad_pictures(name, refuse):
    data, error = BAD_PICTURES[name]
    inputs = [requests.image(data), requests.text("cat")]
    assert type(refuse("main_object", inputs)) is error


def test_a_truncated_picture(refuse, picture):
    inputs = [requests.image(picture[: len(picture) // 2]), requests.text("cat")]
    assert type(refuse("detect", inputs)) is InvalidImage


@pytest.mark.parametrize("value", [-0.1, 1.5, np.nan])
@pytest.mark.parametrize("name", ["BOX_THRESHOLD", "TEXT_THRESHOLD"])
def test_bad_thresholds(name, value, refuse, picture):
    inputs = [requests.image(picture), requests.text("cat"), requests.floats(name, [value])]
    error = refuse("detect", inputs)
    assert type(error) is InvalidThreshold
    assert name in str(error)


@pytest.mark.parametrize("name", BAD_TENSORS)
def test_bad_tensors(name, refuse, picture):
    error = refuse("segment", BAD_TENSORS[name](picture))
    assert isinstance(error, InvalidInput)


@pytest.mark.parametrize("verb", ["detect", "detect_and_segment"])
def test_more_labels_than_a_caption_holds_are_refused_with_their_number(verb, refuse, picture):
    labels = [f"thing {i}" for i in range(300)]
    error = refuse(verb, [requests.image(picture), requests.text(*labels)])
    assert type(error) is InvalidText
    assert "of 300 labels fit" in str(error)


def test_the_client_raises_the_same_errors(client: Client, picture):
    with pytest.raises(InvalidText):
        client.main_object(picture, "...")
    with pytest.raises(InvalidImage):
        client.detect(b"nothing", "cat")
    with pytest.raises(InvalidPrompt):
        client.segment(picture, boxes=[(0, 0, 9000, 10)])
