"""Train the demo HQ-SAM: sharper masks from the demo SAM, of which nothing changes.

`python -m demo.train_hq_sam [--resume]`
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from transformers import SamHQModel, SamModel

from demo import train_sam
from demo.hq_sam_config import new_model, processor
from demo.pixels import padded_batch
from demo.sam_config import EDGE
from demo.scenes import Scene, make_scene, scene_rng
from demo.train_sam import jittered, mask_losses, point_inside, true_iou
from demo.training import CHECKPOINTS_FOLDER, Losses, Plan, Training, arguments, save_checkpoint
from export.families.hq_sam import HqFeatures, MaskDecoder, read_spec
from fovea.prompts import BOX_BOTTOM_RIGHT, BOX_TOP_LEFT, FOREGROUND, PADDING

FOLDER = CHECKPOINTS_FOLDER / "hq_sam"
STEPS = 750
BATCH = 12
RATE = 1e-3
# The frozen encoder sees each of so many scenes once; their prompts are new at every step.
SCENES = 1536
BOXES, POINTS = 2, 1


@dataclass(frozen=True, eq=False)
class Seen:
    """A scene with what the frozen encoder makes of it, float16 [C, E, E] and [E, E, V]."""

    scene: Scene
    embedding: torch.Tensor
    early_features: torch.Tensor


@dataclass(frozen=True, eq=False)
class HqBatch:
    """N scenes with P prompts of two points each: boxes, then points with their padding.

    Attributes:
        embeddings, early_features: float32 (N, C, E, E) and (N, E, E, V).
        coords, labels: float32 (N, P, 2, 2) in pixels, int32 (N, P, 2).
        masks: float32 (N, P, EDGE, EDGE), what each prompt means.
    """

    embeddings: torch.Tensor
    early_features: torch.Tensor
    coords: torch.Tensor
    labels: torch.Tensor
    masks: torch.Tensor


def _full_mask(mask: np.ndarray) -> np.ndarray:
    """A scene's mask on the padded square, float32 (EDGE, EDGE)."""
    padded = np.zeros((EDGE, EDGE), np.float32)
    padded[: mask.shape[0], : mask.shape[1]] = mask
    return padded


class HqBatches:
    """Scenes in a fixed order, over and over, with prompts that depend on the step."""

    def __init__(self, model: SamHQModel, seed: int) -> None:
        self.encoder = model.vision_encoder
        self.first = (seed + 500) * 10_000_000
        self.seen: dict[int, Seen] = {}

    @torch.no_grad()
    def _see(self, indices: list[int]) -> None:
        scenes = [make_scene(self.first + index, size=EDGE) for index in indices]
        out = self.encoder(padded_batch(scenes, EDGE)[0])
        made = (out.last_hidden_state.half(), out.intermediate_embeddings[0].half())
        for index, scene, embedding, early in zip(indices, scenes, *made, strict=True):
            self.seen[index] = Seen(scene, embedding.clone(), early.clone())

    @staticmethod
    def _prompts(rng: np.random.Generator, scene: Scene) -> tuple[np.ndarray, np.ndarray]:
        """Coordinates (P, 2, 2) and masks (P, EDGE, EDGE)."""
        picks = [scene.objects[i] for i in rng.integers(len(scene.objects), size=BOXES + POINTS)]
        boxes = [jittered(rng, item).reshape(2, 2) for item in picks[:BOXES]]
        points = [np.array([point_inside(rng, item.mask), (0, 0)]) for item in picks[BOXES:]]
        return np.stack(boxes + points), np.stack([_full_mask(item.mask) for item in picks])

    def __call__(self, step: int) -> HqBatch:
        """The batch of a step."""
        indices = [(step * BATCH + i) % SCENES for i in range(BATCH)]
        if missing := [index for index in indices if index not in self.seen]:
            self._see(missing)
        seen = [self.seen[index] for index in indices]
        rng = scene_rng(self.first + step, "train prompts")
        coords, masks = zip(*(self._prompts(rng, one.scene) for one in seen), strict=True)
        labels = [[BOX_TOP_LEFT, BOX_BOTTOM_RIGHT]] * BOXES + [[FOREGROUND, PADDING]] * POINTS
        return HqBatch(
            embeddings=torch.stack([one.embedding for one in seen]).float(),
            early_features=torch.stack([one.early_features for one in seen]).float(),
            coords=torch.from_numpy(np.stack(coords).astype(np.float32)),
            labels=torch.tensor([labels] * BATCH, dtype=torch.int32),
            masks=torch.from_numpy(np.stack(masks)),
        )


def hq_losses(decoder: MaskDecoder, features: HqFeatures, batch: HqBatch) -> Losses:
    """The mask that is answered to each prompt, at the picture's full resolution.

    That is mask 0 for a box, and for a point the one of masks 1 to 3 with the highest score.
    """
    hq_features = features(batch.embeddings, batch.early_features)
    ious, masks = decoder.all_masks(batch.embeddings, hq_features, batch.coords, batch.labels)
    chosen = 1 + ious[..., 1:].argmax(-1)
    chosen[:, :BOXES] = 0
    low_res = masks.gather(2, chosen[..., None, None, None].expand(-1, -1, 1, *masks.shape[-2:]))
    logits = F.interpolate(low_res[:, :, 0], (EDGE, EDGE), mode="bilinear", align_corners=False)
    iou = true_iou(logits, batch.masks)
    return {
        "loss": mask_losses(logits, batch.masks).mean(),
        "iou_box": iou[:, :BOXES].mean(),
        "iou_point": iou[:, BOXES:].mean(),
    }


def export(model: SamHQModel) -> None:
    """Save the model and its processor as a hub checkpoint would be."""
    save_checkpoint(FOLDER, model, processor())


def main() -> None:
    """Train and save the checkpoint."""
    args = arguments(__doc__, STEPS)
    model = new_model(SamModel.from_pretrained(train_sam.FOLDER))
    training = Training(
        model, Plan("hq_sam", args.steps, BATCH, RATE), resume=args.resume or args.export_only
    )
    batches = HqBatches(model, args.seed)
    decoder = MaskDecoder(model, read_spec(model.config, processor().image_processor))
    features = HqFeatures(model.mask_decoder)
    if not args.export_only:
        training.run(lambda step: hq_losses(decoder, features, batches(step)))
    export(training.average)


if __name__ == "__main__":
    main()
