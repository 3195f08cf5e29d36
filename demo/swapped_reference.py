"""The reference of the other families: SigLIP ranks, OWLv2 detects, HQ-SAM cuts.

Plain transformers like `demo.reference`, except for HQ-SAM's mask decoder, which is wrong there:
`export.families.hq_sam` explains how, and its tests compare with upstream's formula.
"""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image
from transformers import (
    Owlv2ForObjectDetection,
    Owlv2Processor,
    SamHQModel,
    SamHQProcessor,
    SiglipModel,
    SiglipProcessor,
)

from demo.reference import (
    Box,
    Detection,
    LabelScore,
    Reference,
    Segmentation,
    chosen_masks,
    detections,
    ranked,
    sam_prompt,
)
from demo.training import CHECKPOINTS_FOLDER
from export.families.hq_sam import HqFeatures, MaskDecoder, read_spec
from fovea.prompts import BOX_BOTTOM_RIGHT, BOX_TOP_LEFT, FOREGROUND, PADDING
from fovea.text import split_phrases


class SwappedReference(Reference):
    """SigLIP, OWLv2 and HQ-SAM from a folder with the checkpoints `siglip`, `owlv2`, `hq_sam`."""

    def __init__(self, folder: Path = CHECKPOINTS_FOLDER) -> None:
        self.siglip = SiglipModel.from_pretrained(folder / "siglip").eval()
        self.siglip_processor = SiglipProcessor.from_pretrained(folder / "siglip")
        self.owlv2 = Owlv2Reference(folder / "owlv2")
        self.hq_sam = HqSamReference(folder / "hq_sam")

    @torch.inference_mode()
    def rank_labels(self, image: Image.Image, labels: list[str]) -> list[LabelScore]:
        """Candidate labels, the most probable first; each has its own probability."""
        inputs = self.siglip_processor(
            text=labels, images=image, return_tensors="pt", padding="max_length", truncation=True
        )
        return ranked(labels, self.siglip(**inputs).logits_per_image[0].sigmoid().tolist())

    def detect(self, image: Image.Image, caption: str) -> list[Detection]:
        """Boxes of named things within the picture, the highest score first."""
        return self.owlv2.detect(image, split_phrases(caption))

    def segment(
        self,
        image: Image.Image,
        *,
        boxes: list[Box] | None = None,
        points: list[tuple[float, float]] | None = None,
    ) -> list[Segmentation]:
        """One mask for each box or point, like `ReferencePipeline.segment`."""
        return self.hq_sam.segment(image, boxes=boxes, points=points)


class Owlv2Reference:
    """OWLv2 from a checkpoint's folder."""

    def __init__(self, folder: Path) -> None:
        self.model = Owlv2ForObjectDetection.from_pretrained(folder).eval()
        self.processor = Owlv2Processor.from_pretrained(folder)

    @torch.inference_mode()
    def detect(
        self, image: Image.Image, labels: list[str], *, box_threshold: float | None = None
    ) -> list[Detection]:
        """Boxes within the picture, the highest score first; the threshold is the checkpoint's."""
        inputs = self.processor(text=[labels], images=image, return_tensors="pt")
        if box_threshold is None:
            box_threshold = float(self.model.config.box_threshold)
        result = self.processor.post_process_grounded_object_detection(
            self.model(**inputs),
            threshold=box_threshold,
            target_sizes=[(image.height, image.width)],
            text_labels=[labels],
        )[0]
        return detections(image, result["boxes"], result["scores"], result["text_labels"])


class HqSamReference:
    """HQ-SAM from a checkpoint's folder."""

    def __init__(self, folder: Path) -> None:
        self.model = SamHQModel.from_pretrained(folder, dtype=torch.float32).eval()
        self.processor = SamHQProcessor.from_pretrained(folder)
        spec = read_spec(self.model.config, self.processor.image_processor)
        self.features = HqFeatures(self.model.mask_decoder)
        self.decoder = MaskDecoder(self.model, spec)

    @torch.inference_mode()
    def segment(
        self,
        image: Image.Image,
        *,
        boxes: list[Box] | None = None,
        points: list[tuple[float, float]] | None = None,
    ) -> list[Segmentation]:
        """One mask for each box or point, which are in pixels of the picture."""
        inputs = self.processor(images=image, return_tensors="pt", **sam_prompt(boxes, points))
        sizes = inputs["original_sizes"], inputs["reshaped_input_sizes"]
        if boxes is not None:
            labels = (BOX_TOP_LEFT, BOX_BOTTOM_RIGHT)
            coords = inputs["input_boxes"].unflatten(-1, (2, 2))
        else:
            labels = (FOREGROUND, PADDING)
            coords = torch.nn.functional.pad(inputs["input_points"], (0, 0, 0, 1))
        seen = self.model.vision_encoder(inputs["pixel_values"])
        embeddings = seen.last_hidden_state
        scores, masks = self.decoder.all_masks(
            embeddings,
            self.features(embeddings, seen.intermediate_embeddings[0]),
            coords.float(),
            torch.tensor(labels, dtype=torch.int32).expand(*coords.shape[:3]),
        )
        # A box means mask 0, a point the best scored of the other three.
        asked = slice(0, 1) if boxes is not None else slice(1, None)
        return chosen_masks(
            self.processor.image_processor.post_process_masks(masks[:, :, asked], *sizes)[0],
            scores[0, :, asked],
        )
