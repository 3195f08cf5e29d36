"""SigLIP 2 of a fixed resolution is SigLIP with Gemma's tokens; NaFlex is refused."""

import json
import shutil

import pytest
from hypothesis import given
from transformers import GemmaTokenizer, Siglip2Tokenizer

from export import preprocessing, stand_ins
from export.checkpoints import find
from export.errors import InvalidCheckpoint, ParityError
from export.families import load
from export.members import MemberExport
from export.stand_ins.siglip import TINY_TOKENS
from fovea.errors import InvalidText
from fovea.members import Source
from tests.export.embedders import STAND_INS
from tests.export.test_metaclip import TEXTS

FOLDER = stand_ins.write("siglip", "tiny", STAND_INS / "siglip")["siglip_2"]


@pytest.fixture(scope="module")
def checkpoint():
    return find("siglip", Source(str(FOLDER)))


@pytest.fixture(scope="module")
def theirs(checkpoint):
    return checkpoint.load_tokenizer()


@pytest.fixture(scope="module")
def tokens(checkpoint, tmp_path_factory):
    role, folder = MemberExport(checkpoint).open().role, tmp_path_factory.mktemp("step")
    target = role.file(folder, "tokenizer.json")
    load("siglip").write_file(checkpoint, "tokenizer.json", target)
    return role.tokens(folder)


def test_it_is_siglip_with_the_tokens_of_gemma(checkpoint, theirs):
    assert checkpoint.family == "siglip"
    assert isinstance(theirs, GemmaTokenizer)


@given(TEXTS)
def test_tokens_are_those_of_the_checkpoint(tokens, theirs, text):
    expected = theirs(text, padding="max_length", max_length=TINY_TOKENS)
    try:
        ours = tokens.encode(text)
    except InvalidText:
        assert not text.strip() or len(expected["input_ids"]) > TINY_TOKENS
        return
    assert {name: array.tolist() for name, array in ours.items()} == dict(expected)


def configured(folder, name, **changes):
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return folder


def test_tokens_follow_the_class_that_the_checkpoint_names(tmp_path):
    """transformers' own class for SigLIP 2 lowers the case, whatever tokenizer.json says."""
    folder = shutil.copytree(FOLDER, tmp_path / "lower")
    named = configured(folder, "tokenizer_config.json", tokenizer_class="Siglip2Tokenizer")
    found = find("siglip", Source(str(named)))
    assert isinstance(found.load_tokenizer(), Siglip2Tokenizer)
    read = load("siglip").read_tokenizer(found)
    assert read.encode("A CAT").ids == read.encode("a cat").ids
    assert preprocessing.check(found, MemberExport(found).open().member, {})["texts"] > 0


def test_padding_on_the_left_is_refused(tmp_path):
    folder = shutil.copytree(FOLDER, tmp_path / "left")
    found = find(
        "siglip", Source(str(configured(folder, "tokenizer_config.json", padding_side="left")))
    )
    with pytest.raises(ParityError, match="siglip: 'a photo of a cat' becomes the tokens"):
        preprocessing.check(found, MemberExport(found).open().member, {})


def test_naflex_is_refused_with_what_to_take_instead(tmp_path):
    folder = configured(
        shutil.copytree(FOLDER, tmp_path / "n"), "config.json", model_type="siglip2"
    )
    with pytest.raises(InvalidCheckpoint, match="'siglip2': NaFlex takes pictures of any shape"):
        find("siglip", Source(str(folder)))
