"""The demo's architectures with random weights: small, and no head is at zero."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import (
    CLIPModel,
    GroundingDinoForObjectDetection,
    PretrainedConfig,
    SamModel,
)

from demo import clip_config, grounding_dino_config, sam_config
from export.checkpoints import Checkpoint
from export.deployments import Export, Loaded, load, read_deployment
from export.stand_ins.base import add_noise
from export.stand_ins.grounding_dino import fuse
from fovea.deployment_file import DeploymentFile

FAMILIES = {
    "clip": (CLIPModel, clip_config),
    "grounding_dino": (GroundingDinoForObjectDetection, grounding_dino_config),
    "sam": (SamModel, sam_config),
}


def _model_config(family: str) -> PretrainedConfig:
    """The demo's config; SAM's encoder with the windows and relative positions of the hub's."""
    config = FAMILIES[family][1].model_config()
    if family == "sam":
        vision = config.vision_config
        vision.hidden_size, vision.num_attention_heads, vision.mlp_dim = 64, 2, 128
        vision.num_hidden_layers, vision.global_attn_indexes = 3, [1]
        vision.use_rel_pos, vision.window_size = True, 6
    return config


@pytest.fixture(scope="session")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> DeploymentFile:
    """The demo's members and verbs, with these checkpoints."""
    folder: Path = tmp_path_factory.mktemp("checkpoints")
    torch.manual_seed(0)
    for family, (cls, config) in FAMILIES.items():
        model = cls(_model_config(family))
        add_noise(model)
        fuse(model)
        model.save_pretrained(folder / family)
        config.processor().save_pretrained(folder / family)
    return read_deployment("demo").with_checkpoints({f: str(folder / f) for f in FAMILIES})


@pytest.fixture(scope="session")
def members(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shared by all tests, so that those that need the same member export it once."""
    return tmp_path_factory.mktemp("members")


@pytest.fixture(scope="session")
def loaded(deployment: DeploymentFile, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    return load(Export(deployment, tmp_path_factory.mktemp("loaded")))


@pytest.fixture(scope="session")
def checkpoints(loaded: Loaded) -> dict[str, Checkpoint]:
    return loaded.checkpoints
