"""Train the demo HQ-SAM: sharper masks on top of the unchanged demo SAM.

`python -m demo.train_hq_sam [--resume]`
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from rich.progress import track
from transformers import SamHQModel, SamModel
from transformers.utils import ModelOutput

from demo import train_sam
from demo.hq_sam_config import new_model, processor
from demo.sam_config import EDGE, LOW_RES_EDGE
from demo.scenes import Scene, make_scene, scene_rng
from demo.train_sam import jittered, mask_losses, point_inside, true_iou
from demo.training import (
    CHECKPOINTS_FOLDER,
    Arguments,
    Losses,
    Plan,
    Training,
    command_line,
    save_checkpoint,
)
from export.families import sam
from export.families.hq_sam import HqFeatures, MaskDecoder, read_spec
from export.processor import normalization
from fovea.families.hq_sam import HqSam
from fovea.images import Picture
from fovea.prompts import BOX_BOTTOM_RIGHT, BOX_TOP_LEFT, FOREGROUND, PADDING

FOLDER = CHECKPOINTS_FOLDER / "hq_sam"
STEPS = 900
BATCH = 8
RATE = 3e-3
# The frozen parts see this many scenes, and their prompts, once.
SCENES = 960
BOXES, POINTS = 2, 1
LABELS = [[BOX_TOP_LEFT, BOX_BOTTOM_RIGHT]] * BOXES + [[FOREGROUND, PADDING]] * POINTS


@dataclass(frozen=True, eq=False)
class Seen:
    """The frozen parts' outputs for N scenes with P prompts each, and the prompts' true masks.

    Attributes:
        embeddings, early_features: (N, C, E, E) and (N, E, E, V).
        tokens, upscaled: (N, P, T, C) and (N, P, c, M, M), as `MaskDecoder.transform` gives them.
        sam_masks: (N, P, M, M), SAM's answered logits.
        masks: (N, P, EDGE, EDGE), the truth, bytes of 0 to 255.
    """

    embeddings: torch.Tensor
    early_features: torch.Tensor
    tokens: torch.Tensor
    upscaled: torch.Tensor
    sam_masks: torch.Tensor
    masks: torch.Tensor

    def __getitem__(self, rows: torch.Tensor) -> Seen:
        """Some of the scenes, in float32."""
        return Seen(*(value[rows].float() for value in vars(self).values()))


def _prompts(rng: np.random.Generator, scene: Scene) -> tuple[np.ndarray, ...]:
    """Coordinates (P, 2, 2) in the scene's pixels, and the masks that they mean (P, EDGE, EDGE)."""
    picks = [scene.objects[i] for i in rng.integers(len(scene.objects), size=BOXES + POINTS)]
    boxes = [jittered(rng, item, max(scene.image.shape)).reshape(2, 2) for item in picks[:BOXES]]
    points = [np.array([point_inside(rng, item.mask), (0, 0)]) for item in picks[BOXES:]]
    return np.stack(boxes + points), np.stack([_full_mask(item.mask) for item in picks])


def _full_mask(mask: np.ndarray) -> np.ndarray:
    """A scene's mask on the padded square, in shares of 255: uint8 (EDGE, EDGE)."""
    scale = EDGE / max(mask.shape)
    height, width = (round(edge * scale) for edge in mask.shape)
    padded = np.zeros((EDGE, EDGE), np.uint8)
    shares = cv2.resize(255 * mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_AREA)
    padded[:height, :width] = shares
    return padded


class FrozenEncoder(sam.ImageEncoder):
    """SAM's -> image_embeddings [N, C, E, E], early_features [N, E, E, V]."""

    def outputs(self, seen: ModelOutput) -> tuple[torch.Tensor, torch.Tensor]:
        return seen.last_hidden_state, seen.intermediate_embeddings[0]


@torch.no_grad()
def see(encoder: FrozenEncoder, decoder: MaskDecoder, role: HqSam, seeds: range) -> Seen:
    """Scenes as in later use: composed large, and resized by the processor's rule."""
    scenes = [make_scene(seed) for seed in seeds]
    made = [role.geometry.apply(Picture(Image.fromarray(scene.image))) for scene in scenes]
    pixels, valid_hw = (torch.from_numpy(np.stack(part)) for part in zip(*made, strict=True))
    embeddings, early_features = encoder(pixels, valid_hw)
    rng = scene_rng(seeds.start, "train prompts")
    coords, masks = zip(*(_prompts(rng, scene) for scene in scenes), strict=True)
    labels = torch.tensor([LABELS] * len(scenes), dtype=torch.int32)
    points = torch.from_numpy(np.stack(coords).astype(np.float32))
    original_hw = torch.tensor([scene.image.shape[:2] for scene in scenes])
    points = sam.to_input_frame(points, valid_hw, original_hw)
    tokens, upscaled = decoder.transform(embeddings, points, labels)
    low_res = sam.weighted(decoder.mask_weights(tokens), upscaled)
    ious, low_res = decoder.answer(tokens, low_res, labels)
    # A box means mask 0, a point the best scored of the other three.
    chosen = 1 + ious[..., 1:].argmax(-1)
    chosen[:, :BOXES] = 0
    chosen = chosen[..., None, None, None].expand(-1, -1, 1, LOW_RES_EDGE, LOW_RES_EDGE)
    split = (len(scenes), BOXES + POINTS)
    floats = (
        embeddings,
        early_features,
        tokens.unflatten(0, split),
        upscaled.unflatten(0, split),
        low_res.gather(2, chosen)[:, :, 0],
    )
    return Seen(*(value.half() for value in floats), torch.from_numpy(np.stack(masks)))


def hq_losses(decoder: MaskDecoder, features: HqFeatures, seen: Seen) -> Losses:
    """Losses of the answered masks, SAM's and the HQ mask together, at the picture's resolution."""
    prompts = seen.masks.shape[1]
    hq_features = features(seen.embeddings, seen.early_features).repeat_interleave(prompts, 0)
    hq_mask = decoder.hq_mask(seen.tokens.flatten(0, 1), seen.upscaled.flatten(0, 1), hq_features)
    low_res = seen.sam_masks + hq_mask.view_as(seen.sam_masks)
    logits = F.interpolate(low_res, (EDGE, EDGE), mode="bilinear", align_corners=False)
    target = seen.masks / 255
    with torch.no_grad():
        iou = true_iou(logits, target)
    return {
        "loss": mask_losses(logits, target).mean(),
        "iou_box": iou[:, :BOXES].mean(),
        "iou_point": iou[:, BOXES:].mean(),
    }


def train(model: SamHQModel, args: Arguments) -> SamHQModel:
    """The averaged weights at the end of the plan."""
    plan = Plan("hq_sam", args.steps, BATCH, RATE)
    training = Training(model, plan, resume=args.resume or args.export_only)
    if args.export_only:
        return training.average
    image_processor = processor().image_processor
    spec = read_spec(model.config, image_processor)
    encoder = FrozenEncoder(model, spec, normalization(image_processor))
    decoder, features = MaskDecoder(model, spec), HqFeatures(model.mask_decoder)
    role = HqSam("hq_sam", spec)
    first = (args.seed + 500) * 10_000_000
    starts = range(first, first + SCENES, BATCH)
    parts = [
        see(encoder, decoder, role, range(start, start + BATCH))
        for start in track(starts, "scenes, seen by SAM")
    ]
    seen = Seen(
        *(
            torch.cat(values)
            for values in zip(*(vars(part).values() for part in parts), strict=True)
        )
    )
    del parts

    def losses_of(step: int) -> Losses:
        rows = np.random.default_rng(first + step).choice(SCENES, BATCH, replace=False)
        return hq_losses(decoder, features, seen[torch.from_numpy(rows)])

    training.run(losses_of)
    return training.average


def export(model: SamHQModel) -> None:
    """Save the model, in half precision, and its processor like a hub checkpoint."""
    save_checkpoint(FOLDER, model.half(), processor())


def main(args: Arguments) -> None:
    """Train and save the checkpoint."""
    export(train(new_model(SamModel.from_pretrained(train_sam.FOLDER)), args))


if __name__ == "__main__":
    command_line(main, STEPS)
