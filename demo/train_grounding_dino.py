"""Train the demo GroundingDINO: first its backbone densely, then detection.

`python -m demo.train_grounding_dino [--resume]`
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from transformers import GroundingDinoForObjectDetection, SwinBackbone
from transformers.utils import ModelOutput

from demo.calibrate import calibrate
from demo.captions import Caption, random_caption
from demo.detection_loss import (
    Targets,
    cell_centres,
    decoder_loss,
    dense_loss,
    layer_outputs,
)
from demo.grounding_dino_config import EDGE, backbone_config, model_config, processor
from demo.pixels import class_maps, padded_batch
from demo.scenes import Scene, make_scene, scene_rng
from demo.things import INDEX_OF_NAME, LABELS
from demo.training import (
    CHECKPOINTS_FOLDER,
    Arguments,
    Losses,
    Plan,
    Training,
    command_line,
    save_checkpoint,
)
from demo.vocabulary import bert_tokenizer

FOLDER = CHECKPOINTS_FOLDER / "grounding_dino"
BACKBONE_PLAN = Plan("grounding_dino_backbone", steps=1500, batch=16, rate=1e-3)
DETECTION_STEPS = 4200


class DenseClassifier(nn.Module):
    """The backbone with one linear classifier for each map: which thing covers this cell?"""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = SwinBackbone(backbone_config())
        widths = self.backbone.channels
        self.heads = nn.ModuleList(nn.Conv2d(width, len(LABELS) + 1, 1) for width in widths)

    def forward(self, pixel_values: torch.Tensor) -> list[torch.Tensor]:
        """Logits (N, things + 1, h, w) of every map; the last class is background."""
        return classify_maps(self.heads, self.backbone(pixel_values).feature_maps)


class Trainee(nn.Module):
    """The detector together with the dense classifier on its backbone, which trains on."""

    def __init__(self, detector: GroundingDinoForObjectDetection, dense: DenseClassifier) -> None:
        super().__init__()
        self.detector = detector
        self.heads = dense.heads
        self.swin.load_state_dict(dense.backbone.state_dict())

    @property
    def swin(self) -> SwinBackbone:
        """The detector's backbone."""
        return self.detector.model.backbone.conv_encoder.model

    def forward(self, inputs: dict[str, torch.Tensor]) -> tuple[ModelOutput, list[torch.Tensor]]:
        """The detector's inner outputs and the dense logits of its backbone."""
        seen: list[ModelOutput] = []
        hook = self.swin.register_forward_hook(lambda _, __, output: seen.append(output))
        outputs = self.detector.model(**inputs)
        hook.remove()
        return outputs, classify_maps(self.heads, seen[0].feature_maps)


def classify_maps(heads: nn.ModuleList, maps: tuple[torch.Tensor, ...]) -> list[torch.Tensor]:
    """Logits (N, things + 1, h, w) of every map; the last class is background."""
    return [head(m) for head, m in zip(heads, maps, strict=True)]


def scenes_of(step: int, batch: int, seed: int) -> list[Scene]:
    """The training scenes of one step."""
    first = seed * 10_000_000 + step * batch
    return [make_scene(first + i, size=EDGE) for i in range(batch)]


def backbone_losses(model: DenseClassifier, step: int, seed: int) -> Losses:
    """The dense loss of one step of pre-training."""
    scenes = scenes_of(step, BACKBONE_PLAN.batch, seed + 50)
    pixels, _ = padded_batch(scenes, EDGE)
    return classification_losses(model(pixels), class_maps(scenes, EDGE))


def classification_losses(maps: list[torch.Tensor], truth: torch.Tensor) -> Losses:
    """Cross-entropy of every map against the thing at the middle of the cell."""
    loss, right, seen = torch.zeros(()), torch.zeros(()), 0
    for logits in maps:
        stride = EDGE // logits.shape[-1]
        target = truth[:, stride // 2 :: stride, stride // 2 :: stride]
        things = target < len(LABELS)
        weight = things.float() + 0.2
        entropy = F.cross_entropy(logits.float(), target, reduction="none")
        loss = loss + (entropy * weight).sum() / weight.sum()
        right = right + ((logits.argmax(1) == target) & things).sum()
        seen += int(things.sum())
    return {"loss": loss, "cells_right": right / seen}


class DetectionBatches:
    """Scenes with captions, as tensors and targets."""

    def __init__(self, plan: Plan, seed: int) -> None:
        self.batch, self.steps, self.seed = plan.batch, plan.steps, seed
        self.tokenizer = bert_tokenizer()

    def _tokens(self, caption: Caption, offsets: list[tuple[int, int]], thing: int) -> list[float]:
        """1 at the tokens of every noun that names the thing."""
        spans = [(a, b) for a, b, noun in caption.nouns if noun == thing]
        return [float(any(a <= s < e <= b for a, b in spans)) for s, e in offsets]

    def __call__(self, step: int) -> tuple[dict[str, torch.Tensor], Targets, torch.Tensor]:
        """The model's inputs, its targets, and the map of things."""
        scenes = scenes_of(step, self.batch, self.seed)
        rng = scene_rng(self.seed * 10_000_000 + step, "train captions")
        things = [[INDEX_OF_NAME[name] for name in scene.labels] for scene in scenes]
        captions = [random_caption(rng, present, step / self.steps) for present in things]
        text = self.tokenizer(
            [c.text for c in captions],
            padding=True,
            return_offsets_mapping=True,
            return_token_type_ids=True,
            return_tensors="pt",
        )
        offsets = text.pop("offset_mapping").tolist()
        boxes, tokens = [], []
        for scene, caption, present, spans in zip(scenes, captions, things, offsets, strict=True):
            rows = [self._tokens(caption, spans, thing) for thing in present]
            named = [i for i, row in enumerate(rows) if any(row)]
            boxes.append(_relative_boxes(scene, named))
            tokens.append(torch.tensor([rows[i] for i in named]).reshape(len(named), len(spans)))
        pixels, mask = padded_batch(scenes, EDGE)
        sizes = [scene.image.shape[:2] for scene in scenes]
        targets = Targets(boxes, tokens, text["attention_mask"].bool(), sizes)
        inputs = {"pixel_values": pixels, "pixel_mask": mask, **text}
        return inputs, targets, class_maps(scenes, EDGE)


def _relative_boxes(scene: Scene, indices: list[int]) -> torch.Tensor:
    """cxcywh of some objects, relative to the picture, float32 (n, 4)."""
    height, width = scene.image.shape[:2]
    xyxy = torch.tensor([scene.objects[i].box_xyxy for i in indices]).reshape(-1, 4)
    xyxy = xyxy / torch.tensor([width, height, width, height])
    return torch.cat(((xyxy[:, :2] + xyxy[:, 2:]) / 2, xyxy[:, 2:] - xyxy[:, :2]), 1)


def detection_losses(
    model: Trainee,
    inputs: dict[str, torch.Tensor],
    targets: Targets,
    things: torch.Tensor,
    centres: torch.Tensor,
) -> Losses:
    """Decoder losses of every layer, the dense encoder loss, the backbone's own loss."""
    outputs, maps = model(inputs)
    layers = layer_outputs(model.detector, outputs, targets.text_mask)
    losses = {
        f"decoder_{i}": decoder_loss(logits, boxes, targets)
        for i, (logits, boxes) in enumerate(layers)
    }
    length = targets.text_mask.shape[1]
    losses["dense"] = dense_loss(
        outputs.enc_outputs_class[..., :length],
        outputs.enc_outputs_coord_logits.sigmoid(),
        targets,
        centres,
    )
    backbone = classification_losses(maps, things)
    losses["backbone"] = backbone["loss"]
    total = sum(losses.values(), torch.zeros(()))
    return {"loss": total, **losses, "cells_right": backbone["cells_right"]}


def export(model: GroundingDinoForObjectDetection) -> None:
    """Save the model and its processor like a hub checkpoint, with thresholds."""
    save_checkpoint(FOLDER, model, processor())
    calibrate(FOLDER)


def trained_backbone(folder: Path = FOLDER) -> SwinBackbone:
    """The checkpoint's backbone, for other models to start with."""
    detector = GroundingDinoForObjectDetection.from_pretrained(folder).eval()
    backbone: SwinBackbone = detector.model.backbone.conv_encoder.model
    return backbone


def main(args: Arguments) -> None:
    """Pre-train the backbone, train detection, save the checkpoint."""
    dense = Training(DenseClassifier(), BACKBONE_PLAN, resume=True)
    dense.run(lambda step: backbone_losses(dense.model, step, args.seed))

    plan = Plan("grounding_dino", args.steps, 16, 4e-4)
    trainee = Trainee(GroundingDinoForObjectDetection(model_config()), dense.average)
    training = Training(trainee, plan, resume=args.resume or args.export_only)
    batches, centres = DetectionBatches(plan, args.seed), cell_centres(EDGE)
    if not args.export_only:
        training.run(lambda step: detection_losses(trainee, *batches(step), centres))
    export(training.average.detector)


if __name__ == "__main__":
    command_line(main, DETECTION_STEPS)
