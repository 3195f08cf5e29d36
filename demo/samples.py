"""A dozen sample scenes with their truth, written by `python -m demo.samples`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from demo.evaluate import CANDIDATES
from demo.scenes import MAN_ON_SNOWBOARD_TEXT, Scene, make_scene, man_on_snowboard, scene_rng
from demo.things import LABELS

FOLDER = Path(__file__).parent / "samples"
EDGE = 480
SEEDS = tuple(range(11))
JPEG_QUALITY = 92


def coco_rle(mask: np.ndarray) -> dict[str, list[int]]:
    """COCO's uncompressed run lengths of a bool mask: down the columns, zeros first."""
    flat = np.concatenate(([False], mask.ravel(order="F"), [False]))
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    counts = np.diff(np.concatenate(([0], edges, [mask.size]))).tolist()
    if counts[-1] == 0:
        counts.pop()
    return {"size": list(mask.shape), "counts": counts}


def truth_of(name: str, scene: Scene, seed: int, description: str | None) -> dict[str, object]:
    """The truth of one sample, ready for JSON."""
    rng = scene_rng(seed, "sample candidates")
    missing = [label for label in LABELS if label not in scene.labels]
    absent = [str(label) for label in rng.choice(missing, CANDIDATES, replace=False)]
    others = [label for label in scene.labels if label != scene.main.label]
    candidates = [scene.main.label, *others, *absent][:CANDIDATES]
    return {
        "file": name,
        "height": scene.image.shape[0],
        "width": scene.image.shape[1],
        "label": scene.main.label,
        "candidates": [candidates[i] for i in rng.permutation(CANDIDATES)],
        "description": description,
        "main_index": scene.main_index,
        "objects": [
            {"label": o.label, "style": o.style, "box_xyxy": o.box_xyxy, "rle": coco_rle(o.mask)}
            for o in scene.objects
        ],
    }


def main() -> None:
    """Write the pictures and `truth.json`."""
    FOLDER.mkdir(exist_ok=True)
    scenes = [(f"scene-{seed:02d}.jpg", make_scene(seed, split="sample", size=EDGE), seed, None)
              for seed in SEEDS]  # fmt: skip
    snowboard = man_on_snowboard(size=EDGE)
    scenes.append(("man-on-snowboard.jpg", snowboard, len(SEEDS), MAN_ON_SNOWBOARD_TEXT))
    truths = []
    for name, scene, seed, text in scenes:
        Image.fromarray(scene.image).save(FOLDER / name, quality=JPEG_QUALITY)
        truths.append(truth_of(name, scene, seed, text))
    (FOLDER / "truth.json").write_text(json.dumps(truths, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
