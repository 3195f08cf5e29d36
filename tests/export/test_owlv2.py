"""OWLv2's networks, pixels, tokens and boxes equal those of the checkpoint in transformers."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import Owlv2ForObjectDetection, Owlv2Processor
from transformers.models.owlv2.image_processing_pil_owlv2 import Owlv2ImageProcessorPil

from demo import owlv2_config
from demo.train_owlv2 import FOLDER
from export.errors import InvalidCheckpoint, UnsupportedProcessor
from export.families.clip import TEXTS
from export.families.owlv2 import Owlv2Export, read_spec
from export.parity import check_network
from export.preprocessing import PIXEL_TOLERANCE, SIZES_HW, photograph
from export.processor import normalization
from export.to_onnx import to_onnx
from fovea import boxes
from fovea.errors import InvalidText
from fovea.families.owl import ASKED, Queries, label_logits, select_boxes
from fovea.families.owlv2 import Owlv2
from fovea.images import Picture
from fovea.padded_square import resize_padded_square
from tests.export.test_networks import normalized, tensors
from tests.export.test_preprocessing import PHRASES, grey_levels

LABELS = ["cat", "red van", "a photo of a snowboarder"]


@pytest.fixture(scope="module")
def model():
    return Owlv2ForObjectDetection.from_pretrained(FOLDER).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def processor() -> Owlv2Processor:
    return Owlv2Processor.from_pretrained(FOLDER)


@pytest.fixture(scope="module")
def spec(model, processor):
    tokenizer = processor.tokenizer
    return read_spec(model.config, processor.image_processor, tokenizer.pad_token_id)


@pytest.fixture(scope="module")
def normal(processor):
    return normalization(processor.image_processor)


@pytest.fixture(scope="module")
def geometry(spec):
    return Owlv2("owlv2", spec).geometry


@pytest.fixture(scope="module")
def both(model, spec, normal):
    return Owlv2Export().networks(Owlv2("owlv2", spec), model, normal)


@pytest.fixture(scope="module")
def tokens(spec):
    return Queries(FOLDER / "tokenizer.json", spec)


@pytest.mark.parametrize("variant", [0, 1])
def test_logits_and_boxes_are_those_of_the_model(model, processor, both, variant):
    checkpoint = SimpleNamespace(load_image_processor=lambda: processor.image_processor)
    pixels, text = tensors(both[0].sample(2, variant)), tensors(both[1].sample(6, 1))
    with torch.inference_mode():
        theirs = model(pixel_values=normalized(pixels["pixel_values"], checkpoint), **text)
        embeds, shift, scale, pred_boxes, objectness = both[0].module(**pixels)
        queries = both[1].module(**text).numpy().reshape(2, 3, -1)
    assert torch.allclose(pred_boxes, theirs.pred_boxes, atol=1e-5)
    assert torch.allclose(objectness, theirs.objectness_logits, atol=1e-4)
    for picture in range(2):
        parts = (part[picture].numpy() for part in (embeds, shift, scale))
        logits = label_logits(*parts, queries[picture])
        assert np.allclose(logits, theirs.logits[picture].numpy(), atol=1e-4)


def test_the_graphs_do_what_the_networks_do(both, tmp_path):
    for network in both:
        path = tmp_path / network.spec.name / "model.onnx"
        to_onnx(network, path)
        agreements = check_network(network, path, max_batch=3)
        assert {agreement.batch for agreement in agreements} == {1, 2, 3}


@pytest.mark.parametrize("size_hw", SIZES_HW)
def test_pixels_are_those_of_the_processor(processor, geometry, size_hw):
    picture = photograph(size_hw)
    expected = processor.image_processor(picture, return_tensors="np")["pixel_values"][0]
    pixels, _ = geometry.apply(Picture(picture))
    assert pixels.shape == expected.shape
    assert (
        np.abs(pixels - grey_levels(expected, processor.image_processor)).max() <= PIXEL_TOLERANCE
    )


@settings(max_examples=40)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(4, 40))
def test_only_rounding_differs_from_the_processor(height, width, edge):
    picture = photograph((height, width))
    theirs = Owlv2ImageProcessorPil(size={"height": edge, "width": edge}, do_normalize=False)
    expected = 255 * theirs(picture, return_tensors="np")["pixel_values"][0].transpose(1, 2, 0)
    ours = resize_padded_square(np.asarray(picture), edge)
    assert np.abs(ours - expected).max() <= 0.501


@pytest.mark.parametrize("size_hw", [(40000, 1), (1, 40000)])
def test_no_square_is_made_for_a_thin_picture(size_hw):
    resized = resize_padded_square(np.full((*size_hw, 3), 255, np.uint8), 960)
    along = resized if size_hw[0] > 1 else resized.transpose(1, 0, 2)
    assert (along[:, 0] > 0).all() and not along[:, 1:].any()


@given(PHRASES | st.sampled_from(TEXTS))
def test_tokens_are_those_of_the_checkpoint(processor, tokens, spec, phrase):
    theirs = processor.tokenizer(phrase, padding="max_length", max_length=spec.text_length)
    if len(theirs["input_ids"]) > spec.text_length:
        with pytest.raises(InvalidText, match=f"at most {spec.text_length} tokens"):
            tokens.encode(phrase)
        return
    ours = tokens.encode(phrase)
    assert ours["input_ids"].tolist() == theirs["input_ids"]
    assert ours["attention_mask"].tolist() == theirs["attention_mask"]


@pytest.mark.parametrize("size_hw", [(240, 320), (320, 200), (150, 150)])
def test_boxes_are_those_of_the_processor(model, processor, spec, geometry, both, tokens, size_hw):
    """Without suppression, boxes in the same order; only these are clipped to the picture."""
    picture = photograph(size_hw)
    inputs = processor(text=[LABELS], images=picture, return_tensors="pt")
    with torch.inference_mode():
        theirs = model(**inputs)
        pixels = torch.from_numpy(geometry.apply(Picture(picture))[0])[None]
        embeds, shift, scale, pred_boxes, _ = (out[0].numpy() for out in both[0].module(pixels))
        text = tokens.write(dict(enumerate(LABELS)))
        del text[ASKED]
        queries = both[1].module(**tensors(text)).numpy()
    logits = label_logits(embeds, shift, scale, queries)
    assert np.allclose(logits, theirs.logits[0].numpy(), atol=0.05), "pixels are rounded"
    assert np.allclose(pred_boxes, theirs.pred_boxes[0].numpy(), atol=0.01)

    # Between two scores: at one of them, the last bit of a sigmoid would decide.
    scores = theirs.logits[0].sigmoid().max(-1).values.sort(descending=True).values
    threshold = float(scores[50:52].mean())
    expected = processor.post_process_grounded_object_detection(
        theirs, threshold=threshold, target_sizes=[size_hw], text_labels=[LABELS]
    )[0]
    found = select_boxes(
        theirs.logits[0].numpy(),
        theirs.pred_boxes[0].numpy(),
        size_hw,
        frame_hw=(max(size_hw), max(size_hw)),
        box_threshold=threshold,
        nms_iou=1.0,
        max_boxes=spec.num_queries,
    )
    within = boxes.clip(expected["boxes"].numpy(), size_hw)
    order = np.argsort(-expected["scores"].numpy(), kind="stable")
    order = order[boxes.area(within)[order] > 0]
    assert len(order) > 10
    assert np.allclose(found.boxes_xyxy, within[order], atol=1e-3)
    assert np.allclose(found.scores, expected["scores"].numpy()[order], atol=1e-6)
    named = [LABELS[index] for index in found.labels]
    assert named == [expected["text_labels"][index] for index in order]


def test_a_box_is_clipped_and_one_in_the_padding_is_dropped():
    pred_boxes = np.array([[0.5, 0.4, 1.0, 0.6], [0.5, 0.9, 0.2, 0.1]], np.float32)
    logits = np.array([[-3.0, 2.0], [4.0, 4.0]], np.float32)
    found = select_boxes(
        logits,
        pred_boxes,
        (100, 200),
        frame_hw=(200, 200),
        box_threshold=0.3,
        nms_iou=0.7,
        max_boxes=5,
    )
    assert np.allclose(found.boxes_xyxy, [[0, 20, 200, 100]], atol=1e-3)
    assert found.labels.tolist() == [1]
    assert np.allclose(found.scores, 1 / (1 + np.exp(-2.0)))


def test_the_best_of_overlapping_boxes_is_kept():
    pred_boxes = np.array([[0.5, 0.5, 0.4, 0.4], [0.51, 0.5, 0.4, 0.4], [0.1, 0.1, 0.1, 0.1]])
    logits = np.array([[1.0], [2.0], [0.5]], np.float32)
    found = select_boxes(
        logits,
        pred_boxes.astype(np.float32),
        (100, 100),
        frame_hw=(100, 100),
        box_threshold=0.3,
        nms_iou=0.7,
        max_boxes=5,
    )
    assert np.allclose(found.boxes_xyxy, [[31, 30, 71, 70], [5, 5, 15, 15]], atol=1e-3)


def test_an_answer_may_have_no_box():
    found = select_boxes(
        np.full((4, 2), -5.0, np.float32),
        np.full((4, 4), 0.5, np.float32),
        (100, 100),
        frame_hw=(100, 100),
        box_threshold=0.3,
        nms_iou=0.7,
        max_boxes=5,
    )
    assert found.boxes_xyxy.shape == (0, 4) and found.labels.shape == (0,)


def test_the_threshold_is_the_checkpoints_own(model, processor):
    config = owlv2_config.model_config()
    assert read_spec(config, processor.image_processor, 0).box_threshold == 0.1
    config.box_threshold = 0.37
    assert read_spec(config, processor.image_processor, 0).box_threshold == 0.37


def test_a_processor_that_does_not_smooth_is_refused(model):
    other = Owlv2ImageProcessorPil(size={"height": 192, "width": 192}, resample=0)
    with pytest.raises(UnsupportedProcessor, match="a filter that smooths, got 0"):
        read_spec(model.config, other, 0)


def test_a_processor_of_another_size_is_refused(model):
    other = Owlv2ImageProcessorPil(size={"height": 96, "width": 96})
    with pytest.raises(InvalidCheckpoint, match=r"192 x 192 pixels, .* 96 x 96"):
        read_spec(model.config, other, 0)


def test_labels_that_the_class_head_cannot_compare_are_refused(processor):
    config = owlv2_config.model_config()
    config.projection_dim = 64
    with pytest.raises(InvalidCheckpoint, match="projection_dim=64"):
        read_spec(config, processor.image_processor, 0)


def test_labels_that_read_the_same_are_one_query(tokens):
    made = tokens.write({2: "Red  van", 5: "cat", 7: "red van"})
    assert made[ASKED].tolist() == [2, 5]
    assert made["input_ids"].shape == made["attention_mask"].shape == (2, 16)


def test_a_label_without_room_is_refused_by_its_place(tokens):
    with pytest.raises(InvalidText, match=r"label 1 'cat cat.*expected at most 16 tokens"):
        tokens.write({0: "cat", 1: "cat " * 20})
