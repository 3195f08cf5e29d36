"""Steps as the committed model repository configures them."""

from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

from benchmarks.capacity.errors import InvalidReport
from benchmarks.capacity.repository import copy_with_delay, read_steps
from benchmarks.capacity.service_times import CPU, GPU

REPOSITORY = Path("model_repository")


@pytest.fixture
def steps():
    return {step.model: step for step in read_steps(REPOSITORY, "main_object", gpu=False)}


def test_a_step_comes_after_those_that_it_needs(steps):
    assert steps["preprocess_image"].after == ()
    assert steps["sam_image_encoder"].after == ("preprocess_image",)
    assert set(steps["sam_mask_decoder"].after) == {
        "grounding_dino_select_main_box",
        "preprocess_image",
        "sam_image_encoder",
    }
    assert steps["clip_rank_labels_for_grounding_dino"].after == ("clip_image_encoder",)
    order = [*steps]
    assert all(order.index(name) < order.index(s.model) for s in steps.values() for name in s.after)


def test_instances_batches_and_queues_are_those_of_the_configuration(steps):
    entry = steps["preprocess_image"]
    assert (entry.instances, entry.max_batch, entry.max_queue) == (2, 16, 128)
    detector = steps["grounding_dino"]
    assert (detector.instances, detector.max_batch) == (1, 8)


def test_networks_run_on_the_gpu_where_there_is_one():
    places = {s.model: s.place for s in read_steps(REPOSITORY, "main_object", gpu=True)}
    assert places["clip_image_encoder"] == places["sam_mask_decoder"] == GPU
    assert places["preprocess_image"] == places["sam_select_masks"] == CPU


def test_the_copy_waits_and_leaves_the_original_alone(tmp_path):
    original = (REPOSITORY / "sam_image_encoder" / "config.pbtxt").read_text()
    copied = copy_with_delay(REPOSITORY, tmp_path / "models", 7000)
    text = (copied / "sam_image_encoder" / "config.pbtxt").read_text()
    config = text_format.Parse(text, pb.ModelConfig())
    assert config.dynamic_batching.max_queue_delay_microseconds == 7000
    assert (REPOSITORY / "sam_image_encoder" / "config.pbtxt").read_text() == original
    with pytest.raises(InvalidReport, match="expected no batching delay"):
        read_steps(copied, "main_object", gpu=False)


def test_a_folder_that_is_no_repository_is_refused(tmp_path):
    with pytest.raises(InvalidReport, match="is this a model repository"):
        read_steps(tmp_path, "main_object", gpu=False)
