"""ImageBind's six encoders, each as a network.

The encoders of pictures and texts have OpenCLIP's architecture, the others nearly so (Girdhar et
al., "ImageBind: One Embedding Space To Bind Them All", CVPR 2023); without upstream's package.
Compared with upstream's answers for a tiny model (`tests/export/imagebind_reference.py`).
A folder holds imagebind_huge.pth and CLIP's tokenizer; a deployment names the family.

Upstream's code and weights are CC-BY-NC-SA 4.0: not for commercial use.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from export.checkpoint_files import SIDE_FILES, TOKENIZER, has_file
from export.checkpoints import Checkpoint
from export.errors import CheckpointUnavailable, InvalidCheckpoint
from export.families.imagebind_towers import (
    HEADS,
    MEL_MEAN,
    MEL_STD,
    AudioEncoder,
    ImageBindModel,
    ModalityEncoder,
)
from export.families.imagebind_weights import (
    PLACES,
    STEM,
    WEIGHTS,
    build,
    edge,
    open_clip_state,
    read,
)
from export.families.open_clip import OpenClipExport
from export.families.open_clip_files import MEAN, STD, Processor
from export.network import Arrays, Network, sample_pixels
from export.precision import Policy
from export.processor import Normalization
from fovea.families.imagebind import GREY_HW, ImageBind
from fovea.images import BICUBIC
from fovea.roles import Modality
from fovea.specs import TensorSpec

# Upstream caps the scale of scores here, whatever the weights say (`LearnableLogitScaling`).
MAX_LOGIT_SCALE = 100.0
# Frames with sound in a sample: a whole clip, and a sound of 0.3 s.
HEARD = (198, 28)


def _network(name: str, modality: Modality, tower: nn.Module) -> Network:
    encoder = AudioEncoder if name == "audio" else ModalityEncoder
    sample = partial(_sample, name, modality.network.inputs[0])
    return Network(modality.network, encoder(tower), sample, variants=2)


def _sample(modality: str, takes: TensorSpec, batch: int, variant: int) -> Arrays:
    """Noise with the range of real recordings."""
    rng = np.random.default_rng((batch, variant))
    shape = (batch, *takes.shape)
    if modality == "audio":
        values = rng.normal(MEL_MEAN, MEL_STD / 2, shape)
        values[..., HEARD[variant] :] = 0
    elif modality == "imu":
        values = rng.normal(0, 1 + variant, shape)
    else:
        values = sample_pixels(rng, shape, GREY_HW) / 255
    return {takes.name: values.astype(np.float32)}


class ImageBindExport(OpenClipExport):
    """ImageBind; its networks run as CLIP's do."""

    WEIGHTS = (WEIGHTS,)
    POLICIES: ClassVar[dict[str, Policy]] = {
        **OpenClipExport.POLICIES,
        **{f"{name}_encoder": OpenClipExport.POLICIES["image_encoder"] for name in HEADS},
    }

    def files(self, path: Path) -> list[Path]:
        side = {one for pattern in SIDE_FILES for one in path.glob(pattern) if one.is_file()}
        return sorted(side | {path / WEIGHTS})

    def check_files(self, name: str, family: str, path: Path) -> None:
        missing = [file for file in (WEIGHTS, TOKENIZER) if not has_file(path, file)]
        if missing:
            raise CheckpointUnavailable(
                f"{name}: expected a folder with {WEIGHTS} and {TOKENIZER}, missing "
                f"{', '.join(missing)} in {path}: the weights are at "
                "https://dl.fbaipublicfiles.com/imagebind/imagebind_huge.pth, the tokens are "
                "CLIP's; copy the file from openai/clip-vit-base-patch32"
            )

    def load_model(self, checkpoint: Checkpoint) -> ImageBindModel:
        try:
            state = open_clip_state(read(checkpoint))
            model = build(state)
            model.load_state_dict(state)
        except (KeyError, RuntimeError) as error:  # torch's for names and shapes that differ
            raise InvalidCheckpoint(
                f"{checkpoint.name}: the weights in {checkpoint.folder / WEIGHTS} are not those "
                f"of ImageBind: {error}"
            ) from error
        model.logit_scale.data.clamp_(max=torch.tensor(MAX_LOGIT_SCALE).log())
        return model.eval().requires_grad_(False)

    def networks(self, role: ImageBind, model: Any, normal: Normalization) -> list[Network]:
        more = [
            _network(name, found, model.modalities[name]) for name, found in role.modalities.items()
        ]
        return [*super().networks(role, model, normal), *more]

    def load_processor(self, checkpoint: Checkpoint) -> Processor:
        state = read(checkpoint)
        size = edge(state[PLACES].shape[1], state[STEM].shape[-1])
        return Processor(size, MEAN, STD, int(BICUBIC), squash=False)
