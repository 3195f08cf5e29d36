"""Requests are batched, cached and run side by side, and never change each other's answers."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tritonclient.grpc as triton
from fovea_client import Client
from fovea_client.statistics import difference, read_statistics

from benchmarks.breakdown import read_cache_hits
from tests.serving import requests

pytestmark = pytest.mark.server

LABELS = "cat. dog. van. man. snowboarder"
NETWORKS = (
    "clip_image_encoder",
    "grounding_dino",
    "sam_image_encoder",
    "sam_mask_decoder",
)


def verb_inputs(data: bytes) -> dict[str, list]:
    """A request for every verb."""
    detect = [
        requests.image(data),
        requests.text(*LABELS.split(". ")),
        requests.floats("BOX_THRESHOLD", [0.1]),
    ]
    points = [[[30.0, 40.0], [0.0, 0.0]], [[5.0, 6.0], [90.0, 80.0]]]
    return {
        "main_object": [requests.image(data), requests.text(*LABELS.split(". "))],
        "detect": detect,
        "detect_and_segment": detect,
        "segment": [
            requests.image(data),
            requests.floats("POINT_COORDS", points),
            requests.ints("POINT_LABELS", [[1, -1], [2, 3]]),
        ],
        "classify": [requests.image(data), requests.text("dog", "cat")],
        "embed_image": [requests.image(data)],
        "embed_text": [requests.text("a cat")],
    }


def assert_same(name: str, alone: np.ndarray, beside: np.ndarray) -> None:
    assert alone.shape == beside.shape, name
    if alone.dtype == np.object_:
        if name == "MASKS":
            return  # compared as pixels below
        assert alone.tolist() == beside.tolist(), name
    else:
        assert np.allclose(alone, beside, atol=2e-3), name


def assert_same_masks(alone: dict, beside: dict) -> None:
    from fovea.masks import decode_rle

    size = tuple(alone["IMAGE_SIZE"].tolist())
    for left, right in zip(alone["MASKS"], beside["MASKS"], strict=True):
        differing = decode_rle(left, size) != decode_rle(right, size)
        assert differing.mean() < 1e-4


@pytest.mark.parametrize("verb", list(verb_inputs(b"")))
def test_an_answer_is_the_same_alone_and_among_random_neighbours(verb, triton_client, samples):
    pictures = [path.read_bytes() for path, _ in samples]
    rng = np.random.default_rng(5)
    for target in rng.choice(len(pictures), 3, replace=False):
        alone = requests.outputs(triton_client.infer(verb, verb_inputs(pictures[target])[verb]))
        neighbours = [int(i) for i in rng.integers(0, len(pictures), 7)]
        with ThreadPoolExecutor(8) as pool:
            order = [int(target), *neighbours]
            answers = pool.map(
                lambda i: triton_client.infer(verb, verb_inputs(pictures[i])[verb]), order
            )
            beside = requests.outputs(next(iter(answers)))
        for name, value in alone.items():
            assert_same(name, value, beside[name])
        if "MASKS" in alone:
            assert_same_masks(alone, beside)


def test_every_network_of_main_object_really_batches(url, client: Client, trials):
    before = read_statistics(url)
    images = [trial.image for trial in trials[:48]]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda image: client.main_object(image, LABELS), images))
    spent = difference(read_statistics(url), before)
    assert len(answers) == 48
    for name in NETWORKS:
        assert spent[name].inferences + spent[name].cache_hits >= 48
        assert spent[name].executions < spent[name].inferences, name
        print(f"{name}: {spent[name].inferences} in {spent[name].executions} executions")


def test_a_label_is_embedded_once(url, client: Client, samples):
    picture = samples[0][0]
    labels = ["a quite new label", "another new label"]
    before = read_statistics(url)
    for _ in range(3):
        client.main_object(picture, labels)
    spent = difference(read_statistics(url), before)["clip_text_encoder"]
    assert spent.inferences == 2


def test_a_second_prompt_on_a_picture_takes_its_embedding_from_the_cache(server, client, trials):
    picture = trials[-1].image
    before = read_statistics(server.grpc_url)
    first = client.segment(picture, points=[(50, 60)])
    middle, counted = read_statistics(server.grpc_url), read_cache_hits(server.metrics_url)
    client.segment(picture, points=[(80, 90)])
    again = client.segment(picture, points=[(50, 60)])
    encoder = "sam_image_encoder"
    assert difference(middle, before)[encoder].executions == 1
    assert difference(read_statistics(server.grpc_url), middle)[encoder].executions == 0
    assert read_cache_hits(server.metrics_url) == counted + 2
    assert np.array_equal(first.masks[0].to_numpy(), again.masks[0].to_numpy())


def test_many_prompts_go_in_one_request(client: Client, samples):
    picture, truth = samples[1]
    boxes = [item["box_xyxy"] for item in truth["objects"]] * 20
    found = client.segment(picture, boxes=boxes[:100])
    assert len(found.masks) == min(100, len(boxes))
    alone = client.segment(picture, boxes=boxes[:1])
    difference_share = (alone.masks[0].to_numpy() != found.masks[0].to_numpy()).mean()
    assert difference_share < 1e-4


def test_nothing_found_is_an_answer(client: Client, samples):
    picture, _ = samples[0]
    found = client.main_object(picture, ["xylophone"], box_threshold=1.0)
    assert not found.found
    assert found.box is None and found.mask is None
    assert found.label == "xylophone"
    assert len(client.detect_and_segment(picture, "xylophone", box_threshold=1.0)) == 0


def test_a_batched_request_of_fixed_shapes_is_answered(triton_client, samples):
    data = [path.read_bytes() for path, _ in samples[:4]]
    batch = triton.InferInput("IMAGE", [4, 1], "BYTES")
    batch.set_data_from_numpy(np.array([[item] for item in data], np.object_))
    together = triton_client.infer("embed_image", [batch]).as_numpy("IMAGE_EMBEDS")
    for item, row in zip(data, together, strict=True):
        single = triton_client.infer("embed_image", [requests.image(item)])
        assert np.allclose(single.as_numpy("IMAGE_EMBEDS")[0], row, atol=1e-5)


def test_no_request_of_a_single_caller_is_overlooked_in_a_queue(url, triton_client):
    """With any queue policy, Triton 2.51 let some of them wait for its batcher's 500 ms."""
    pixels = np.zeros((1, 3, 96, 96), np.uint8)
    tensor = triton.InferInput("pixel_values", pixels.shape, "UINT8")
    before = read_statistics(url)
    for number in range(300):
        pixels[0, 0, 0, 0] = number % 256
        tensor.set_data_from_numpy(pixels)
        triton_client.infer("clip_image_encoder", [tensor])
    spent = difference(read_statistics(url), before)["clip_image_encoder"]
    assert spent.queue_s < 0.45
