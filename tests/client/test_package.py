"""The public names, the imports, and the names that client and server share."""

from __future__ import annotations

import subprocess
import sys

import fovea_client
import numpy as np
from fovea_client import errors, objects, prompts, requests

import fovea.errors
from fovea.house import wire
from tests.client import fake_triton
from tests.deployments import TINY


def test_the_public_names() -> None:
    assert fovea_client.__all__ == [
        "AsyncClient",
        "Classification",
        "Client",
        "DeadlineExceeded",
        "Description",
        "Detections",
        "FoveaError",
        "ImageTooLarge",
        "InvalidAudio",
        "InvalidImage",
        "InvalidInput",
        "InvalidPrompt",
        "InvalidSetting",
        "InvalidTensor",
        "InvalidText",
        "InvalidThreshold",
        "LocalClient",
        "MainObject",
        "Mask",
        "MemberDescription",
        "Objects",
        "Outcome",
        "Overloaded",
        "RetryPolicy",
        "SceneSegmentation",
        "Segmentation",
        "SegmentedDetections",
        "ServerError",
        "Tls",
        "Unavailable",
        "UnknownVerb",
        "pictures_in",
    ]
    assert all(hasattr(fovea_client, name) for name in fovea_client.__all__)


def test_the_errors_are_those_of_the_contract() -> None:
    tree = [
        name
        for name, value in vars(fovea.errors).items()
        if isinstance(value, type) and issubclass(value, fovea.errors.FoveaError)
    ]
    assert all(getattr(errors, name) is getattr(fovea.errors, name) for name in tree)
    assert set(tree) <= set(fovea_client.__all__)


def test_the_client_stays_light() -> None:
    code = "import sys, fovea_client; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    heavy = {"cv2", "PIL", "supervision", "tokenizers", "rich", "typer", "torch", "lance"}
    heavy |= {"fovea_server", "fovea_search"}
    assert not heavy & set(loaded)


def test_tensor_names_types_and_shapes_are_those_of_the_ensembles() -> None:
    image = b"x"
    words = {
        "IMAGE": image,
        "TEXT": ("cat", "St. Bernard"),
        "BOX_THRESHOLD": 0.5,
        "TEXT_THRESHOLD": 0.5,
    }
    coords, labels = prompts.to_points([1, 2, 3, 4], None, None)
    everything = objects.to_inputs(image, 8, 0.5, 0.5, 0, 0.1, 9, full_size=True)
    sent = {
        "main_object": words,
        "detect": words,
        "detect_and_segment": words,
        "segment": {"IMAGE": image, "POINT_COORDS": coords, "POINT_LABELS": labels},
        "classify": {"IMAGE": image, "TEXT": ("cat", "St. Bernard")},
        "segment_everything": everything,
        "embed_objects": everything,
        "embed_image": {"IMAGE": image},
        "embed_text": {"TEXT": "cat"},
    }
    answered = {
        "main_object": fake_triton.main_object("cat"),
        "detect": fake_triton.detections("cat"),
        "detect_and_segment": fake_triton.detections("cat") | fake_triton.masks(1),
        "segment": fake_triton.masks(1),
        "classify": fake_triton.classes("cat"),
        "segment_everything": fake_triton.objects(1),
        "embed_objects": fake_triton.objects(1, embedded=True),
        "embed_image": {"IMAGE_EMBEDS": np.zeros(3)},
        "embed_text": {"TEXT_EMBEDS": np.zeros(3)},
    }
    specs = wire(TINY).ensembles
    assert {spec.name for spec in specs} == set(sent)
    for spec in specs:
        message = requests.Request(spec.name, sent[spec.name]).message(None)
        assert {tensor.name for tensor in message.inputs} == {tensor.name for tensor in spec.inputs}
        for tensor in message.inputs:
            expected = next(one for one in spec.inputs if one.name == tensor.name)
            assert tensor.datatype == expected.dtype.replace("STRING", "BYTES")
            assert len(tensor.shape) == 1 + len(expected.shape)
        assert set(answered[spec.name]) == {tensor.name for tensor in spec.outputs}
