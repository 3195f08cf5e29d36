"""Pictures of the demo world with their truth, as files."""

from __future__ import annotations

from pathlib import Path

from PIL import Image
from rich.progress import track

from demo.samples import JPEG_QUALITY
from demo.scenes import Scene, make_scene

# First seed of scenes that no training has seen.
FIRST_SEED = 20_000


def write_scenes(folder: Path, count: int) -> dict[str, Scene]:
    """JPEGs in a new folder; each scene by the absolute path of its picture."""
    folder.mkdir(parents=True)
    scenes: dict[str, Scene] = {}
    for seed in track(range(FIRST_SEED, FIRST_SEED + count), description="pictures"):
        scene = make_scene(seed, split="test")
        path = folder / f"{seed}.jpg"
        Image.fromarray(scene.image).save(path, quality=JPEG_QUALITY)
        scenes[str(path.resolve())] = scene
    return scenes
