"""An export equals its checkpoint, or it stops and says why."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from export import preprocessing
from export.checkpoints import Checkpoint, find
from export.deployments import read_deployment
from export.errors import (
    CheckpointUnavailable,
    InvalidCheckpoint,
    InvalidOption,
    ParityError,
    UnsupportedProcessor,
)
from export.members import MemberExport, Opened
from export.network import sample_pixels
from fovea.members import Source

SOURCES = read_deployment("demo").members
DEMO = {name: find(name, source) for name, source in SOURCES.items()}


def found(family: str, folder: Path) -> Checkpoint:
    return find(family, Source(str(folder)))


def opened(family: str, folder: Path) -> Opened:
    return MemberExport(found(family, folder)).open()


@pytest.fixture
def copied(tmp_path):
    """A demo checkpoint in its own folder: `family` -> folder."""

    def copy(family: str) -> Path:
        return Path(shutil.copytree(DEMO[family].folder, tmp_path / family))

    return copy


def rewrite(folder: Path, change) -> None:
    """Rename the weights, or drop those whose new name is None."""
    path = folder / "model.safetensors"
    state = load_file(path)
    state = {change(name): tensor for name, tensor in state.items() if change(name)}
    save_file(state, path, metadata={"format": "pt"})


def settings(folder: Path, name: str = "preprocessor_config.json", **changes) -> None:
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda name: f"module.{name}", r"missing logit_scale.*unexpected module\.logit_scale"),
        (
            lambda name: None if "projection" in name else name,
            r"missing text_projection\.weight, visual_projection\.weight$",
        ),
        (
            lambda name: name if name.startswith("vision") else None,
            r"missing logit_scale, .* \(3\d in all\)",
        ),
    ],
    ids=["saved from DataParallel", "projections missing", "vision half only"],
)
def test_weights_whose_names_do_not_fit_stop_the_export(copied, change, message):
    folder = copied("clip")
    rewrite(folder, change)
    with pytest.raises(InvalidCheckpoint, match=message):
        found("clip", folder).load_model()


def test_weights_of_another_shape_stop_the_export(copied):
    folder = copied("clip")
    settings(folder, "config.json", projection_dim=64)
    message = r"of another shape text_projection\.weight, visual_projection\.weight$"
    with pytest.raises(InvalidCheckpoint, match=message):
        found("clip", folder).load_model()


@pytest.mark.parametrize(
    ("family", "extra"),
    [
        ("clip", "text_model.embeddings.position_ids"),
        ("clip", "vision_model.embeddings.position_ids"),
        ("grounding_dino", "model.text_backbone.embeddings.position_ids"),
        (
            "grounding_dino",
            "model.backbone.conv_encoder.model.encoder.layers.0.blocks.0.attention.self"
            ".relative_position_index",
        ),
    ],
)
def test_buffers_that_hub_checkpoints_still_carry_stop_nothing(copied, family, extra):
    folder = copied(family)
    state = load_file(folder / "model.safetensors") | {extra: torch.arange(16)[None]}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    assert found(family, folder).load_model()


@pytest.mark.parametrize("model_type", ["blip", None, ["clip"]])
def test_a_checkpoint_of_another_model_stops_before_weights_are_read(copied, model_type):
    folder = copied("clip")
    settings(folder, "config.json", model_type=model_type)
    (folder / "model.safetensors").unlink()
    message = rf"clip: expected .* model_type .*, clip, .* got {re.escape(repr(model_type))}$"
    with pytest.raises(InvalidCheckpoint, match=message):
        found("clip", folder)


def test_a_named_family_is_checked_and_changes_nothing(copied):
    folder = copied("sam")
    named = find("cutter", Source(str(folder), family="sam"))
    assert named == find("cutter", Source(str(folder)))
    assert (named.name, named.family) == ("cutter", "sam")
    (folder / "model.safetensors").unlink()
    (folder / "tokenizer.json").touch()
    for family, model_type in (("hq_sam", "sam_hq"), ("clip", "clip")):
        message = rf"cutter: expected .* model_type '{model_type}' .* got 'sam'$"
        with pytest.raises(InvalidCheckpoint, match=message):
            find("cutter", Source(str(folder), family=family))


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("config.json", CheckpointUnavailable),
        ("preprocessor_config.json", CheckpointUnavailable),
        ("tokenizer.json", CheckpointUnavailable),
        ("model.safetensors", CheckpointUnavailable),
    ],
)
def test_a_missing_file_is_named(copied, name, error):
    folder = copied("clip")
    (folder / name).unlink()
    with pytest.raises(error, match=name):
        found("clip", folder)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", b"<html>"),
        ("config.json", b"[]"),
        ("config.json", b"\xff\xfe"),
        ("preprocessor_config.json", b"<html>"),
        ("tokenizer.json", b"<html>"),
        ("tokenizer.json", b"{}"),
        ("model.safetensors", b"version https://git-lfs.github.com/spec/v1"),
    ],
)
def test_a_broken_file_is_a_typed_error(copied, name, content):
    folder = copied("clip")
    (folder / name).write_bytes(content)
    with pytest.raises(InvalidCheckpoint):
        opened("clip", folder)


def test_a_tokenizer_without_padding_is_a_typed_error(copied):
    folder = copied("clip")
    with pytest.raises(InvalidCheckpoint, match=r"expected a tokenizer with \[PAD\]"):
        found("clip", folder).token_id("[PAD]")


def sharded(folder: Path, suffix: str = ".bin") -> list[Path]:
    """The folder's weights in two shards and an index; returns the shards."""
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    stem = "pytorch_model" if suffix == ".bin" else "model"
    names = [f"{stem}-0000{i}-of-00002{suffix}" for i in (1, 2)]
    where = {name: names[i % 2] for i, name in enumerate(state)}
    for shard in names:
        part = {name: state[name] for name in state if where[name] == shard}
        if suffix == ".bin":
            torch.save(part, folder / shard)
        else:
            save_file(part, folder / shard, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": where}
    (folder / f"{stem}{suffix}.index.json").write_text(json.dumps(index))
    return [folder / shard for shard in names]


@pytest.mark.parametrize("suffix", [".bin", ".safetensors"])
def test_every_shard_counts_in_the_checksum(copied, suffix):
    folder = copied("clip")
    shards = sharded(folder, suffix)
    checkpoint = found("clip", folder)
    assert checkpoint.load_model()
    before = checkpoint.sha256()
    shards[1].write_bytes(shards[1].read_bytes()[:-1] + b"x")
    assert checkpoint.sha256() != before
    shards[1].unlink()
    with pytest.raises(CheckpointUnavailable, match=f"missing {shards[1].name}"):
        found("clip", folder)


def test_only_the_weights_that_are_loaded_count(copied):
    folder = copied("clip")
    checkpoint = found("clip", folder)
    before = checkpoint.sha256()
    (folder / "pytorch_model.bin").write_bytes(b"older weights, which safetensors win over")
    assert checkpoint.sha256() == before
    assert checkpoint.load_model()


class Payload:
    def __reduce__(self):
        return (Path.touch, (Path(self.path),))


def test_a_pickle_that_runs_code_is_refused_and_runs_nothing(copied, tmp_path):
    folder = copied("clip")
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    payload = Payload()
    payload.path = str(tmp_path / "ran")
    torch.save(state | {"logit_scale": payload}, folder / "pytorch_model.bin")
    with pytest.raises(InvalidCheckpoint, match="cannot be loaded"):
        found("clip", folder).load_model()
    assert not (tmp_path / "ran").exists()


def test_sam_at_another_size_than_its_processor_says_what_to_set(copied):
    folder = copied("sam")
    settings(folder, size={"longest_edge": 128}, pad_size={"height": 128, "width": 128})
    with pytest.raises(InvalidCheckpoint, match=r"takes 192 x 192 .* resizes to 128 .* to 192"):
        opened("sam", folder)


@pytest.mark.parametrize(
    ("family", "changes", "message"),
    [
        ("clip", {"size": {"height": 96, "width": 64}}, "expected a size of at least crop_size=96"),
        ("clip", {"size": {"shortest_edge": 96, "longest_edge": 200}}, "expected size with"),
        ("clip", {"size": {"shortest_edge": 64}}, "expected a size of at least crop_size=96"),
        (
            "clip",
            {"size": {"height": 96, "width": 128}, "do_center_crop": False},
            "do_center_crop=True, got False",
        ),
        ("clip", {"do_center_crop": False}, "do_center_crop=True, got False"),
        ("clip", {"do_resize": False}, "do_resize=True, got False"),
        ("clip", {"do_pad": True}, "do_pad=False, got True"),
        ("clip", {"resample": 17}, "resample to be one of"),
        ("clip", {"do_sharpen": True}, "not known here: do_sharpen=True"),
        ("grounding_dino", {"size": {"height": 192, "width": 192}}, "expected size with"),
        ("grounding_dino", {"size": {"max_height": 192, "max_width": 192}}, "expected size with"),
        ("grounding_dino", {"do_pad": False}, "do_pad=True, got False"),
        ("grounding_dino", {"pad_size": {"height": 90, "width": 192}}, "pad_size of at least"),
        ("grounding_dino", {"size_divisor": 32}, "not known here: size_divisor=32"),
        ("sam", {"do_pad": False}, "do_pad=True, got False"),
        ("sam", {"do_center_crop": True}, "do_center_crop=False, got True"),
        ("sam", {"size": {"height": 192, "width": 192}}, "expected size with longest_edge"),
    ],
)
def test_an_unsupported_setting_of_the_processor_is_refused_by_name(
    copied, family, changes, message
):
    folder = copied(family)
    settings(folder, **changes)
    with pytest.raises(UnsupportedProcessor, match=message):
        opened(family, folder)


def test_the_processor_of_another_model_is_refused(copied):
    folder = copied("clip")
    settings(folder, image_processor_type="SiglipImageProcessor")
    with pytest.raises(InvalidCheckpoint, match="those of a SiglipImageProcessor"):
        opened("clip", folder)


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("clip", {"size": {"shortest_edge": 110}}),
        ("clip", {"size": 110, "crop_size": 96}),
        ("clip", {"resample": 2}),
        ("clip", {"rescale_factor": 1 / 128}),
        ("clip", {"do_normalize": False}),
        ("clip", {"do_rescale": False, "image_mean": [100, 110, 120], "image_std": [60, 50, 40]}),
        ("clip", {"do_convert_rgb": False, "do_pad": None}),
        ("grounding_dino", {"size": {"shortest_edge": 100, "longest_edge": 150}}),
        ("grounding_dino", {"pad_size": None, "resample": 3}),
        ("grounding_dino", {"do_normalize": False, "do_rescale": False}),
        ("sam", {"resample": 1, "rescale_factor": 1 / 127.5, "image_mean": [1.0, 1.0, 1.0]}),
        ("sam", {"do_normalize": False}),
    ],
)
def test_a_supported_setting_of_the_processor_gives_its_pixels(copied, family, changes):
    folder = copied(family)
    settings(folder, **changes)
    alike = preprocessing.check(found(family, folder), opened(family, folder).member, {})
    assert alike["grey_levels"] <= preprocessing.PIXEL_TOLERANCE


@pytest.mark.parametrize("family", DEMO)
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]},
        {"rescale_factor": 1 / 127.5, "image_mean": [1.0, 1.0, 1.0]},
        {"do_normalize": False},
        {"do_rescale": False, "image_mean": [100, 110, 120], "image_std": [60, 50, 40]},
    ],
)
def test_the_networks_own_normalization_is_the_processors(copied, family, changes):
    folder = copied(family)
    settings(folder, **changes)
    image_network = opened(family, folder).networks[0]
    edges = image_network.spec.inputs[0].shape[1:]
    pixels = sample_pixels(np.random.default_rng(0), (3, *edges), edges)
    processor = found(family, folder).load_image_processor()
    picture = Image.fromarray(pixels.transpose(1, 2, 0))
    theirs = processor(picture, return_tensors="np")["pixel_values"][0]
    ours = image_network.module.normalize(torch.from_numpy(pixels)[None])[0].numpy()
    assert np.allclose(ours, theirs, atol=1e-5 * np.abs(theirs).max())


def capped(edge: int) -> MemberExport:
    return MemberExport(DEMO["grounding_dino"], (("longest_edge", edge),))


def test_a_capped_edge_of_grounding_dino_is_compared_at_that_edge():
    checkpoint, member = DEMO["grounding_dino"], capped(100).open().member
    assert member.spec.canvas_hw == (100, 100)
    alike = preprocessing.check(checkpoint, member, {"longest_edge": 100})
    assert alike["grey_levels"] <= preprocessing.PIXEL_TOLERANCE
    with pytest.raises(ParityError, match="grounding_dino: a picture of"):
        preprocessing.check(checkpoint, member, {})


@pytest.mark.parametrize("edge", [0, -1])
def test_an_edge_of_no_pixels_is_refused(edge):
    with pytest.raises(InvalidOption, match=f"longest_edge: expected a pixel or more, got {edge}"):
        capped(edge).open()


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("clip", {"resample": 2}),
        ("clip", {"resize_edge": 110}),
        ("grounding_dino", {"longest_edge": 150}),
        ("sam", {"resample": 3}),
    ],
)
def test_pixels_that_are_not_the_processors_stop_the_export(family, changes):
    member = MemberExport(DEMO[family]).open().member
    wrong = replace(member, spec=replace(member.spec, **changes))
    with pytest.raises(ParityError, match=f"{family}: a picture of"):
        preprocessing.check(DEMO[family], wrong, {})


def test_tokens_that_are_not_the_tokenizers_stop_the_export(copied):
    folder = copied("grounding_dino")
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["normalizer"] = None
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    member = opened("grounding_dino", folder).member
    with pytest.raises(ParityError, match=r"grounding_dino: .* becomes the tokens"):
        preprocessing.check(found("grounding_dino", folder), member, {})


def test_another_padding_than_the_tokenizers_stops_the_export():
    member = MemberExport(DEMO["clip"]).open().member
    wrong = replace(member, spec=replace(member.spec, pad_token_id=5))
    with pytest.raises(ParityError, match=r"clip: .* becomes the tokens"):
        preprocessing.check(DEMO["clip"], wrong, {})
