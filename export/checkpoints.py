"""Where checkpoints come from: a hub id, a local folder, or a named set."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from tokenizers import Tokenizer
from transformers import CLIPModel, GroundingDinoForObjectDetection, SamModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.grounding_dino.image_processing_pil_grounding_dino import (
    GroundingDinoImageProcessorPil,
)
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

from export.errors import CheckpointUnavailable

ROOT = Path(__file__).resolve().parent.parent

SETS: dict[str, dict[str, str]] = {
    "demo": {
        "clip": str(ROOT / "demo/checkpoints/clip"),
        "grounding_dino": str(ROOT / "demo/checkpoints/grounding_dino"),
        "sam": str(ROOT / "demo/checkpoints/sam"),
    },
    "production": {
        "clip": "openai/clip-vit-base-patch32",
        "grounding_dino": "IDEA-Research/grounding-dino-tiny",
        "sam": "facebook/sam-vit-base",
    },
    "production-large": {
        "clip": "openai/clip-vit-large-patch14",
        "grounding_dino": "IDEA-Research/grounding-dino-base",
        "sam": "facebook/sam-vit-huge",
    },
}

CLASSES: dict[str, tuple[Any, Any]] = {
    "clip": (CLIPModel, CLIPImageProcessorPil),
    "grounding_dino": (GroundingDinoForObjectDetection, GroundingDinoImageProcessorPil),
    "sam": (SamModel, SamImageProcessorPil),
}

CHECKPOINT_FILES = ["*.json", "*.safetensors", "*.txt"]


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk: `source` as asked for, `revision` of the hub ("" for a folder)."""

    family: str
    source: str
    revision: str
    folder: Path

    @property
    def tokenizer(self) -> Path:
        """tokenizer.json; SAM has none."""
        return self.folder / "tokenizer.json"

    def sha256(self) -> str:
        """Of all its files, by name: any change of weights, config or tokenizer shows."""
        digest = hashlib.sha256()
        for path in sorted(self.folder.glob("*")):
            if path.suffix in {".json", ".safetensors", ".txt"}:
                digest.update(path.name.encode())
                digest.update(hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()

    def load_model(self) -> Any:
        """The transformers model, in float32 and eval mode, with traceable attention."""
        cls, _ = CLASSES[self.family]
        model = cls.from_pretrained(
            self.folder, dtype=torch.float32, attn_implementation="eager", local_files_only=True
        )
        return model.eval().requires_grad_(False)

    def load_image_processor(self) -> Any:
        """The checkpoint's own image processor, on Pillow."""
        _, cls = CLASSES[self.family]
        return cls.from_pretrained(self.folder, local_files_only=True)

    def token_id(self, *names: str) -> int:
        """The id of the first of `names` that the tokenizer knows."""
        tokenizer = Tokenizer.from_file(str(self.tokenizer))
        ids = (tokenizer.token_to_id(name) for name in names)
        return next(id_ for id_ in ids if id_ is not None)


def find(family: str, source: str, revision: str | None = None) -> Checkpoint:
    """The checkpoint behind a local folder or a hub id; raises CheckpointUnavailable."""
    folder = Path(source)
    if folder.is_dir():
        return _checked(Checkpoint(family, source, "", folder))
    try:
        cached = snapshot_download(source, revision=revision, allow_patterns=CHECKPOINT_FILES)
    except Exception as error:  # the hub client raises many kinds, offline and for wrong ids
        raise CheckpointUnavailable(
            f"{family}: {source!r} is not a folder here and could not be had from the hub "
            f"({type(error).__name__}). Copy the checkpoint's folder to this machine (config.json, "
            "model.safetensors, preprocessor_config.json, tokenizer.json) and name it: "
            f"python -m export --{family.replace('_', '-')} FOLDER"
        ) from error
    return _checked(Checkpoint(family, source, Path(cached).name, Path(cached)))


def _checked(checkpoint: Checkpoint) -> Checkpoint:
    needed = ["config.json"] + (["tokenizer.json"] if checkpoint.family != "sam" else [])
    missing = [name for name in needed if not (checkpoint.folder / name).is_file()]
    if missing:
        raise CheckpointUnavailable(
            f"{checkpoint.family}: expected {', '.join(needed)} in {checkpoint.folder}, "
            f"missing {', '.join(missing)}"
        )
    return checkpoint
