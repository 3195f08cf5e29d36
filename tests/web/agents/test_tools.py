"""The tools of deployments other than the demo, and the form of their answers."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from fovea_client import (
    Classification,
    Client,
    Description,
    Detections,
    InvalidInput,
    MainObject,
    Mask,
    MemberDescription,
    SceneSegmentation,
)
from fovea_web.agents import arguments, replies, tools

SIZE_HW = (40, 60)
CLASSES = tuple(f"class {index}" for index in range(100))
OPEN = MemberDescription("dino", "grounding_dino", "open_detector")
CLOSED = MemberDescription("detr", "detr", "detector", class_names=CLASSES)
CLIP = MemberDescription("clip", "clip", "embedder")
SAM = MemberDescription("sam", "sam", "promptable")


def tools_of(*verbs: Description) -> dict[str, tools.Tool]:
    """The tools of a server that is never called."""
    with Client("localhost:1") as client:
        return {tool.name: tool for tool in tools.of_deployment(client, None, verbs)}


def taken(tool: tools.Tool) -> set[str]:
    return set(arguments.schema_of(tool.arguments)["properties"])


def test_an_open_detector_takes_phrases_and_a_closed_one_lists_its_classes() -> None:
    found = tools_of(
        Description("find", "detect", {"detects": OPEN}),
        Description("traffic", "detect", {"detects": CLOSED}),
    )
    assert "phrases" in taken(found["find"]) and "phrases" not in taken(found["traffic"])
    told = found["traffic"].description
    assert "class 59, and 40 more" in told and "class 60" not in told


def test_labels_are_for_embedders_and_top_k_is_for_classifiers() -> None:
    own = MemberDescription("convnext", "convnext", "classifier", class_names=("cat", "dog"))
    found = tools_of(
        Description("classify", "classify", {"classifies": CLIP}),
        Description("species", "classify", {"classifies": own}),
    )
    assert {"labels"} == taken(found["classify"]) - {"image_base64"}
    assert {"top_k"} == taken(found["species"]) - {"image_base64"}


def test_a_description_needs_a_verb_that_detects_with_the_same_member() -> None:
    main = Description("main_object", "main_object", {"ranks": CLIP, "detects": OPEN, "cuts": SAM})
    other = Description("detect", "detect", {"detects": CLOSED})
    same = Description("find", "detect", {"detects": OPEN})
    assert "description" not in taken(tools_of(main, other)["main_object"])
    assert "description" in taken(tools_of(main, other, same)["main_object"])


def test_members_with_unknown_classes_take_no_phrases_either() -> None:
    nameless = MemberDescription("mine", "yolo", "detector")
    found = tools_of(Description("detect", "detect", {"detects": nameless}))
    assert "phrases" not in taken(found["detect"])


def test_the_tools_need_neither_the_gateway_nor_the_search() -> None:
    loaded = "import sys, fovea_web.agents.cli; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", loaded], capture_output=True, text=True, check=True
    )
    assert not {"fastapi", "lance", "torch"} & set(done.stdout.split())


def test_vectors_are_no_tools() -> None:
    assert not tools_of(Description("embed_text", "embed_text", {"embeds": CLIP}))


def test_null_counts_as_left_out_and_wrong_types_are_named() -> None:
    model = arguments.model_of("detect", ("image_base64", "phrases", "box_threshold"), ("phrases",))
    given = {"phrases": ["cat"], "box_threshold": None}
    assert arguments.check(model, given) == {"phrases": ["cat"]}
    for wrong in (float("nan"), "much", -1):
        with pytest.raises(InvalidInput, match="box_threshold: "):
            arguments.check(model, {**given, "box_threshold": wrong})
    with pytest.raises(InvalidInput, match="phrases: Field required"):
        arguments.check(model, None)


def test_all_objects_are_counted_and_the_surest_listed() -> None:
    count = replies.TOLD + 7
    found = Detections(
        np.tile(np.float32([1.4, 2.6, 10, 20]), (count, 1)),
        np.linspace(1, 0.5, count, dtype=np.float32),
        ("cat",) * count,
        SIZE_HW,
    )
    record = replies.to_record(found)
    assert (record["count"], len(record["objects"]), record["not_told"]) == (count, replies.TOLD, 7)
    assert record["objects"][0] == {"label": "cat", "score": 1.0, "box": [1, 3, 10, 20]}


def test_a_scenes_segments_have_their_labels_and_areas() -> None:
    mask = Mask(b"04", (2, 2))
    one = np.ones(1, np.float32)
    scene = SceneSegmentation((mask,), ("sky",), np.zeros(1, np.int32), one, (2, 2))
    segment = replies.to_record(scene, masks=True)["objects"][0]
    assert (segment["label"], segment["mask_area"]) == ("sky", mask.area)
    assert segment["mask"] == mask.to_coco()


def test_nothing_found_and_classes_have_no_boxes() -> None:
    nothing = MainObject(False, "cat", {"cat": 0.75, "dog": 0.25}, None, None, None, None, SIZE_HW)
    record = replies.to_record(nothing)
    assert record["label_scores"] == {"cat": 0.75, "dog": 0.25} and "box" not in record
    ranked = Classification(("cat",), np.zeros(1, np.int32), np.float32([0.12345]))
    assert replies.to_record(ranked) == {"labels": [{"label": "cat", "score": 0.123}]}
