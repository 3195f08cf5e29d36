"""The same pictures by a plain script of `transformers`: pictures a second, and what words find.

The script is what people write: SAM's mask generation, the tight box of each mask through CLIP,
one object a call, all in this process. Both sides are asked for every name in the truth by the same
words.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from fovea_client import Client
from fovea_search.vectors import unit
from numpy.typing import NDArray
from PIL import Image
from transformers import AutoTokenizer, CLIPModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from demo.crops import average_precision
from demo.evaluate import HIT_IOU, mask_iou
from demo.mask_generation import MaskGeneration
from demo.scenes import Scene, box_of
from demo.training import CHECKPOINTS_FOLDER

# The checkpoint's own grid, on both sides.
POINTS_PER_SIDE = 16
WORDS = "a photo of a {}."


@dataclass(frozen=True)
class Peer:
    """pictures_per_s: with all that is indexed. objects: found in all. text_map: mean average
    precision of the names in the truth; a true object without a mask counts as never found."""

    side: str
    pictures: int
    pictures_per_s: float
    objects: int
    text_map: float


@dataclass(frozen=True)
class Found:
    """Objects of all pictures: vectors [N, D] of length 1, and what each truly is, "" if nothing.

    again: a true object that another one is, too; only the first is right.
    """

    vectors: NDArray[np.float32]
    names: Sequence[str]


class Transformers:
    """The plain script."""

    def __init__(self) -> None:
        folder = CHECKPOINTS_FOLDER / "clip"
        self._sam = MaskGeneration()
        self._clip = CLIPModel.from_pretrained(folder).eval()
        self._processor = CLIPImageProcessorPil.from_pretrained(folder)
        self._tokenizer = AutoTokenizer.from_pretrained(folder)

    def objects(self, image: Image.Image) -> tuple[list[NDArray[np.bool_]], NDArray[np.float32]]:
        """Masks and their vectors."""
        config = self._sam.model.config
        found = self._sam.generate(
            image,
            points_per_side=POINTS_PER_SIDE,
            iou_threshold=config.iou_threshold,
            stability_threshold=config.stability_threshold,
        )
        masks = [mask for mask in found.masks if mask.any()]
        return masks, np.array([self._embed(image.crop(box_of(mask))) for mask in masks])

    @torch.inference_mode()
    def _embed(self, crop: Image.Image) -> NDArray[np.float32]:
        inputs = self._processor(images=crop, return_tensors="pt")
        return _unit(self._clip.get_image_features(**inputs))

    @torch.inference_mode()
    def text(self, words: str) -> NDArray[np.float32]:
        """Of length 1."""
        return _unit(self._clip.get_text_features(**self._tokenizer(words, return_tensors="pt")))


def _unit(features: object) -> NDArray[np.float32]:
    tensor = getattr(features, "pooler_output", features)
    assert isinstance(tensor, torch.Tensor)
    return unit(tensor[0].numpy())


def true_names(masks: Sequence[NDArray[np.bool_]], scene: Scene) -> list[str]:
    """Of each mask the true object's name; "" for none, and for the second mask of one object."""
    taken, names = set[int](), list[str]()
    for mask in masks:
        overlaps = [mask_iou(mask, thing.mask) for thing in scene.objects]
        best = int(np.argmax(overlaps))
        hit = overlaps[best] > HIT_IOU and best not in taken
        names.append(scene.objects[best].label if hit else "")
        taken |= {best} if hit else set()
    return names


def text_map(found: Found, scenes: Mapping[str, Scene], texts: Mapping[str, object]) -> float:
    """Mean over names that are in the truth."""
    names = np.array(found.names)
    precisions = []
    for name, vector in texts.items():
        there = sum(thing.label == name for scene in scenes.values() for thing in scene.objects)
        right = names == name
        share = right.sum() / there
        scores = found.vectors @ np.asarray(vector, np.float32)
        precisions.append(average_precision(scores, right) * share if right.any() else 0.0)
    return float(np.mean(precisions))


def measure(client: Client, photos: Path, scenes: Mapping[str, Scene]) -> list[Peer]:
    """Both sides in turns, a picture at a time."""
    script = Transformers()
    names = sorted({thing.label for scene in scenes.values() for thing in scene.objects})
    sides = {"fovea": _Served(client), "transformers script": script}
    seconds, vectors, labels = dict.fromkeys(sides, 0.0), {}, {}
    for name in sides:
        vectors[name], labels[name] = list[NDArray[np.float32]](), list[str]()
    for path, scene in scenes.items():
        image = Image.open(path).convert("RGB")
        for name, side in sides.items():
            start = time.perf_counter()
            masks, embedded = side.objects(image)
            seconds[name] += time.perf_counter() - start
            vectors[name] += list(embedded)
            labels[name] += true_names(masks, scene)
    peers = []
    for name, side in sides.items():
        texts = {label: side.text(WORDS.format(label)) for label in names}
        found = Found(np.array(vectors[name]), labels[name])
        rate = len(scenes) / seconds[name]
        score = text_map(found, scenes, texts)
        peers.append(Peer(name, len(scenes), rate, len(found.names), score))
    return peers


class _Served:
    """`embed_objects` of the server, one caller."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def objects(self, image: Image.Image) -> tuple[list[NDArray[np.bool_]], NDArray[np.float32]]:
        found = self._client.embed_objects(image)
        assert found.embeddings is not None
        return [mask.to_numpy() for mask in found.masks], found.embeddings

    def text(self, words: str) -> NDArray[np.float32]:
        vector: NDArray[np.float32] = self._client.embed_text(words)
        return vector
