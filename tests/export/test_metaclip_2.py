"""MetaCLIP 2 reads XLM-R's tokens, and a text at the token that ends it."""

import json
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from export import stand_ins
from export.checkpoints import find
from export.errors import InvalidCheckpoint
from export.members import MemberExport
from export.stand_ins.clip import TEXT_LENGTH
from fovea.errors import InvalidText
from fovea.families.metaclip_2 import MetaClip2
from fovea.members import Source
from tests.export.embedders import STAND_INS
from tests.export.test_metaclip import TEXTS

FOLDER = stand_ins.write("metaclip_2", "tiny", STAND_INS / "metaclip_2")["metaclip_2"]


@pytest.fixture(scope="module")
def checkpoint():
    return find("metaclip", Source(str(FOLDER)))


@pytest.fixture(scope="module")
def tokens(checkpoint, tmp_path_factory):
    role, folder = MemberExport(checkpoint).open().role, tmp_path_factory.mktemp("step")
    shutil.copy(FOLDER / "tokenizer.json", role.file(folder, "tokenizer.json"))
    return role.tokens(folder)


def test_the_checkpoint_says_what_it_is(checkpoint):
    assert checkpoint.family == "metaclip_2"
    assert isinstance(MemberExport(checkpoint).open().role, MetaClip2)


@pytest.fixture(scope="module")
def theirs(checkpoint):
    return checkpoint.load_tokenizer()


@given(TEXTS)
def test_tokens_are_those_of_the_checkpoint(tokens, theirs, text):
    expected = theirs(text, padding="max_length", max_length=TEXT_LENGTH)
    try:
        ours = tokens.encode(text)
    except InvalidText:
        assert not text.strip() or len(expected["input_ids"]) > TEXT_LENGTH
        return
    assert {name: array.tolist() for name, array in ours.items()} == dict(expected)


@given(st.text(st.sampled_from("ab ,"), min_size=26, max_size=34))
def test_an_accepted_label_fits(tokens, label):
    try:
        tokens.check([label])
    except InvalidText:
        return
    if label.strip():
        assert tokens.encode(label)["input_ids"].shape == (TEXT_LENGTH,)


def test_a_text_model_that_waits_for_another_token_is_refused(tmp_path):
    folder = shutil.copytree(FOLDER, tmp_path / "other")
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["eos_token_id"] = 5
    (folder / "config.json").write_text(json.dumps(config))
    message = "metaclip: the text model reads a text at token 5, the tokenizer ends it with 2"
    with pytest.raises(InvalidCheckpoint, match=message):
        MemberExport(find("metaclip", Source(str(folder)))).open()
