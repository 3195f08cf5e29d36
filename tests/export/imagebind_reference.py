"""Records the answers of ImageBind's own code for a tiny model, in tests/export/imagebind.

Needs its own environment: imagebind-unofficial 0.1.1 is a copy of upstream's code, which is not
for commercial use, whatever that package says.

    pip install --no-deps imagebind-unofficial==0.1.1
    pip install einops ftfy iopath regex timm==1.0.22 torchaudio torchvision -e .[export]
    python -m tests.export.imagebind_reference

The folder is a checkpoint with random weights in half precision, and reference.npz: tokens [L, T]
of `TEXTS`, log_mel [128, 204] of the last of `SOUNDS`, and the model's vectors [N, D]: vision of
`PICTURES`, audio of `SOUNDS`, depth of `GREY` and thermal of its negative, imu of `MOTION`, and
text. All but vision are multiplied by upstream's scales.
"""

from __future__ import annotations

import gzip
import importlib.util
import sys
import types
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import nn
from torchvision import transforms

from export.families.clip import TEXTS
from export.families.imagebind_towers import MEL_MEAN, MEL_STD
from export.families.imagebind_weights import BEGINNINGS, WEIGHTS
from export.families.open_clip_files import MEAN, STD
from export.stand_ins.base import add_noise
from export.stand_ins.clip import write_vocabulary
from fovea.families.imagebind import CLIP, CLIPS, FRAMES
from fovea.mel import BANDS, RATE
from tests.export.open_clip_reference import PICTURES
from tests.recordings import GREY, MOTION, SOUNDS

FOLDER = Path(__file__).parent / "imagebind"
WIDTH, EDGE, PATCH = 16, 224, 56


def main() -> None:
    _without_video()
    from imagebind.models.imagebind_model import ImageBindModel

    torch.manual_seed(0)
    FOLDER.mkdir(exist_ok=True)
    vocabulary = len(write_vocabulary(FOLDER))
    model = ImageBindModel(
        kernel_size=(2, PATCH, PATCH),
        out_embed_dim=24,
        **{f"{sense}_embed_dim": WIDTH for sense in ("vision", "text", "depth", "imu")},
        **{f"{sense}_embed_dim": 24 for sense in ("audio", "thermal")},
        **{f"{sense}_num_blocks": 1 for sense in ("audio", "depth", "thermal", "imu")},
        **{f"{sense}_num_blocks": 2 for sense in ("vision", "text")},
        **{f"{sense}_num_heads": 16 for sense in ("vision", "text")},
    )
    model.modality_preprocessors["text"].token_embedding = nn.Embedding(vocabulary, WIDTH)
    add_noise(model)
    model.eval()
    kept = {k: v.half() for k, v in model.state_dict().items() if k.startswith((*BEGINNINGS,))}
    model.load_state_dict(kept, strict=False)
    torch.save(kept, FOLDER / WEIGHTS)
    np.savez_compressed(FOLDER / "reference.npz", **_answers(model))


def _without_video() -> None:
    """The package's __init__ needs pytorchvideo, its models do not."""
    spec = importlib.util.find_spec("imagebind")
    assert spec is not None and spec.submodule_search_locations
    package = types.ModuleType("imagebind")
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules["imagebind"] = package


def _log_mel(clip: torch.Tensor) -> torch.Tensor:
    """[1, N] -> [1, BANDS, FRAMES], as upstream asks torchaudio for it."""
    from torchaudio.compliance import kaldi

    bands = kaldi.fbank(
        clip - clip.mean(),
        htk_compat=True,
        sample_frequency=RATE,
        use_energy=False,
        window_type="hanning",
        num_mel_bins=BANDS,
        dither=0.0,
        frame_length=25,
        frame_shift=10,
    )
    return nn.functional.pad(bands.T, (0, FRAMES - len(bands)))[None]


def _clips(sound: np.ndarray) -> torch.Tensor:
    """[N] -> [CLIPS, 1, BANDS, FRAMES], as pytorchvideo's ConstantClipsPerVideoSampler cuts it."""
    seconds = CLIP / RATE
    spare = max(len(sound) / RATE - seconds, 0)
    starts = [place * spare / (CLIPS - 1) for place in range(CLIPS)]
    cuts = [slice(int(start * RATE), int((start + seconds) * RATE)) for start in starts]
    return torch.stack([_log_mel(torch.from_numpy(sound[cut])[None]) for cut in cuts])


def _answers(model: nn.Module) -> dict[str, np.ndarray]:
    from imagebind.models.multimodal_preprocessors import SimpleTokenizer

    transform = transforms.Compose(
        [
            transforms.Resize(EDGE, interpolation=transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(EDGE),
            transforms.ToTensor(),
            transforms.Normalize(mean=MEAN, std=STD),
        ]
    )
    with TemporaryDirectory() as temporary:
        merges = Path(temporary) / "merges.txt.gz"
        merges.write_bytes(gzip.compress((FOLDER / "merges.txt").read_bytes().rstrip()))
        tokenizer = SimpleTokenizer(bpe_path=str(merges))
    tokens = torch.stack([tokenizer(text) for text in TEXTS])
    pixels = torch.stack([transform(picture) for picture in PICTURES])
    with torch.inference_mode():
        answer = model({"vision": pixels, "text": tokens, **_recorded()})
    return {
        "tokens": tokens.numpy(),
        "log_mel": _clips(SOUNDS[-1])[0, 0].numpy(),
        **{name: vectors.numpy() for name, vectors in answer.items()},
    }


def _recorded() -> dict[str, torch.Tensor]:
    heard = torch.stack([_clips(sound) for sound in SOUNDS])
    grey = torch.from_numpy(GREY).unsqueeze(1)
    return {
        "audio": (heard - MEL_MEAN) / MEL_STD,
        "depth": grey,
        "thermal": 1 - grey,
        "imu": torch.from_numpy(MOTION),
    }


if __name__ == "__main__":
    main()
