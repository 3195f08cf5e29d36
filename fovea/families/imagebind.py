"""ImageBind: pictures, texts, audio, depth, thermal and IMU data in one vector space.

Audio is prepared as in `load_and_transform_audio_data` of facebookresearch/ImageBind, with the
clips of pytorchvideo's ConstantClipsPerVideoSampler. Upstream has no such function for depth,
thermal and IMU data: their values reach the network unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fovea import mel, wav
from fovea.errors import InvalidAudio, InvalidTensor
from fovea.families.clip import ClipSpec
from fovea.families.open_clip import OpenClip
from fovea.limits import Limits
from fovea.roles import Modality, MultimodalEmbedder
from fovea.specs import ModelSpec, TensorSpec, network_spec

# Clips of two seconds, spread from the start of a sound to its end.
CLIPS, CLIP = 3, 2 * mel.RATE
# In each clip: two seconds fill 198, the rest are 0.
FRAMES = 204
# (height, width) of depth and thermal pictures; (axes, samples) of an IMU.
GREY_HW = (224, 224)
MOTION = (6, 2000)


class ImageBind(OpenClip, MultimodalEmbedder[ClipSpec]):
    """ImageBind; pictures and texts have OpenCLIP's towers."""

    @property
    def modalities(self) -> Mapping[str, Modality]:
        log_mel = TensorSpec("log_mel", "FP32", (CLIPS, mel.BANDS, FRAMES))
        sound = TensorSpec("AUDIO", "STRING", (1,))
        found = {"audio": Modality(sound, self._network("audio", log_mel), hear)}
        for name, shape in (("depth", GREY_HW), ("thermal", GREY_HW), ("imu", MOTION)):
            sent = TensorSpec(name.upper(), "FP32", shape)
            network = self._network(name, TensorSpec(name, "FP32", shape))
            found[name] = Modality(sent, network, _Finite(sent.name))
        return found

    def _network(self, modality: str, takes: TensorSpec) -> ModelSpec:
        return network_spec(
            self.network_name(f"{modality}_encoder"),
            inputs=(takes,),
            outputs=(TensorSpec(f"{modality}_embeds", "FP32", (self.spec.embed_dim,)),),
            max_batch_size=8,
        )


def hear(sent: NDArray[Any], limits: Limits) -> NDArray[np.float32]:
    """A WAV file [1] -> log mel float32 [CLIPS, mel.BANDS, FRAMES]; raises InvalidAudio.

    Only the first channel counts, as in upstream's code.
    """
    sound = wav.read(sent[0], limits)
    if sound.rate != mel.RATE:
        raise InvalidAudio(
            f"expected {mel.RATE} samples a second, got {sound.rate}: "
            f"convert it with ffmpeg -i IN -ar {mel.RATE} OUT.wav"
        )
    length = sound.samples.shape[1]
    if length < mel.WINDOW:
        raise InvalidAudio(
            f"expected at least {mel.WINDOW} samples "
            f"({1000 * mel.WINDOW // mel.RATE} ms), got {length}"
        )
    spare = max(0, length - CLIP)
    starts = (place * spare // (CLIPS - 1) for place in range(CLIPS))
    return np.stack([_clip(sound.samples[:, start : start + CLIP]) for start in starts])


def _clip(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """[channels, N] -> [mel.BANDS, FRAMES], padded with 0."""
    heard = mel.log_mel(samples[0] - samples.mean())
    return np.pad(heard, ((0, 0), (0, FRAMES - heard.shape[1])))


class _Finite:
    """Passes values on unchanged; raises InvalidTensor for NaN and infinities."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, sent: NDArray[Any], limits: Limits) -> NDArray[np.float32]:
        if not np.isfinite(sent).all():
            raise InvalidTensor(f"{self._name}: expected finite numbers, got NaN or infinity")
        return sent
