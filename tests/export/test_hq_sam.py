"""HQ-SAM's networks answer like upstream's formula, with weights that transformers loaded."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from torch import nn
from transformers import SamConfig, SamHQConfig, SamHQModel, SamModel

from demo import hq_sam_config, sam_config
from export.errors import InvalidCheckpoint
from export.families import load, sam
from export.families.hq_sam import HqFeatures, MaskDecoder, read_spec
from export.network import Network
from export.parity import check_network
from export.processor import normalization
from export.stand_ins.base import add_noise
from export.to_onnx import to_onnx
from fovea.families.hq_sam import HqSam
from fovea.prompts import BOX_BOTTOM_RIGHT, BOX_TOP_LEFT, FOREGROUND, PADDING

BATCH_SIZE = 3
WIDTH = 64
PROCESSOR = hq_sam_config.processor().image_processor
NORMAL = normalization(PROCESSOR)
NO_PROMPT = dict.fromkeys(("input_points", "input_labels", "input_boxes", "input_masks"))


def small(config: SamConfig | SamHQConfig) -> SamConfig | SamHQConfig:
    """The demo's, with the windows and relative positions of the hub's checkpoints."""
    vision = config.vision_config
    vision.hidden_size, vision.num_attention_heads, vision.mlp_dim = WIDTH, 2, 128
    vision.num_hidden_layers, vision.global_attn_indexes = 3, [1]
    vision.use_rel_pos, vision.window_size = True, 6
    return config


def small_config() -> SamHQConfig:
    config = small(hq_sam_config.model_config())
    config.mask_decoder_config.vit_dim = WIDTH
    return config


@pytest.fixture(scope="module")
def model() -> SamHQModel:
    torch.manual_seed(0)
    made = SamHQModel(small_config())
    add_noise(made)
    return made.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def spec(model):
    return read_spec(model.config, PROCESSOR)


@pytest.fixture(scope="module")
def both(model, spec) -> list[Network]:
    made = load("hq_sam").networks(HqSam("hq_sam", spec), model, NORMAL)
    return [
        replace(network, spec=replace(network.spec, max_batch_size=BATCH_SIZE)) for network in made
    ]


def tensors(sample: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array) for name, array in sample.items()}


def in_the_frame(given: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same prompts for `all_masks`, with their points moved to the input frame."""
    coords = given["point_coords"].double()
    scale = given["valid_hw"].double() / given["original_size_hw"].double()
    moved = torch.stack(
        [coords[..., 0] * scale[:, 1, None, None], coords[..., 1] * scale[:, 0, None, None]], dim=-1
    )
    others = {name: t for name, t in given.items() if not name.endswith("_hw")}
    return others | {"point_coords": moved.float()}


def upstream_masks(
    model: SamHQModel,
    embedding: torch.Tensor,
    early_features: torch.Tensor,
    prompt: dict[str, torch.Tensor],
    *,
    multimask: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """`MaskDecoderHQ.forward` with hq_token_only=False for one picture and one prompt."""
    decoder, gelu = model.mask_decoder, nn.functional.gelu
    compressed = gelu(decoder.compress_vit_norm(decoder.compress_vit_conv1(early_features)))
    encoded = gelu(decoder.encoder_norm(decoder.encoder_conv1(embedding)))
    features = decoder.encoder_conv2(encoded) + decoder.compress_vit_conv2(compressed)

    sparse, dense = model.prompt_encoder(**(NO_PROMPT | prompt))
    own = [decoder.iou_token.weight, decoder.mask_tokens.weight, decoder.hq_token.weight]
    tokens, pixels = decoder.transformer(
        torch.cat([*own, sparse[0, 0]])[None, None],
        embedding + dense,
        model.get_image_wide_positional_embeddings(),
        attention_similarity=None,
    )
    tokens, pixels = tokens[0, 0], pixels[0, 0].T.reshape(embedding.shape)
    upscaled = gelu(decoder.upscale_layer_norm(decoder.upscale_conv1(pixels)))
    upscaled = gelu(decoder.upscale_conv2(upscaled))
    finer = gelu(decoder.mask_norm(decoder.mask_conv1(upscaled)))
    finer = decoder.mask_conv2(finer) + features
    of_sam = [
        torch.einsum("c,chw->hw", mlp(token), upscaled[0])
        for mlp, token in zip(decoder.output_hypernetworks_mlps, tokens[1:5], strict=True)
    ]
    of_hq = torch.einsum("c,chw->hw", decoder.hq_mask_mlp(tokens[5]), finer[0])
    scores = decoder.iou_prediction_head(tokens[0])
    chosen = 1 + int(scores[1:].argmax()) if multimask else 0
    return of_sam[chosen] + of_hq, scores[chosen]


@pytest.fixture(scope="module")
def seen(model):
    """Embeddings and early features of two pictures."""
    pixels = torch.randn(2, 3, sam_config.EDGE, sam_config.EDGE, generator=torch.manual_seed(4))
    with torch.inference_mode():
        out = model.vision_encoder(pixels)
    return out.last_hidden_state, out.intermediate_embeddings[0]


@pytest.mark.parametrize("kind", ["box", "point"])
def test_masks_are_those_of_upstreams_decoder(model, spec, seen, kind):
    embeddings, early = seen
    generator = torch.manual_seed(5)
    corners = torch.rand(2, 3, 2, 2, generator=generator).sort(dim=2).values * spec.image_size
    labels = torch.tensor([BOX_TOP_LEFT, BOX_BOTTOM_RIGHT], dtype=torch.int32)
    if kind == "point":
        corners[:, :, 1] = 0
        labels = torch.tensor([FOREGROUND, PADDING], dtype=torch.int32)
    with torch.inference_mode():
        features = HqFeatures(model.mask_decoder)(embeddings, early)
        decoder = MaskDecoder(model, spec)
        scores, masks = decoder.all_masks(embeddings, features, corners, labels.expand(2, 3, 2))
        for picture in range(2):
            for index in range(3):
                points = corners[picture, index]
                prompt = {"input_boxes": points.reshape(1, 1, 4).clone()}
                if kind == "point":
                    one = torch.ones(1, 1, 1, dtype=torch.int32)
                    prompt = {"input_points": points[None, None, :1].clone(), "input_labels": one}
                expected, score = upstream_masks(
                    model,
                    embeddings[picture : picture + 1],
                    early[picture : picture + 1].permute(0, 3, 1, 2),
                    prompt,
                    multimask=kind == "point",
                )
                ours = scores[picture, index]
                chosen = 1 + int(ours[1:].argmax()) if kind == "point" else 0
                assert torch.allclose(masks[picture, index, chosen], expected, atol=1e-4)
                assert torch.allclose(ours[chosen], score, atol=1e-5)


def test_transformers_forward_is_not_the_reference(model, spec, seen):
    """If this fails, transformers has been fixed and can be the reference."""
    embeddings, early = seen
    box = torch.tensor([[[20.0, 30.0, 120.0, 150.0]]]).expand(2, 1, 4).contiguous()
    labels = torch.tensor([BOX_TOP_LEFT, BOX_BOTTOM_RIGHT], dtype=torch.int32).expand(2, 1, 2)
    with torch.inference_mode():
        theirs = model(
            image_embeddings=embeddings,
            intermediate_embeddings=[early],
            input_boxes=box,
            multimask_output=False,
        )
        features = HqFeatures(model.mask_decoder)(embeddings, early)
        scores, masks = MaskDecoder(model, spec).all_masks(
            embeddings, features, box.reshape(2, 1, 2, 2), labels
        )
    assert torch.allclose(scores[:, :, 0], theirs.iou_scores[:, :, 0], atol=1e-5)
    assert not torch.allclose(masks[:, :, 0], theirs.pred_masks[:, :, 0], atol=1e-2)


def test_without_its_token_and_its_map_it_is_sam(model, spec, both):
    plain = SamModel(small(sam_config.model_config())).eval()
    fit = plain.load_state_dict(model.state_dict(), strict=False)
    assert not fit.missing_keys
    given = in_the_frame(tensors(both[1].sample(2, 1)))
    del given["hq_features"]
    with torch.inference_mode():
        for ours, theirs in zip(
            sam.MaskDecoder(model, spec).all_masks(**given),
            sam.MaskDecoder(plain, spec).all_masks(**given),
            strict=True,
        ):
            assert torch.equal(ours, theirs)


def test_the_hq_mask_is_added_to_each_mask(model, spec, both):
    given = in_the_frame(tensors(both[1].sample(2, 2)))
    decoder = MaskDecoder(model, spec)
    with torch.inference_mode():
        scores, masks = decoder.all_masks(**given)
        last = decoder.decoder.hq_mask_mlp.proj_out
        weight, bias = last.weight.clone(), last.bias.clone()
        try:
            last.weight.zero_()
            last.bias.zero_()
            plain_scores, plain_masks = decoder.all_masks(**given)
        finally:
            last.weight.copy_(weight)
            last.bias.copy_(bias)
    added = masks - plain_masks
    assert torch.equal(scores, plain_scores)
    assert added.abs().max() > 0.1
    assert torch.allclose(added, added[:, :, :1].expand_as(added), atol=1e-4)


@pytest.mark.parametrize("variant", [0, 1, 2])
def test_the_answer_is_one_of_all_masks_for_prompts_in_the_original_picture(
    model, spec, both, variant
):
    """A box or several points take mask 0, and one point the best of masks 1 to 3."""
    given = tensors(both[1].sample(2, variant))
    assert not torch.equal(given["valid_hw"], given["original_size_hw"])
    decoder = MaskDecoder(model, spec)
    with torch.inference_mode():
        scores, masks = decoder(**given)
        all_scores, all_masks = decoder.all_masks(**in_the_frame(given))
    assert scores.shape == all_scores.shape[:2]
    for picture, prompt in np.ndindex(*scores.shape):
        of_prompt = all_scores[picture, prompt]
        single = int((given["point_labels"][picture, prompt] != PADDING).sum()) == 1
        assert single == (variant == 1)
        chosen = 1 + int(of_prompt[1:].argmax()) if single else 0
        assert torch.allclose(scores[picture, prompt], of_prompt[chosen], atol=1e-5)
        expected = all_masks[picture, prompt, chosen]
        assert torch.allclose(masks[picture, prompt], expected, atol=1e-4)


@pytest.mark.parametrize("variant", [0, 1, 2])
def test_the_encoder_gives_sams_embedding_and_the_finer_map(model, spec, both, variant):
    given = tensors(both[0].sample(2, variant))
    height, width = (int(edge) for edge in given["valid_hw"][0])
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (NORMAL.mean, NORMAL.std))
    pixels = (given["pixel_values"].float() / 255 - mean) / std
    pixels[:, :, height:] = 0
    pixels[:, :, :, width:] = 0
    with torch.inference_mode():
        embeddings, features = both[0].module(**given)
        expected, layers = model.get_image_embeddings(pixels)
        assert len(layers) == 1, "only one layer has global attention"
        assert torch.allclose(embeddings, expected, atol=1e-4)
        hq = HqFeatures(model.mask_decoder)(expected, layers[0])
        assert torch.allclose(features, hq, atol=1e-4)


def test_the_graphs_do_what_the_networks_do(both, tmp_path):
    for network in both:
        path = tmp_path / network.spec.name / "model.onnx"
        to_onnx(network, path)
        nodes = onnx.load(str(path)).graph.node
        assert not {node.op_type for node in nodes} & {"If", "Loop", "Scan"}
        agreements = check_network(network, path)
        assert {agreement.batch for agreement in agreements} == {1, 2, BATCH_SIZE}


def test_early_features_of_another_width_are_refused():
    config = small_config()
    config.mask_decoder_config.vit_dim = 48
    with pytest.raises(InvalidCheckpoint, match=r"vit_dim=48 .*hidden_size=64"):
        read_spec(config, PROCESSOR)


def test_a_vision_model_without_global_attention_is_refused():
    config = small_config()
    config.vision_config.global_attn_indexes = []
    with pytest.raises(InvalidCheckpoint, match="global attention"):
        read_spec(config, PROCESSOR)
