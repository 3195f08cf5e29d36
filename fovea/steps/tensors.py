"""The tensors that callers send, that steps hand on, and that answers are made of.

Callers' tensors are in upper case. TEXT: one label in each element; for embed_text one text.
phrases, label and labels are elements of TEXT as sent, label_indices and label_index their
positions in it, words the words of the phrase that the box answers (of a sentence as a label: the
thing). Classes come best first, at most TOP_K; a classifier's labels are its own, and so are a
segmenter's phrases, whose label_indices are class ids. Boxes are xyxy in pixels of the original
picture, masks COCO RLE counts of its size.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fovea.geometry import Geometry
from fovea.roles import POINT_COORDS, POINT_LABELS, OpenDetector
from fovea.specs import TensorSpec

IMAGE = TensorSpec("IMAGE", "STRING", (1,))
TEXT = TensorSpec("TEXT", "STRING", (-1,))
ONE_TEXT = replace(TEXT, shape=(1,))
TOP_K = TensorSpec("TOP_K", "INT32", (1,), optional=True)
BOX_THRESHOLD = TensorSpec("BOX_THRESHOLD", "FP32", (1,), optional=True)
TEXT_THRESHOLD = TensorSpec("TEXT_THRESHOLD", "FP32", (1,), optional=True)
POINTS_PER_SIDE = TensorSpec("POINTS_PER_SIDE", "INT32", (1,), optional=True)
IOU_THRESHOLD = TensorSpec("IOU_THRESHOLD", "FP32", (1,), optional=True)
STABILITY_THRESHOLD = TensorSpec("STABILITY_THRESHOLD", "FP32", (1,), optional=True)
MIN_AREA = TensorSpec("MIN_AREA", "INT32", (1,), optional=True)
MIN_PIECE = TensorSpec("MIN_PIECE", "FP32", (1,), optional=True)
MAX_OBJECTS = TensorSpec("MAX_OBJECTS", "INT32", (1,), optional=True)
FULL_SIZE = TensorSpec("FULL_SIZE", "INT32", (1,), optional=True)
# The criteria for objects, if all objects are requested.
OBJECT_SETTINGS = (
    *(POINTS_PER_SIDE, IOU_THRESHOLD, STABILITY_THRESHOLD, MIN_AREA, MIN_PIECE),
    *(MAX_OBJECTS, FULL_SIZE),
)
THRESHOLD = TensorSpec("THRESHOLD", "FP32", (1,), optional=True)
WITH_LABEL_MAP = TensorSpec("WITH_LABEL_MAP", "INT32", (1,), optional=True)
SENT_COORDS = TensorSpec("POINT_COORDS", "FP32", (-1, -1, 2))
SENT_LABELS = TensorSpec("POINT_LABELS", "INT32", (-1, -1))

# The first step's inputs beside the picture, as a verb needs them.
OPTIONAL_INPUTS = tuple(
    replace(tensor, optional=True)
    for tensor in (
        *(TEXT, BOX_THRESHOLD, TEXT_THRESHOLD, SENT_COORDS, SENT_LABELS, TOP_K),
        *OBJECT_SETTINGS,
        *(THRESHOLD, WITH_LABEL_MAP),
    )
)

LABEL_RANKS = (
    TensorSpec("label", "STRING", (1,)),
    TensorSpec("label_index", "INT32", (1,)),
    TensorSpec("labels", "STRING", (-1,)),
    TensorSpec("label_scores", "FP32", (-1,)),
)
CLASSES = (
    TensorSpec("labels", "STRING", (-1,)),
    TensorSpec("label_indices", "INT32", (-1,)),
    TensorSpec("label_scores", "FP32", (-1,)),
)
SELECTED_BOXES = (
    TensorSpec("boxes", "FP32", (-1, 4)),
    TensorSpec("scores", "FP32", (-1,)),
    TensorSpec("phrases", "STRING", (-1,)),
    TensorSpec("label_indices", "INT32", (-1,)),
    TensorSpec("words", "STRING", (-1,)),
)
PROMPTS = (POINT_COORDS, POINT_LABELS)
MASKS = (
    TensorSpec("masks", "STRING", (-1,)),
    TensorSpec("mask_scores", "FP32", (-1,)),
)
# label_map: a PNG if WITH_LABEL_MAP is 1, else none.
SCENE_SEGMENTS = (
    TensorSpec("masks", "STRING", (-1,)),
    TensorSpec("scores", "FP32", (-1,)),
    TensorSpec("phrases", "STRING", (-1,)),
    TensorSpec("label_indices", "INT32", (-1,)),
    TensorSpec("label_map", "STRING", (-1,)),
)

OBJECTS = (
    TensorSpec("boxes", "FP32", (-1, 4)),
    *MASKS,
    TensorSpec("stability", "FP32", (-1,)),
)
# The decoded picture, RGB, maybe smaller than it was sent: crops are cut from it.
PICTURE = TensorSpec("picture", "UINT8", (-1, -1, 3))


def text_tensor(detects: OpenDetector[Any], tensor: TensorSpec) -> TensorSpec:
    """One of a detector's text tensors, under the first step's name."""
    return replace(tensor, name=f"{detects.name}_{tensor.name}")


def verb_pixels(verb: str, geometry: Geometry) -> TensorSpec:
    """Pixels for a verb: by requesting them, its ensemble tells the first step which verb it is."""
    return replace(geometry.pixels, name=f"{verb}_{geometry.pixels.name}")


def verb_picture(verb: str) -> TensorSpec:
    """The picture for a verb; its name tells the verb, as in `verb_pixels`."""
    return replace(PICTURE, name=f"{verb}_{PICTURE.name}")
