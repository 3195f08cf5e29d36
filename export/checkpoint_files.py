"""The files of a checkpoint's folder, as transformers' `from_pretrained` chooses them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from export import onnx_detectors
from export.errors import CheckpointUnavailable, InvalidCheckpoint
from export.families import MOBILE_SAM, MODEL_TYPES, NOT_SERVED, OPEN_CLIP, load
from fovea import families

CONFIG = "config.json"
TOKENIZER = "tokenizer.json"
PREPROCESSOR = "preprocessor_config.json"
# Newer transformers versions save the image processor's settings within this one.
PROCESSOR = "processor_config.json"

# Files from which transformers makes the tokenizer.json that steps read.
VOCABULARIES = (("vocab.json", "merges.txt"), ("vocab.txt",))

# "*.model" is SentencePiece.
SIDE_FILES = ("*.json", "*.txt", "*.model")
# Weights in the order of preference: one file, or the index of several.
WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
# open_clip's own files, beside transformers' or instead of them.
OPEN_CLIP_CONFIG = "open_clip_config.json"
OPEN_CLIP_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
# MobileSAM's whole checkpoint in one file.
MOBILE_SAM_WEIGHTS = "mobile_sam.pt"
# The files that an index of WEIGHTS names.
SHARDS = {
    "model.safetensors.index.json": "model-*-of-*.safetensors",
    "pytorch_model.bin.index.json": "pytorch_model-*-of-*.bin",
}


def weight_files(folder: Path) -> list[Path]:
    """The files that hold the weights, an index first; raises CheckpointUnavailable."""
    found = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if found is None:
        raise CheckpointUnavailable(f"{folder}: expected one of {', '.join(WEIGHTS)}, got none")
    if found.name not in SHARDS:
        return [found]
    names = read_json(found).get("weight_map")
    if not isinstance(names, dict):
        raise InvalidCheckpoint(f"{found}: expected a weight_map, got none")
    shards = [folder / name for name in sorted(set(names.values()))]
    missing = [shard.name for shard in shards if not shard.is_file()]
    if missing:
        raise CheckpointUnavailable(
            f"{folder}: {found.name} names {len(shards)} files, missing {', '.join(missing)}"
        )
    return [found, *shards]


def files(folder: Path) -> list[Path]:
    """All files that decide the checkpoint's answers: weights, configurations, tokenizer."""
    side = {path for pattern in SIDE_FILES for path in folder.glob(pattern) if path.is_file()}
    return sorted(side | set(weight_files(folder)))


def has_file(folder: Path, name: str) -> bool:
    """Whether the file is there; for TOKENIZER, also files that it can be made from."""
    whole = VOCABULARIES if name == TOKENIZER else ()
    return any(all((folder / part).is_file() for part in parts) for parts in ((name,), *whole))


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; raises InvalidCheckpoint for anything else."""
    try:
        value = json.loads(path.read_bytes())
    except ValueError as error:
        raise InvalidCheckpoint(f"{path}: expected JSON, {error}") from error
    if not isinstance(value, dict):
        raise InvalidCheckpoint(f"{path}: expected a JSON object, got {type(value).__name__}")
    return value


def family_of(name: str, folder: Path) -> str:
    """The family, from config.json, from a checkpoint of one file, or from open_clip_config.json.

    Raises CheckpointUnavailable and InvalidCheckpoint.
    """
    if folder.name == MOBILE_SAM_WEIGHTS or (
        (folder / MOBILE_SAM_WEIGHTS).is_file() and not (folder / CONFIG).is_file()
    ):
        return MOBILE_SAM
    if folder.is_file():
        return onnx_detectors.family_of(folder)
    if not (folder / CONFIG).is_file() and (folder / OPEN_CLIP_CONFIG).is_file():
        return OPEN_CLIP
    if not (folder / CONFIG).is_file():
        raise CheckpointUnavailable(f"{name}: expected {CONFIG} in {folder}, got none")
    model_type = read_json(folder / CONFIG).get("model_type")
    if not isinstance(model_type, str) or model_type not in MODEL_TYPES:
        raise InvalidCheckpoint(
            f"{name}: expected a checkpoint of model_type {', '.join(MODEL_TYPES)} in {folder}, "
            f"got {model_type!r}{_instead(model_type)}"
        )
    return MODEL_TYPES[model_type]


def _instead(model_type: Any) -> str:
    known = isinstance(model_type, str) and model_type in NOT_SERVED
    return f": {NOT_SERVED[model_type]}" if known else ""


def check_files(name: str, family: str, folder: Path) -> None:
    """Raise CheckpointUnavailable or InvalidCheckpoint unless all files of this family are there.

    Reads JSON only, no weights.
    """
    needed = [CONFIG, *families.load(family).FILES]
    missing = [file for file in needed if not has_file(folder, file)]
    if not any((folder / file).is_file() for file in (PREPROCESSOR, PROCESSOR)):
        missing.append(PREPROCESSOR)
    if missing:
        raise CheckpointUnavailable(
            f"{name}: expected {', '.join([*needed, PREPROCESSOR])} in {folder}, "
            f"missing {', '.join(missing)}: copy them from the checkpoint that this one was "
            "trained from, or save its processor there with save_pretrained"
        )
    got = read_json(folder / CONFIG).get("model_type")
    expected = _model_types(family)
    if got not in expected:
        raise InvalidCheckpoint(
            f"{name}: expected a checkpoint of model_type {' or '.join(map(repr, expected))} "
            f"in {folder}, got {got!r}"
        )
    weight_files(folder)


def _model_types(family: str) -> list[str]:
    """The model types that a family takes."""
    own = load(family).model_class.config_class.model_type
    listed = [model_type for model_type, name in MODEL_TYPES.items() if name == family]
    return listed or [own]
