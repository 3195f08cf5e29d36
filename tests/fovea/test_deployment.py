"""Deployments as people write them: their meaning, and one clear line for each mistake."""

from dataclasses import replace
from pathlib import Path

import pytest

from fovea import deployment_file
from fovea.deployment import Deployment
from fovea.house import wire
from fovea.machine_settings import MachineSettings
from fovea.placement import Placement
from fovea.verbs import InvalidDeployment, verbs_of
from tests.deployments import TINY

FOLDER = Path(__file__).resolve().parents[2] / "deployments"
GOOD = """
[members]
clip = "openai/clip@abc"
dino = "./my-dino"
sam  = { checkpoint = "/models/sam", family = "sam", edge = 7 }

[verbs]
main_object = { ranks = "clip", detects = "dino", cuts = "sam" }
find        = { verb = "detect", detects = "dino" }

[serving]
precision = "fp16"

[limits]
labels = 12
"""


def parsed(tmp_path, text):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return deployment_file.read(path)


def test_a_file_has_members_verbs_serving_and_limits(tmp_path):
    found = parsed(tmp_path, GOOD)
    assert found.name == "mine"
    assert found.members["clip"].checkpoint == "openai/clip@abc"
    assert found.members["dino"].checkpoint == str(tmp_path / "my-dino")
    assert found.members["sam"].family == "sam"
    assert found.members["sam"].options == (("edge", 7),)
    assert [(verb.name, verb.verb) for verb in found.verbs] == [
        ("main_object", "main_object"),
        ("find", "detect"),
    ]
    assert (found.serving.runtime, found.serving.precision) == ("onnxruntime", "fp16")
    assert found.limits.labels == 12


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.toml")), ids=lambda path: path.stem)
def test_the_deployments_that_come_with_the_project_can_be_read(path):
    assert deployment_file.read(path).members


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("[members]", "[members"), "expected a TOML file"),
        (
            ("[limits]", "[limit]"),
            "expected tables of members, verbs, serving, limits, got 'limit'",
        ),
        (("labels = 12", 'labels = "12"'), "limits.labels: expected int, got '12'"),
        (("labels = 12", "label = 12"), r"expected rows in \[limits\] of .*got 'label'"),
        (("precision", "precisions"), r"expected rows in \[serving\] of runtime, precision"),
        (('"openai/clip@abc"', "7"), "members.clip: expected a hub id, a folder"),
        (('family = "sam"', 'family = "sum"'), "members.sam: expected a family of align, clip"),
        (("find  ", "clip  "), "the name 'clip' is there twice"),
        (("find  ", "Find  "), "expected a name of lower-case letters"),
        (('{ verb = "detect", detects = "dino" }', "3"), "verbs.find: expected members by what"),
    ],
)
def test_each_mistake_gets_one_clear_line(tmp_path, change, said):
    assert change[0] in GOOD
    with pytest.raises(InvalidDeployment, match=said) as caught:
        parsed(tmp_path, GOOD.replace(*change))
    assert "mine.toml" in str(caught.value)
    assert "\n" not in str(caught.value).split(": expected a TOML file")[0]


@pytest.mark.parametrize("table", ["members", "verbs"])
def test_a_file_without_members_or_verbs_is_refused(tmp_path, table):
    start = GOOD.index(f"[{table}]")
    end = GOOD.index("\n\n", start)
    with pytest.raises(InvalidDeployment, match=rf"expected a table \[{table}\] with a row"):
        parsed(tmp_path, GOOD[:start] + GOOD[end:])


@pytest.mark.parametrize(
    ("verbs", "said"),
    [
        ({"detect": {"detects": "grounding_dino", "verb": "find"}}, "expected a verb of main"),
        ({"detect": {"detects": "nobody"}}, "detects = 'nobody', but the members are clip"),
        (
            {"detect": {"detects": "sam"}},
            "takes .* open_detector or detector, 'sam' is of role",
        ),
        ({"detect": {}}, "expected a member as 'detects', got none"),
        ({"detect": {"detects": "grounding_dino", "cuts": "sam"}}, "detect takes detects, got 'cu"),
        ({"segment": {"cuts": "sam"}}, "no verb uses the member 'clip'"),
        ({"sam": {"verb": "segment", "cuts": "sam"}}, "the name 'sam' is there twice"),
    ],
)
def test_verbs_whose_members_do_not_fit_are_refused(verbs, said):
    with pytest.raises(InvalidDeployment, match=said):
        Deployment(members=TINY.members, verbs=verbs_of(verbs))


def only(*names, **verbs):
    members = tuple(TINY.member(name) for name in names)
    return Deployment(members=members, verbs=verbs_of(verbs))


def test_a_deployment_has_the_models_that_its_verbs_need_and_no_others():
    wired = wire(only("grounding_dino", detect={"detects": "grounding_dino"}))
    assert wired.names == {
        "detect",
        "grounding_dino",
        "grounding_dino_select_boxes",
        "preprocess_image",
    }
    assert wire(only("clip", embed_text={"embeds": "clip"})).names == {
        "embed_text",
        "clip_text_encoder",
        "clip_tokenize_text",
    }


def test_members_that_want_the_same_picture_share_a_tensor():
    twin = replace(TINY.member("clip"), name="open_clip")
    deployment = Deployment(
        members=(TINY.member("clip"), twin),
        verbs=verbs_of(
            {
                "embed_image": {"embeds": "clip"},
                "other": {"verb": "embed_image", "embeds": twin.name},
            }
        ),
    )
    [first] = [step for step in wire(deployment).steps if step.kind == "PreprocessImage"]
    assert len(dict(first.model.parameters)["geometries"].split('"rule"')) - 1 == 1


def test_a_renamed_verb_is_an_ensemble_of_that_name():
    deployment = only(
        "grounding_dino",
        detect={"detects": "grounding_dino"},
        find={"verb": "detect", "detects": "grounding_dino"},
    )
    first, second = wire(deployment).ensembles
    assert (first.name, second.name) == ("detect", "find")
    assert dict(second.parameters)["verb"] == "detect"
    assert (first.inputs, first.outputs) == (second.inputs, second.outputs)


def test_a_step_knows_only_its_own_member():
    [step] = [s for s in wire(TINY).steps if s.model.name == "sam_encode_image"]
    parameters = dict(step.model.parameters)
    assert '"name":"sam"' in parameters["members"]
    assert "clip" not in str(parameters) and "grounding_dino" not in str(parameters)


def test_other_weights_change_the_configurations_of_everything_that_caches_answers():
    changed = tuple(
        replace(member, fingerprint="new") if member.name == "clip" else member
        for member in TINY.members
    )
    before, after = wire(TINY), wire(replace(TINY, members=changed))
    differ = {a.name for a, b in zip(after.networks, before.networks, strict=True) if a != b}
    assert differ == {"clip_image_encoder", "clip_text_encoder"}
    steps = zip(after.steps, before.steps, strict=True)
    assert {a.model.name for a, b in steps if a != b} == {
        "preprocess_image",
        "clip_tokenize_text",
        "clip_rank_labels_for_grounding_dino",
        "clip_rank_classes",
        "sam_embed_objects_by_clip",
    }


def test_settings_of_a_machine_are_applied_and_checked():
    sizes = replace(TINY.batch_sizes, networks=(("grounding_dino", 1),))
    settings = MachineSettings(
        sizes, (Placement("sam_image_encoder", instances=2),), decode_margin=0.0
    )
    wired = {spec.name: spec for spec in wire(settings.apply(TINY)).networks}
    assert wired["grounding_dino"].max_batch_size == 1
    assert wired["sam_image_encoder"].instances == 2
    with pytest.raises(ValueError, match="no model"):
        MachineSettings(placements=(Placement("nobody"),)).apply(TINY)
    with pytest.raises(ValueError, match="no model"):
        MachineSettings(replace(sizes, networks=(("select", 1),))).apply(TINY)
