import pytest

from export import families, stand_ins
from export.family_engines import read
from export.family_examples import EXAMPLES, KNOWN_AS
from export.family_real_size import read_rows
from export.licences import LICENCES, is_non_commercial, weights_licence
from export.models_page import PAGE, built, example, page, verbs_of
from export.yolo_report import HEADLINES
from fovea import deployment_file
from fovea.families import FAMILIES, load
from fovea.verbs import check_members


def test_the_page_is_what_the_registry_says():
    assert PAGE.read_text() == page(read_rows(), read()), "write it again: make models"


def test_every_family_is_on_it_with_its_licence():
    text = page({}, {})
    assert LICENCES.keys() == FAMILIES.keys()
    for family in FAMILIES:
        assert f"| `{family}` |" in text
        assert LICENCES[family].weights in text


@pytest.mark.parametrize("family", FAMILIES)
def test_the_example_of_each_family_is_a_deployment(family, tmp_path):
    path = tmp_path / "example.toml"
    path.write_text(example(load(family).ROLE, family))
    deployment = deployment_file.read(path)
    check_members(deployment.verbs, {family: load(family).ROLE})
    [source] = deployment.members.values()
    assert {name for name, _ in source.options} <= families.load(family).OPTIONS.keys()
    assert EXAMPLES[family] in page({}, {})


def test_every_architecture_of_real_size_is_on_it():
    written = {name for family in FAMILIES for name in stand_ins.builds(family, "real")}
    figures = read_rows()
    assert figures.keys() == written | set(HEADLINES.values()) == KNOWN_AS.keys()
    assert {row["family"] for row in figures.values()} == FAMILIES.keys()


def test_the_verbs_of_a_role_are_those_that_take_it():
    assert verbs_of("image_embedder") == ["embed_objects", "embed_image"]
    assert verbs_of("segmenter") == ["segment_scene"]
    assert "main_object" in verbs_of("open_detector")


def test_a_model_card_states_the_licence_of_its_weights(tmp_path):
    (tmp_path / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n# A model\n")
    assert weights_licence("clip", tmp_path) == "cc-by-nc-4.0"


@pytest.mark.parametrize("card", [None, "# no head\n", "---\nlicense: [\n---\n"])
def test_without_a_card_the_licence_is_the_familys(tmp_path, card):
    if card is not None:
        (tmp_path / "README.md").write_text(card)
    assert weights_licence("sam", tmp_path) == LICENCES["sam"].weights


def test_another_licence_is_called_by_its_name(tmp_path):
    head = "---\nlicense: other\nlicense_name: dinov3-license\n---\n"
    (tmp_path / "README.md").write_text(head)
    assert weights_licence("dinov3", tmp_path) == "dinov3-license"


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        ("cc-by-nc-4.0", True),
        ("CC-BY-NC-SA-4.0", True),
        ("research only", True),
        ("apache-2.0", False),
        ("MIT (OpenAI, LAION); CC-BY-NC-4.0 (MetaCLIP)", False),
        ("not stated", False),
        ("AGPL-3.0", False),
    ],
)
def test_licences_that_forbid_commercial_use(licence, expected):
    assert is_non_commercial(licence) is expected


def test_engines_of_a_family_are_counted_over_its_checkpoints():
    good = {"outcome": {"built": True, "unsupported": []}}
    bad = {"outcome": {"built": False, "unsupported": []}}
    rows = {
        "one": {"family": "clip", "engines": [good, good]},
        "two": {"family": "clip", "engines": [bad]},
        "other": {"family": "sam", "engines": [bad]},
    }
    assert built("clip", rows) == "2 of 3"
    assert built("dino", rows) == "not tried"
