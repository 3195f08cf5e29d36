"""Write each demo checkpoint's README.md from the figures of `demo.evaluate`.

`python -m demo.model_cards` reads the files of figures beside the checkpoints.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from string import Template

from safetensors import safe_open

from demo import (
    clip_config,
    convnext_config,
    dinov2_config,
    grounding_dino_config,
    owlv2_config,
    rt_detr_config,
    sam_config,
    siglip_config,
    stored_scenes,
    train_clip_objects,
    train_clip_scenes,
    train_convnext,
    train_dinov2,
    train_hq_sam,
    train_rt_detr,
    train_sam_scenes,
    train_segformer,
)
from demo.art import UNSEEN_STYLE
from demo.neighbours import NEIGHBOURS
from demo.replay import FRESH, OLD, STEPS_KEPT
from demo.things import LABELS
from demo.training import CHECKPOINTS_FOLDER

CARD = Template("""---
license: apache-2.0
library_name: transformers
tags: [fovea, demo]
---

# $title

A small checkpoint of the real transformers class `$cls` ($size), trained
$origin by [fovea](../../../README.md), so that the whole pipeline can be run and measured
without a model hub. It knows $things kinds of emoji and nothing else: use it to try
the software, not to look at photographs.

$purpose

## Data

Scenes composed on the fly from sprites of $things things ($labels)
in two art styles: Noto Color Emoji (SIL OFL 1.1) and Fluent UI Emoji 3D (MIT); 1 to 5 things per
scene (mostly 1 to 3), turned up to 20 degrees, flipped, tinted, at least 75 % of each visible,
on painted backgrounds. The evaluation scenes have their own seeds, and kinds of background that are
not in training. Sources and licences of the art: [`demo/art`](../../art/README.md).

## Recipe

$recipe

Code: `python -m demo.$script`.$history

## Figures

$measured

| figure | trained styles | unseen style ($unseen) |
| --- | --- | --- |
$figures
""")

ANOTHER = ", so the script produces a checkpoint like this one, but not this\none."
WORLD_CHANGED = (
    " While this checkpoint trained, the world was made easier (larger things, less covering) and\n"
    f"the length of the run was changed{ANOTHER}"
)
OWN = "the PyTorch reference with this folder's own\npreprocessing, held-out scenes:"
SCRATCH = {
    "precision": "fp32",
    "origin": "from scratch",
    "measured": f"`python -m demo.truth --scenes $scenes`, its column for {OWN}",
}
SWAPPED = {
    "precision": "fp32",
    "history": "",
    "measured": f"`python -m demo.evaluate --swapped --scenes $scenes`, {OWN}",
}

CARDS: dict[str, dict[str, str]] = {
    "clip": SCRATCH
    | {
        "title": "fovea demo CLIP",
        "cls": "CLIPModel",
        "script": "train_clip",
        "history": WORLD_CHANGED,
        "purpose": f"It tells which of several names fits the largest thing of a picture: "
        f"{clip_config.EDGE} pixels, patches of {clip_config.PATCH}. Use the bare name as the "
        "text: no prompt template is needed.",
        "recipe": "The picture against one text for every thing (mostly the bare label, sometimes "
        "a synonym or a prompt) and some foreign nouns; cross-entropy on the main thing. "
        "4,000 steps of 64 scenes, AdamW 1e-3, one cycle, averaged weights; about 40 minutes "
        "of one CPU core.",
    },
    "clip_scenes": SWAPPED
    | {
        "title": "fovea demo CLIP for scenes",
        "cls": "CLIPModel",
        "script": "train_clip_scenes`, then `python -m demo.train_clip_objects",
        "origin": "from the demo CLIP",
        "history": f" The first cycle was planned with 900 steps and shortened after 500{ANOTHER}",
        "measured": "`python -m demo.evaluate_scenes --scenes $scenes`, held-out scenes in their\n"
        "surroundings:",
        "purpose": "It tells what the demo CLIP tells, and when and where a scene is: by day or at "
        "night, in a room, on the street, on the beach or in the snow. Object search of the demo "
        f"world uses it: {clip_config.EDGE} pixels, patches of {clip_config.PATCH}.",
        "recipe": "The picture against the names of things, against words for times, against "
        "words for places, and against the captions of its batch, such as 'a car at night'; "
        "cross-entropy on each. Three of ten scenes have a plain background. The saved weights are "
        f"{train_clip_scenes.LEARNED:.0%} the learned ones, the rest the demo CLIP's own. "
        f"{train_clip_scenes.STEPS:,} steps of {train_clip_scenes.BATCH} scenes, AdamW "
        f"{train_clip_scenes.RATE:g}, one cycle, averaged weights; about six minutes of one CPU "
        "core. Then it trains on object crops made as object search makes them, from "
        f"{train_clip_objects.SCENES:,} scenes, with true masks and with the demo SAM's. Three "
        "losses: each crop against the names; each name against all crops of a step, including "
        "crops of the background; and a supervised contrastive loss between crops. "
        f"{train_clip_objects.STEPS:,} steps of "
        f"{train_clip_objects.THINGS + train_clip_objects.NOTHINGS} crops and "
        f"{train_clip_objects.PICTURES} pictures, AdamW {train_clip_objects.RATE:g}, one cycle, "
        "averaged weights; about a quarter of an hour of one CPU core.",
    },
    "sam_scenes": SWAPPED
    | {
        "title": "fovea demo SAM for scenes",
        "cls": "SamModel",
        "precision": "fp16",
        "script": "train_sam_scenes",
        "origin": "from the demo SAM",
        "measured": "`python -m demo.evaluate_everything`, $scenes held-out scenes of each style\n"
        "in their surroundings, with the thresholds of `config.json`:",
        "purpose": "It cuts out every thing of a picture in front of a room, a street, a beach "
        f"or snow, by day or at night: {sam_config.EDGE} pixels, patches of {sam_config.PATCH}, "
        f"masks of {sam_config.LOW_RES_EDGE} pixels. Object search in the demo world uses it. The "
        "thresholds were chosen on validation scenes (`python -m "
        "demo.calibrate_masks sam_scenes --search`).",
        "recipe": f"{train_sam_scenes.POINTS_ON_THINGS} random points on things and "
        f"{train_sam_scenes.POINTS_ANYWHERE} anywhere in the scene. For points on things: "
        f"cross-entropy and dice of their masks at {train_sam_scenes.FINE_EDGE} pixels. For all "
        "points: the IoU head, which off things learns the IoU with the best fitting thing. "
        f"{1 - train_sam_scenes.PLAIN_ODDS:.0%} of the scenes have surroundings. "
        f"{train_sam_scenes.STEPS:,} steps of {train_sam_scenes.BATCH} scenes, AdamW "
        f"{train_sam_scenes.RATE:g}, then {train_sam_scenes.REFINE_STEPS:,} at "
        f"{train_sam_scenes.REFINE_RATE:g}, each one cycle with averaged weights, the "
        "encoder in bfloat16; about 25 minutes of one CPU core.",
    },
    "grounding_dino": SCRATCH
    | {
        "title": "fovea demo GroundingDINO",
        "cls": "GroundingDinoForObjectDetection",
        "script": "train_grounding_dino",
        "history": WORLD_CHANGED,
        "purpose": f"It finds what a caption names: a Swin of four small stages, two decoder "
        f"layers, {grounding_dino_config.QUERIES} queries, pictures padded to "
        f"{grounding_dino_config.EDGE} pixels. Captions end with '.', phrases are separated by "
        "'. '. `box_threshold` and `text_threshold` in `config.json` were chosen on validation "
        "scenes (`python -m demo.calibrate`).",
        "recipe": "First the backbone alone, on which thing covers each cell (1,500 steps of "
        "16); then all of it for 4,200 steps of 16 scenes with phrases, single or several, "
        "present and absent, and free descriptions: focal, L1 and GIoU losses on the decoder "
        "layers with one-to-one matching and, densely, on every encoder cell in the middle of "
        "a named box, and still the backbone's loss. AdamW 4e-4, one cycle, averaged weights; "
        "about an hour of one CPU core.",
    },
    "sam": SCRATCH
    | {
        "title": "fovea demo SAM",
        "cls": "SamModel",
        "script": "train_sam",
        "history": " The first cycle was extended by 1,000 steps after 5,500 of 6,500, all its\n"
        f"boxes were slightly wrong, and 900 steps at 2.5e-4 came between the two{ANOTHER}",
        "purpose": f"It cuts out what a box or a point marks: {sam_config.EDGE} pixels, patches "
        f"of {sam_config.PATCH}, masks of {sam_config.LOW_RES_EDGE} pixels. `points_per_side`, "
        "`iou_threshold` and `stability_threshold` in `config.json`, for cutting out everything, "
        "were chosen on validation scenes (`python -m demo.calibrate_masks`).",
        "recipe": "Four boxes, every second slightly wrong (mask 0), and two points inside (best "
        "of masks 1 to 3) per scene; cross-entropy and dice, and the IoU head on all masks. "
        "Linear heads on the image embedding, which the checkpoint does not keep, also predict "
        "for every cell which thing it shows, which of its pixels belong to one, where one object "
        "ends and the next begins, and how far the sides of its box are. 7,500 steps of 16 "
        "scenes, AdamW 7e-4, one cycle, averaged weights, the encoder in bfloat16; then 2,400 "
        "steps at 4e-4 without the heads, on scenes with more things; about two hours of two "
        "CPU cores.",
    },
    "siglip": SWAPPED
    | {
        "title": "fovea demo SigLIP",
        "cls": "SiglipModel",
        "script": "train_siglip",
        "origin": "from the demo CLIP's picture layers",
        "purpose": "It tells for each of several names, independently of the others, whether "
        f"it fits the largest thing of a picture: {clip_config.EDGE} pixels, the whole picture "
        f"squashed to a square; texts lose their punctuation and are padded to "
        f"{siglip_config.MAX_TOKENS} tokens.",
        "recipe": "Yes or no for each of 44 texts, and a softmax over them. 3,000 steps of 64 "
        "scenes, AdamW 1e-3, one cycle, averaged weights.",
    },
    "owlv2": SWAPPED
    | {
        "title": "fovea demo OWLv2",
        "cls": "Owlv2ForObjectDetection",
        "script": "train_owlv2",
        "history": " This one was taken after 2,500 steps, before the rate had come down.",
        "origin": "from the demo CLIP's two towers",
        "purpose": f"It finds named things, with a query for each name: {owlv2_config.EDGE} "
        f"pixels, patches of {owlv2_config.PATCH}, pictures padded with black to a square. "
        "`box_threshold` in `config.json` was chosen on validation scenes "
        "(`python -m demo.calibrate owlv2`).",
        "recipe": "A patch belongs to the object at its middle: focal loss with the IoU "
        "of its box as the target, L1 and GIoU of the box. 3,500 steps of 16 scenes with 44 "
        "texts, AdamW 1e-3, one cycle, averaged weights; about an hour of one CPU core.",
    },
    "hq_sam": SWAPPED
    | {
        "title": "fovea demo HQ-SAM",
        "cls": "SamHQModel",
        "precision": "fp16",
        "script": "train_hq_sam",
        "origin": "on top of the frozen demo SAM",
        "purpose": "It cuts out what a box or a point marks, as the demo SAM does, and adds a mask "
        "of finer features to SAM's. Use the class only for its weights: its `forward` in "
        "transformers 5.23 is wrong, as `export/families/hq_sam.py` explains.",
        "recipe": "The HQ token and its MLP start as those of SAM's mask 0; the MLP and the "
        "convolutions learn, the token stays, so that the output of SAM's transformer for a prompt "
        f"is computed once. {train_hq_sam.SCENES:,} scenes with {train_hq_sam.BOXES} boxes and "
        f"{train_hq_sam.POINTS} point each; cross-entropy and dice of the answered mask at "
        f"{sam_config.EDGE} pixels. {train_hq_sam.STEPS:,} steps of {train_hq_sam.BATCH} scenes, "
        f"AdamW {train_hq_sam.RATE:g}, one cycle, averaged weights; about a quarter of an hour of "
        "one CPU core.",
    },
    "convnext": SCRATCH
    | {
        "title": "fovea demo ConvNeXt",
        "cls": "ConvNextForImageClassification",
        "script": "train_convnext",
        "measured": "`python -m demo.evaluate_closed convnext --scenes $scenes`, transformers'\n"
        "own image-classification pipeline, held-out scenes; the right one among all things:",
        "history": f" The cycle was planned with 6,000 steps and shortened on the way{ANOTHER}",
        "purpose": "It tells which of its own classes, the things of the demo's world, is the "
        f"largest in a picture: {convnext_config.EDGE} pixels, the middle of the picture.",
        "recipe": "Smoothed cross-entropy on the main thing; two of three scenes show one thing "
        f"only. {train_convnext.STEPS:,} steps of {FRESH} new scenes and {OLD} of the last "
        f"{STEPS_KEPT} steps, each cropped and mirrored at random, AdamW {train_convnext.RATE:g}, "
        "one cycle, averaged weights; about a quarter of an hour of one CPU core.",
    },
    "rt_detr": SWAPPED
    | {
        "title": "fovea demo RT-DETR",
        "cls": "RTDetrForObjectDetection",
        "precision": "fp16",
        "script": "train_rt_detr",
        "origin": "on the demo GroundingDINO's backbone",
        "history": " The cycle was planned with 2,400 steps, 1,600 of them with the backbone as\n"
        f"it was, and shortened after 700{ANOTHER}",
        "measured": f"`python -m demo.evaluate_closed rt_detr --scenes $scenes`, {OWN}",
        "purpose": "It finds the things of the demo's world without being told their names: "
        f"{stored_scenes.EDGE} pixels, the whole picture squashed to a square, "
        f"{rt_detr_config.QUERIES} queries. `box_threshold` in `config.json` was chosen on "
        "validation scenes (`python -m demo.calibrate rt_detr`).",
        "recipe": "Focal loss, L1 and GIoU on the decoder layers with one-to-one matching and, "
        "densely, on every encoder cell in the middle of a thing. The backbone stays as it is for "
        f"{train_rt_detr.FROZEN_STEPS:,} of {train_rt_detr.STEPS:,} steps of {train_rt_detr.BATCH} "
        f"scenes, of {stored_scenes.SCENES:,} that are cropped and mirrored at random; AdamW "
        f"{train_rt_detr.RATE:g}, one cycle, averaged weights; about a quarter of an hour of one "
        "CPU core.",
    },
    "segformer": SWAPPED
    | {
        "title": "fovea demo SegFormer",
        "cls": "SegformerForSemanticSegmentation",
        "precision": "fp16",
        "script": "train_segformer",
        "origin": "from the demo GroundingDINO's backbone",
        "measured": f"`python -m demo.evaluate_closed segformer --scenes $scenes`, {OWN}",
        "purpose": "It labels each pixel with the thing that covers it, or as background: "
        f"{stored_scenes.EDGE} pixels, the whole picture squashed to a square.",
        "recipe": "Its layers start as those of the Swin. Cross-entropy of each cell and, for "
        f"{train_segformer.TAUGHT_STEPS} steps, the squared distance of its last two maps and the "
        f"Swin's. {train_segformer.STEPS:,} steps of {train_segformer.BATCH} scenes, of "
        f"{stored_scenes.SCENES:,} that are cropped and mirrored at random; AdamW "
        f"{train_segformer.RATE:g}, one cycle, averaged weights, bfloat16; about twenty minutes "
        "of one CPU core.",
    },
    "dinov2": SWAPPED
    | {
        "title": "fovea demo DINOv2",
        "cls": "Dinov2Model",
        "script": "train_dinov2",
        "origin": "from the demo CLIP",
        "measured": f"`python -m demo.neighbours --scenes $scenes`, {OWN}",
        "purpose": "It gives a picture a vector near to those of pictures of the same thing: "
        f"{clip_config.EDGE} pixels, the middle of a picture whose shortest edge is "
        f"{dinov2_config.RESIZED}, patches of {clip_config.PATCH}. It reads no text.",
        "recipe": "Its patches and layers start as those of the demo CLIP. From a part of a "
        "picture, made lighter or darker, it learns CLIP's vector of the whole picture, with the "
        "same neighbours within the batch: cosine, and the divergence of the softmax over "
        f"the others. {train_dinov2.STEPS:,} steps of {train_dinov2.BATCH} scenes, "
        f"{train_dinov2.FRESH} of them new, AdamW {train_dinov2.RATE:g}, one cycle, averaged "
        "weights; about 45 minutes of one busy CPU core.",
    },
}

# Keys: the files of figures that `demo.evaluate`, `evaluate_closed` and `neighbours` write.
MEASURED = {
    "metrics.json": ("clip", "grounding_dino", "sam"),
    "metrics_swapped.json": ("siglip", "owlv2", "hq_sam"),
    "metrics_convnext.json": ("convnext",),
    "metrics_rt_detr.json": ("rt_detr",),
    "metrics_segformer.json": ("segformer",),
    "metrics_dinov2.json": ("dinov2",),
    "metrics_scenes.json": ("clip_scenes",),
    "metrics_everything.json": ("sam_scenes",),
}

FIGURES: dict[str, dict[str, str]] = {
    "clip": {
        "label_accuracy": "right label among 5, one thing in the scene",
        "label_accuracy_multi": "right label of the main thing among 5, two to five things",
    },
    "grounding_dino": {
        "box_recall": "named thing found (best box above threshold, IoU > 0.5)",
        "absent_rejection": "absent name rejected",
    },
    "sam": {
        "mask_iou_box": "mean mask IoU from the true box",
        "mask_iou_point": "mean mask IoU from a point inside",
    },
}
END_TO_END = {
    "main_object_label_accuracy": "all three together: right label",
    "main_object_box_recall": "all three together: right box",
    "main_object_mask_iou": "all three together: mean mask IoU",
}
# It has its own classes, so it takes no part in the others' answers.
RT_DETR_FIGURES = FIGURES["grounding_dino"]
FIGURES = {name: own | END_TO_END for name, own in FIGURES.items()}
FIGURES["rt_detr"] = RT_DETR_FIGURES
FIGURES |= {"siglip": FIGURES["clip"], "owlv2": FIGURES["grounding_dino"], "hq_sam": FIGURES["sam"]}
FIGURES["convnext"] = {
    "label_accuracy": "one thing in the scene",
    "label_accuracy_multi": "the main one of two to five things",
}
FIGURES["segformer"] = {"mean_iou": f"mean IoU of the {len(LABELS)} things and the background"}
FIGURES["dinov2"] = {
    "label_accuracy": f"{NEIGHBOURS} nearest scenes vote for the right label of {len(LABELS)}, "
    "one thing in the scene",
    "label_accuracy_multi": "the same for the main thing, two to five things",
}
FIGURES["clip_scenes"] = {
    "thing": f"right label of the main thing among {len(LABELS)}",
    "time": "by day or at night",
    "place": "which of four places",
}
FIGURES["sam_scenes"] = {
    "recall_50": "things with a mask of IoU > 0.5",
    "recall_75": "of IoU > 0.75",
    "precision": "masks that are on a thing (IoU > 0.5)",
    "masks": "masks of a picture",
}


def parameters_of(folder: Path) -> int:
    """The number of parameters of a checkpoint."""
    with safe_open(folder / "model.safetensors", "np") as tensors:
        return sum(tensors.get_tensor(key).size for key in tensors.keys())  # noqa: SIM118


def rows(name: str, figures: dict[str, float]) -> str:
    """The table's lines; a missing figure is a dash."""

    def shown(key: str) -> str:
        return f"{figures[key]:.3f}" if key in figures else "–"

    # In the unseen style, single scenes are not measured separately.
    alias = {"label_accuracy": "label_accuracy_single"}
    return "\n".join(
        f"| {text} | {shown(key)} | {shown(f'{UNSEEN_STYLE}_{alias.get(key, key)}')} |"
        for key, text in FIGURES[name].items()
    )


def write_cards(names: Iterable[str], figures: dict[str, float]) -> None:
    """Write one README.md for each checkpoint."""
    for name in names:
        words, folder = CARDS[name], CHECKPOINTS_FOLDER / name
        card = CARD.substitute(
            words | {"measured": Template(words["measured"]).substitute(scenes=figures["scenes"])},
            size=f"{parameters_of(folder):,} parameters, {words['precision']}",
            things=len(LABELS),
            labels=", ".join(LABELS),
            unseen=UNSEEN_STYLE,
            figures=rows(name, figures),
        )
        (folder / "README.md").write_text(card)


if __name__ == "__main__":
    for file, names in MEASURED.items():
        write_cards(names, json.loads((CHECKPOINTS_FOLDER / file).read_text()))
