"""What the SAM of object search is taught."""

from __future__ import annotations

import numpy as np
import torch

from demo.sam_config import EDGE, new_model
from demo.scenes import make_surrounded, scene_rng
from demo.train_sam_scenes import MOST_OBJECTS, batch_of, everything_losses, points_of


def test_points_are_on_the_things_that_they_are_said_to_be_on():
    for seed in range(5):
        scene = make_surrounded(seed)
        points, owners = points_of(scene_rng(seed, "points"), scene)
        columns, rows = (points[:, 0] * max(scene.image.shape) / EDGE).astype(int).T
        for row, column, owner in zip(rows, columns, owners, strict=True):
            on = [i for i, thing in enumerate(scene.objects) if thing.mask[row, column]]
            assert on == ([owner] if owner >= 0 else [])
        assert (owners >= 0).any()


def test_masks_and_scores_are_learned_of_points_on_things_and_on_nothing():
    batch = batch_of([make_surrounded(seed) for seed in (3, 4)], seed=3)
    assert batch.pixels.shape == (2, 3, EDGE, EDGE)
    assert batch.things.shape == (2, MOST_OBJECTS, EDGE, EDGE)
    at = (batch.points[:, :, 0].long()).clamp_max(EDGE - 1)
    shown = np.array(
        [
            [things[:, y, x].max() for x, y in of]
            for things, of in zip(batch.things, at, strict=True)
        ]
    )
    assert shown[batch.owners.numpy() >= 0].mean() > 0.9 > 0.1 > shown[batch.owners < 0].mean()
    torch.manual_seed(0)
    model = new_model()
    losses = everything_losses(model, batch)
    losses["loss"].backward()
    assert all(torch.isfinite(value) for value in losses.values())
    assert model.mask_decoder.iou_prediction_head.proj_out.weight.grad.abs().sum() > 0
