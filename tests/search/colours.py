"""A world of coloured squares, and a server that knows its colours: finds can be counted.

The server speaks Triton's protocol. Its objects are the squares of a picture, an embedding holds
the share of each colour, and a text is embedded by the colours that it names.
"""

from __future__ import annotations

import io
import json
from pathlib import Path

import cv2
import grpc
import numpy as np
from fovea_client import MemberDescription
from PIL import Image

from fovea.errors import InvalidImage
from fovea.images import decode_image
from fovea.limits import Limits
from fovea.masks import encode_rle
from tests.client.fake_triton import MODELS, Call, FakeTriton, Refusal, Tensors

COLOURS = {
    "red": (200, 30, 30),
    "green": (30, 160, 40),
    "blue": (40, 60, 200),
    "yellow": (230, 210, 40),
    "white": (250, 250, 250),
    "night": (10, 10, 25),
    "day": (150, 200, 235),
}
NAMES = tuple(COLOURS)
SIZE, SQUARE = 96, 20
EMBEDDER, OTHER_EMBEDDER = "e" * 64, "f" * 64


def server(**options: object) -> FakeTriton:
    """A server, not started yet."""
    return FakeTriton(behave=answer, parameters=parameters(), **options)


def parameters(embedder: str = EMBEDDER) -> dict[str, str]:
    sam = MemberDescription("sam", "sam", "promptable", "c" * 64)
    clip = MemberDescription("clip", "clip", "embedder", embedder)
    members = {"cuts_member": sam, "embeds_member": clip}
    about = {key: json.dumps(member.to_dict()) for key, member in members.items()}
    return {"cuts": "sam", "embeds": "clip", **about}


def picture(squares: tuple[str, ...], scene: str = "day", seed: int = 0) -> bytes:
    """A PNG with squares of these colours, at places that differ with the seed."""
    pixels = np.full((SIZE, SIZE, 3), COLOURS[scene], np.uint8)
    places = np.random.default_rng(seed).permutation(9)[: len(squares)]
    for place, name in zip(places, squares, strict=True):
        y, x = 6 + place // 3 * 30, 6 + place % 3 * 30
        pixels[y : y + SQUARE, x : x + SQUARE] = COLOURS[name]
    pixels[0, 0] = seed % 256, seed // 256 % 256, 0  # no two seeds give the same picture
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def write(folder: Path, count: int, *, start: int = 0) -> list[Path]:
    """Pictures with a red or a green, and a blue square; odd ones at night."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for seed in range(start, start + count):
        squares = (("red", "green")[seed // 2 % 2], "blue")
        paths.append(folder / f"{seed:04d}.png")
        paths[-1].write_bytes(picture(squares, ("day", "night")[seed % 2], seed))
    return paths


def embed(pixels: np.ndarray) -> np.ndarray:
    """float32 [len(NAMES)], of length 1: shares of the colours in uint8 [..., 3]."""
    known = np.array([*COLOURS.values()], np.int32)
    nearest = np.abs(pixels.reshape(-1, 1, 3).astype(np.int32) - known).sum(2).argmin(1)
    shares = np.bincount(nearest, minlength=len(NAMES)).astype(np.float32)
    return shares / np.linalg.norm(shares)


def embed_words(words: str) -> np.ndarray:
    named = np.array([name in words for name in NAMES], np.float32) + 1e-3
    return named / np.linalg.norm(named)


def answer(call: Call) -> Tensors | Refusal:
    if call.model not in MODELS:
        words = f"Request for unknown model: '{call.model}' is not found"
        return Refusal(grpc.StatusCode.NOT_FOUND, words)
    if call.model == "embed_text":
        return {"TEXT_EMBEDS": embed_words(call.text())}
    data = call.inputs["IMAGE"].reshape(-1)[0]
    try:
        pixels = np.array(decode_image(data, Limits()))
    except InvalidImage as error:
        return Refusal(grpc.StatusCode.INVALID_ARGUMENT, f"[invalid_image] {error}")
    if call.model == "embed_image":
        return {"IMAGE_EMBEDS": embed(pixels)}
    return _objects(pixels)


def _objects(pixels: np.ndarray) -> Tensors:
    masks = []
    for name in ("red", "green", "blue", "yellow", "white"):
        count, labels = cv2.connectedComponents((pixels == COLOURS[name]).all(2).astype(np.uint8))
        masks += [labels == label for label in range(1, count)]
    boxes = [cv2.boundingRect(mask.astype(np.uint8)) for mask in masks]
    scores = np.linspace(0.9, 0.5, len(masks)).astype(np.float32)
    embeds = [embed(pixels[mask]) for mask in masks]
    return {
        "BOXES": np.array([(x, y, x + w, y + h) for x, y, w, h in boxes], np.float32).reshape(
            -1, 4
        ),
        "MASKS": np.array([encode_rle(mask) for mask in masks], np.object_),
        "MASK_SCORES": scores,
        "STABILITY": scores,
        "EMBEDDINGS": np.array(embeds, np.float32).reshape(-1, len(NAMES)),
        "PICTURE_EMBEDDING": embed(pixels),
        "IMAGE_SIZE": np.array(pixels.shape[:2], np.int32),
    }
