"""The traceable networks answer as transformers' own models do."""

import numpy as np
import pytest
import torch

from export.pipeline import Loaded
from fovea import prompts as labels


def network(loaded: Loaded, name: str):
    return next(n for n in loaded.networks if n.spec.name == name)


def tensors(sample: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array) for name, array in sample.items()}


def normalized(pixels: torch.Tensor, spec) -> torch.Tensor:
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (spec.mean, spec.std))
    return (pixels.float() / 255 - mean) / std


@pytest.mark.parametrize("batch", [1, 3])
def test_clip(checkpoints, loaded, batch):
    model = checkpoints["clip"].load_model()
    image = network(loaded, "clip_image_encoder")
    text = network(loaded, "clip_text_encoder")
    pixels = tensors(image.sample(batch, 0))
    tokens = tensors(text.sample(batch, 1))
    with torch.inference_mode():
        out = model(pixel_values=normalized(pixels["pixel_values"], loaded.pipeline.clip), **tokens)
        assert torch.allclose(image.module(**pixels), out.image_embeds, atol=1e-5)
        assert torch.allclose(text.module(**tokens), out.text_embeds, atol=1e-5)


@pytest.mark.parametrize("variant", [0, 1, 2])
def test_grounding_dino(checkpoints, loaded, variant):
    model = checkpoints["grounding_dino"].load_model()
    spec = loaded.pipeline.grounding_dino
    dino = network(loaded, "grounding_dino")
    given = tensors(dino.sample(2, variant))
    height, width = (int(edge) for edge in given["valid_hw"][0])
    mask = torch.zeros(2, *spec.canvas_hw, dtype=torch.long)
    mask[:, :height, :width] = 1
    with torch.inference_mode():
        theirs = model(
            pixel_values=normalized(given["pixel_values"], spec) * mask[:, None],
            pixel_mask=mask,
            input_ids=given["input_ids"],
            attention_mask=given["attention_mask"],
        )
        logits, boxes = dino.module(**given)
    kept = theirs.logits[:, :, : logits.shape[2]]
    assert torch.allclose(logits.sigmoid(), kept.sigmoid(), atol=1e-5)
    assert torch.allclose(boxes, theirs.pred_boxes, atol=1e-5)


def test_padding_a_caption_changes_nothing(checkpoints, loaded):
    model = checkpoints["grounding_dino"].load_model()
    spec = loaded.pipeline.grounding_dino
    dino = network(loaded, "grounding_dino")
    given = tensors(dino.sample(1, 0))
    length = int(given["attention_mask"].sum())
    assert length < given["input_ids"].shape[1]
    with torch.inference_mode():
        theirs = model(
            pixel_values=normalized(given["pixel_values"], spec),
            input_ids=given["input_ids"][:, :length],
        )
        logits, boxes = dino.module(**given)
    unpadded = theirs.logits[:, :, :length].sigmoid()
    assert torch.allclose(logits[:, :, :length].sigmoid(), unpadded, atol=1e-5)
    assert torch.allclose(boxes, theirs.pred_boxes, atol=1e-5)


@pytest.mark.parametrize("variant", [0, 1, 2])
def test_sam_encoder(checkpoints, loaded, variant):
    model = checkpoints["sam"].load_model()
    encoder = network(loaded, "sam_image_encoder")
    given = tensors(encoder.sample(2, variant))
    height, width = (int(edge) for edge in given["valid_hw"][0])
    pixels = normalized(given["pixel_values"], loaded.pipeline.sam)
    pixels[:, :, height:] = 0
    pixels[:, :, :, width:] = 0
    with torch.inference_mode():
        assert torch.allclose(
            encoder.module(**given), model.get_image_embeddings(pixels), atol=1e-4
        )


@pytest.mark.parametrize("prompts", [1, 4])
@pytest.mark.parametrize("batch", [1, 2])
def test_sam_decoder_equals_sam_model_bit_by_bit(checkpoints, loaded, batch, prompts):
    model = checkpoints["sam"].load_model()
    decoder = network(loaded, "sam_mask_decoder")
    spec = loaded.pipeline.sam
    generator = torch.Generator().manual_seed(3)
    shape = (spec.embedding_channels, spec.embedding_edge, spec.embedding_edge)
    embeddings = torch.randn(batch, *shape, generator=generator)
    coords = torch.rand(batch, prompts, 2, 2, generator=generator) * spec.image_size
    boxes = torch.tensor([labels.BOX_TOP_LEFT, labels.BOX_BOTTOM_RIGHT], dtype=torch.int32)
    point = torch.tensor([labels.FOREGROUND, labels.PADDING], dtype=torch.int32)
    with torch.inference_mode():
        for multimask, chosen in ((False, slice(0, 1)), (True, slice(1, 4))):
            theirs = model(
                image_embeddings=embeddings,
                input_boxes=coords.reshape(batch, prompts, 4),
                multimask_output=multimask,
            )
            ious, masks = decoder.module(embeddings, coords, boxes.expand(batch, prompts, 2))
            assert torch.equal(masks[:, :, chosen], theirs.pred_masks)
            assert torch.equal(ious[:, :, chosen], theirs.iou_scores)
        padded = coords.clone()
        padded[:, :, 1] = 0
        theirs = model(
            image_embeddings=embeddings,
            input_points=coords[:, :, :1],
            input_labels=torch.ones(batch, prompts, 1, dtype=torch.int32),
        )
        ious, masks = decoder.module(embeddings, padded, point.expand(batch, prompts, 2))
        assert torch.equal(masks[:, :, 1:], theirs.pred_masks)
        assert torch.equal(ious[:, :, 1:], theirs.iou_scores)
