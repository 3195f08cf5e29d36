"""Mistakes in a deployment are refused before any weights are read."""

import datetime
from dataclasses import replace
from pathlib import Path

import pytest

from export.checkpoint_files import weight_files
from export.deployments import DEPLOYMENTS, Export, load, read_deployment, run
from export.errors import ExportError, InvalidCheckpoint, InvalidOption
from export.families import FAMILIES, MOBILE_SAM, MODEL_TYPES, OPEN_CLIP
from export.families import load as load_family
from fovea import families
from fovea.members import Source
from fovea.verbs import verbs_of


@pytest.fixture
def unreadable(checkpoints, tmp_path) -> dict[str, str]:
    """The members' folders; reading the weights fails."""
    for name, checkpoint in checkpoints.items():
        (tmp_path / name).mkdir()
        for path in checkpoint.folder.iterdir():
            (tmp_path / name / path.name).write_bytes(path.read_bytes())
        for path in weight_files(tmp_path / name):
            path.write_bytes(b"no weights")
    return {name: str(tmp_path / name) for name in checkpoints}


def refused(deployment, tmp_path: Path, error: type[Exception], message: str) -> None:
    """Refused by an export and by opening; nothing is written."""
    for attempt in (run, load):
        with pytest.raises(error, match=message):
            attempt(Export(deployment, tmp_path / "out", members=tmp_path / "members"))
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "members").exists()


def test_the_weights_here_would_be_noticed(unreadable, tmp_path):
    deployment = read_deployment("demo").with_checkpoints(unreadable)
    with pytest.raises(InvalidCheckpoint, match=r"clip: the weights in .* cannot be loaded"):
        load(Export(deployment, tmp_path))


@pytest.mark.parametrize(
    ("member", "option", "value", "message"),
    [
        ("clip", "longest_edge", 96, "clip: family clip takes no options, got 'longest_edge'"),
        (
            "grounding_dino",
            "longest_side",
            96,
            "grounding_dino: family grounding_dino takes longest_edge, got 'longest_side'",
        ),
        ("grounding_dino", "longest_edge", "96", "longest_edge: expected int, got '96'"),
        ("grounding_dino", "longest_edge", 96.0, r"longest_edge: expected int, got 96\.0"),
        ("grounding_dino", "longest_edge", True, "longest_edge: expected int, got True"),
        ("grounding_dino", "longest_edge", [96], r"longest_edge: expected int, got \[96\]"),
        (
            "grounding_dino",
            "longest_edge",
            datetime.date(2000, 1, 1),
            r"longest_edge: expected int, got datetime\.date",
        ),
    ],
)
def test_an_option_that_the_family_does_not_take_is_refused(
    unreadable, tmp_path, member, option, value, message
):
    deployment = read_deployment("demo").with_checkpoints(unreadable)
    wrong = deployment.with_option(member, option, value)
    refused(wrong, tmp_path, InvalidOption, message)


def test_a_member_in_the_wrong_role_is_refused(unreadable, tmp_path):
    deployment = read_deployment("demo").with_checkpoints(unreadable)
    verbs = verbs_of({"find": {"verb": "detect", "detects": "clip"}})
    message = "demo: find: detects takes .* open_detector or detector, 'clip' is of role embedder"
    refused(replace(deployment, verbs=verbs), tmp_path, ExportError, message)


def test_a_checkpoint_that_plays_another_role_than_its_member_did_is_refused(unreadable, tmp_path):
    deployment = read_deployment("demo").with_checkpoints(
        unreadable | {"grounding_dino": unreadable["sam"]}
    )
    message = "main_object: detects takes .* open_detector, 'grounding_dino' is of role promptable"
    refused(deployment, tmp_path, ExportError, message)


def test_a_member_that_no_verb_uses_is_refused(unreadable, tmp_path):
    deployment = read_deployment("demo").with_checkpoints(unreadable)
    verbs = verbs_of({"embed_image": {"embeds": "clip"}})
    message = "demo: no verb uses the member 'grounding_dino'"
    refused(replace(deployment, verbs=verbs), tmp_path, ExportError, message)


def test_a_checkpoint_of_an_unknown_model_type_is_refused(unreadable, tmp_path):
    config = Path(unreadable["sam"], "config.json")
    config.write_text(config.read_text().replace('"model_type": "sam"', '"model_type": "yolo"'))
    deployment = read_deployment("demo").with_checkpoints(unreadable)
    message = rf"sam: expected .* model_type {', '.join(MODEL_TYPES)} in .*, got 'yolo'"
    refused(deployment, tmp_path, InvalidCheckpoint, message)


def test_a_family_that_is_not_the_checkpoints_is_refused(unreadable, tmp_path):
    deployment = read_deployment("demo").with_checkpoints(unreadable)
    sources = {**deployment.members, "sam": Source(unreadable["sam"], family="hq_sam")}
    message = r"sam: expected .* model_type 'sam_hq' in .*, got 'sam'"
    refused(replace(deployment, members=sources), tmp_path, InvalidCheckpoint, message)


def test_a_family_that_is_the_checkpoints_changes_nothing(deployment, tmp_path):
    named = {
        name: replace(source, family=source.family or name)
        for name, source in deployment.members.items()
    }
    plain = Export(deployment, tmp_path)
    with_families = Export(replace(deployment, members=named), tmp_path)
    keys = [
        {name: member.key() for name, member in export.find().items()}
        for export in (plain, with_families)
    ]
    assert keys[0] == keys[1]


def test_an_unknown_deployment_is_refused_with_a_list_of_known_ones():
    known = ", ".join(DEPLOYMENTS)
    with pytest.raises(ExportError, match=f"expected a .toml file or one of {known}, got 'dem'"):
        read_deployment("dem")


@pytest.mark.parametrize("text", [None, "[members", "[members]\n", "[nobody]\n"])
def test_a_broken_file_is_an_export_error_that_names_it(tmp_path, text):
    path = tmp_path / "mine.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ExportError, match=r"mine\.toml: expected"):
        read_deployment(str(path))


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_each_deployment_that_comes_with_the_project_is_read(name):
    deployment = read_deployment(name)
    assert deployment.name == name
    assert deployment.members and deployment.verbs


def test_each_family_has_both_sides():
    assert FAMILIES.keys() == families.FAMILIES.keys()
    assert (
        set(MODEL_TYPES.values()) | {OPEN_CLIP, MOBILE_SAM, "imagebind", "yolo_nas", "yolov8"}
        == FAMILIES.keys()
    )
    for family in FAMILIES:
        made = load_family(family)
        assert made.POLICIES
        assert bool(made.TEXTS) == bool(families.load(family).FILES)
