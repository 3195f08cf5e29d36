"""MetaCLIP's checkpoints have CLIP's architecture, other activations and no tokenizer.json."""

import json
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from export import preprocessing, stand_ins
from export.checkpoints import find
from export.errors import CheckpointUnavailable
from export.families import load
from export.members import MemberExport, export_member
from export.stand_ins.clip import TEXT_LENGTH
from fovea.errors import InvalidText
from fovea.members import Source
from tests.export.embedders import STAND_INS
from tests.export.test_networks import normalized, tensors

FOLDER = stand_ins.write("clip", "tiny", STAND_INS / "clip")["metaclip"]
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1)


@pytest.fixture(scope="module")
def checkpoint():
    return find("metaclip", Source(str(FOLDER)))


@pytest.fixture(scope="module")
def theirs(checkpoint):
    return checkpoint.load_tokenizer()


@pytest.fixture(scope="module")
def tokens(checkpoint, tmp_path_factory):
    exported = export_member(MemberExport(checkpoint), report=lambda network, what: None)
    role = exported.member.play()
    folder = tmp_path_factory.mktemp("step")
    shutil.copy(exported.folder / "tokenizer.json", role.file(folder, "tokenizer.json"))
    return role.tokens(folder)


def test_the_checkpoint_has_no_tokenizer_json(checkpoint):
    assert checkpoint.family == "clip"
    assert not (FOLDER / "tokenizer.json").exists()


@given(TEXTS)
def test_tokens_of_the_file_that_is_made_are_the_checkpoints(tokens, theirs, text):
    expected = theirs(text, padding="max_length", max_length=TEXT_LENGTH)
    try:
        ours = tokens.encode(text)
    except InvalidText:
        assert not text.strip() or len(expected["input_ids"]) > TEXT_LENGTH
        return
    assert ours["input_ids"].tolist() == expected["input_ids"]


@pytest.mark.parametrize("missing", ["vocab.json", "merges.txt"])
def test_half_a_vocabulary_is_refused(tmp_path, missing):
    folder = shutil.copytree(FOLDER, tmp_path / "half")
    (folder / missing).unlink()
    with pytest.raises(CheckpointUnavailable, match=r"missing tokenizer\.json"):
        find("metaclip", Source(str(folder)))


@pytest.mark.parametrize("hidden_act", ["quick_gelu", "gelu"])
def test_the_activation_is_the_checkpoints(tmp_path, hidden_act):
    folder = shutil.copytree(FOLDER, tmp_path / hidden_act)
    config = json.loads((folder / "config.json").read_text())
    for tower in ("text_config", "vision_config"):
        config[tower]["hidden_act"] = hidden_act
    (folder / "config.json").write_text(json.dumps(config))
    other = find("metaclip", Source(str(folder)))
    image, text = MemberExport(other).open().networks
    pixels, tokens = tensors(image.sample(2, 0)), tensors(text.sample(2, 1))
    with torch.inference_mode():
        answer = other.load_model()(
            pixel_values=normalized(pixels["pixel_values"], other), **tokens
        )
        ours = image.module(**pixels), text.module(**tokens)
    assert torch.allclose(ours[0], answer.image_embeds, atol=1e-5)
    assert torch.allclose(ours[1], answer.text_embeds, atol=1e-5)
    if hidden_act == "gelu":
        [quick, _] = MemberExport(find("metaclip", Source(str(FOLDER)))).open().networks
        with torch.inference_mode():
            assert np.abs(ours[0] - quick.module(**pixels)).max() > 1e-4


def test_a_bert_vocabulary_is_enough_as_well(tmp_path):
    demo = find("dino", Source("demo/checkpoints/grounding_dino"))
    folder = shutil.copytree(demo.folder, tmp_path / "dino")
    vocabulary = demo.read_tokenizer().get_vocab()
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").write_text("\n".join(sorted(vocabulary, key=vocabulary.__getitem__)))
    found = find("dino", Source(str(folder)))
    family = load(found.family)
    for text in ("a cat. red van.", "snowboarder, man!"):
        ours = family.read_tokenizer(found).encode(text).ids
        assert ours == demo.load_tokenizer()(text)["input_ids"]


def test_texts_are_padded_with_what_the_checkpoint_says(tmp_path):
    folder = shutil.copytree(FOLDER, tmp_path / "padded")
    told = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(told | {"pad_token": "!"}))
    found = find("metaclip", Source(str(folder)))
    member = MemberExport(found).open().member
    assert member.spec.pad_token_id == found.load_tokenizer().convert_tokens_to_ids("!")
    assert preprocessing.check(found, member, {})["texts"] > 0
