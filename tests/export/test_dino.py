"""DINO, DINOv2 and DINOv3: vectors are transformers' own, and other models are refused by name."""

import io
import json
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import ViTConfig, ViTForImageClassification, ViTModel, pipeline
from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

import fovea.local
from export import families, stand_ins
from export.checkpoints import Checkpoint, find
from export.deployments import Export, read_deployment, run
from export.errors import InvalidCheckpoint, UnsupportedProcessor
from export.families.dino import read_spec
from export.families.dinov3 import DINOv3ViTImageProcessorPil
from export.preprocessing import PIXEL_TOLERANCE, photograph
from fovea.families.dino import Dino, DinoSpec
from fovea.images import Picture
from fovea.members import Source
from tests.export.test_preprocessing import grey_levels

FAMILY_OF = {
    "dino": "dino",
    "dinov2_giant": "dinov2",
    "dinov2_with_registers": "dinov2",
    "dinov3": "dinov3",
}
SIZES_HW = ((120, 200), (333, 250), (60, 61))
CONFIG = ViTConfig(
    hidden_size=48, num_attention_heads=3, num_hidden_layers=1, intermediate_size=96, image_size=64
)
# As in facebook/dino-vits16: loading maps them to today's names.
FORMER_NAMES = {
    "layers.": "encoder.layer.",
    "attention.q_proj": "attention.attention.query",
    "attention.k_proj": "attention.attention.key",
    "attention.v_proj": "attention.attention.value",
    "attention.o_proj": "attention.output.dense",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
}
FORMER_PROCESSOR = {
    "do_normalize": True,
    "do_resize": True,
    "feature_extractor_type": "ViTFeatureExtractor",
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
    "resample": 2,
    "size": 64,
}
SQUASHED = {"height": 64, "width": 64}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory) -> dict[str, Checkpoint]:
    folder = tmp_path_factory.mktemp("dino")
    found = {
        name: path
        for family in dict.fromkeys(FAMILY_OF.values())
        for name, path in stand_ins.write(family, "tiny", folder / family).items()
    }
    return {name: find(name, Source(str(path))) for name, path in found.items()}


@pytest.fixture(scope="module")
def client(checkpoints, tmp_path_factory, members):
    """A deployment with a verb for each checkpoint, in this process."""
    folder = tmp_path_factory.mktemp("deployment")
    rows = [f'{name} = "{checkpoint.folder}"' for name, checkpoint in checkpoints.items()]
    verbs = [f'embed_{name} = {{ verb = "embed_image", embeds = "{name}" }}' for name in FAMILY_OF]
    path = folder / "features.toml"
    path.write_text("\n".join(["[members]", *rows, "[verbs]", *verbs]))
    run(Export(read_deployment(str(path)), folder / "export", members=members))
    with fovea.local.open(folder / "export") as opened:
        yield opened


def png(picture) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def test_a_family_is_found_by_the_model_type(checkpoints):
    assert {name: checkpoint.family for name, checkpoint in checkpoints.items()} == FAMILY_OF


@pytest.mark.parametrize("name", FAMILY_OF)
def test_vectors_are_those_of_the_pipeline(checkpoints, client, name):
    checkpoint = checkpoints[name]
    extract = pipeline(
        "image-feature-extraction",
        model=families.load(checkpoint.family).load_model(checkpoint),
        image_processor=checkpoint.load_image_processor(),
    )
    found = []
    for size_hw in SIZES_HW:
        picture = photograph(size_hw)
        # DINO has no pooling layer; the others pool by taking the class token.
        theirs = np.array(extract(picture)[0][0] if name == "dino" else extract(picture, pool=True))
        ours = client.embed_image(png(picture), verb=f"embed_{name}")
        assert np.allclose(ours, theirs / np.linalg.norm(theirs), atol=0.01), "pixels are rounded"
        found.append(ours)
    assert not np.allclose(found[0], found[1], atol=0.05)


def test_checkpoints_of_the_hub_keep_their_former_names(tmp_path):
    model = ViTModel(CONFIG, add_pooling_layer=False)
    weights = model.state_dict()
    for new, former in FORMER_NAMES.items():
        weights = {key.replace(new, former): value for key, value in weights.items()}
    torch.save(weights, tmp_path / "pytorch_model.bin")
    config = CONFIG.to_dict() | {"architectures": ["ViTModel"], "model_type": "vit"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(FORMER_PROCESSOR))
    checkpoint = find("dino", Source(str(tmp_path)))
    family = families.load("dino")
    loaded, processor = family.load_model(checkpoint), family.load_processor(checkpoint)
    pairs = zip(loaded.state_dict().values(), model.state_dict().values(), strict=True)
    assert all(torch.equal(found, given) for found, given in pairs)
    assert family.read_spec(checkpoint, loaded, processor, {}) == DinoSpec(64, 48, resample=2)


@pytest.fixture
def saved(tmp_path):
    """Saves the checkpoint of a model."""

    def save(model) -> Source:
        model.save_pretrained(tmp_path)
        ViTImageProcessorPil(size=SQUASHED).save_pretrained(tmp_path)
        return Source(str(tmp_path))

    return save


def test_a_classifier_is_refused_by_its_name(saved):
    with pytest.raises(InvalidCheckpoint, match=r"a ViTModel, .*\['ViTForImageClassification'\]"):
        find("dino", saved(ViTForImageClassification(CONFIG)))


def test_a_classifier_that_does_not_say_so_is_refused_for_its_weights(saved, tmp_path):
    source, path = saved(ViTForImageClassification(CONFIG)), tmp_path / "config.json"
    config = json.loads(path.read_text())
    del config["architectures"]
    path.write_text(json.dumps(config))
    with pytest.raises(InvalidCheckpoint, match=r"not those of a ViTModel: unexpected classifier"):
        families.load("dino").load_model(find("dino", source))


def test_a_model_with_a_pooling_layer_is_refused(saved):
    checkpoint = find("dino", saved(ViTModel(CONFIG)))
    with pytest.raises(InvalidCheckpoint, match=r"unexpected pooler\.dense"):
        families.load("dino").load_model(checkpoint)


def test_another_class_of_dinov2_is_refused(checkpoints, tmp_path):
    shutil.copytree(checkpoints["dinov2_with_registers"].folder, tmp_path / "other")
    path = tmp_path / "other" / "config.json"
    config = json.loads(path.read_text()) | {"architectures": ["Dinov2Model"]}
    path.write_text(json.dumps(config))
    with pytest.raises(InvalidCheckpoint, match=r"a Dinov2WithRegistersModel.*\['Dinov2Model'\]"):
        find("dinov2", Source(str(tmp_path / "other")))


@pytest.mark.parametrize(
    ("processor", "error", "message"),
    [
        (ViTImageProcessorPil(size={"height": 64, "width": 96}), UnsupportedProcessor, "64 x 96"),
        (ViTImageProcessorPil(size=SQUASHED, do_resize=False), UnsupportedProcessor, "do_resize"),
        (ViTImageProcessorPil(size=SQUASHED, resample=9), UnsupportedProcessor, "got 9"),
        (ViTImageProcessorPil(size={"height": 8, "width": 8}), InvalidCheckpoint, "no patch of 16"),
        (
            BitImageProcessorPil(size={"shortest_edge": 60}, crop_size=SQUASHED),
            UnsupportedProcessor,
            "at least crop_size=64, got 60",
        ),
    ],
)
def test_an_unsupported_processor_is_refused(processor, error, message):
    with pytest.raises(error, match=message):
        read_spec(CONFIG, processor)


def test_dino_takes_pictures_of_one_size(saved):
    checkpoint = find("dino", saved(ViTModel(CONFIG, add_pooling_layer=False)))
    family = families.load("dino")
    other = ViTImageProcessorPil(size={"height": 96, "width": 96})
    with pytest.raises(InvalidCheckpoint, match=r"takes 64 x 64 pixels, .* gives 96 x 96"):
        family.read_spec(checkpoint, family.load_model(checkpoint), other, {})


def test_dinov3_refuses_a_filter_that_leaves_the_grey_levels(checkpoints):
    checkpoint, family = checkpoints["dinov3"], families.load("dinov3")
    other = DINOv3ViTImageProcessorPil(size=SQUASHED, resample=3)
    with pytest.raises(UnsupportedProcessor, match=r"bilinear \(2\), got 3"):
        family.read_spec(checkpoint, family.load_model(checkpoint), other, {})


EDGES = st.integers(1, 90)


@settings(max_examples=40)
@given(EDGES, EDGES, st.integers(16, 40), st.integers(0, 12), st.sampled_from([2, 3]))
def test_pixels_are_those_of_the_processor(height, width, edge, more, resample):
    square, shortest = {"height": edge, "width": edge}, {"shortest_edge": edge + more}
    processors = (
        BitImageProcessorPil(size=shortest, crop_size=square, resample=resample),
        ViTImageProcessorPil(size=square, resample=resample),
        DINOv3ViTImageProcessorPil(size=square),
    )
    picture = photograph((height, width))
    for processor in processors:
        geometry = Dino("dino", read_spec(CONFIG, processor)).geometry
        theirs = processor(picture, return_tensors="np")["pixel_values"][0]
        ours, _ = geometry.apply(Picture(picture))
        assert np.abs(ours - grey_levels(theirs, processor)).max() <= PIXEL_TOLERANCE
