"""The training of the CLIP for object search."""

from __future__ import annotations

import torch
from transformers import CLIPModel

from demo.clip_config import model_config
from demo.scenes import make_scene, scene_rng
from demo.surroundings import PLACE_WORDS, TIME_WORDS, Surroundings
from demo.train_clip_scenes import UNKNOWN, SceneBatches, caption_of, mixed, scene_losses


def test_a_caption_says_when_or_where_a_scene_is():
    around = Surroundings("night", "beach")
    scene = make_scene(1, size=96, surroundings=around)
    for seed in range(20):
        text, (when, where) = caption_of(scene_rng(seed, "captions"), scene)
        assert scene.main.label in text and (when or where)
        assert when == any(text.replace(f" {w}", "") != text for w in TIME_WORDS["night"])
        assert where == any(text.endswith(w) for w in PLACE_WORDS["beach"])
    plain, said = caption_of(scene_rng(0, "captions"), make_scene(1, size=96))
    assert said == (False, False) and plain.split()[-1] == make_scene(1, size=96).main.label


def test_weights_are_mixed_with_those_of_the_start():
    start, learned = CLIPModel(model_config()), CLIPModel(model_config())
    pairs = zip(list(start.parameters()), learned.parameters(), strict=True)
    wanted = [(0.25 * one + 0.75 * other).detach() for one, other in pairs]
    found = mixed(start, learned, 0.75).parameters()
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(found, wanted, strict=True))


def test_a_batch_gives_finite_losses():
    inputs, right = SceneBatches(12, seed=0)(0)
    assert len(inputs["input_ids"]) >= 12 + len(TIME_WORDS) + len(PLACE_WORDS)
    assert ((right.times == UNKNOWN) == (right.places == UNKNOWN)).all()
    assert 0 < (right.times != UNKNOWN).sum() < 12
    assert not right.possible.diagonal().any()
    torch.manual_seed(0)
    losses = scene_losses(CLIPModel(model_config()), inputs, right)
    losses["loss"].backward()
    assert all(torch.isfinite(value) for value in losses.values())
