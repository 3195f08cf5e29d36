"""MobileSAM's own file is read as in upstream's code, and served like SAM."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from fovea_client import LocalClient
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import SamConfig, SamModel
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

from export import stand_ins
from export.checkpoints import find
from export.deployments import Export, run
from export.errors import CheckpointUnavailable, InvalidCheckpoint, InvalidOption
from export.families import load
from export.families.mobile_sam import build, shape_of, transformers_state
from export.families.sam import MaskDecoder
from export.families.tiny_vit import TinyVit, TinyVitShape, WindowAttention
from export.family_checkpoints import requests
from export.members import MemberExport
from export.preprocessing import photograph
from export.stand_ins.mobile_sam import TINY_EDGE, upstream_state
from fovea.deployment_file import DeploymentFile
from fovea.families.sam import SamSpec
from fovea.members import Source
from fovea.prompts import BOX_BOTTOM_RIGHT, BOX_TOP_LEFT, FOREGROUND, PADDING
from fovea.verbs import verbs_of
from tests.export import mobile_sam_reference as reference

NAME = "mobile_sam.pt"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("mobile_sam")
    return stand_ins.write("mobile_sam", "tiny", folder)["mobile_sam"]


def found(path: Path, family: str | None = None):
    return find("mobile", Source(str(path), family))


@pytest.fixture(scope="module")
def upstream() -> dict[str, torch.Tensor]:
    """The reference's weights, by upstream's names."""
    config = SamConfig(vision_config={"num_hidden_layers": 0})
    empty = upstream_state(SamModel(config), TinyVit(reference.SHAPE))
    return reference.weights({name: tuple(tensor.shape) for name, tensor in empty.items()})


@torch.inference_mode()
def test_embeddings_and_masks_are_those_of_upstream(upstream):
    theirs = np.load(reference.ANSWERS)
    model = build(upstream).eval()
    model.config.prompt_encoder_config.image_embedding_size = reference.SIZE // 16
    embedding = model.vision_encoder(reference.picture(), reference.SIZE)
    assert np.abs(reference.kept(embedding) - theirs["embedding"]).max() < 2e-5
    decoder = MaskDecoder(model, SamSpec(reference.SIZE, 256, 64, 256))
    left, top, right, bottom = reference.BOX
    for name, points, labels, asked in (
        ("box", [(left, top), (right, bottom)], (BOX_TOP_LEFT, BOX_BOTTOM_RIGHT), slice(0, 1)),
        ("point", [reference.POINT, (0, 0)], (FOREGROUND, PADDING), slice(1, None)),
    ):
        coords, ours = torch.tensor([[points]]).float(), torch.tensor([[labels]]).int()
        scores, masks = decoder.all_masks(embedding, coords, ours)
        expected = theirs[f"{name}_masks"]
        scale = np.abs(expected).max()
        assert scale > 0.1
        differences = np.abs(reference.kept(masks[0, :, asked]) - expected) / scale
        # With these weights the result in float32 is 2e-3 off that in float64.
        assert differences.max() < 5e-3 and differences.mean() < 3e-4
        assert np.allclose(scores[0, :, asked], theirs[f"{name}_scores"], atol=1e-3)


def test_the_weights_tell_the_shape(upstream):
    assert shape_of(upstream) == reference.SHAPE


def test_all_names_of_prompts_and_masks_are_those_of_transformers(upstream):
    ours = SamModel(SamConfig(vision_config={"num_hidden_layers": 0})).state_dict()
    expected = {key for key in ours if not key.startswith("vision_encoder.")}
    assert set(transformers_state(upstream)) == expected


@torch.inference_mode()
def test_a_deployment_cuts_as_transformers_would_with_these_weights(tmp_path):
    request = requests("mobile_sam")["mobile_sam"]
    source = Source(str(request.checkpoint.folder), "mobile_sam", request.options)
    verbs = verbs_of({"segment": {"cuts": "mobile"}})
    export = Export(DeploymentFile("mobile", {"mobile": source}, verbs), tmp_path / "export")
    run(export)
    picture, box = photograph((90, 140)), (20.0, 10.0, 100.0, 80.0)
    with LocalClient(export.out) as client:
        served = client.segment(picture, boxes=box)
    family, edge = load("mobile_sam"), TINY_EDGE
    model, processor = family.load_model(request.checkpoint), SamImageProcessorPil()
    sizes = family.processor_arguments(processor, dict(request.options))
    inputs = processor(picture, return_tensors="pt", **sizes)
    model.config.prompt_encoder_config.image_embedding_size = edge // 16
    model.prompt_encoder.image_embedding_size = (edge // 16, edge // 16)
    model.prompt_encoder.input_image_size = edge
    # Per axis, as `SamProcessor` moves boxes: edges are rounded to whole pixels.
    down, across = (inputs["reshaped_input_sizes"] / inputs["original_sizes"])[0].tolist()
    scaled = torch.tensor([[box]]) * torch.tensor([across, down, across, down])
    found = model(
        image_embeddings=model.vision_encoder(inputs["pixel_values"], edge),
        input_boxes=scaled,
        multimask_output=False,
    )
    [masks] = processor.post_process_masks(
        found.pred_masks,
        inputs["original_sizes"],
        inputs["reshaped_input_sizes"],
        pad_size=sizes["pad_size"],
    )
    expected, mask = masks[0, 0].numpy(), served.masks[0].to_numpy()
    assert mask.shape == expected.shape == (90, 140)
    assert 0.01 < mask.mean() < 0.99
    assert (mask == expected).mean() > 0.999
    assert served.scores[0] == pytest.approx(float(found.iou_scores), abs=1e-3)


def test_a_file_and_a_folder_with_it_are_one_checkpoint(checkpoint):
    of_file, of_folder = found(checkpoint), found(checkpoint.parent)
    assert of_file.family == of_folder.family == "mobile_sam"
    assert load("mobile_sam").files(checkpoint.parent) == [checkpoint]


def test_its_picture_may_be_smaller_than_upstreams(checkpoint):
    spec = MemberExport(found(checkpoint), (("image_size", 64),)).open().member.spec
    assert (spec.image_size, spec.embedding_edge, spec.mask_edge) == (64, 4, 16)
    assert MemberExport(found(checkpoint)).open().member.spec.image_size == 1024


@pytest.mark.parametrize("size", [0, -16, 100])
def test_a_size_that_is_not_a_multiple_of_a_cell_is_refused(checkpoint, size):
    with pytest.raises(InvalidOption, match=f"multiple of 16, got {size}"):
        MemberExport(found(checkpoint), (("image_size", size),)).open()


@pytest.mark.parametrize("content", [b"<html>", b""])
def test_a_broken_file_is_a_typed_error(tmp_path, content):
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(InvalidCheckpoint, match="no weights"):
        MemberExport(found(tmp_path / NAME)).open()


def test_other_weights_are_refused_by_name(checkpoint, tmp_path):
    state = torch.load(checkpoint, weights_only=True)
    missing = "mask_decoder.iou_token.weight"
    torch.save({key: v for key, v in state.items() if key != missing}, tmp_path / NAME)
    with pytest.raises(InvalidCheckpoint, match=r"(?s)not those of MobileSAM.*iou_token"):
        MemberExport(found(tmp_path / NAME)).open()
    torch.save({"state_dict": 1}, tmp_path / NAME)
    with pytest.raises(InvalidCheckpoint, match="not those of MobileSAM"):
        MemberExport(found(tmp_path / NAME)).open()


def test_a_missing_file_is_named_with_where_to_get_it(tmp_path, checkpoint):
    with pytest.raises(CheckpointUnavailable, match=r"there is no .*gone\.pt"):
        found(tmp_path / "gone.pt")
    with pytest.raises(CheckpointUnavailable, match="ChaoningZhang"):
        found(tmp_path, "mobile_sam")
    shutil.copyfile(checkpoint, tmp_path / "other.pt")
    assert found(tmp_path / "other.pt", "mobile_sam").family == "mobile_sam"


@settings(max_examples=20, deadline=None)
@given(window=st.integers(1, 7), heads=st.integers(1, 3), windows=st.integers(1, 3))
@torch.inference_mode()
def test_windows_do_not_see_each_other(window, heads, windows):
    torch.manual_seed(0)
    attention = WindowAttention(8 * heads, heads, window).eval()
    attention.attention_biases.normal_()
    cells = torch.randn(windows, window * window, 8 * heads)
    together = attention(cells)
    for alone, seen in zip(cells, together, strict=True):
        assert torch.allclose(attention(alone[None])[0], seen, atol=1e-5)


@settings(max_examples=8, deadline=None)
@given(cells=st.integers(1, 6), window=st.integers(2, 7))
@torch.inference_mode()
def test_any_multiple_of_a_cell_gives_an_embedding_of_it(cells, window):
    torch.manual_seed(0)
    shape = TinyVitShape((4, 4, 4, 4), (1, 1, 1, 1), (1, 1, 1), (window,) * 3, channels=8)
    encoder = TinyVit(shape).eval()
    pixels = torch.randn(2, 3, 16 * cells, 16 * cells)
    embedding = encoder(pixels, 16 * cells)
    assert embedding.shape == (2, 8, cells, cells)
    assert torch.allclose(encoder(pixels[:1], 16 * cells)[0], embedding[0], atol=1e-5)


def test_the_tiny_one_is_of_the_size_that_its_option_says():
    assert stand_ins.options("mobile_sam") == {"image_size": TINY_EDGE}
