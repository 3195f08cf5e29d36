"""The Python steps as plain numpy, in the test's own context."""

import io
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
from PIL import Image
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from fovea import masks
from fovea.errors import InvalidImage, InvalidPrompt, InvalidText, InvalidThreshold, Overloaded
from fovea.house import wire
from fovea.steps import STEPS, label_embeddings
from tests.deployments import TINY

WORDS = ["cat", "dog", "van", "red", "the", "man"]
SIZE = np.array([60, 80], np.int32)
EMBED_DIM = TINY.play("clip").embed_dim
GEOMETRIES = {member.name: member.play().geometry for member in TINY.members}


def write_tokenizer(path, special: dict[str, int], start: str, end: str) -> None:
    vocabulary = dict(special)
    for word in WORDS:
        vocabulary[word] = len(vocabulary) + 200
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=next(iter(special))))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}",
        special_tokens=[(start, special[start]), (end, special[end])],
    )
    tokenizer.save(str(path))


class Surroundings:
    """A context whose clip_text_encoder embeds a text as its token ids."""

    def __init__(self, folder, deployment=TINY):
        self.folder, self.deployment = folder, deployment
        self.parameters: dict[str, str] = {}
        self.embedded: list[np.ndarray] = []
        self.encoded: list[np.ndarray] = []
        self.counted: dict[str, int] = {}
        self.full_models: set[str] = set()

    def step(self, name):
        """A step of the deployment, from its configuration."""
        wired = wire(self.deployment)
        spec = next(step for step in wired.steps if step.model.name == name)
        self.text_batch = {n.name: n.max_batch_size for n in wired.networks}["clip_text_encoder"]
        self.parameters = dict(spec.model.parameters)
        return getattr(import_module(STEPS[spec.kind]), spec.kind)(self)

    def call_model(self, name, inputs, outputs):
        if name == "sam_image_encoder":
            self.encoded.append(inputs["pixel_values"])
            means = inputs["pixel_values"].mean(axis=(1, 2, 3), dtype=np.float32)
            return {"image_embeddings": np.broadcast_to(means[:, None, None, None], (1, 8, 4, 4))}
        assert (name, outputs) == ("clip_text_encoder", ["text_embeds"])
        ids = inputs["input_ids"]
        assert len(ids) <= self.text_batch
        self.embedded.extend(ids)
        embeds = np.zeros((len(ids), EMBED_DIM), np.float32)
        embeds[np.arange(len(ids)), ids[:, 1] % EMBED_DIM] = 1
        return {"text_embeds": embeds}

    def count(self, metric, amount):
        self.counted[metric] = self.counted.get(metric, 0) + amount

    def room_for(self, models):
        return not self.full_models & set(models)


def write_tokenizers(folder) -> None:
    clip_special = {"<unk>": 0, "<pad>": 1, "<s>": 2, "</s>": 3}
    write_tokenizer(folder / "clip_tokenizer.json", clip_special, "<s>", "</s>")
    bert_special = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, ".": 1012, "?": 1029}
    write_tokenizer(folder / "grounding_dino_tokenizer.json", bert_special, "[CLS]", "[SEP]")


FIRST = "preprocess_image"
RANK = "clip_rank_labels_for_grounding_dino"


def pixels(member, verb):
    """The first step's output that a verb requests for a member's pixels."""
    return f"{verb}_pixels_{GEOMETRIES[member].name}"


MAIN_OBJECT = {pixels(member, "main_object") for member in ("clip", "grounding_dino", "sam")}
CAPTION = tuple(f"grounding_dino_{t.name}" for t in TINY.play("grounding_dino").text_tensors)
INPUT_IDS = "grounding_dino_input_ids"


def prepared(folder, deployment, wanted=frozenset(MAIN_OBJECT)):
    """The first step's output for a JPEG of 512 x 384 pixels."""
    rows, columns = np.mgrid[:384, :512]
    levels = np.stack([rows // 2, columns // 2, (rows // 40 + columns // 40) % 2 * 200], axis=2)
    out = io.BytesIO()
    Image.fromarray(levels.astype(np.uint8)).save(out, "JPEG", quality=90)
    folder.mkdir()
    write_tokenizers(folder)
    step = Surroundings(folder, deployment).step(FIRST)
    image = np.array([out.getvalue()], np.object_)
    return step.run({"IMAGE": image}, frozenset({"original_size_hw", *wanted}))


@pytest.fixture
def surroundings(tmp_path):
    write_tokenizers(tmp_path)
    return Surroundings(tmp_path)


def text(*values: str) -> np.ndarray:
    return np.array([value.encode() for value in values], np.object_)


def jpeg(height: int = 60, width: int = 80) -> np.ndarray:
    out = io.BytesIO()
    Image.new("RGB", (width, height), (200, 30, 90)).save(out, "JPEG")
    return np.array([out.getvalue()], np.object_)


def test_preprocessing_makes_only_what_is_wanted(surroundings):
    step = surroundings.step(FIRST)
    wanted = pixels("sam", "segment")
    out = step.run({"IMAGE": jpeg()}, frozenset({wanted, "original_size_hw"}))
    valid_hw = GEOMETRIES["sam"].valid_hw.name
    assert set(out) == {"original_size_hw", wanted, valid_hw}
    assert out["original_size_hw"].tolist() == [60, 80]
    assert out[valid_hw].tolist() == [48, 64]
    with pytest.raises(InvalidImage):
        step.run({"IMAGE": np.array([b"nothing"], np.object_)}, frozenset())


def ask(surroundings, *wanted, **inputs):
    given = {"IMAGE": jpeg(), **inputs}
    return surroundings.step(FIRST).run(given, frozenset(wanted))


def test_a_margin_lets_the_first_step_decode_at_a_fraction_in_the_original_frame(tmp_path):
    """TINY's networks need 64 pixels: a 512 x 384 picture is decoded at 1/4, never smaller."""
    full = prepared(tmp_path / "full", replace(TINY, decode_margin=0.0))
    shrunk = prepared(tmp_path / "shrunk", replace(TINY, decode_margin=2.0))
    assert shrunk["original_size_hw"].tolist() == [384, 512]
    assert full.keys() == shrunk.keys()
    for name, expected in full.items():
        if name in MAIN_OBJECT:
            difference = np.abs(shrunk[name].astype(int) - expected)
            assert 0 < difference.max() <= 8
            assert difference.mean() < 1
        else:
            np.testing.assert_array_equal(shrunk[name], expected)


def test_sam_gets_the_same_pixels_in_every_verb(tmp_path):
    deployment = replace(TINY, decode_margin=1.0)
    segment, main_object = pixels("sam", "segment"), pixels("sam", "main_object")
    alone = prepared(tmp_path / "alone", deployment, {segment})
    among = prepared(tmp_path / "among", deployment)
    np.testing.assert_array_equal(alone[segment], among[main_object])


def test_the_first_step_checks_all_that_the_caller_sent(surroundings):
    with pytest.raises(InvalidText, match=r"label 1 ' \. ': expected words"):
        ask(surroundings, *MAIN_OBJECT, TEXT=text("cat", " . "))
    with pytest.raises(InvalidThreshold, match="BOX_THRESHOLD"):
        ask(surroundings, BOX_THRESHOLD=np.array([2], np.float32))


def test_the_first_step_accepts_nothing_while_a_network_behind_it_is_full(surroundings):
    surroundings.full_models = {"sam_mask_decoder"}
    assert ask(surroundings, pixels("clip", "embed_image"))
    with pytest.raises(Overloaded, match="sam_image_encoder, sam_mask_decoder"):
        ask(surroundings, pixels("sam", "segment"))


def test_texts_are_accepted_only_while_the_text_encoder_has_room(surroundings):
    cat = {"TEXT": text("cat")}
    surroundings.full_models = {"clip_text_encoder"}
    with pytest.raises(Overloaded, match="clip_text_encoder"):
        surroundings.step("clip_tokenize_text").run(cat, frozenset())
    with pytest.raises(Overloaded, match="clip_text_encoder"):
        ask(surroundings, *MAIN_OBJECT, **cat)
    assert ask(surroundings, pixels("grounding_dino", "detect"), *CAPTION, **cat)


def test_a_picture_is_encoded_once_for_all_prompts(surroundings):
    step = surroundings.step("sam_encode_image")
    pictures = [np.full((3, 64, 64), level, np.uint8) for level in (7, 9)]
    whole, half = np.array([64, 64], np.int32), np.array([32, 64], np.int32)
    asked = [(0, whole), (1, whole), (0, whole), (0, half), (0, whole)]
    answers = [
        step.run({"pixel_values": pictures[i].copy(), "valid_hw": hw}, frozenset())
        for i, hw in asked
    ]
    assert [answer["image_embeddings"].flat[0] for answer in answers] == [7, 9, 7, 7, 7]
    assert len(surroundings.encoded) == 3
    assert surroundings.counted == {
        "fovea_embedding_cache_hits_total": 2,
        "fovea_embedding_cache_misses_total": 3,
    }


def test_labels_need_room_one_by_one_and_phrases_together(surroundings):
    many = text(*(f"{word} cat {i}" for i, word in enumerate(WORDS * 200)))
    assert ask(surroundings, *MAIN_OBJECT, TEXT=many)
    with pytest.raises(InvalidText, match="at most 12 tokens"):
        ask(surroundings, *MAIN_OBJECT, TEXT=text("dog", "cat " * 11))
    with pytest.raises(InvalidText, match="at most 32 tokens"):
        ask(surroundings, INPUT_IDS, TEXT=text("cat " * 40))


def test_labels_are_ranked_and_each_is_embedded_once(surroundings):
    step = surroundings.step(RANK)
    image_embeds = np.zeros(EMBED_DIM, np.float32)
    first = step.run({"TEXT": text("cat", "Dog"), "image_embeds": image_embeds}, frozenset())
    assert first["labels"].tolist() == [b"cat", b"Dog"]
    assert first["label_scores"].tolist() == [0.5, 0.5]
    image_embeds[surroundings.embedded[1][1] % EMBED_DIM] = 1
    labels = text("van", "DOG ", "cat", "dog")
    again = step.run({"TEXT": labels, "image_embeds": image_embeds}, frozenset())
    assert again["label"].tolist() == [b"DOG "]
    assert again["label_index"].tolist() == [1]
    assert again["label_scores"].shape == (4,)
    assert again["label_scores"][1] == again["label_scores"][3]
    assert again["label_scores"][:3].sum() == pytest.approx(1)
    assert set(again["token_spans"][:, 0].tolist()) == {-1, 1}
    assert (
        again["input_ids"].tolist()
        == ask(surroundings, INPUT_IDS, TEXT=text("dog"))[INPUT_IDS].tolist()
    )
    assert len(surroundings.embedded) == 3
    assert surroundings.counted == {
        "fovea_label_cache_hits_total": 2,
        "fovea_label_cache_misses_total": 3,
    }


def test_many_labels_are_embedded_in_batches_and_the_cache_is_bounded(surroundings, monkeypatch):
    sizes = replace(TINY.batch_sizes, networks=(("clip_text_encoder", 4),))
    surroundings.deployment = replace(TINY, batch_sizes=sizes)
    monkeypatch.setattr(label_embeddings, "CACHED_LABELS", 5)
    step = surroundings.step(RANK)
    labels = [f"thing {i}" for i in range(11)]
    embeds = np.ones(EMBED_DIM, np.float32)
    out = step.run({"TEXT": text(*labels), "image_embeds": embeds}, frozenset())
    assert len(out["labels"]) == len(out["label_scores"]) == 11
    step.run({"TEXT": text("thing 10"), "image_embeds": embeds}, frozenset())
    assert len(surroundings.embedded) == 11


@pytest.mark.parametrize("value", ["", "   ", "cat " * 40])
def test_texts_that_clip_cannot_take_are_refused(surroundings, value):
    with pytest.raises(InvalidText):
        surroundings.step("clip_tokenize_text").run({"TEXT": text(value)}, frozenset())


def test_captions_are_padded_to_the_smallest_bucket(surroundings):
    short = ask(surroundings, INPUT_IDS, TEXT=text("the cat", "dog"))
    assert short[INPUT_IDS].shape == (16,)
    assert short["grounding_dino_attention_mask"].sum() == 7
    long = ask(surroundings, INPUT_IDS, TEXT=text("cat dog van red man the " * 3))
    assert long["grounding_dino_text_self_attention_masks"].shape == (32, 32)
    with pytest.raises(InvalidText, match="at most 32 tokens"):
        ask(surroundings, INPUT_IDS, TEXT=text("cat dog van red man the " * 6))


def detections(surroundings, rows, **thresholds):
    """Boxes around rows of (box cxcywh, {token: logit})."""
    caption = ask(surroundings, INPUT_IDS, TEXT=text("red cat", "Dog"))
    logits = np.full((5, 16), -50, np.float32)
    boxes = np.full((5, 4), 0.5, np.float32)
    for query, (box, tokens) in enumerate(rows):
        boxes[query] = box
        for column, logit in tokens.items():
            logits[query, column] = logit
    inputs = {
        "logits": logits,
        "pred_boxes": boxes,
        "token_spans": caption["grounding_dino_token_spans"],
        "TEXT": text("red cat", "Dog"),
        "original_size_hw": SIZE,
    }
    inputs |= {name: np.array([value], np.float32) for name, value in thresholds.items()}
    return inputs


def boxes(surroundings, inputs):
    return surroundings.step("grounding_dino_select_boxes").run(inputs, frozenset())


ROWS = [
    ((0.5, 0.5, 0.4, 0.4), {1: 1.0, 2: 2.0}),
    ((0.5, 0.5, 0.41, 0.4), {2: 1.0}),
    ((0.2, 0.2, 0.2, 0.2), {4: 3.0}),
    ((0.8, 0.8, 0.1, 0.1), {2: -2.0}),
]


def test_boxes_are_thresholded_suppressed_named_and_become_prompts(surroundings):
    out = surroundings.step("grounding_dino_select_boxes").run(
        detections(surroundings, ROWS), frozenset()
    )
    assert out["phrases"].tolist() == [b"Dog", b"red cat"]
    assert out["label_indices"].tolist() == [1, 0]
    assert out["words"].tolist() == [b"Dog", b"red cat"]
    assert np.allclose(out["boxes"], [[8, 6, 24, 18], [24, 18, 56, 42]], atol=1e-4)
    assert np.allclose(out["scores"], [0.9526, 0.8808], atol=1e-4)
    assert out["point_labels"].tolist() == [[2, 3], [2, 3]]
    assert np.allclose(out["point_coords"][0], [[8, 6], [24, 18]], atol=1e-4)


def test_thresholds_of_the_request_win(surroundings):
    step = surroundings.step("grounding_dino_select_boxes")
    low = step.run(detections(surroundings, ROWS, BOX_THRESHOLD=0.1), frozenset())
    assert len(low["boxes"]) == 3
    none = step.run(detections(surroundings, ROWS, BOX_THRESHOLD=0.99), frozenset())
    assert none["boxes"].shape == (0, 4)
    assert none["point_labels"].tolist() == [[-1, -1]]
    for value in (-1, 1.01, np.nan):
        with pytest.raises(InvalidThreshold, match="TEXT_THRESHOLD"):
            step.run(detections(surroundings, ROWS, TEXT_THRESHOLD=value), frozenset())


def test_each_box_has_its_most_probable_label_whatever_the_text_threshold(surroundings):
    period = ((0.5, 0.5, 0.4, 0.4), {2: -1.5, 3: 3.0})
    out = surroundings.step("grounding_dino_select_boxes").run(
        detections(surroundings, [period]), frozenset()
    )
    assert out["phrases"].tolist() == [b"red cat"]
    assert out["words"].tolist() == [b""]
    strict = detections(surroundings, ROWS, TEXT_THRESHOLD=0.9)
    out = boxes(surroundings, strict)
    assert out["phrases"].tolist() == [b"Dog", b"red cat"]
    assert out["words"].tolist() == [b"Dog", b""]


def test_the_main_box_is_the_best_one(surroundings):
    out = surroundings.step("grounding_dino_select_main_box").run(
        detections(surroundings, ROWS), frozenset()
    )
    assert out["phrases"].tolist() == [b"Dog"]


def test_prompts_are_checked_and_padded(surroundings):
    points = {
        "POINT_COORDS": np.array([[[80, 60]]], np.float32),
        "POINT_LABELS": np.array([[1]], np.int32),
    }
    out = ask(surroundings, **points)
    assert out["point_coords"].tolist() == [[[80, 60], [0, 0]]]
    assert out["point_labels"].tolist() == [[1, -1]]
    points["POINT_COORDS"][0, 0, 0] = 81
    with pytest.raises(InvalidPrompt, match="within the picture"):
        ask(surroundings, **points)


def test_padded_prompts_have_no_mask_and_the_others_one_each(surroundings):
    out = surroundings.step("sam_select_masks").run(
        {
            "low_res_masks": np.stack([np.full((32, 32), level, np.float32) for level in (9, -9)]),
            "iou_scores": np.array([0.5, 0.25], np.float32),
            "point_labels": np.array([[2, 3], [-1, -1]], np.int32),
            "original_size_hw": SIZE,
        },
        frozenset(),
    )
    assert out["mask_scores"].tolist() == [0.5]
    [mask] = [masks.decode_rle(counts, tuple(SIZE.tolist())) for counts in out["masks"]]
    assert mask.all()
