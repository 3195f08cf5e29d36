"""Where checkpoints come from: a hub id, a local folder, or a named set."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import HfHubHTTPError
from tokenizers import Tokenizer
from transformers import CLIPModel, GroundingDinoForObjectDetection, SamModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.grounding_dino.image_processing_pil_grounding_dino import (
    GroundingDinoImageProcessorPil,
)
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil
from transformers.utils import logging as hf_logging

from export.errors import CheckpointUnavailable

hf_logging.disable_progress_bar()  # it would cut through ours

ROOT = Path(__file__).resolve().parent.parent

SETS: dict[str, dict[str, str]] = {
    "demo": {
        "clip": str(ROOT / "demo/checkpoints/clip"),
        "grounding_dino": str(ROOT / "demo/checkpoints/grounding_dino"),
        "sam": str(ROOT / "demo/checkpoints/sam"),
    },
    "production": {
        "clip": "openai/clip-vit-base-patch32@3d74acf9a28c67741b2f4f2ea7635f0aaf6f0268",
        "grounding_dino": (
            "IDEA-Research/grounding-dino-tiny@a2bb814dd30d776dcf7e30523b00659f4f141c71"
        ),
        "sam": "facebook/sam-vit-base@70c1a07f894ebb5b307fd9eaaee97b9dfc16068f",
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

SIDE_FILES = ["*.json", "*.txt"]
WEIGHT_FILES = ("*.safetensors", "pytorch_model.bin")


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
            if any(fnmatch(path.name, pattern) for pattern in (*SIDE_FILES, *WEIGHT_FILES)):
                digest.update(path.name.encode())
                digest.update(hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()

    def load_model(self) -> Any:
        """The transformers model, in float32 and eval mode.

        With transformers' default attention, as its users have it: the eager one adds a boolean
        mask to GroundingDINO's text attention instead of applying it (transformers 5.23).
        """
        cls, _ = CLASSES[self.family]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # hints on speed in training
            model = cls.from_pretrained(self.folder, dtype=torch.float32, local_files_only=True)
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


def find(family: str, source: str) -> Checkpoint:
    """The checkpoint behind a local folder or a hub id; raises CheckpointUnavailable.

    "id@revision" pins a hub id; without it the newest revision is taken. Either way the manifest
    records which one it was.
    """
    folder = Path(source)
    if folder.is_dir():
        return _checked(Checkpoint(family, source, "", folder))
    repository, _, revision = source.partition("@")
    try:
        cached = Path(_download(repository, revision or None))
    except Exception as error:  # the hub client raises many kinds, offline and for wrong ids
        raise CheckpointUnavailable(
            f"{family}: {source!r} is not a folder here and could not be had from the hub "
            f"({type(error).__name__}). Copy the checkpoint's folder to this machine (config.json, "
            "model.safetensors, preprocessor_config.json, tokenizer.json) and name it: "
            f"python -m export --{family.replace('_', '-')} FOLDER"
        ) from error
    return _checked(Checkpoint(family, repository, cached.name, cached))


def _download(repository: str, revision: str | None) -> str:
    """The hub's snapshot with one kind of weights: safetensors where there are any.

    A snapshot that is already in the hub's cache needs no network.
    """
    try:
        names = HfApi().list_repo_files(repository, revision=revision)
    except HfHubHTTPError:
        raise
    except Exception:  # offline, each HTTP library in its own words
        return snapshot_download(repository, revision=revision, local_files_only=True)
    weights = next(p for p in WEIGHT_FILES if any(fnmatch(name, p) for name in names))
    return snapshot_download(
        repository, revision=revision, allow_patterns=[*SIDE_FILES, weights], ignore_patterns="*/*"
    )


def _checked(checkpoint: Checkpoint) -> Checkpoint:
    needed = ["config.json"] + (["tokenizer.json"] if checkpoint.family != "sam" else [])
    missing = [name for name in needed if not (checkpoint.folder / name).is_file()]
    if missing:
        raise CheckpointUnavailable(
            f"{checkpoint.family}: expected {', '.join(needed)} in {checkpoint.folder}, "
            f"missing {', '.join(missing)}"
        )
    return checkpoint
