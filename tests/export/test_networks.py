"""The traceable networks answer like transformers' own models."""

import numpy as np
import pytest
import torch

from demo import sam_config
from export.checkpoints import Checkpoint
from export.deployments import Loaded
from export.processor import normalization
from fovea import prompts as labels


def network(loaded: Loaded, name: str):
    return next(n for n in loaded.networks if n.spec.name == name)


def tensors(sample: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array) for name, array in sample.items()}


def normalized(pixels: torch.Tensor, checkpoint: Checkpoint) -> torch.Tensor:
    normal = normalization(checkpoint.load_image_processor())
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (normal.mean, normal.std))
    return (pixels.float() / 255 - mean) / std


@pytest.mark.parametrize("batch", [1, 3])
def test_clip(checkpoints, loaded, batch):
    model = checkpoints["clip"].load_model()
    image = network(loaded, "clip_image_encoder")
    text = network(loaded, "clip_text_encoder")
    pixels = tensors(image.sample(batch, 0))
    tokens = tensors(text.sample(batch, 1))
    with torch.inference_mode():
        seen = normalized(pixels["pixel_values"], checkpoints["clip"])
        out = model(pixel_values=seen, **tokens)
        assert torch.allclose(image.module(**pixels), out.image_embeds, atol=1e-5)
        assert torch.allclose(text.module(**tokens), out.text_embeds, atol=1e-5)


@pytest.mark.parametrize("variant", [0, 1, 2])
def test_grounding_dino(checkpoints, loaded, variant):
    model = checkpoints["grounding_dino"].load_model()
    spec = loaded.deployment.member("grounding_dino").spec
    dino = network(loaded, "grounding_dino")
    given = tensors(dino.sample(2, variant))
    height, width = (int(edge) for edge in given["valid_hw"][0])
    mask = torch.zeros(2, *spec.canvas_hw, dtype=torch.long)
    mask[:, :height, :width] = 1
    seen = normalized(given["pixel_values"], checkpoints["grounding_dino"])
    with torch.inference_mode():
        theirs = model(
            pixel_values=seen * mask[:, None],
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
    dino = network(loaded, "grounding_dino")
    given = tensors(dino.sample(1, 0))
    length = int(given["attention_mask"].sum())
    assert length < given["input_ids"].shape[1]
    with torch.inference_mode():
        theirs = model(
            pixel_values=normalized(given["pixel_values"], checkpoints["grounding_dino"]),
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
    pixels = normalized(given["pixel_values"], checkpoints["sam"])
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
    spec = loaded.deployment.member("sam").spec
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
            given = (embeddings, coords, boxes.expand(batch, prompts, 2))
            ious, masks = decoder.module.all_masks(*given)
            assert torch.equal(masks[:, :, chosen], theirs.pred_masks)
            assert torch.equal(ious[:, :, chosen], theirs.iou_scores)
        padded = coords.clone()
        padded[:, :, 1] = 0
        theirs = model(
            image_embeddings=embeddings,
            input_points=coords[:, :, :1],
            input_labels=torch.ones(batch, prompts, 1, dtype=torch.int32),
        )
        ious, masks = decoder.module.all_masks(embeddings, padded, point.expand(batch, prompts, 2))
        assert torch.equal(masks[:, :, 1:], theirs.pred_masks)
        assert torch.equal(ious[:, :, 1:], theirs.iou_scores)


@pytest.mark.parametrize("original_hw", [(480, 640), (333, 250), (90, 100), (1080, 1919)])
def test_prompts_in_the_original_picture_get_the_mask_that_transformers_gives(
    checkpoints, loaded, original_hw
):
    """A box, a point, and two points; transformers' processor moves the coordinates."""
    model = checkpoints["sam"].load_model()
    decoder, spec = network(loaded, "sam_mask_decoder"), loaded.deployment.member("sam").spec
    height, width = original_hw
    shape = (1, spec.embedding_channels, spec.embedding_edge, spec.embedding_edge)
    embeddings = torch.randn(shape, generator=torch.manual_seed(6))
    corners = np.array([[0.1, 0.2], [0.7, 0.9]]) * (width, height)
    blank = np.zeros((height, width, 3), np.uint8)
    hw = torch.tensor([loaded.deployment.play("sam").geometry.resized_hw(original_hw)])
    original = torch.tensor([original_hw], dtype=torch.int32)
    prompts = {
        (labels.BOX_TOP_LEFT, labels.BOX_BOTTOM_RIGHT): {
            "input_boxes": [[corners.ravel().tolist()]]
        },
        (labels.FOREGROUND, labels.PADDING): {
            "input_points": [[corners[:1].tolist()]],
            "input_labels": [[[1]]],
        },
        (labels.FOREGROUND, labels.BACKGROUND, labels.PADDING): {
            "input_points": [[corners.tolist()]],
            "input_labels": [[[1, 0]]],
        },
    }
    for point_labels, sent in prompts.items():
        given = sam_config.processor()(images=[blank], return_tensors="pt", **sent)
        moved = {name: given[name] for name in sent}
        moved = {name: t.float() if t.is_floating_point() else t for name, t in moved.items()}
        coords = np.zeros((1, 1, len(point_labels), 2), np.float32)
        real = [label != labels.PADDING for label in point_labels]
        coords[0, 0, real] = corners[: sum(real)]
        ambiguous = sum(real) == 1
        with torch.inference_mode():
            theirs = model(image_embeddings=embeddings, multimask_output=ambiguous, **moved)
            scores, masks = decoder.module(
                embeddings,
                torch.from_numpy(coords),
                torch.tensor([[point_labels]], dtype=torch.int32),
                hw.int(),
                original,
            )
        best = int(theirs.iou_scores[0, 0].argmax())
        assert scores.shape == (1, 1)
        assert torch.allclose(scores[0, 0], theirs.iou_scores[0, 0, best], atol=1e-5)
        assert torch.allclose(masks[0, 0], theirs.pred_masks[0, 0, best], atol=1e-4)
