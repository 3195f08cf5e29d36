"""The verbs that users call, wired from networks and steps.

| ensemble | inputs | outputs |
| --- | --- | --- |
| main_object | as detect | LABEL, LABEL_INDEX, LABELS, LABEL_SCORES; detect_and_segment's, n <= 1 |
| detect | IMAGE, TEXT, thresholds | BOXES, SCORES, PHRASES, LABEL_INDICES, WORDS, IMAGE_SIZE |
| segment | IMAGE, POINT_COORDS, POINT_LABELS | MASKS, MASK_SCORES, IMAGE_SIZE |
| detect_and_segment | as detect | those of detect and segment |
| embed_image, embed_text | IMAGE or TEXT | IMAGE_EMBEDS or TEXT_EMBEDS |

IMAGE: encoded bytes. TEXT: a label an element; for embed_text one text. PHRASES, LABEL and LABELS
are elements of TEXT as they came, LABEL_INDICES and LABEL_INDEX their places in it, WORDS those
words of the phrase that the box answers (of a sentence as a label: the thing). Boxes are xyxy in
pixels of the original picture, masks COCO RLE counts of its size, IMAGE_SIZE its (height, width).
Triton runs a step as soon as its inputs are there, so SAM's encoder runs beside CLIP and
GroundingDINO. The first step takes all that a caller sends and checks it, so that what is wrong is
refused before anything else runs, and makes of it what the networks want.

Only segment, which people call again and again for one picture, keeps SAM's embeddings: for the
others a copy to the CPU and back would be in vain.
"""

from __future__ import annotations

from fovea import clip, grounding_dino, sam
from fovea.pipeline import (
    BOX_THRESHOLD,
    IMAGE,
    ONE_TEXT,
    POINT_COORDS,
    POINT_LABELS,
    TEXT,
    TEXT_THRESHOLD,
    PipelineSpec,
)
from fovea.specs import EnsembleSpec, EnsembleStep, TensorSpec

IMAGE_SIZE = TensorSpec("IMAGE_SIZE", "INT32", (2,))
LABEL = TensorSpec("LABEL", "STRING", (1,))
LABEL_INDEX = TensorSpec("LABEL_INDEX", "INT32", (1,))
LABELS = TensorSpec("LABELS", "STRING", (-1,))
LABEL_SCORES = TensorSpec("LABEL_SCORES", "FP32", (-1,))
BOXES = TensorSpec("BOXES", "FP32", (-1, 4))
SCORES = TensorSpec("SCORES", "FP32", (-1,))
PHRASES = TensorSpec("PHRASES", "STRING", (-1,))
LABEL_INDICES = TensorSpec("LABEL_INDICES", "INT32", (-1,))
WORDS = TensorSpec("WORDS", "STRING", (-1,))
MASKS = TensorSpec("MASKS", "STRING", (-1,))
MASK_SCORES = TensorSpec("MASK_SCORES", "FP32", (-1,))

DETECT_INPUTS = (IMAGE, TEXT, BOX_THRESHOLD, TEXT_THRESHOLD)
DETECT_OUTPUTS = (BOXES, SCORES, PHRASES, LABEL_INDICES, WORDS)
MASK_OUTPUTS = (MASKS, MASK_SCORES)
LABEL_OUTPUTS = (LABEL, LABEL_INDEX, LABELS, LABEL_SCORES)

# Tensors between the steps: GroundingDINO's caption and SAM's prompts.
CAPTION = ("input_ids", "attention_mask", "position_ids", "text_self_attention_masks")
CAPTION_OF_LABELS = (*CAPTION, "token_spans")
PROMPTS = ("point_coords", "point_labels")


def ensembles(pipeline: PipelineSpec) -> tuple[EnsembleSpec, ...]:
    """The six verbs."""
    objects, embeddings = pipeline.batch_sizes.objects, pipeline.batch_sizes.embeddings
    dim = pipeline.clip.embed_dim
    image_embeds = TensorSpec("IMAGE_EMBEDS", "FP32", (dim,))
    text_embeds = TensorSpec("TEXT_EMBEDS", "FP32", (dim,))
    return (
        EnsembleSpec(
            "main_object",
            DETECT_INPUTS,
            (*LABEL_OUTPUTS, *DETECT_OUTPUTS, *MASK_OUTPUTS, IMAGE_SIZE),
            (
                _preprocess("clip", "grounding_dino", "sam", checked=DETECT_INPUTS[1:]),
                _clip_image("image_embeds"),
                _rank_labels(),
                _grounding_dino(),
                _select_boxes("select_main_box"),
                _sam_image(),
                *_masks(),
            ),
            objects,
        ),
        EnsembleSpec(
            "detect",
            DETECT_INPUTS,
            (*DETECT_OUTPUTS, IMAGE_SIZE),
            (
                _preprocess("grounding_dino", checked=DETECT_INPUTS[1:]),
                _grounding_dino(),
                _select_boxes("select_boxes", prompts=False),
            ),
            objects,
        ),
        EnsembleSpec(
            "segment",
            (IMAGE, POINT_COORDS, POINT_LABELS),
            (*MASK_OUTPUTS, IMAGE_SIZE),
            (
                _preprocess("sam", checked=(POINT_COORDS, POINT_LABELS)),
                _sam_image("encode_image"),
                *_masks(),
            ),
            objects,
        ),
        EnsembleSpec(
            "detect_and_segment",
            DETECT_INPUTS,
            (*DETECT_OUTPUTS, *MASK_OUTPUTS, IMAGE_SIZE),
            (
                _preprocess("grounding_dino", "sam", checked=DETECT_INPUTS[1:]),
                _grounding_dino(),
                _select_boxes("select_boxes"),
                _sam_image(),
                *_masks(),
            ),
            objects,
        ),
        EnsembleSpec(
            "embed_image",
            (IMAGE,),
            (image_embeds,),
            (_preprocess("clip", size=False), _clip_image("IMAGE_EMBEDS")),
            embeddings,
        ),
        EnsembleSpec(
            "embed_text",
            (ONE_TEXT,),
            (text_embeds,),
            (
                _same("tokenize_text", ("TEXT",), ("input_ids", "attention_mask")),
                EnsembleStep(
                    clip.TEXT_ENCODER,
                    _pairs("input_ids", "attention_mask"),
                    (("text_embeds", "TEXT_EMBEDS"),),
                ),
            ),
            embeddings,
        ),
    )


def _pairs(*names: str) -> tuple[tuple[str, str], ...]:
    return tuple((name, name) for name in names)


def _same(model: str, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> EnsembleStep:
    return EnsembleStep(model, _pairs(*inputs), _pairs(*outputs))


def _preprocess(
    *families: str, checked: tuple[TensorSpec, ...] = (), size: bool = True
) -> EnsembleStep:
    outputs = [f"{family}_pixel_values" for family in families]
    outputs += [f"{family}_valid_hw" for family in families if family != "clip"]
    if TEXT in checked and "clip" not in families:
        outputs += CAPTION_OF_LABELS
    if POINT_COORDS in checked:
        outputs += PROMPTS
    sizes = (("original_size_hw", "IMAGE_SIZE"),) if size else ()
    inputs = ("IMAGE", *(tensor.name for tensor in checked))
    return EnsembleStep("preprocess_image", _pairs(*inputs), (*_pairs(*outputs), *sizes))


def _clip_image(image_embeds: str) -> EnsembleStep:
    return EnsembleStep(
        clip.IMAGE_ENCODER,
        (("pixel_values", "clip_pixel_values"),),
        (("image_embeds", image_embeds),),
    )


def _rank_labels() -> EnsembleStep:
    outputs = tuple((tensor.name.lower(), tensor.name) for tensor in LABEL_OUTPUTS)
    outputs += _pairs(*CAPTION_OF_LABELS)
    return EnsembleStep("rank_labels", _pairs("TEXT", "image_embeds"), outputs)


def _grounding_dino() -> EnsembleStep:
    pixels = (
        ("pixel_values", "grounding_dino_pixel_values"),
        ("valid_hw", "grounding_dino_valid_hw"),
    )
    caption = _pairs(*CAPTION)
    return EnsembleStep(grounding_dino.NETWORK, (*pixels, *caption), _pairs("logits", "pred_boxes"))


def _select_boxes(model: str, *, prompts: bool = True) -> EnsembleStep:
    inputs = _pairs(
        "logits", "pred_boxes", "token_spans", "TEXT", "BOX_THRESHOLD", "TEXT_THRESHOLD"
    )
    outputs = tuple((tensor.name.lower(), tensor.name) for tensor in DETECT_OUTPUTS)
    prompt_outputs = _pairs(*PROMPTS) if prompts else ()
    return EnsembleStep(
        model, (*inputs, ("original_size_hw", "IMAGE_SIZE")), (*outputs, *prompt_outputs)
    )


def _sam_image(model: str = sam.IMAGE_ENCODER) -> EnsembleStep:
    return EnsembleStep(
        model,
        (("pixel_values", "sam_pixel_values"), ("valid_hw", "sam_valid_hw")),
        _pairs("image_embeddings"),
    )


def _masks() -> tuple[EnsembleStep, EnsembleStep]:
    decoder = _same(
        sam.MASK_DECODER,
        ("image_embeddings", *PROMPTS),
        ("iou_scores", "low_res_masks"),
    )
    select = EnsembleStep(
        "select_masks",
        (
            *_pairs("low_res_masks", "iou_scores", "point_labels"),
            ("original_size_hw", "IMAGE_SIZE"),
        ),
        tuple((tensor.name.lower(), tensor.name) for tensor in MASK_OUTPUTS),
    )
    return decoder, select
