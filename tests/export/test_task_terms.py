"""What an engine's answers mean, judged without a GPU: arrays stand for what it would say."""

import json
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st

from export.engine_parity import judge, read_samples, samples_path, write_samples
from export.engines import cap_batches, jobs
from export.errors import ParityError
from export.lower_precision import lower
from export.pipeline import MANIFEST, Export, run
from export.precision import POLICIES
from export.runtimes import RUNTIMES
from export.task_terms import FLOORS, below, task_terms
from export.to_engine import LIBRARIES
from export.to_onnx import to_onnx
from fovea import clip, grounding_dino, sam
from fovea.pipeline import PipelineSpec, networks
from fovea.specs import Tolerance, from_json

ROWS = 30


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
        "iou_scores": rng.normal(size=(1, 3, 4)).astype(np.float32),
        "low_res_masks": rng.normal(size=(1, 3, 4, 16, 16)).astype(np.float32),
    }


@given(st.integers(0, 1000))
def test_the_same_answer_agrees_in_every_term(seed):
    rng = np.random.default_rng(seed)
    embeds = {"image_embeds": rng.normal(size=(2, 16)).astype(np.float32)}
    for network, answer in (
        (clip.IMAGE_ENCODER, embeds),
        (grounding_dino.NETWORK, detections(seed)),
        (sam.MASK_DECODER, masks(seed)),
    ):
        terms = task_terms(network, answer, answer)
        assert terms == pytest.approx(dict.fromkeys(terms, 1.0))
        assert terms.keys() <= FLOORS.keys() and not below(terms)


def test_rows_in_another_order_are_the_same_detections():
    answer = detections()
    order = np.random.default_rng(1).permutation(ROWS)
    shuffled = {name: array[:, order] for name, array in answer.items()}
    terms = task_terms(grounding_dino.NETWORK, answer, shuffled)
    assert terms == {"boxes_matched": 1.0, "labels_same": 1.0}


def test_another_label_at_the_same_place_is_seen():
    answer = detections()
    other = answer | {"logits": -answer["logits"]}
    terms = task_terms(grounding_dino.NETWORK, answer, other)
    assert terms["boxes_matched"] == 1.0 and terms["labels_same"] < 0.5
    assert below(terms)


def test_the_mask_that_the_scores_choose_is_the_one_that_counts():
    answer = masks()
    unchosen = {name: array.copy() for name, array in answer.items()}
    for prompt, best in enumerate(answer["iou_scores"][0].argmax(axis=1)):
        unchosen["low_res_masks"][0, prompt, (best + 1) % 4] *= -1
    assert task_terms(sam.MASK_DECODER, answer, unchosen) == {"mask_iou": 1.0}
    inverted = answer | {"low_res_masks": -answer["low_res_masks"]}
    assert task_terms(sam.MASK_DECODER, answer, inverted)["mask_iou"] == 0.0


def test_an_engine_that_says_nan_agrees_in_nothing():
    answer = {"text_embeds": np.ones((1, 4), np.float32)}
    broken = {"text_embeds": np.full((1, 4), np.nan, np.float32)}
    assert task_terms(clip.TEXT_ENCODER, answer, broken) == {"cosine": 0.0}


@pytest.fixture(scope="module")
def decoder(loaded, tmp_path_factory):
    """SAM's decoder in half: its spec, samples, and what runs it."""
    folder = tmp_path_factory.mktemp("decoder")
    network = next(n for n in loaded.networks if n.spec.name == sam.MASK_DECODER)
    path = folder / "decoder.onnx"
    to_onnx(network, path)
    lower(sam.MASK_DECODER, path, "fp16")
    write_samples(network, path, samples_path(path))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [tensor.name for tensor in network.spec.outputs]

    def run_it(inputs):
        return dict(zip(names, session.run(names, inputs), strict=True))

    spec = replace(network.spec, tolerance=POLICIES[sam.MASK_DECODER].fp16)
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


def test_drift_that_shows_in_the_masks_stops_or_is_written_down(decoder):
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


def test_engines_and_configurations_take_no_batch_above_the_cap(checkpoints, tmp_path):
    runtime = RUNTIMES["tensorrt"]
    export = Export(checkpoints, tmp_path, precision="fp32", runtime=runtime, max_batch=1)
    run(export)
    rtx = replace(LIBRARIES["tensorrt_rtx"])
    made = jobs(tmp_path, rtx, "8.9", max_batch=2)
    for job in made:
        for _, shapes in job.profile.shapes:
            assert shapes.max[0] == 2 and shapes.min[0] == 1
    batches = {
        path.parent.name: path.read_text() for path in export.repository.glob("*/config.pbtxt")
    }
    capped = {spec.name for spec in networks(runtime.limit(pipeline_of(tmp_path)))}
    for name in (*capped, "embed_image", "main_object"):
        batch = 1 if name == "main_object" else 2
        assert f"\nmax_batch_size: {batch}\n" in batches[name], name
    cap_batches(export.repository, pipeline_of(tmp_path), 8)
    assert (
        "\nmax_batch_size: 2\n"
        in (export.repository / sam.MASK_DECODER / "config.pbtxt").read_text()
    )


def pipeline_of(folder):
    manifest = json.loads((folder / MANIFEST).read_text())
    return from_json(PipelineSpec, json.dumps(manifest["pipeline"]))
