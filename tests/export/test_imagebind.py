"""All of ImageBind's inputs are read as in its own code.

tests/export/imagebind holds a tiny checkpoint and the answers of upstream's code to it
(`imagebind_reference`).
"""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from export.checkpoints import find
from export.errors import CheckpointUnavailable, InvalidCheckpoint
from export.families import load
from export.families.clip import TEXTS
from export.families.imagebind_weights import WEIGHTS, open_clip_state
from export.licences import is_non_commercial, weights_licence
from export.members import MemberExport
from export.stand_ins.imagebind import upstream_state
from fovea import wav
from fovea.images import Picture
from fovea.limits import Limits
from fovea.mel import RATE
from fovea.members import Source
from tests.export.embedders import serve, spread
from tests.export.open_clip_reference import PICTURES
from tests.recordings import GREY, MOTION, SOUNDS

FOLDER = Path(__file__).parent / "imagebind"


def found(folder: Path):
    return find("bind", Source(str(folder), "imagebind"))


@pytest.fixture(scope="module")
def opened():
    return MemberExport(found(FOLDER)).open()


@pytest.fixture(scope="module")
def theirs():
    return np.load(FOLDER / "reference.npz")


def test_tokens_are_those_of_upstream(opened, theirs, tmp_path):
    target = opened.role.file(tmp_path, "tokenizer.json")
    load("imagebind").write_file(found(FOLDER), "tokenizer.json", target)
    tokens = opened.role.tokens(tmp_path)
    ours = [tokens.encode(text)["input_ids"].tolist() for text in TEXTS]
    assert ours == theirs["tokens"].tolist()


def test_vectors_and_scores_are_those_of_upstream(opened, theirs):
    image, text = (network.module for network in opened.networks[:2])
    pixels = [opened.role.geometry.apply(Picture(picture))[0] for picture in PICTURES]
    with torch.inference_mode():
        images = image(torch.from_numpy(np.stack(pixels))).numpy()
        texts = text(torch.from_numpy(theirs["tokens"])).numpy()
    assert np.allclose(images, theirs["vision"], atol=1e-5)
    assert np.allclose(texts * opened.role.spec.logit_scale, theirs["text"], atol=1e-4)
    assert min(spread(images), spread(texts)) > 0.01
    logits = torch.from_numpy(theirs["vision"] @ theirs["text"].T)
    ours = np.stack([opened.role.label_scores(one, texts) for one in images])
    assert np.allclose(ours, logits.softmax(dim=1).numpy(), atol=1e-5)


SENT = {
    "audio": [np.array([wav.write(sound, RATE)], np.object_) for sound in SOUNDS],
    "depth": [*GREY],
    "thermal": [*(1 - GREY)],
    "imu": [*MOTION],
}


@pytest.mark.parametrize("modality", SENT)
def test_vectors_of_a_modality_are_those_of_upstream_made_of_length_1(opened, theirs, modality):
    [network] = [one for one in opened.networks if one.spec.name == f"bind_{modality}_encoder"]
    prepare = opened.role.modalities[modality].prepare
    values = np.stack([prepare(sent, Limits()) for sent in SENT[modality]])
    with torch.inference_mode():
        ours = network.module(torch.from_numpy(values)).numpy()
    lengths = np.linalg.norm(theirs[modality], axis=1, keepdims=True)
    assert np.allclose(ours, theirs[modality] / lengths, atol=1e-4)
    assert spread(ours) > 0.005


def test_log_mel_is_that_of_torchaudio(opened, theirs):
    heard = opened.role.modalities["audio"].prepare(SENT["audio"][-1], Limits())
    assert np.allclose(heard[0], theirs["log_mel"], atol=1e-3)


def test_a_deployment_answers(tmp_path):
    served = serve("imagebind", "imagebind", tmp_path)
    assert np.allclose(served.label_scores().sum(axis=1), 1, atol=1e-5)
    assert spread(served.embed_images()) > 0.01


def test_names_of_weights_go_both_ways(opened):
    ours = load("imagebind").load_model(found(FOLDER)).state_dict()
    again = open_clip_state(upstream_state(ours))
    assert set(again) == set(ours)
    assert all(torch.allclose(again[name], ours[name], atol=1e-6) for name in ours)


@pytest.fixture
def copied(tmp_path):
    return Path(shutil.copytree(FOLDER, tmp_path / "bind"))


def test_the_scale_of_scores_has_a_bound(copied):
    state = torch.load(copied / WEIGHTS, weights_only=True)
    state["modality_postprocessors.text.1.log_logit_scale"].fill_(9)
    torch.save(state, copied / WEIGHTS)
    assert MemberExport(found(copied)).open().member.spec.logit_scale == pytest.approx(100)


@pytest.mark.parametrize(
    "missing",
    [
        *("modality_trunks.text.blocks.0", "modality_heads.vision.2"),
        *("modality_trunks.audio.blocks.0", "modality_heads.imu.3", "modality_preprocessors.depth"),
    ],
)
def test_weights_that_are_not_whole_are_refused(copied, missing):
    state = torch.load(copied / WEIGHTS, weights_only=True)
    torch.save({k: v for k, v in state.items() if not k.startswith(missing)}, copied / WEIGHTS)
    with pytest.raises(InvalidCheckpoint, match="not those of ImageBind"):
        MemberExport(found(copied)).open()


@pytest.mark.parametrize("content", [b"<html>", b""])
def test_a_broken_file_is_a_typed_error(copied, content):
    (copied / WEIGHTS).write_bytes(content)
    with pytest.raises(InvalidCheckpoint, match="no weights"):
        MemberExport(found(copied)).open()


@pytest.mark.parametrize("missing", [WEIGHTS, "merges.txt"])
def test_a_missing_file_is_named_with_where_to_get_it(copied, missing):
    (copied / missing).unlink()
    with pytest.raises(CheckpointUnavailable, match="clip-vit-base-patch32"):
        found(copied)


def test_its_weights_are_not_for_commercial_use():
    assert is_non_commercial(weights_licence("imagebind", FOLDER))
