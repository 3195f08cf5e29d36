"""The Python steps as plain numpy, around a context of the test's own."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from fovea import steps
from fovea.errors import InvalidImage, InvalidPrompt, InvalidText, InvalidThreshold, Overloaded
from tests.pipelines import TINY

WORDS = ["cat", "dog", "van", "red", "the", "man"]
SIZE = np.array([60, 80], np.int32)


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

    def __init__(self, folder, pipeline=TINY, **parameters):
        self.folder, self.pipeline, self.parameters = folder, pipeline, parameters
        self.embedded: list[np.ndarray] = []
        self.encoded: list[np.ndarray] = []
        self.counted: dict[str, int] = {}
        self.full_models: set[str] = set()

    def call_model(self, name, inputs, outputs):
        if name == "sam_image_encoder":
            self.encoded.append(inputs["pixel_values"])
            means = inputs["pixel_values"].mean(axis=(1, 2, 3), dtype=np.float32)
            return {"image_embeddings": np.broadcast_to(means[:, None, None, None], (1, 8, 4, 4))}
        assert (name, outputs) == ("clip_text_encoder", ["text_embeds"])
        ids = inputs["input_ids"]
        assert len(ids) <= self.pipeline.batch_sizes.clip_text_encoder
        self.embedded.extend(ids)
        embeds = np.zeros((len(ids), self.pipeline.clip.embed_dim), np.float32)
        embeds[np.arange(len(ids)), ids[:, 1] % embeds.shape[1]] = 1
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


PIXELS = {"clip_pixel_values", "grounding_dino_pixel_values", "sam_pixel_values"}


def prepared(folder, pipeline, wanted=frozenset(PIXELS)):
    """What the first step makes of a JPEG of 512 x 384 pixels."""
    rows, columns = np.mgrid[:384, :512]
    pixels = np.stack([rows // 2, columns // 2, (rows // 40 + columns // 40) % 2 * 200], axis=2)
    out = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(out, "JPEG", quality=90)
    folder.mkdir()
    write_tokenizers(folder)
    step = steps.PreprocessImage(Surroundings(folder, pipeline))
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
    step = steps.PreprocessImage(surroundings)
    out = step.run({"IMAGE": jpeg()}, frozenset({"sam_pixel_values", "original_size_hw"}))
    assert set(out) == {"original_size_hw", "sam_pixel_values", "sam_valid_hw"}
    assert out["original_size_hw"].tolist() == [60, 80]
    assert out["sam_valid_hw"].tolist() == [48, 64]
    with pytest.raises(InvalidImage):
        step.run({"IMAGE": np.array([b"nothing"], np.object_)}, frozenset())


def ask(surroundings, *wanted, **inputs):
    given = {"IMAGE": jpeg(), **inputs}
    return steps.PreprocessImage(surroundings).run(given, frozenset(wanted))


def test_a_margin_lets_the_first_step_decode_at_a_fraction_in_the_original_frame(tmp_path):
    """TINY's networks need 64 pixels: a 512 x 384 picture is decoded at 1/4, never smaller."""
    full = prepared(tmp_path / "full", replace(TINY, decode_margin=0.0))
    shrunk = prepared(tmp_path / "shrunk", replace(TINY, decode_margin=2.0))
    assert shrunk["original_size_hw"].tolist() == [384, 512]
    assert full.keys() == shrunk.keys()
    for name, expected in full.items():
        if name.endswith("pixel_values"):
            difference = np.abs(shrunk[name].astype(int) - expected)
            assert 0 < difference.max() <= 8
            assert difference.mean() < 1
        else:
            np.testing.assert_array_equal(shrunk[name], expected)


def test_sam_gets_the_same_pixels_in_every_ensemble(tmp_path):
    pipeline = replace(TINY, decode_margin=1.0)
    alone = prepared(tmp_path / "alone", pipeline, {"sam_pixel_values"})
    among = prepared(tmp_path / "among", pipeline)
    np.testing.assert_array_equal(alone["sam_pixel_values"], among["sam_pixel_values"])


def test_the_first_step_checks_all_that_the_caller_sent(surroundings):
    with pytest.raises(InvalidText, match=r"label 1 ' \. ': expected words"):
        ask(surroundings, TEXT=text("cat", " . "))
    with pytest.raises(InvalidThreshold, match="BOX_THRESHOLD"):
        ask(surroundings, BOX_THRESHOLD=np.array([2], np.float32))


def test_the_first_step_takes_nothing_while_a_network_that_it_feeds_is_full(surroundings):
    surroundings.full_models = {"sam_mask_decoder"}
    assert ask(surroundings, "clip_pixel_values")
    with pytest.raises(Overloaded, match="sam_image_encoder, sam_mask_decoder"):
        ask(surroundings, "clip_pixel_values", "sam_pixel_values")


def test_texts_are_taken_only_while_the_text_encoder_has_room(surroundings):
    cat = {"TEXT": text("cat")}
    surroundings.full_models = {"clip_text_encoder"}
    with pytest.raises(Overloaded, match="clip_text_encoder"):
        steps.TokenizeText(surroundings).run(cat, frozenset())
    with pytest.raises(Overloaded, match="clip_text_encoder"):
        ask(surroundings, "clip_pixel_values", **cat)
    assert ask(surroundings, "grounding_dino_pixel_values", "input_ids", **cat)


def test_a_picture_is_encoded_once_for_all_prompts(surroundings):
    step = steps.EncodeImage(surroundings)
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
    assert ask(surroundings, "clip_pixel_values", TEXT=many)
    with pytest.raises(InvalidText, match="at most 12 tokens"):
        ask(surroundings, "clip_pixel_values", TEXT=text("dog", "cat " * 11))
    with pytest.raises(InvalidText, match="at most 32 tokens"):
        ask(surroundings, "input_ids", TEXT=text("cat " * 40))


def test_labels_are_ranked_and_each_is_embedded_once(surroundings):
    step = steps.RankLabels(surroundings)
    image_embeds = np.zeros(TINY.clip.embed_dim, np.float32)
    first = step.run({"TEXT": text("cat", "Dog"), "image_embeds": image_embeds}, frozenset())
    assert first["labels"].tolist() == [b"cat", b"Dog"]
    assert first["label_scores"].tolist() == [0.5, 0.5]
    image_embeds[surroundings.embedded[1][1] % TINY.clip.embed_dim] = 1
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
        == ask(surroundings, "input_ids", TEXT=text("dog"))["input_ids"].tolist()
    )
    assert len(surroundings.embedded) == 3
    assert surroundings.counted == {
        "fovea_label_cache_hits_total": 2,
        "fovea_label_cache_misses_total": 3,
    }


def test_many_labels_are_embedded_in_batches_and_the_cache_is_bounded(surroundings, monkeypatch):
    small = replace(TINY, batch_sizes=replace(TINY.batch_sizes, clip_text_encoder=4))
    surroundings.pipeline = small
    monkeypatch.setattr(steps, "LABEL_CACHE_SIZE", 5)
    step = steps.RankLabels(surroundings)
    labels = [f"thing {i}" for i in range(11)]
    embeds = np.ones(TINY.clip.embed_dim, np.float32)
    out = step.run({"TEXT": text(*labels), "image_embeds": embeds}, frozenset())
    assert len(out["labels"]) == len(out["label_scores"]) == 11
    step.run({"TEXT": text("thing 10"), "image_embeds": embeds}, frozenset())
    assert len(surroundings.embedded) == 11


@pytest.mark.parametrize("value", ["", "   ", "cat " * 40])
def test_texts_that_clip_cannot_take_are_refused(surroundings, value):
    with pytest.raises(InvalidText):
        steps.TokenizeText(surroundings).run({"TEXT": text(value)}, frozenset())


def test_captions_are_padded_to_the_smallest_bucket(surroundings):
    short = ask(surroundings, "input_ids", TEXT=text("the cat", "dog"))
    assert short["input_ids"].shape == (16,)
    assert short["attention_mask"].sum() == 7
    long = ask(surroundings, "input_ids", TEXT=text("cat dog van red man the " * 3))
    assert long["text_self_attention_masks"].shape == (32, 32)
    with pytest.raises(InvalidText, match="at most 32 tokens"):
        ask(surroundings, "input_ids", TEXT=text("cat dog van red man the " * 6))


def detections(surroundings, rows, **thresholds):
    """Boxes around rows of (box cxcywh, {token: logit})."""
    caption = ask(surroundings, "input_ids", TEXT=text("red cat", "Dog"))
    logits = np.full((5, 16), -50, np.float32)
    boxes = np.full((5, 4), 0.5, np.float32)
    for query, (box, tokens) in enumerate(rows):
        boxes[query] = box
        for column, logit in tokens.items():
            logits[query, column] = logit
    inputs = {
        "logits": logits,
        "pred_boxes": boxes,
        "token_spans": caption["token_spans"],
        "TEXT": text("red cat", "Dog"),
        "original_size_hw": SIZE,
    }
    inputs |= {name: np.array([value], np.float32) for name, value in thresholds.items()}
    return inputs


ROWS = [
    ((0.5, 0.5, 0.4, 0.4), {1: 1.0, 2: 2.0}),
    ((0.5, 0.5, 0.41, 0.4), {2: 1.0}),
    ((0.2, 0.2, 0.2, 0.2), {4: 3.0}),
    ((0.8, 0.8, 0.1, 0.1), {2: -2.0}),
]


def test_boxes_are_thresholded_suppressed_named_and_become_prompts(surroundings):
    out = steps.SelectBoxes(surroundings).run(detections(surroundings, ROWS), frozenset())
    assert out["phrases"].tolist() == [b"Dog", b"red cat"]
    assert out["label_indices"].tolist() == [1, 0]
    assert out["words"].tolist() == [b"Dog", b"red cat"]
    assert np.allclose(out["boxes"], [[8, 6, 24, 18], [24, 18, 56, 42]], atol=1e-4)
    assert np.allclose(out["scores"], [0.9526, 0.8808], atol=1e-4)
    assert out["point_labels"].tolist() == [[2, 3], [2, 3]]
    assert np.allclose(out["point_coords"][0], [[6.4, 4.8], [19.2, 14.4]], atol=1e-4)


def test_thresholds_of_the_request_win(surroundings):
    step = steps.SelectBoxes(surroundings)
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
    out = steps.SelectBoxes(surroundings).run(detections(surroundings, [period]), frozenset())
    assert out["phrases"].tolist() == [b"red cat"]
    assert out["words"].tolist() == [b""]
    strict = detections(surroundings, ROWS, TEXT_THRESHOLD=0.9)
    out = steps.SelectBoxes(surroundings).run(strict, frozenset())
    assert out["phrases"].tolist() == [b"Dog", b"red cat"]
    assert out["words"].tolist() == [b"Dog", b""]


def test_the_main_box_is_the_best_one(surroundings):
    surroundings.parameters = {"max_boxes": "1"}
    out = steps.SelectBoxes(surroundings).run(detections(surroundings, ROWS), frozenset())
    assert out["phrases"].tolist() == [b"Dog"]


def test_prompts_are_checked_and_moved(surroundings):
    points = {
        "POINT_COORDS": np.array([[[80, 60]]], np.float32),
        "POINT_LABELS": np.array([[1]], np.int32),
    }
    out = ask(surroundings, **points)
    assert out["point_coords"].tolist() == [[[64, 48], [0, 0]]]
    assert out["point_labels"].tolist() == [[1, -1]]
    points["POINT_COORDS"][0, 0, 0] = 81
    with pytest.raises(InvalidPrompt, match="within the picture"):
        ask(surroundings, **points)
