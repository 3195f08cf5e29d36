"""OpenCLIP's own layout is read as open_clip reads it.

tests/export/open_clip holds tiny checkpoints of each tower made by open_clip 3.3.0, and its answers
(`open_clip_reference`).
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from export.checkpoints import find
from export.errors import CheckpointUnavailable, InvalidCheckpoint, UnsupportedProcessor
from export.families import load
from export.families.clip import TEXTS
from export.members import MemberExport, export_member
from fovea.images import Picture
from fovea.members import Source
from tests.export.embedders import serve, spread
from tests.export.open_clip_reference import FOLDER, PICTURES, WEIGHTS

TOWERS = ("vit", "resnet", "convnext")


def found(folder: Path, family: str = ""):
    return find("clip", Source(str(folder), family))


@pytest.fixture(scope="module", params=TOWERS)
def checkpoint(request):
    return found(FOLDER / request.param)


@pytest.fixture(scope="module")
def opened(checkpoint):
    return MemberExport(checkpoint).open()


@pytest.fixture(scope="module")
def theirs(checkpoint):
    return np.load(checkpoint.folder / "reference.npz")


@pytest.fixture(scope="module")
def tokens(checkpoint, opened, tmp_path_factory):
    folder = tmp_path_factory.mktemp("step")
    target = opened.role.file(folder, "tokenizer.json")
    load("open_clip").write_file(checkpoint, "tokenizer.json", target)
    return opened.role.tokens(folder)


def test_pixels_are_those_of_open_clip(opened, theirs):
    ours = [opened.role.geometry.apply(Picture(picture))[0] for picture in PICTURES]
    assert np.array_equal(np.stack(ours), theirs["pixels"])


def test_tokens_are_those_of_open_clip(tokens, theirs):
    assert [tokens.encode(text)["input_ids"].tolist() for text in TEXTS] == (
        theirs["tokens"].tolist()
    )


def test_vectors_and_scores_are_those_of_open_clip(opened, theirs):
    image, text = (network.module for network in opened.networks)
    with torch.inference_mode():
        images = image(torch.from_numpy(theirs["pixels"])).numpy()
        texts = text(torch.from_numpy(theirs["tokens"])).numpy()
    assert np.allclose(images, theirs["image_features"], atol=1e-5)
    assert np.allclose(texts, theirs["text_features"], atol=1e-5)
    assert min(spread(images), spread(texts)) > 0.01
    expected = torch.from_numpy(theirs["logits"]).softmax(dim=1).numpy()
    ours = np.stack([opened.role.label_scores(one, texts) for one in images])
    assert np.allclose(ours, expected, atol=1e-4)


def test_a_deployment_answers_as_the_networks_do(tmp_path):
    served = serve("open_clip", "open_clip_resnet", tmp_path)
    scores = served.label_scores()
    assert np.allclose(scores.sum(axis=1), 1, atol=1e-5)
    assert spread(served.embed_images()) > 0.01


@pytest.fixture
def copied(tmp_path):
    return Path(shutil.copytree(FOLDER / "vit", tmp_path / "vit"))


def configured(folder: Path, part: str, **changes) -> Path:
    path = folder / "open_clip_config.json"
    config = json.loads(path.read_text())
    target = config if part == "preprocess_cfg" else config["model_cfg"]
    (target if part == "model_cfg" else target[part]).update(changes)
    path.write_text(json.dumps(config))
    return folder


def test_the_activation_is_what_the_configuration_says(copied):
    [quick, _] = MemberExport(found(copied)).open().networks
    other = found(configured(copied, "model_cfg", quick_gelu=False))
    [plain, _] = MemberExport(other).open().networks
    pixels = torch.from_numpy(quick.sample(2, 0)["pixel_values"])
    assert (quick.module(pixels) - plain.module(pixels)).abs().max() > 1e-5


@pytest.mark.parametrize("file", ["open_clip_pytorch_model.bin", WEIGHTS])
def test_weights_may_be_a_pickle_and_of_a_text_module(copied, file):
    state = load_file(copied / WEIGHTS)
    (copied / WEIGHTS).unlink()
    of_text = {
        key if key.startswith(("visual.", "logit_scale")) else f"text.{key}": tensor
        for key, tensor in state.items()
    }
    (save_file if file == WEIGHTS else torch.save)(of_text, copied / file)
    read = load("open_clip").load_model(found(copied))
    assert torch.equal(read.token_embedding.weight, state["token_embedding.weight"].float())


@pytest.mark.parametrize(
    ("part", "changes", "message"),
    [
        ("model_cfg", {"init_logit_bias": -10}, "model_cfg .* init_logit_bias=-10"),
        ("model_cfg", {"multimodal_cfg": {"width": 4}}, "multimodal_cfg"),
        ("vision_cfg", {"attentional_pool": True}, "vision_cfg .* attentional_pool=True"),
        ("vision_cfg", {"pool_type": "avg"}, "pool_type='avg'"),
        ("vision_cfg", {"image_size": [48, 64]}, r"square pictures, got \[48, 64\]"),
        ("vision_cfg", {"timm_model_name": "eva02_base_patch16_clip_224"}, "eva02.*SigLIP's are"),
        ("text_cfg", {"hf_model_name": "roberta-base"}, "text_cfg .* hf_model_name='roberta-base'"),
        ("text_cfg", {"pool_type": "last"}, "pool_type='last'"),
        ("text_cfg", {"layers": 3}, "not those that open_clip_config.json says: .*resblocks.2"),
        ("vision_cfg", {"image_size": 64}, "size mismatch for visual.positional_embedding"),
    ],
)
def test_unsupported_settings_are_refused_by_name(copied, part, changes, message):
    with pytest.raises(InvalidCheckpoint, match=f"(?s){message}"):
        MemberExport(found(configured(copied, part, **changes))).open()


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"resize_mode": "longest"}, UnsupportedProcessor, "resize_mode shortest or squash"),
        ({"interpolation": "nearest"}, UnsupportedProcessor, "interpolation bicubic or bilinear"),
        ({"sharpness": 2}, UnsupportedProcessor, "preprocess_cfg .* sharpness=2"),
        ({"size": 96}, InvalidCheckpoint, "takes 48 x 48 pixels, preprocess_cfg has 96"),
    ],
)
def test_unsupported_preprocessing_is_refused(copied, changes, error, message):
    path = copied / "open_clip_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"preprocess_cfg": changes}))
    with pytest.raises(error, match=message):
        MemberExport(found(copied)).open()


@pytest.mark.parametrize(
    "preprocess",
    [
        {"resize_mode": "squash", "interpolation": "bilinear"},
        {"mean": [0.5, 0.4, 0.3], "std": 0.5, "size": 48},
    ],
)
def test_supported_preprocessing_passes_the_gates(copied, preprocess, tmp_path):
    path = copied / "open_clip_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"preprocess_cfg": preprocess}))
    request = MemberExport(found(copied))
    exported = export_member(request, tmp_path / "members", report=lambda network, what: None)
    assert exported.record["preprocessing"]["grey_levels"] <= 1


@pytest.mark.parametrize("file", [WEIGHTS, "vocab.json"])
def test_a_missing_file_is_named(copied, file):
    (copied / file).unlink()
    with pytest.raises(CheckpointUnavailable, match=r"tokenizer\.json|open_clip_model"):
        found(copied)


def test_a_folder_of_both_layouts_is_transformers_unless_the_family_is_named(copied, tmp_path):
    (copied / "config.json").write_text(json.dumps({"model_type": "siglip2"}))
    with pytest.raises(InvalidCheckpoint, match="got 'siglip2'"):
        found(copied)
    assert found(copied, family="open_clip").family == "open_clip"
