"""SAM 2's masks equal those of transformers' `Sam2Model`, whatever other prompts come with them."""

import io
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

import fovea.local
from export import families, stand_ins
from export.checkpoints import find
from export.deployments import Export, read_deployment, run
from export.errors import InvalidCheckpoint, UnsupportedProcessor
from export.families.sam2 import MaskDecoder, Sam2ImageProcessorPil, read_spec
from export.preprocessing import photograph
from fovea.families.sam import MASK_THRESHOLD, stretched_columns
from fovea.families.sam2 import Sam2
from fovea.members import Source
from fovea.prompts import BACKGROUND, BOX_BOTTOM_RIGHT, BOX_TOP_LEFT, FOREGROUND, PADDING

SIZES_HW = ((120, 200), (210, 150))
TOML = """
[members]
sam2 = "{folder}"
[verbs]
segment = {{ cuts = "sam2" }}
"""
# Shares of the picture's width and height.
BOX = (0.1, 0.2, 0.7, 0.9)
POINTS = ((0.3, 0.4), (0.8, 0.6))
SAME_AREA = 0.99


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sam2")
    return find("sam2", Source(str(stand_ins.write("sam2", "tiny", folder)["sam2_video"])))


@pytest.fixture(scope="module")
def model(checkpoint):
    return families.load("sam2").load_model(checkpoint)


@pytest.fixture(scope="module")
def processor(checkpoint):
    return families.load("sam2").load_processor(checkpoint)


@pytest.fixture(scope="module")
def spec(model, processor):
    return read_spec(model.config, processor)


@pytest.fixture(scope="module")
def client(checkpoint, tmp_path_factory, members):
    folder = tmp_path_factory.mktemp("deployment")
    path = folder / "sam2.toml"
    path.write_text(TOML.format(folder=checkpoint.folder))
    run(Export(read_deployment(str(path)), folder / "export", members=members))
    with fovea.local.open(folder / "export") as opened:
        yield opened


def test_a_checkpoint_of_videos_is_read_for_its_pictures(checkpoint, model):
    config = json.loads((checkpoint.folder / "config.json").read_text())
    assert config["model_type"] == "sam2_video"
    assert not any("memory_attention" in name for name, _ in model.named_parameters())


def reference(model, processor, picture, **prompt):
    """transformers' masks bool [H, W], the best scored first, and their scores.

    prompt: input_boxes [4] or input_points [K, 2] in shares of the picture.
    """
    size = model.config.prompt_encoder_config.image_size
    inputs = {
        name: size * torch.tensor(value, dtype=torch.float32)[None, None]
        for name, value in prompt.items()
    }
    ambiguous = "input_boxes" not in prompt and len(prompt["input_points"]) == 1
    with torch.inference_mode():
        found = model(
            **processor(picture, return_tensors="pt"), **inputs, multimask_output=ambiguous
        )
    best = int(found.iou_scores[0, 0].argmax())
    size_hw = (picture.height, picture.width)
    logits = functional.interpolate(found.pred_masks[0], size_hw, mode="bilinear")
    return (logits[0, best] > MASK_THRESHOLD).numpy(), float(found.iou_scores[0, 0, best])


def same(one, other) -> float:
    return float((one == other).mean())


@pytest.mark.parametrize("size_hw", SIZES_HW)
def test_masks_are_those_of_transformers(model, processor, client, size_hw):
    picture, file = photograph(size_hw), io.BytesIO()
    picture.save(file, "PNG")
    height, width = size_hw
    box = np.array(BOX) * (width, height, width, height)
    points = np.array(POINTS) * (width, height)
    asked = {
        "box": (client.segment(file.getvalue(), boxes=box), {"input_boxes": BOX}),
        "point": (client.segment(file.getvalue(), points=points[0]), {"input_points": POINTS[:1]}),
        "points": (client.segment(file.getvalue(), points=points[None]), {"input_points": POINTS}),
        "both": (
            client.segment(file.getvalue(), boxes=box[None], points=points[None]),
            {"input_boxes": BOX, "input_points": POINTS},
        ),
    }
    for name, (ours, prompt) in asked.items():
        mask, score = reference(model, processor, picture, **prompt)
        assert ours.scores[0] == pytest.approx(score, abs=0.01), name
        assert same(ours.masks[0].to_numpy(), mask) >= SAME_AREA, name
        assert 0 < mask.mean() < 1, name


@pytest.fixture(scope="module")
def decoder(model, spec):
    return MaskDecoder(model, spec)


def sample(spec, points, labels):
    """Maps of a picture, with prompts on it: coords in pixels, [P][K][2], and labels [P][K]."""
    rng = np.random.default_rng(0)
    maps = [rng.normal(0, 1, (1, *tensor.shape)) for tensor in Sam2("sam2", spec).embeddings]
    whole = torch.tensor([[spec.image_size, spec.image_size]], dtype=torch.int32)
    return (
        *(torch.tensor(one, dtype=torch.float32) for one in maps),
        torch.tensor([points], dtype=torch.float32),
        torch.tensor([labels], dtype=torch.int32),
        whole,
        whole,
    )


PROMPTS = {
    "box": ([[20, 30], [90, 100]], [BOX_TOP_LEFT, BOX_BOTTOM_RIGHT]),
    "point": ([[50, 60], [0, 0]], [FOREGROUND, PADDING]),
    "points": ([[50, 60], [20, 20]], [FOREGROUND, BACKGROUND]),
}


def test_a_prompt_has_the_same_answer_beside_others_and_however_it_is_padded(decoder, spec):
    together = decoder(*sample(spec, *map(list, zip(*PROMPTS.values(), strict=True))))
    for place, (points, labels) in enumerate(PROMPTS.values()):
        padded = [*points, [0, 0], [0, 0]], [*labels, PADDING, PADDING]
        for alone in (decoder(*sample(spec, [points], [labels])),
                      decoder(*sample(spec, [padded[0]], [padded[1]]))):  # fmt: skip
            for one, all_ in zip(alone, together, strict=True):
                assert torch.allclose(one[0, 0], all_[0, place], atol=1e-4)


def test_an_unstable_mask_is_not_taken(decoder):
    steady = torch.full((1, 1, 8, 8), 9.0)
    hanging = torch.full((1, 1, 8, 8), 0.01)
    empty = torch.full((1, 1, 8, 8), -9.0)
    masks = torch.cat([steady, hanging, empty], dim=1)
    assert decoder.is_unstable(masks).tolist() == [[False, True, False]]


@settings(max_examples=30)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(2, 20), st.integers(1, 500))
def test_masks_are_drawn_as_torch_draws_them(height, width, edge, strip):
    logits = np.random.default_rng(edge).normal(0, 1, (edge, edge)).astype(np.float32)
    strips = [*stretched_columns(logits, (height, width), strip_pixels=strip)]
    ours = np.concatenate(strips).T
    drawn = functional.interpolate(
        torch.from_numpy(logits)[None, None], (height, width), mode="bilinear"
    )[0, 0].numpy()
    assert ours.shape == (height, width)
    clear = np.abs(drawn) > 1e-4
    assert np.array_equal(ours[clear], drawn[clear] > MASK_THRESHOLD)


@settings(max_examples=30)
@given(st.integers(8, 90), st.integers(8, 90), st.integers(0, 9))
def test_a_mask_within_the_whole_picture_is_the_mask(spec, height, width, seed):
    size = spec.mask_edge
    logits = np.random.default_rng(seed).normal(0, 1, (size, size)).astype(np.float32)
    edge = max(height, width)
    within = Sam2("sam2", spec).mask_within(logits, (height, width), (0, 0, edge, edge), edge)
    whole = np.concatenate([*stretched_columns(logits, (height, width))]).T
    assert same(within[:height, :width], whole) >= SAME_AREA
    assert not within[height:].any() and not within[:, width:].any()


def test_a_processor_of_another_size_is_refused(model):
    other = Sam2ImageProcessorPil(size={"height": 96, "width": 128})
    with pytest.raises(InvalidCheckpoint, match=r"takes 128 x 128 pixels, .* to 96 x 128"):
        read_spec(model.config, other)


def test_a_processor_that_pads_is_refused(model):
    other = Sam2ImageProcessorPil(size={"height": 128, "width": 128}, do_pad=True)
    with pytest.raises(UnsupportedProcessor, match="do_pad=False, got True"):
        read_spec(model.config, other)


def test_maps_of_another_size_are_refused(model, processor, monkeypatch):
    sizes = [[64, 64], [32, 32], [16, 16]]
    monkeypatch.setattr(model.config.vision_config, "backbone_feature_sizes", sizes)
    with pytest.raises(InvalidCheckpoint, match=r"expected maps of \[\[32, 32\].*\[\[64, 64\]"):
        read_spec(model.config, processor)
