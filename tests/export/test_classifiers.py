"""Classifiers answer like transformers' pipeline, and only about their own classes."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from fovea_client import Classification, InvalidSetting, InvalidText, LocalClient
from PIL import Image
from transformers import AutoConfig, pipeline

from export import stand_ins
from export.checkpoints import find
from export.deployments import Export, read_deployment, run
from export.errors import InvalidCheckpoint, UnsupportedProcessor
from export.families.square_classifier import is_multi_label, read_labels
from export.family_checkpoints import STAND_INS
from export.members import MEMBERS, MemberExport
from export.preprocessing import photograph
from fovea.images import Picture
from fovea.members import Source

FAMILIES = ("convnext", "convnextv2", "efficientnet")
SIZES_HW = ((200, 320), (333, 250), (40, 61))
# For a score: resizing rounds to whole grey levels, possibly in opposite directions.
SAME = 2e-3


@pytest.fixture(scope="module")
def folders() -> dict[str, Path]:
    """A tiny checkpoint of each family."""
    return {
        family: stand_ins.write(family, "tiny", STAND_INS / family)[f"{family}_tiny"]
        for family in FAMILIES
    }


@pytest.fixture(scope="module")
def local(folders, tmp_path_factory):
    """All of them in one deployment, each with its own classify."""
    toml = tmp_path_factory.mktemp("deployment") / "classifiers.toml"
    members = "".join(f"{family} = {str(folder)!r}\n" for family, folder in folders.items())
    verbs = "".join(
        f"classify_{family} = {{ verb = 'classify', classifies = {family!r} }}\n"
        for family in folders
    )
    toml.write_text(f"[members]\n{members}\n[verbs]\n{verbs}")
    run(Export(read_deployment(str(toml)), toml.parent / "out", members=MEMBERS))
    with LocalClient(toml.parent / "out") as client:
        yield client


def png(picture: Image.Image) -> bytes:
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


def check_same(ours: Classification, theirs: list[dict]) -> None:
    assert ours.scores == pytest.approx([row["score"] for row in theirs], abs=SAME)
    gaps = np.diff([row["score"] for row in theirs])
    if len(gaps) == 0 or np.abs(gaps).min() > 2 * SAME:  # else a tie may swap
        assert list(ours.labels) == [row["label"] for row in theirs]


@pytest.mark.parametrize("family", FAMILIES)
def test_answers_are_those_of_the_pipeline(folders, local, family):
    ask = pipeline("image-classification", model=str(folders[family]))
    seen = []
    for size_hw in SIZES_HW:
        picture = photograph(size_hw)
        for more in ({}, {"top_k": 2}, {"top_k": 99}):
            ours = local.classify(png(picture), verb=f"classify_{family}", **more)
            check_same(ours, ask(picture, **more))
        seen.append(ours.scores[np.argsort(ours.indices)])
    assert np.ptp(seen, axis=0).max() > 10 * SAME, "the answer does not depend on the picture"


def test_a_closed_classifier_takes_no_labels(local):
    picture = png(photograph(SIZES_HW[0]))
    said = "expected no phrases or labels: 'classify_convnext' has classes of its own; got some"
    with pytest.raises(InvalidText, match=said):
        local.classify(picture, ["cat", "dog"], verb="classify_convnext")
    with pytest.raises(InvalidSetting, match="top_k"):
        local.classify(picture, top_k=0, verb="classify_convnext")


def with_config(folder: Path, target: Path, **changes: object) -> Path:
    """The checkpoint with changes in its config.json."""
    shutil.copytree(folder, target)
    config = json.loads((target / "config.json").read_text())
    (target / "config.json").write_text(json.dumps(config | changes))
    return target


def test_several_labels_are_sigmoids_as_in_the_pipeline(folders, tmp_path):
    folder = with_config(
        folders["convnext"], tmp_path / "many", problem_type="multi_label_classification"
    )
    opened = MemberExport(find("many", Source(str(folder)))).open()
    picture = photograph(SIZES_HW[0])
    pixels, _ = opened.role.geometry.apply(Picture(picture))
    logits = opened.networks[0].module(torch.from_numpy(pixels)[None])[0].numpy()
    ours = dict(zip(opened.role.spec.class_names, opened.role.scores(logits).tolist(), strict=True))
    theirs = pipeline("image-classification", model=str(folder))(picture, top_k=99)
    assert ours == pytest.approx({row["label"]: row["score"] for row in theirs}, abs=SAME)
    assert sum(ours.values()) > 2


def test_a_single_class_is_a_sigmoid_and_a_regression_is_refused(folders):
    config = AutoConfig.from_pretrained(folders["convnext"])
    assert not is_multi_label("convnext", config)
    config.id2label = {0: "hot dog"}
    assert is_multi_label("convnext", config)
    config.problem_type = "regression"
    with pytest.raises(InvalidCheckpoint, match="expected a classifier, got problem_type='regr"):
        is_multi_label("convnext", config)


def test_names_of_classes_must_count_from_0(folders):
    config = AutoConfig.from_pretrained(folders["convnext"])
    assert read_labels("convnext", config)[0] == "tench, Tinca tinca"
    config.id2label = {0: "cat", 2: "dog"}
    with pytest.raises(InvalidCheckpoint, match=r"an id2label of 0 to 1, got \[0, 2\]"):
        read_labels("convnext", config)


def test_a_setting_of_one_familys_processor_is_unknown_to_another(folders, tmp_path):
    shutil.copytree(folders["efficientnet"], tmp_path / "other")
    path = tmp_path / "other" / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"crop_pct": 0.9}))
    with pytest.raises(UnsupportedProcessor, match=r"effect is not known here: crop_pct=0\.9"):
        find("efficientnet", Source(str(tmp_path / "other"))).load_image_processor()
