"""Records the answers of open_clip for tiny models, in the folders of tests/export/open_clip.

Needs its own environment, since open_clip needs timm and torchvision:

    pip install open_clip_torch==3.3.0 timm==1.0.22 ftfy regex -e .[export]
    python -m tests.export.open_clip_reference

Each folder is a checkpoint in open_clip's layout, and reference.npz: pixels [N, 3, S, S] in grey
levels of `PICTURES`, tokens [L, T] of `TEXTS`, image_features, text_features and logits.
"""

from __future__ import annotations

import gzip
import json
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from export.families.clip import TEXTS
from export.preprocessing import photograph
from export.stand_ins.base import add_noise, settle_batch_norms
from export.stand_ins.open_clip import SETTLED_ON, TINY, NativeClip

FOLDER = Path(__file__).parent / "open_clip"
# When cropped to 48 or 64 pixels, their margins have halves that are rounded either way.
PICTURES = tuple(photograph(size_hw) for size_hw in ((67, 100), (90, 50), (40, 77), (31, 40)))
WEIGHTS = "open_clip_model.safetensors"


def main() -> None:
    for name, build in TINY.items():
        torch.manual_seed(0)
        made = build()
        assert isinstance(made, NativeClip)
        folder = FOLDER / name.removeprefix("open_clip_")
        folder.mkdir(parents=True, exist_ok=True)
        made.write(folder)
        model = _upstream(made, json.loads((folder / "open_clip_config.json").read_text()))
        state = {key: _half(tensor) for key, tensor in model.state_dict().items()}
        save_file(state, folder / WEIGHTS)
        model.load_state_dict(load_file(folder / WEIGHTS))
        np.savez_compressed(folder / "reference.npz", **_answers(model, folder))


def _upstream(made: NativeClip, config: dict[str, Any]) -> Any:
    """open_clip's own model, with random weights; a ConvNeXt with the stages of the stand-in."""
    import open_clip
    import timm

    if made.stages:
        depths, widths = zip(*made.stages, strict=True)
        smaller = partial(timm.create_model, depths=depths, dims=widths)
        open_clip.timm_model.timm.create_model = smaller
    model = open_clip.model.CLIP(**config["model_cfg"])
    add_noise(model)
    edge = config["model_cfg"]["vision_cfg"]["image_size"]
    pixels = torch.randn(SETTLED_ON, 3, edge, edge)
    settle_batch_norms(model, partial(model.encode_image, pixels))
    return model.eval()


def _half(tensor: torch.Tensor) -> torch.Tensor:
    """Keep half precision: open_clip computes with the rounded weights."""
    return tensor.half() if tensor.is_floating_point() else tensor


def _answers(model: Any, folder: Path) -> dict[str, np.ndarray]:
    import open_clip
    from open_clip.tokenizer import SimpleTokenizer
    from open_clip.transform import PreprocessCfg, image_transform_v2

    config = json.loads((folder / "open_clip_config.json").read_text())
    size = config["model_cfg"]["vision_cfg"]["image_size"]
    cfg = PreprocessCfg(**{"size": size, **config["preprocess_cfg"]})
    transform = image_transform_v2(cfg, is_train=False)
    pixels = torch.stack([transform(picture) for picture in PICTURES])
    with TemporaryDirectory() as temporary:
        merges = Path(temporary) / "merges.txt.gz"
        merges.write_bytes(gzip.compress((folder / "merges.txt").read_bytes().rstrip()))
        tokenizer = SimpleTokenizer(str(merges), context_length=model.context_length)
    tokens = tokenizer(list(TEXTS))
    mean, std = (torch.tensor(value).view(3, 1, 1) for value in (cfg.mean, cfg.std))
    with torch.inference_mode():
        logits, _ = model.get_logits(pixels, tokens)
        image, text = model.encode_image(pixels, True), model.encode_text(tokens, True)
    return {
        "pixels": ((pixels * std + mean) * 255).round().byte().numpy(),
        "tokens": tokens.numpy(),
        "image_features": image.numpy(),
        "text_features": text.numpy(),
        "logits": logits.numpy(),
        "version": np.array(open_clip.__version__),
    }


if __name__ == "__main__":
    main()
