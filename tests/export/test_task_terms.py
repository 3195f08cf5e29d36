"""What an engine's answers mean, judged without a GPU: arrays stand for its answers."""

from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st

from export.deployments import Export, run
from export.engine_parity import judge, read_samples, samples_path, write_samples
from export.engines import cap_batches, jobs
from export.errors import ParityError
from export.lower_precision import lower
from export.runtimes import RUNTIMES
from export.task_terms import FLOORS, below, task_terms
from export.to_engine import LIBRARIES
from export.to_onnx import to_onnx
from fovea.house import wire
from fovea.manifest import exported_deployment
from fovea.specs import Tolerance

ROWS = 30
MASK_DECODER = "sam_mask_decoder"


def detections(seed=0):
    rng = np.random.default_rng(seed)
    return {
        "logits": rng.normal(size=(2, ROWS, 8)).astype(np.float32),
        "pred_boxes": np.concatenate(
            [rng.uniform(0.3, 0.7, (2, ROWS, 2)), rng.uniform(0.1, 0.3, (2, ROWS, 2))], axis=2
        ).astype(np.float32),
    }


def masks(seed=0):
    rng = np.random.default_rng(seed)
    return {
        "iou_scores": rng.normal(size=(1, 3)).astype(np.float32),
        "low_res_masks": rng.normal(size=(1, 3, 16, 16)).astype(np.float32),
    }


@given(st.integers(0, 1000))
def test_the_same_answer_agrees_in_every_term(seed):
    rng = np.random.default_rng(seed)
    embeds = {"image_embeds": rng.normal(size=(2, 16)).astype(np.float32)}
    for names, answer in (
        ({"cosine"}, embeds),
        ({"boxes_matched", "labels_same"}, detections(seed)),
        ({"mask_iou"}, masks(seed)),
    ):
        terms = task_terms(answer, answer)
        assert terms == pytest.approx(dict.fromkeys(names, 1.0))
        assert terms.keys() <= FLOORS.keys() and not below(terms)


def test_rows_in_another_order_are_the_same_detections():
    answer = detections()
    order = np.random.default_rng(1).permutation(ROWS)
    shuffled = {name: array[:, order] for name, array in answer.items()}
    terms = task_terms(answer, shuffled)
    assert terms == {"boxes_matched": 1.0, "labels_same": 1.0}


def test_another_label_at_the_same_place_is_seen():
    answer = detections()
    other = answer | {"logits": -answer["logits"]}
    terms = task_terms(answer, other)
    assert terms["boxes_matched"] == 1.0 and terms["labels_same"] < 0.5
    assert below(terms)


def test_each_prompts_mask_counts_alike_and_its_score_does_not():
    answer = masks()
    other = {name: array.copy() for name, array in answer.items()}
    other["iou_scores"] += 1
    assert task_terms(answer, other) == {"mask_iou": 1.0}
    other["low_res_masks"][0, 1] *= -1
    assert task_terms(answer, other) == pytest.approx({"mask_iou": 2 / 3})
    assert below(task_terms(answer, other))
    inverted = answer | {"low_res_masks": -answer["low_res_masks"]}
    assert task_terms(answer, inverted) == {"mask_iou": 0.0}


def test_two_empty_masks_are_the_same():
    empty = masks() | {"low_res_masks": np.full((1, 3, 16, 16), -1, np.float32)}
    assert task_terms(empty, empty) == {"mask_iou": 1.0}
    assert task_terms(empty, masks()) == {"mask_iou": 0.0}


def test_an_engine_that_returns_nan_agrees_in_nothing():
    answer = {"text_embeds": np.ones((1, 4), np.float32)}
    broken = {"text_embeds": np.full((1, 4), np.nan, np.float32)}
    assert task_terms(answer, broken) == {"cosine": 0.0}


@pytest.fixture(scope="module")
def decoder(loaded, tmp_path_factory):
    """SAM's decoder in half precision: its spec, samples, and a function that runs it."""
    folder = tmp_path_factory.mktemp("decoder")
    network = next(n for n in loaded.networks if n.spec.name == MASK_DECODER)
    path = folder / "decoder.onnx"
    to_onnx(network, path)
    lower(network.policy, path, "fp16")
    write_samples(network, path, samples_path(path))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [tensor.name for tensor in network.spec.outputs]

    def run_it(inputs):
        return dict(zip(names, session.run(names, inputs), strict=True))

    spec = replace(network.spec, tolerance=network.policy.fp16)
    return spec, read_samples(path), run_it


def changed(run_it, name, change):
    def answer(inputs):
        outputs = run_it(inputs)
        return outputs | {name: change(outputs[name])}

    return answer


def test_numbers_that_drift_pass_where_the_masks_stay_the_same(decoder):
    spec, samples, run_it = decoder
    louder = changed(run_it, "low_res_masks", lambda array: array * 1000)
    found = judge(spec, samples, louder)
    assert found["drift"] and found["task"]["mask_iou"] == 1.0 and "failed" not in found


def test_drift_that_shows_in_the_masks_stops_or_is_recorded(decoder):
    spec, samples, run_it = decoder
    inverted = changed(run_it, "low_res_masks", np.negative)
    with pytest.raises(ParityError, match=r"drifts by .* in task terms mask_iou is 0\."):
        judge(spec, samples, inverted)
    found = judge(spec, samples, inverted, stop=False)
    assert len(found["drift"]) == len(samples) and found["failed"]


def test_an_engine_of_batch_1_is_compared_at_batch_1_alone(decoder):
    spec, samples, run_it = decoder
    seen = []

    def noted(inputs):
        seen.append(len(inputs["point_coords"]))
        return run_it(inputs)

    judge(replace(spec, max_batch_size=1, tolerance=Tolerance(1.0)), samples, noted)
    assert set(seen) == {1}


def test_engines_and_configurations_take_no_batch_above_the_cap(deployment, members, tmp_path):
    runtime = RUNTIMES["tensorrt"]
    export = Export(
        deployment, tmp_path, precision="fp16", runtime=runtime, max_batch=1, members=members
    )
    run(export)
    rtx = replace(LIBRARIES["tensorrt_rtx"])
    made = jobs(tmp_path, rtx, "8.9", max_batch=2)
    for job in made:
        for _, shapes in job.profile.shapes:
            assert shapes.max[0] == 2 and shapes.min[0] == 1
    batches = {
        path.parent.name: path.read_text() for path in export.repository.glob("*/config.pbtxt")
    }
    served = exported_deployment(tmp_path)
    capped = {spec.name for spec in wire(served).networks}
    for name in (*capped, "embed_image", "main_object"):
        batch = 1 if name == "main_object" else 2
        assert f"\nmax_batch_size: {batch}\n" in batches[name], name
    cap_batches(export.repository, served, 8)
    assert (
        "\nmax_batch_size: 2\n" in (export.repository / MASK_DECODER / "config.pbtxt").read_text()
    )
