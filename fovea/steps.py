"""What Triton's Python models do between the networks, as plain numpy: testable without Triton.

A step takes the tensors of one request without batch axis and returns those that are wanted.
`array_model.ArrayModel` connects it to Triton.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from fovea import clip, grounding_dino, images, prompts, sam, text
from fovea import masks as rle_masks
from fovea.array_cache import ArrayCache
from fovea.captions import CaptionWriter, words_of
from fovea.errors import InvalidThreshold, Overloaded
from fovea.images import Picture
from fovea.pipeline import PipelineSpec
from fovea.tokenizer import PaddedTokenizer

Arrays = dict[str, NDArray[Any]]

# Copies of the checkpoints' tokenizer.json, beside the model.py of each step that reads them.
CLIP_TOKENIZER = "clip_tokenizer.json"
CAPTION_TOKENIZER = "grounding_dino_tokenizer.json"

LABEL_CACHE_SIZE = 4096
# Lists of labels that are not checked again.
CHECKED_LISTS = 32

# What PreprocessImage makes -> the models that are then asked and may be slow.
ASKED_FOR = {
    "clip_pixel_values": (clip.IMAGE_ENCODER,),
    "grounding_dino_pixel_values": (grounding_dino.NETWORK,),
    "sam_pixel_values": ("encode_image", sam.IMAGE_ENCODER, sam.MASK_DECODER),
}
# What labels to be ranked wait for.
RANKED_BY = ("rank_labels", clip.TEXT_ENCODER)


class Context(Protocol):
    """What surrounds a step: Triton in production, the test itself in tests."""

    pipeline: PipelineSpec
    folder: Path
    parameters: Mapping[str, str]

    def call_model(self, name: str, inputs: Arrays, outputs: list[str]) -> Arrays:
        """Run another model on a batch; raises what its failure means."""

    def count(self, metric: str, amount: int) -> None:
        """Add to one of the step's METRICS."""

    def room_for(self, models: Collection[str]) -> bool:
        """Whether these models can get to one more request in its caller's time."""


class Step:
    """Base of the steps; `run` may be called by several threads at once.

    METRICS: its counters with a description each. WORKERS: requests that one process works on at
    once. CALLS_MODELS: whether it spends its time waiting for other models, so that it can take
    more requests meanwhile. KEEPS: networks whose answers it keeps; its configuration names their
    weights, so that with other weights its process starts anew.
    """

    METRICS: ClassVar[Mapping[str, str]] = {}
    WORKERS: ClassVar[int] = 2
    CALLS_MODELS: ClassVar[bool] = False
    KEEPS: ClassVar[tuple[str, ...]] = ()

    def __init__(self, context: Context) -> None:
        self.context = context
        self.pipeline = context.pipeline
        self.limits = context.pipeline.limits

    def run(self, inputs: Arrays, wanted: frozenset[str]) -> Arrays:
        raise NotImplementedError

    def _read_labels(self, inputs: Arrays) -> list[str]:
        return text.decode_labels(inputs["TEXT"].tolist(), self.limits)


def _check_room(context: Context, models: Collection[str]) -> None:
    """Raise Overloaded unless these models can get to one more request in time."""
    if not context.room_for(models):
        raise Overloaded(f"too many requests wait for one of {', '.join(sorted(models))}")


def _clip_tokens(context: Context) -> clip.TextTokens:
    return clip.TextTokens(context.folder / CLIP_TOKENIZER, context.pipeline.clip)


def _caption_writer(context: Context) -> CaptionWriter:
    spec = context.pipeline.grounding_dino
    tokenizer = PaddedTokenizer(context.folder / CAPTION_TOKENIZER, spec.pad_token_id)
    return CaptionWriter(tokenizer, spec)


class PreprocessImage(Step):
    """IMAGE -> pixels for each network that asks; the picture is decoded once.

    As the first step it takes what else the caller sent as well, checks it all and makes of it
    what the networks want, so that no later step finds anything to refuse: of the points SAM's
    prompts, of the labels in TEXT the tokens of a caption, where they are wanted; labels that are
    to be ranked first are only checked. Overloaded when too many requests wait for a network that
    this one needs.
    """

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._clip_tokens = _clip_tokens(context)
        self._captions = _caption_writer(context)
        self._check_once = lru_cache(CHECKED_LISTS)(self._check_labels)

    def run(self, inputs: Arrays, wanted: frozenset[str]) -> Arrays:
        models = [name for made in wanted for name in ASKED_FOR.get(made, ())]
        if "TEXT" in inputs and "input_ids" not in wanted:
            models += RANKED_BY
        _check_room(self.context, models)
        scale = partial(self._least_scale, wanted) if self.pipeline.decode_margin else None
        picture = images.decode_picture(inputs["IMAGE"][0], self.limits, scale)
        for name in ("BOX_THRESHOLD", "TEXT_THRESHOLD"):
            _threshold(inputs, name, 0.0)
        out: Arrays = {"original_size_hw": np.array(picture.hw, np.int32)}
        if "POINT_COORDS" in inputs:
            out |= self._prompts(inputs, picture.hw)
        if "input_ids" in wanted:
            out |= vars(self._captions.write(dict(enumerate(self._read_labels(inputs)))))
        elif "TEXT" in inputs:
            self._check_once(tuple(inputs["TEXT"].tolist()))
        return out | self._pixels(picture, wanted)

    def _least_scale(self, wanted: frozenset[str], size_hw: tuple[int, int]) -> float:
        """The share of the picture's edges that the networks need, margin included.

        It is one for GroundingDINO and SAM together, whichever is wanted: the same picture then
        gives SAM the same pixels in every ensemble, and its embedding is found in the cache.
        """
        spec = self.pipeline
        targets = [clip.resized_hw(size_hw, spec.clip)]
        if wanted & {"grounding_dino_pixel_values", "sam_pixel_values"}:
            targets.append(grounding_dino.resized_hw(size_hw, spec.grounding_dino))
            targets.append(sam.resized_hw(size_hw, spec.sam))
        return spec.decode_margin * max(max(hw) for hw in targets) / max(size_hw)

    def _check_labels(self, encoded: tuple[bytes, ...]) -> None:
        """Labels that CLIP and, each as a caption of its own, GroundingDINO have room for.

        A list is asked of many pictures, hence the cache around this.
        """
        labels = text.decode_labels(encoded, self.limits)
        self._captions.check(labels)
        self._clip_tokens.check(labels)

    def _prompts(self, inputs: Arrays, original_size_hw: tuple[int, int]) -> Arrays:
        """The caller's points, in original pixels -> in SAM's frame, padded to batch."""
        coords, labels = inputs["POINT_COORDS"], inputs["POINT_LABELS"]
        prompts.check_prompts(coords, labels, original_size_hw, self.limits)
        coords = sam.to_input_frame(coords, original_size_hw, self.pipeline.sam)
        coords, labels = prompts.pad_prompts(*prompts.pad_points(coords, labels))
        return {"point_coords": coords, "point_labels": labels}

    def _pixels(self, picture: Picture, wanted: frozenset[str]) -> Arrays:
        out: Arrays = {}
        if "clip_pixel_values" in wanted:
            out["clip_pixel_values"] = clip.preprocess(picture, self.pipeline.clip)
        if "grounding_dino_pixel_values" in wanted:
            pixels, valid_hw = grounding_dino.preprocess(picture, self.pipeline.grounding_dino)
            out |= {"grounding_dino_pixel_values": pixels, "grounding_dino_valid_hw": valid_hw}
        if "sam_pixel_values" in wanted:
            pixels, valid_hw = sam.preprocess(picture, self.pipeline.sam)
            out |= {"sam_pixel_values": pixels, "sam_valid_hw": valid_hw}
        return out


class TokenizeText(Step):
    """TEXT, taken whole -> input_ids and attention_mask for CLIP.

    Overloaded when too many requests wait for the text encoder.
    """

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._tokens = _clip_tokens(context)

    def run(self, inputs: Arrays, wanted: frozenset[str]) -> Arrays:
        _check_room(self.context, [clip.TEXT_ENCODER])
        input_ids, attention_mask = self._tokens.encode(
            text.decode_text(inputs["TEXT"][0], self.limits)
        )
        return {"input_ids": input_ids, "attention_mask": attention_mask}


class RankLabels(Step):
    """The labels of TEXT against an image embedding -> label, label_index, labels, label_scores.

    labels and label_scores are in the order of TEXT. Labels that differ in case or spaces alone
    are one: they have one probability, at each of their places, and the first's index. The best
    label comes as the tokens of GroundingDINO's caption, too. A label's embedding is computed once
    and kept; `fovea_label_cache_*` count it.
    """

    METRICS: ClassVar[Mapping[str, str]] = {
        "fovea_label_cache_hits_total": "Label embeddings found in the cache",
        "fovea_label_cache_misses_total": "Label embeddings computed by clip_text_encoder",
    }
    WORKERS = 8
    CALLS_MODELS = True
    KEEPS = (clip.TEXT_ENCODER,)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._tokens = _clip_tokens(context)
        self._captions = _caption_writer(context)
        row_bytes = 4 * self.pipeline.clip.embed_dim
        self._cache = ArrayCache(LABEL_CACHE_SIZE * row_bytes)

    def run(self, inputs: Arrays, wanted: frozenset[str]) -> Arrays:
        labels = self._read_labels(inputs)
        words = [text.same_words(label) for label in labels]
        places = {word: place for place, word in enumerate(dict.fromkeys(words))}
        embeds = self._embed(list(places))
        distinct = clip.label_scores(inputs["image_embeds"], embeds, self.pipeline.clip.logit_scale)
        scores = distinct[[places[word] for word in words]]
        best = int(scores.argmax())
        return {
            "label": inputs["TEXT"][[best]],
            "label_index": np.array([best], np.int32),
            "labels": inputs["TEXT"],
            "label_scores": scores,
            **vars(self._captions.write({best: labels[best]})),
        }

    def _embed(self, labels: list[str]) -> NDArray[np.float32]:
        found = {label: self._cache.get(label) for label in labels}
        missing = [label for label, embeds in found.items() if embeds is None]
        for label, embeds in zip(missing, self._compute(missing), strict=True):
            found[label] = embeds
            self._cache.put(label, embeds)
        self.context.count("fovea_label_cache_hits_total", len(labels) - len(missing))
        self.context.count("fovea_label_cache_misses_total", len(missing))
        return np.stack([embeds for embeds in found.values() if embeds is not None])

    def _compute(self, labels: list[str]) -> list[NDArray[np.float32]]:
        tokens = [self._tokens.encode(label) for label in labels]
        computed: list[NDArray[np.float32]] = []
        size = self.pipeline.batch_sizes.clip_text_encoder
        for start in range(0, len(tokens), size):
            chunk = tokens[start : start + size]
            inputs: Arrays = {
                "input_ids": np.stack([ids for ids, _ in chunk]),
                "attention_mask": np.stack([mask for _, mask in chunk]),
            }
            out = self.context.call_model(clip.TEXT_ENCODER, inputs, ["text_embeds"])
            computed.extend(row.copy() for row in out["text_embeds"])
        return computed


class EncodeImage(Step):
    """SAM's pixels -> image_embeddings, out of the cache where the same pixels came before.

    So a second prompt on a picture does not wait for the encoder. Triton's own response cache
    cannot do this on a GPU, for it refuses answers in GPU memory, and it knows a network by its
    version number alone, not by its weights.
    """

    METRICS: ClassVar[Mapping[str, str]] = {
        "fovea_embedding_cache_hits_total": "Image embeddings of SAM found in the cache",
        "fovea_embedding_cache_misses_total": "Image embeddings computed by sam_image_encoder",
    }
    # Enough that a batch of the encoder fills while another one runs.
    WORKERS = 16
    CALLS_MODELS = True
    KEEPS = (sam.IMAGE_ENCODER,)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._cache = ArrayCache(self.pipeline.embedding_cache_bytes)

    def run(self, inputs: Arrays, wanted: frozenset[str]) -> Arrays:
        key = _digest(inputs["pixel_values"], inputs["valid_hw"])
        embeddings = self._cache.get(key)
        if embeddings is None:
            batch = {name: array[None] for name, array in inputs.items()}
            answer = self.context.call_model(sam.IMAGE_ENCODER, batch, ["image_embeddings"])
            embeddings = answer["image_embeddings"][0].copy()
            self._cache.put(key, embeddings)
            self.context.count("fovea_embedding_cache_misses_total", 1)
        else:
            self.context.count("fovea_embedding_cache_hits_total", 1)
        return {"image_embeddings": embeddings}


def _digest(*arrays: NDArray[Any]) -> bytes:
    """What tells arrays of one shape and dtype apart."""
    digest = hashlib.blake2b(digest_size=16)
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.digest()


class SelectBoxes(Step):
    """GroundingDINO's answer and TEXT -> boxes, what names them, and the boxes as SAM's prompts.

    phrases are labels of TEXT, label_indices their places in it, and words those of the label that
    the box answers.
    """

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._max_boxes = int(context.parameters.get("max_boxes", self.limits.prompts))

    def run(self, inputs: Arrays, wanted: frozenset[str]) -> Arrays:
        spec = self.pipeline.grounding_dino
        height, width = inputs["original_size_hw"].tolist()
        text_threshold = _threshold(inputs, "TEXT_THRESHOLD", spec.text_threshold)
        spans = inputs["token_spans"]
        found = grounding_dino.select_boxes(
            inputs["logits"],
            inputs["pred_boxes"],
            spans[:, 0],
            (height, width),
            box_threshold=_threshold(inputs, "BOX_THRESHOLD", spec.box_threshold),
            nms_iou=spec.nms_iou,
            max_boxes=min(self._max_boxes, self.limits.masks_of((height, width))),
        )
        phrases = inputs["TEXT"][found.label_indices]
        words = []
        for index, probabilities in zip(found.label_indices, found.probabilities, strict=True):
            label, own = inputs["TEXT"][index].decode(), spans[:, 0] == index
            words.append(words_of(label, spans[own, 1:], probabilities[own], text_threshold))
        coords, labels = prompts.pad_prompts(*prompts.box_prompts(found.boxes_xyxy))
        return {
            "boxes": found.boxes_xyxy,
            "scores": found.scores,
            "phrases": phrases,
            "label_indices": found.label_indices,
            "words": np.array([word.encode() for word in words], np.object_),
            "point_coords": sam.to_input_frame(coords, (height, width), self.pipeline.sam),
            "point_labels": labels,
        }


def _threshold(inputs: Arrays, name: str, default: float) -> float:
    if name not in inputs:
        return default
    value = float(inputs[name][0])
    if not 0 <= value <= 1:
        raise InvalidThreshold(f"{name}: expected a number within [0, 1], got {value}")
    return value


class SelectMasks(Step):
    """SAM's answer -> one mask per prompt as COCO RLE, with its score."""

    def run(self, inputs: Arrays, wanted: frozenset[str]) -> Arrays:
        height, width = inputs["original_size_hw"].tolist()
        chosen, scores = sam.choose_masks(
            inputs["low_res_masks"], inputs["iou_scores"], inputs["point_labels"]
        )
        encoded = [
            rle_masks.encode_columns(sam.mask_columns(mask, (height, width), self.pipeline.sam))
            for mask in chosen
        ]
        return {"masks": np.array(encoded, np.object_), "mask_scores": scores}
