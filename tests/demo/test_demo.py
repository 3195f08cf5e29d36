"""The demo's table follows from what is served."""

from dataclasses import replace

from demo.__main__ import steps_of
from fovea.house import wire
from tests.deployments import TINY


def test_every_model_of_the_verb_belongs_to_one_column():
    steps = steps_of(TINY)
    assert steps.slots == {"ranks": "CLIP", "detects": "DINO", "cuts": "SAM"}
    assert list(steps.models) == ["decode", "CLIP", "DINO", "SAM"]
    assert steps.models["decode"] == ("preprocess_image",)
    assert steps.models["CLIP"] == ("clip_image_encoder", "clip_rank_labels_for_grounding_dino")
    told = [model for models in steps.models.values() for model in models]
    ensemble = next(one for one in wire(TINY).ensembles if one.name == "main_object")
    assert sorted(told) == sorted(step.model for step in ensemble.steps)


def test_another_member_has_a_column_of_its_own_name():
    clip, *others = TINY.members
    named = replace(clip, name="open_clip")
    verbs = tuple(
        replace(v, members=tuple((s, "open_clip" if m == "clip" else m) for s, m in v.members))
        for v in TINY.verbs
    )
    steps = steps_of(replace(TINY, members=(named, *others), verbs=verbs))
    assert steps.models["CLIP"][0] == "open_clip_image_encoder"
