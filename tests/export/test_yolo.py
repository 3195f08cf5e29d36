"""YOLOs as their users' ONNX files: read, adapted, and answering like the upstream predictors."""

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper
from PIL import Image

from export import stand_ins
from export.checkpoints import find
from export.errors import CheckpointUnavailable, InvalidCheckpoint, InvalidOption
from export.family_checkpoints import STAND_INS, requests
from export.members import MemberExport, export_member
from export.parity import open_onnxruntime
from fovea import boxes
from fovea.families.yolo import suppressed_by_class
from fovea.images import Picture
from fovea.members import Source
from fovea.roles import Selection

# The last one is resized to a fraction of a pixel, on which ultralytics' margin depends.
SIZES_HW = ((64, 96), (90, 41), (33, 200), (40, 73))


def exported(family):
    [request] = requests(family).values()
    return export_member(request, report=lambda network, what: None)


def asked(family, size_hw):
    """A picture of this size through the graph: the role, its answer, and the letterbox's ends."""
    made = exported(family)
    role = made.member.play()
    rng = np.random.default_rng(size_hw)
    pixels = rng.integers(0, 256, (*size_hw, 3), np.uint8)
    canvas, _ = role.geometry.apply(Picture(Image.fromarray(pixels)))
    names = [tensor.name for tensor in role.image_network.outputs]
    answers = open_onnxruntime(made.graph("")).run(names, {"pixel_values": canvas[None]})
    return role, {name: answer[0] for name, answer in zip(names, answers, strict=True)}


def reference(xyxy, scores, classes, threshold, iou, most):
    """Greedy suppression within each class, box by box: [(class, score, box)], best first."""
    found = []
    for index in np.argsort(-scores, kind="stable"):
        others = np.array([box for cls, _, box in found if cls == classes[index]])
        overlaps = boxes.pairwise_iou(xyxy[[index]], others.reshape(-1, 4).astype(np.float32))
        if scores[index] > threshold and not (overlaps > iou).any():
            found.append((int(classes[index]), float(scores[index]), xyxy[index]))
    return found[:most]


def to_original(role, family, xyxy, size_hw):
    """Boxes of the canvas in the picture's frame, clipped, as the packages do it.

    ultralytics' scale_boxes takes the margin from the size before it is rounded to whole pixels.
    """
    height, width = role.spec.content_hw
    gain = min(height / size_hw[0], width / size_hw[1])
    sizes = zip(role.spec.image_hw, (edge * gain for edge in size_hw), strict=True)
    if family == "yolov8":
        top, left = (round((canvas - size) / 2 - 0.1) for canvas, size in sizes)
    else:
        top, left = ((canvas - max(1, round(size))) // 2 for canvas, size in sizes)
    return boxes.clip((xyxy - [left, top, left, top]) / gain, size_hw)


@pytest.mark.parametrize("size_hw", SIZES_HW)
@pytest.mark.parametrize("family", ["yolov8", "yolo_nas"])
def test_boxes_are_those_of_the_upstream_predictors(family, size_hw):
    role, answer = asked(family, size_hw)
    if family == "yolov8":
        rows = answer["predictions"].T
        half = rows[:, 2:4] / 2
        xyxy = np.concatenate([rows[:, :2] - half, rows[:, :2] + half], axis=1)
        classes, scores = rows[:, 4:].argmax(axis=1), rows[:, 4:].max(axis=1)
    else:
        anchors, classes = np.indices(answer["scores"].shape).reshape(2, -1)
        xyxy, scores = answer["boxes"][anchors], answer["scores"].reshape(-1)
    threshold = float(np.quantile(scores, 0.6))
    expected = reference(xyxy, scores, classes, threshold, role.spec.nms_iou, 40)
    found = role.select(answer, size_hw, Selection(box_threshold=threshold, max_boxes=40))
    assert len(expected) > 5
    assert len({cls for cls, _, _ in expected}) > 1
    assert found.label_indices.tolist() == [cls for cls, _, _ in expected]
    assert np.allclose(found.scores, [score for _, score, _ in expected])
    theirs = to_original(role, family, np.array([box for _, _, box in expected]), size_hw)
    assert np.allclose(found.boxes_xyxy, theirs, atol=1e-2)
    assert found.words == [role.spec.class_names[cls] for cls, _, _ in expected]


def test_an_answer_may_be_empty():
    role, answer = asked("yolov8", (64, 96))
    found = role.select(answer, (64, 96), Selection(box_threshold=1.0, max_boxes=300))
    assert found.boxes_xyxy.shape == (0, 4)
    assert found.words == []


coordinates = st.integers(0, 50)


@given(
    st.lists(
        st.tuples(
            coordinates, coordinates, st.integers(1, 30), st.integers(1, 30),
            st.integers(0, 2), st.integers(1, 1000),
        ),
        max_size=25,
        unique_by=lambda row: row[5],
    ),
    st.sampled_from([0.3, 0.5, 0.7]),
)  # fmt: skip
def test_suppression_is_greedy_within_each_class(rows, iou):
    table = np.array(rows, np.float32).reshape(-1, 6)
    xyxy = np.concatenate([table[:, :2], table[:, :2] + table[:, 2:4]], axis=1)
    scores, classes = table[:, 5] / 1000, table[:, 4].astype(np.int64)
    kept = suppressed_by_class(xyxy, scores, classes, iou)
    expected = reference(xyxy, scores, classes, 0, iou, len(rows))
    assert [float(scores[index]) for index in kept] == [score for _, score, _ in expected]


def test_names_of_classes_come_from_the_metadata():
    assert exported("yolov8").member.spec.class_names == ("person", "bicycle", "traffic light")


def test_super_gradients_files_get_theirs_from_the_deployment():
    assert exported("yolo_nas").member.spec.class_names == ("person", "bicycle", "traffic light")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), r"nas: the file has no names of its 3 classes: say them, as in .*names = "),
        ((("names", "a, b"),), r"nas: expected names of 3 classes, got 2: \('a', 'b'\)"),
    ],
)
def test_names_that_do_not_fit_are_refused(options, message):
    [path] = stand_ins.write("yolo_nas", "tiny", STAND_INS / "yolo_nas").values()
    with pytest.raises(InvalidOption, match=message):
        MemberExport(find("nas", Source(str(path))), options).open()


def changed(family, tmp_path, change):
    """A stand-in's file after a change."""
    [path] = stand_ins.write(family, "tiny", STAND_INS / family).values()
    model = onnx.load(str(path))
    change(model)
    onnx.save(model, str(tmp_path / "changed.onnx"))
    return str(tmp_path / "changed.onnx")


def _suppress(model):
    [output] = [value.name for value in model.graph.output][:1]
    model.graph.node.append(helper.make_node("NonZero", [output], ["kept"]))


def _segments(model):
    [task] = [pair for pair in model.metadata_props if pair.key == "task"]
    task.value = "segment"


def _nameless(model):
    [names] = [pair for pair in model.metadata_props if pair.key == "names"]
    names.value = "{}"


@pytest.mark.parametrize(
    ("family", "change", "message"),
    [
        ("yolov8", _suppress, r"without suppression .*: yolo export .* nms=False"),
        ("yolov8", _segments, r"expected task=detect .*, got 'segment'"),
        ("yolov8", _nameless, r"expected names of classes in the metadata, got \{\}"),
        ("yolo_nas", _suppress, r"without suppression .*postprocessing=False"),
    ],
)
def test_the_error_for_an_unusable_file_names_the_command_that_writes_a_valid_one(
    tmp_path, family, change, message
):
    with pytest.raises(InvalidCheckpoint, match=message):
        find("mine", Source(changed(family, tmp_path, change)))


def test_a_file_that_is_not_onnx_is_refused(tmp_path):
    (tmp_path / "noise.onnx").write_bytes(b"not a graph at all")
    with pytest.raises(InvalidCheckpoint, match="expected an ONNX file"):
        find("mine", Source(str(tmp_path / "noise.onnx")))


def test_a_missing_file_is_not_taken_for_a_hub_id(tmp_path):
    with pytest.raises(CheckpointUnavailable, match=r"there is no .*gone\.onnx"):
        find("mine", Source(str(tmp_path / "gone.onnx")))
