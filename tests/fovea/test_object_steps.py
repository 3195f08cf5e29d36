"""The steps that find every object, with a decoder that knows where two squares are."""

from __future__ import annotations

import io
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
from PIL import Image

from fovea import masks
from fovea.errors import InvalidSetting, InvalidThreshold, Overloaded
from fovea.families.sam import upsample
from fovea.house import wire
from fovea.limits import Limits
from fovea.steps import STEPS
from fovea.steps.tensors import verb_picture, verb_pixels
from tests.deployments import TINY
from tests.fovea.test_steps import write_tokenizers

SIZE = np.array([48, 64], np.int32)
# In pixels of the picture, which is as large as the canvas is wide.
SQUARES = np.array([[4, 4, 20, 20], [32, 16, 56, 40]], np.float32)
SAM = TINY.play("sam")
EDGE = SAM.spec.mask_edge
EVERYTHING, EMBED = "sam_segment_everything", "sam_embed_objects_by_clip"


class Decoder:
    """A context whose grid decoder returns the square under a point as its second mask."""

    def __init__(self, folder, deployment=TINY):
        self.folder, self.deployment = folder, deployment
        self.chunks: list[int] = []
        self.embedded: list[np.ndarray] = []
        self.asked_room: list[tuple[str, ...]] = []
        self.room = True

    def step(self, name):
        spec = next(s for s in wire(self.deployment).steps if s.model.name == name)
        self.parameters = dict(spec.model.parameters)
        return getattr(import_module(STEPS[spec.kind]), spec.kind)(self)

    def room_for(self, models):
        self.asked_room.append(tuple(models))
        return self.room

    def call_model(self, name, inputs, outputs):
        if name == "clip_image_encoder":
            self.embedded.append(inputs["pixel_values"])
            means = inputs["pixel_values"].mean(axis=(2, 3), dtype=np.float32)
            return {"image_embeds": np.pad(means, ((0, 0), (0, TINY.play("clip").embed_dim - 3)))}
        assert name == "sam_grid_decoder"
        answers = [self.decode(point) for point in inputs["grid_points"][0]]
        self.chunks.append(len(answers))
        stacked = {key: np.stack([one[key] for one in answers])[None] for key in answers[0]}
        return {key: stacked[key] for key in outputs}

    def decode(self, point):
        """`Promptable.grid_decoder` for one point."""
        on = [(box[:2] <= point).all() and (point < box[2:]).all() for box in SQUARES]
        box = SQUARES[on.index(True)] if any(on) else np.zeros(4, np.float32)
        logits = np.full((3, EDGE, EDGE), -9, np.float32)
        left, top, right, bottom = (box * EDGE / SAM.spec.image_size).astype(int)
        logits[1, top:bottom, left:right] = 9
        worth = np.zeros((4, 3), np.float32)
        worth[:, 1] = 0.5 + box[0] / 200, 0.97, np.prod(box[2:] - box[:2]), 0
        boxes = np.zeros((3, 4), np.float32)
        boxes[1] = box
        return {
            "iou_scores": worth[0], "stability": worth[1], "areas": worth[2],
            "mask_boxes": boxes, "low_res_masks": logits,
        }  # fmt: skip


@pytest.fixture
def decoder(tmp_path):
    write_tokenizers(tmp_path)
    return Decoder(tmp_path)


def ask(decoder, step=EVERYTHING, **settings):
    given = {"IOU_THRESHOLD": 0.4, "STABILITY_THRESHOLD": 0.9, "POINTS_PER_SIDE": 8, **settings}
    kinds = {n: np.float32 if isinstance(v, float) else np.int32 for n, v in given.items()}
    inputs = {name: np.array([value], kinds[name]) for name, value in given.items()}
    inputs |= {
        "image_embeddings": np.zeros((8, 8, 8), np.float32),
        "valid_hw": np.array([48, 64], np.int32),
        "original_size_hw": SIZE,
        "picture": np.full((48, 64, 3), 50, np.uint8),
    }
    return decoder.step(step).run(inputs, frozenset())


def test_every_object_is_found_once_the_surest_first(decoder):
    found = ask(decoder)
    assert found["boxes"].tolist() == SQUARES[::-1].tolist()
    assert np.allclose(found["mask_scores"], [0.66, 0.52])
    assert np.allclose(found["stability"], 0.97)
    for counts, (left, top, right, bottom) in zip(found["masks"], SQUARES[::-1], strict=True):
        mask = masks.decode_rle(counts, (48, 64))
        assert mask.sum() == (right - left) * (bottom - top)
        assert mask[int(top) : int(bottom), int(left) : int(right)].all()


def test_the_grid_is_decoded_in_chunks_and_the_kept_masks_once_more(decoder):
    ask(decoder, POINTS_PER_SIDE=12)
    assert decoder.chunks == [64, 64, 16, 2]


@pytest.mark.parametrize(
    ("setting", "count"),
    [
        ({"IOU_THRESHOLD": 0.6}, 1),
        ({"IOU_THRESHOLD": 0.7}, 0),
        ({"STABILITY_THRESHOLD": 0.98}, 0),
        ({"MIN_AREA": 300}, 1),
        ({"MAX_OBJECTS": 1}, 1),
        ({"MAX_OBJECTS": 0}, 0),
        ({"POINTS_PER_SIDE": 1}, 1),
    ],
    ids=str,
)
def test_the_callers_settings_win(decoder, setting, count):
    found = ask(decoder, **setting)
    assert len(found["masks"]) == len(found["boxes"]) == len(found["mask_scores"]) == count
    assert found["boxes"].shape == (count, 4)


def test_one_thing_with_and_without_a_speck_is_one_object_without_it(decoder):
    told = decoder.decode

    def specked(point):
        """The larger square's right half answers with a speck far away, a little surer."""
        answer = told(point)
        if answer["mask_boxes"][1, 0] == 32 and point[0] > 44:
            answer["low_res_masks"][1, :2, :2] = 9
            answer["mask_boxes"][1, :2] = 0
            answer["iou_scores"][1] += 0.05
        return answer

    decoder.decode = specked
    assert len(ask(decoder)["boxes"]) == 3
    found = ask(decoder, MIN_PIECE=0.1)
    assert found["boxes"].tolist() == SQUARES[::-1].tolist()
    assert np.allclose(found["mask_scores"], [0.71, 0.52])
    assert [masks.rle_area(counts) for counts in found["masks"]] == [24 * 24, 16 * 16]


def test_full_size_compares_boxes_that_end_at_the_last_pixel_as_transformers_does(decoder):
    """The IoU of the boxes is 120 / 168 = 0.714, but 11 x 9 / (13 x 11) = 0.692 between pixels."""
    larger, smaller = (4, 4, 18, 16), (4, 4, 16, 14)

    def nested(point):
        answer = Decoder.decode(decoder, SQUARES[0, :2] + 1)
        left, top, right, bottom = box = larger if point[0] < 32 else smaller
        logits = np.full((EDGE, EDGE), -9, np.float32)
        logits[top // 2 : bottom // 2, left // 2 : right // 2] = 9
        answer["low_res_masks"][1], answer["mask_boxes"][1] = logits, box
        answer["iou_scores"][1] += 0.1 * (box == larger)
        return answer

    decoder.decode = nested
    assert ask(decoder)["boxes"].tolist() == [[*larger]]
    assert ask(decoder, FULL_SIZE=1)["boxes"].tolist() == [[*larger], [*smaller]]


def test_full_size_measures_the_masks_themselves_and_not_what_the_decoder_says_of_them(decoder):
    told = decoder.decode

    def misjudged(point):
        answer = told(point)
        answer["stability"] = answer["stability"] - 0.1
        answer["mask_boxes"] = np.zeros_like(answer["mask_boxes"])
        answer["low_res_masks"] = answer["low_res_masks"] / 6  # +-1.5, so that edges are unsure
        return answer

    decoder.decode = misjudged
    assert len(ask(decoder)["masks"]) == 0
    found = ask(decoder, FULL_SIZE=1, STABILITY_THRESHOLD=0.4)
    assert found["boxes"].tolist() == SQUARES[::-1].tolist()
    for box, stability in zip(SQUARES[::-1], found["stability"], strict=True):
        logits = misjudged(box[:2] + 1)["low_res_masks"][1]
        raised, lowered = (upsample(logits - by, (48, 64), 64).sum() for by in (1, -1))
        assert stability == pytest.approx(raised / lowered) and 0.4 < stability < 0.8


def test_full_size_decodes_the_likely_masks_in_chunks(decoder):
    ask(decoder, FULL_SIZE=1, POINTS_PER_SIDE=24)
    grid, likely = decoder.chunks[:9], decoder.chunks[9:-1]
    assert grid == [64] * 9 and all(count <= 64 for count in likely) and len(likely) > 1


def test_a_large_picture_has_only_as_many_masks_as_may_be_drawn(decoder, tmp_path):
    decoder.deployment = replace(TINY, limits=Limits(mask_pixels=48 * 64))
    assert len(ask(decoder)["masks"]) == 1


def test_each_object_gets_a_vector_of_its_crop(decoder):
    found = ask(decoder, EMBED)
    dim = TINY.play("clip").embed_dim
    assert found["embeddings"].shape == (2, dim)
    assert [len(batch) for batch in decoder.embedded] == [2]
    assert np.allclose(found["embeddings"][:, :3], 50)
    none = ask(decoder, EMBED, MAX_OBJECTS=0)
    assert none["embeddings"].shape == (0, dim)
    assert len(decoder.embedded) == 1


def test_crops_are_embedded_in_batches_of_the_network(decoder):
    sizes = replace(TINY.batch_sizes, networks=(("clip_image_encoder", 1),))
    decoder.deployment = replace(TINY, batch_sizes=sizes)
    assert ask(decoder, EMBED)["embeddings"].shape[0] == 2
    assert [len(batch) for batch in decoder.embedded] == [1, 1]


def jpeg(height: int, width: int) -> np.ndarray:
    out = io.BytesIO()
    Image.new("RGB", (width, height), (200, 30, 90)).save(out, "JPEG")
    return np.array([out.getvalue()], np.object_)


def prepare(decoder, verb, size_hw=(60, 80), **inputs):
    wanted = {verb_pixels(verb, SAM.geometry).name, "original_size_hw"}
    if verb == "embed_objects":
        wanted.add(verb_picture(verb).name)
    step = decoder.step("preprocess_image")
    return step.run({"IMAGE": jpeg(*size_hw), **inputs}, frozenset(wanted))


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("POINTS_PER_SIDE", np.array([0], np.int32), InvalidSetting),
        ("POINTS_PER_SIDE", np.array([65], np.int32), InvalidSetting),
        ("MIN_AREA", np.array([-1], np.int32), InvalidSetting),
        ("MAX_OBJECTS", np.array([257], np.int32), InvalidSetting),
        ("FULL_SIZE", np.array([2], np.int32), InvalidSetting),
        ("IOU_THRESHOLD", np.array([1.5], np.float32), InvalidThreshold),
        ("MIN_PIECE", np.array([-0.1], np.float32), InvalidThreshold),
        ("STABILITY_THRESHOLD", np.array([np.nan], np.float32), InvalidThreshold),
    ],
)
def test_the_first_step_refuses_settings_beyond_the_limits(decoder, name, value, error):
    for verb in ("segment_everything", "embed_objects"):
        with pytest.raises(error, match=f"{name}: expected a number within"):
            prepare(decoder, verb, **{name: value})


def test_every_chunk_needs_room(decoder):
    prepare(decoder, "segment_everything", POINTS_PER_SIDE=np.array([20], np.int32))
    prepare(decoder, "segment_everything")
    chunks = [asked.count("sam_grid_decoder") for asked in decoder.asked_room]
    assert chunks == [7, 16]
    decoder.room = False
    with pytest.raises(Overloaded, match="one of sam_grid_decoder, sam_image_encoder"):
        prepare(decoder, "segment_everything")


def test_the_picture_itself_goes_to_members_that_crop_it(decoder):
    picture = verb_picture("embed_objects").name
    assert picture not in prepare(decoder, "segment_everything")
    assert prepare(decoder, "embed_objects")[picture].shape == (60, 80, 3)
    large = prepare(decoder, "embed_objects", (3000, 5000))
    assert large[picture].shape == (1229, 2048, 3)
    assert large["original_size_hw"].tolist() == [3000, 5000]
