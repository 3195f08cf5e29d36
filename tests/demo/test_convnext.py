"""The demo ConvNeXt names the main thing; its repeated scenes depend only on steps."""

import numpy as np

from demo.closed_reference import classifier
from demo.convnext_config import SHORTEST
from demo.evaluate import make_trial
from demo.evaluate_closed import accuracy
from demo.replay import FRESH, OLD, ReplayedScenes, Source

SCENES = Source(first_seed=7, shortest=SHORTEST)


def test_it_names_the_only_thing_of_a_scene():
    trials = [make_trial(seed, split="validation", n_objects=1) for seed in range(20)]
    assert accuracy(classifier(), trials) >= 0.9


def test_fresh_scenes_are_of_their_step_and_the_old_ones_of_steps_before():
    batches = ReplayedScenes(SCENES)
    shown = [batches(step) for step in range(3)]
    for step, (pictures, things) in enumerate(shown):
        assert pictures.shape == (FRESH + OLD, SHORTEST, SHORTEST, 3)
        fresh, named = SCENES.squares(step)
        assert np.array_equal(pictures[:FRESH], fresh) and np.array_equal(things[:FRESH], named)
    known = {picture.tobytes() for picture in np.concatenate([p[:FRESH] for p, _ in shown[:2]])}
    assert {picture.tobytes() for picture in shown[2][0][FRESH:]} <= known


def test_a_resumed_run_sees_the_same_scenes():
    whole, resumed = ReplayedScenes(SCENES), ReplayedScenes(SCENES)
    for step in range(2):
        whole(step)
    for ours, theirs in zip(resumed(2), whole(2), strict=True):
        assert np.array_equal(ours, theirs)
