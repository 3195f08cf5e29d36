"""What ImageBind's own code answers for a tiny model: makes tests/export/imagebind anew.

For an environment of its own: imagebind-unofficial 0.1.1 is a copy of upstream's code, which is not
for commercial use, whatever that package says.

    pip install --no-deps imagebind-unofficial==0.1.1
    pip install einops ftfy iopath regex timm==1.0.22 torchvision -e .[export]
    python -m tests.export.imagebind_reference

The folder is a checkpoint with random weights of pictures and texts, in half precision, and
reference.npz: tokens [L, T] of `TEXTS`, vision [N, D] of `PICTURES` and text
[L, D], the latter times the scale of scores.
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
from export.families.imagebind import BEGINNINGS, MEAN, STD, WEIGHTS
from export.stand_ins.base import add_noise
from export.stand_ins.clip import write_vocabulary
from tests.export.open_clip_reference import PICTURES

FOLDER = Path(__file__).parent / "imagebind"
WIDTH, EDGE, PATCH = 16, 224, 56


def main() -> None:
    _without_audio_and_video()
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


def _without_audio_and_video() -> None:
    """The package's __init__ wants torchaudio and pytorchvideo, its models do not."""
    spec = importlib.util.find_spec("imagebind")
    assert spec is not None and spec.submodule_search_locations
    package = types.ModuleType("imagebind")
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules["imagebind"] = package


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
        answer = model({"vision": pixels, "text": tokens})
    return {
        "tokens": tokens.numpy(),
        "vision": answer["vision"].numpy(),
        "text": answer["text"].numpy(),
    }


if __name__ == "__main__":
    main()
