"""What the CLIP of object search is taught of crops."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from transformers import CLIPModel

from demo.clip_config import EDGE, model_config
from demo.object_crops import NOTHING, ObjectCrops
from demo.things import LABELS
from demo.train_clip_objects import (
    NOTHINGS,
    THINGS,
    CropBatches,
    crop_losses,
    named_crops,
    supervised_contrastive,
)
from demo.vocabulary import clip_tokenizer

NAMES = torch.tensor([0, 0, 1, 1, NOTHING, NOTHING])


def vectors(*angles: float) -> torch.Tensor:
    """Of length 1 in the plane."""
    turned = torch.tensor(angles)
    return torch.stack([turned.cos(), turned.sin()], dim=1)


def test_crops_of_a_name_are_to_be_together_and_of_nothing_apart():
    together = supervised_contrastive(vectors(0, 0.1, 1.5, 1.6, 3, 4.5), NAMES)
    mixed_up = supervised_contrastive(vectors(0, 1.5, 0.1, 1.6, 3, 4.5), NAMES)
    near_nothing = supervised_contrastive(vectors(0, 0.1, 1.5, 1.6, 0, 1.5), NAMES)
    assert together < near_nothing < mixed_up
    of_nothing = supervised_contrastive(vectors(0, 0.1, 1.5, 1.6, 3, 3), NAMES)
    assert torch.isclose(of_nothing, together, atol=1e-3)


def test_a_name_is_to_be_nearest_to_its_crops():
    texts = F.normalize(torch.randn(len(LABELS), 8, generator=torch.manual_seed(0)), dim=1)
    names = torch.tensor([3, 3, 5, NOTHING])
    right = named_crops(texts[[3, 3, 5, 7]], texts, names)
    wrong = named_crops(texts[[5, 5, 3, 7]], texts, names)
    lured = named_crops(texts[[3, 3, 5, 3]], texts, names)
    assert right < lured < wrong


def test_a_batch_has_things_and_nothing_and_is_learned_from():
    rng = np.random.default_rng(0)
    names = np.array([NOTHING, *range(len(LABELS))])
    pixels = rng.integers(0, 256, (len(names), 3, EDGE, EDGE), np.uint8)
    batches = CropBatches(ObjectCrops(pixels, names, np.arange(len(names))), seed=0)
    crops = batches(0)
    assert (crops.names == NOTHING).sum() == NOTHINGS and len(crops.names) == THINGS + NOTHINGS
    assert torch.equal(crops.pixels, batches(0).pixels)
    torch.manual_seed(0)
    model = CLIPModel(model_config())
    text = dict(clip_tokenizer()(list(LABELS), padding=True, return_tensors="pt"))
    losses = crop_losses(model, crops, text)
    losses["loss"].backward()
    assert all(torch.isfinite(value) for value in losses.values())
