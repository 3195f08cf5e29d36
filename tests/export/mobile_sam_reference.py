"""Records the answers of MobileSAM's modules for a small model, in tests/export/mobile_sam.npz.

Needs its own environment: the TinyViT of segment-anything-hq 0.3 is MobileSAM's, and its other
modules are segment-anything's.

    pip install --no-deps segment-anything-hq==0.3 -e .[export]
    python -m tests.export.mobile_sam_reference

Weights follow from their names, so that no checkpoint is kept. Recorded are a part of the embedding
of `picture()`, and low_res_masks and iou_scores for a box and for a point.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from collections.abc import Mapping
from pathlib import Path
from zlib import crc32

import numpy as np
import torch
from torch import Tensor, nn

from export.families.tiny_vit import TinyVitShape

ANSWERS = Path(__file__).parent / "mobile_sam.npz"
SIZE = 1024
# Upstream's code keeps the resolution if patches are merged to 320 channels, and has 256 behind.
SHAPE = TinyVitShape((8, 12, 16, 320), (1, 2, 1, 1), (2, 2, 5), (7, 14, 7), channels=256)
MLP_DIM = 2048
BOX, POINT = (100.0, 200.0, 700.0, 900.0), (480.0, 300.0)
# One of this many values of the embedding, and of the masks, is recorded.
EACH = 97


def weights(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Weights from the hash of each name, scaled so that activations keep their size."""
    return {name: _weight(name, shape) for name, shape in shapes.items()}


def _weight(name: str, shape: tuple[int, ...]) -> Tensor:
    if name.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.long)
    values = np.random.default_rng(crc32(name.encode())).normal(size=shape)
    if name.endswith("running_var"):
        values = 1 + np.abs(values)
    elif len(shape) == 1 and name.endswith("weight"):
        values = 1 + 0.1 * values
    elif name.endswith(("weight", "bias")) and "embed" not in name and "token" not in name:
        values = values / np.sqrt(max(1, np.prod(shape[1:]))) if len(shape) > 1 else 0.1 * values
    return torch.from_numpy(np.asarray(values, np.float32))


def picture() -> Tensor:
    """Normalised pixels float32 [1, 3, SIZE, SIZE], smooth, with noise."""
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.normal(size=(1, 3, 16, 16)).astype(np.float32))
    smooth = nn.functional.interpolate(coarse, (SIZE, SIZE), mode="bilinear", align_corners=False)
    return smooth + torch.from_numpy(rng.normal(0, 0.1, smooth.shape).astype(np.float32))


def kept(tensor: Tensor) -> np.ndarray:
    """Some of the values, float32 [n]."""
    return tensor.flatten()[::EACH].numpy()


def main() -> None:
    """Compute and write."""
    _import_modules_alone()
    encoder, prompts, decoder = _modules()
    parts = {"image_encoder": encoder, "prompt_encoder": prompts, "mask_decoder": decoder}
    for part, module in parts.items():
        shapes = {f"{part}.{key}": value.shape for key, value in module.state_dict().items()}
        filled = weights({key: tuple(shape) for key, shape in shapes.items()})
        module.load_state_dict({key.removeprefix(f"{part}."): v for key, v in filled.items()})
        module.eval()
    with torch.inference_mode():
        embedding, _ = encoder(picture())
        answers = {"embedding": kept(embedding)}
        box = (None, torch.tensor([BOX]))
        point = ((torch.tensor([[POINT]]), torch.ones(1, 1)), None)
        for name, (points, boxes) in (("box", box), ("point", point)):
            sparse, dense = prompts(points=points, boxes=boxes, masks=None)
            masks, scores = decoder(
                image_embeddings=embedding,
                image_pe=prompts.get_dense_pe(),
                sparse_prompt_embeddings=sparse,
                dense_prompt_embeddings=dense,
                multimask_output=name == "point",
                hq_token_only=False,  # not part of plain SAM
                interm_embeddings=None,
            )
            answers |= {f"{name}_masks": kept(masks), f"{name}_scores": scores.numpy()}
    np.savez_compressed(ANSWERS, **answers)


def _import_modules_alone() -> None:
    """The package's __init__ needs torchvision, and its TinyViT the training parts of timm."""
    spec = importlib.util.find_spec("segment_anything_hq")
    assert spec is not None and spec.submodule_search_locations
    package = types.ModuleType("segment_anything_hq")
    package.__path__ = list(spec.submodule_search_locations)
    layers, registry = types.ModuleType("timm.models.layers"), types.ModuleType("registry")
    layers.DropPath, layers.trunc_normal_ = nn.Identity, nn.init.trunc_normal_
    layers.to_2tuple = lambda edge: (edge, edge)
    registry.register_model = lambda build: build
    sys.modules |= {
        "segment_anything_hq": package,
        "timm": types.ModuleType("timm"),
        "timm.models": types.ModuleType("timm.models"),
        "timm.models.layers": layers,
        "timm.models.registry": registry,
    }


def _modules() -> tuple[nn.Module, nn.Module, nn.Module]:
    """Upstream's `build_sam_vit_t`, at smaller widths."""
    from segment_anything_hq.modeling.mask_decoder import MaskDecoder
    from segment_anything_hq.modeling.prompt_encoder import PromptEncoder
    from segment_anything_hq.modeling.tiny_vit_sam import TinyViT
    from segment_anything_hq.modeling.transformer import TwoWayTransformer

    encoder = TinyViT(
        img_size=SIZE,
        num_classes=1,
        embed_dims=list(SHAPE.widths),
        depths=list(SHAPE.depths),
        num_heads=[1, *SHAPE.heads],
        window_sizes=[7, *SHAPE.windows],
        drop_path_rate=0.0,
    )
    channels, cells = SHAPE.channels, SIZE // 16
    prompts = PromptEncoder(channels, (cells, cells), (SIZE, SIZE), mask_in_chans=16)
    attention = TwoWayTransformer(depth=2, embedding_dim=channels, mlp_dim=MLP_DIM, num_heads=8)
    decoder = MaskDecoder(
        transformer_dim=channels,
        transformer=attention,
        num_multimask_outputs=3,
        iou_head_depth=3,
        iou_head_hidden_dim=channels,
    )
    return encoder, prompts, decoder


if __name__ == "__main__":
    main()
