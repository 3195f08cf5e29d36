"""A member is exported once, and kept for every deployment that has it."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from export.checkpoints import find
from export.deployments import Export, run
from export.errors import ParityError
from export.members import RECORD, Exported, Form, MemberExport, export_member
from export.repository import onnx_path
from fovea.deployment_file import DeploymentFile
from fovea.members import Source
from fovea.verbs import verbs_of

FORM = Form(max_batch=1)
EMBEDS = {"embed_image": {"embeds": "clip"}, "embed_text": {"embeds": "clip"}}


class Traced(list):
    """An export's report, as a list of the networks that it traced."""

    def __call__(self, network: str, what: str) -> None:
        if what == "tracing":
            self.append(network)


@pytest.fixture(scope="module")
def folder(checkpoints) -> Path:
    return checkpoints["clip"].folder


@pytest.fixture(scope="module")
def kept(folder, tmp_path_factory) -> tuple[Exported, Path]:
    """An exported CLIP, and the folder where it is kept."""
    members, traced = tmp_path_factory.mktemp("kept"), Traced()
    made = exported(folder, members, traced)
    assert traced == ["clip_image_encoder", "clip_text_encoder"]
    return made, members


def exported(
    folder: Path, members: Path, traced: Traced, name: str = "clip", *, force: bool = False
) -> Exported:
    request = MemberExport(find(name, Source(str(folder))), form=FORM)
    return export_member(request, members, report=traced, force=force)


def deployment(members: dict[str, Path], verbs: dict[str, dict[str, str]]) -> DeploymentFile:
    sources = {name: Source(str(folder)) for name, folder in members.items()}
    return DeploymentFile("small", sources, verbs_of(verbs))


def served(out: Path, deployment: DeploymentFile, members: Path, traced: Traced) -> Export:
    """A finished export of a deployment."""
    export = Export(deployment, out, traced, max_batch=1, members=members)
    run(export)
    return export


@pytest.fixture
def other(folder, tmp_path) -> Path:
    """The same CLIP with other weights."""
    copied = Path(shutil.copytree(folder, tmp_path / "other"))
    state = load_file(copied / "model.safetensors")
    state["visual_projection.weight"] = -state["visual_projection.weight"]
    save_file(state, copied / "model.safetensors", metadata={"format": "pt"})
    return copied


@pytest.fixture
def members(kept, tmp_path) -> Path:
    """A copy of the members' folder, to break or add to."""
    return Path(shutil.copytree(kept[1], tmp_path / "members"))


def test_an_equal_key_exports_nothing_again(kept, folder):
    made, members = kept
    traced = Traced()
    assert exported(folder, members, traced) == made
    assert traced == []
    assert [path for path in members.iterdir() if path.is_dir()] == [made.folder]


def test_a_checkpoint_in_another_place_is_the_same_one(kept, folder, tmp_path):
    made, members = kept
    traced = Traced()
    moved = Path(shutil.copytree(folder, tmp_path / "moved"))
    assert exported(moved, members, traced).folder == made.folder
    assert traced == []


def test_a_forced_export_comes_out_the_same(kept, folder, members):
    traced = Traced()
    again = exported(folder, members, traced, force=True)
    assert traced == ["clip_image_encoder", "clip_text_encoder"]
    assert (again.member, again.record) == (kept[0].member, kept[0].record)


@pytest.mark.parametrize(
    "change",
    [
        {"form": replace(FORM, max_batch=2)},
        {"form": replace(FORM, precision="fp16")},
        {"form": replace(FORM, grid_sample="gather")},
        {"form": replace(FORM, embedded_bytes=1000)},
    ],
)
def test_another_form_is_another_key(folder, change):
    request = MemberExport(find("clip", Source(str(folder))), form=FORM)
    assert request.key() != replace(request, **change).key()


def test_another_option_is_another_key(checkpoints):
    plain = MemberExport(checkpoints["grounding_dino"])
    capped = replace(plain, options=(("longest_edge", 96),))
    assert plain.key() != capped.key()


def test_other_verbs_export_nothing_again(kept, folder, tmp_path):
    traced = Traced()
    both = served(tmp_path / "out", deployment({"clip": folder}, EMBEDS), kept[1], traced)
    ensembles = {"embed_image", "embed_text"}
    assert ensembles <= {path.name for path in both.repository.iterdir()}
    fewer = {"index": {"verb": "embed_image", "embeds": "clip"}}
    less = served(tmp_path / "out", deployment({"clip": folder}, fewer), kept[1], traced)
    found = {path.name for path in less.repository.iterdir()}
    assert "index" in found and not ensembles & found
    assert traced == []


def test_another_member_is_exported_alone(kept, folder, other, members, tmp_path):
    traced = Traced()
    verbs = {**EMBEDS, "theirs": {"verb": "embed_image", "embeds": "second"}}
    both = deployment({"clip": folder, "second": other}, verbs)
    made = served(tmp_path / "out", both, members, traced)
    assert traced == ["second_image_encoder", "second_text_encoder"]
    paths = [onnx_path(made.repository, f"{name}_image_encoder") for name in ("clip", "second")]
    assert paths[0].read_bytes() != paths[1].read_bytes()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / "image_encoder" / "model.onnx").unlink(),
        lambda folder: (folder / "text_encoder" / "model.onnx").write_bytes(b"cut off"),
        lambda folder: (folder / "tokenizer.json").unlink(),
        lambda folder: shutil.rmtree(folder / "text_encoder"),
        lambda folder: (folder / RECORD).unlink(),
        lambda folder: (folder / RECORD).write_bytes((folder / RECORD).read_bytes()[:200]),
        lambda folder: (folder / RECORD).write_bytes(b"\xff"),
        lambda folder: (folder / RECORD).write_text("{}"),
        lambda folder: shutil.rmtree(folder),
    ],
    ids=[
        "a graph is missing",
        "a graph is shorter",
        "the tokenizer is missing",
        "a part is missing",
        "the record is missing",
        "the record is cut off",
        "the record is no text",
        "the record is of something else",
        "all is missing",
    ],
)
def test_a_broken_folder_is_exported_again(kept, folder, members, spoil):
    traced, broken = Traced(), members / kept[0].folder.name
    spoil(broken)
    again = exported(folder, members, traced)
    assert traced == ["clip_image_encoder", "clip_text_encoder"]
    assert again.folder == broken
    assert (again.member, again.record) == (kept[0].member, kept[0].record)
    assert json.loads((broken / RECORD).read_text()) == kept[0].record
    assert [path.name for path in members.iterdir() if path.is_dir()] == [broken.name]


def test_a_network_that_differs_from_its_checkpoint_is_not_kept(checkpoints, tmp_path):
    folder = Path(shutil.copytree(checkpoints["grounding_dino"].folder, tmp_path / "dino"))
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["normalizer"] = None
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(ParityError, match="becomes the tokens"):
        exported(folder, tmp_path / "members", Traced(), name="dino")
    assert [path.name for path in (tmp_path / "members").iterdir()] == [".lock"]


def test_two_deployments_share_a_member_under_different_names(kept, folder, tmp_path):
    made, members = kept
    traced = Traced()
    first = served(tmp_path / "first", deployment({"clip": folder}, EMBEDS), members, traced)
    verbs = {"look": {"verb": "embed_image", "embeds": "eyes"}}
    second = served(tmp_path / "second", deployment({"eyes": folder}, verbs), members, traced)
    assert traced == []
    for part in ("image_encoder", "text_encoder"):
        assert made.graph(part).samefile(onnx_path(first.repository, f"clip_{part}"))
    assert made.graph("image_encoder").samefile(onnx_path(second.repository, "eyes_image_encoder"))
    step = first.repository / "clip_tokenize_text" / "1" / "clip_tokenizer.json"
    assert step.samefile(made.folder / "tokenizer.json")
    assert {path.name for path in second.repository.iterdir() if path.is_dir()} == {
        "eyes_image_encoder",  # no verb of it wants the other
        "look",
        "preprocess_image",
    }


def test_the_fingerprint_depends_on_the_weights_and_not_on_the_name(kept, folder, other, members):
    traced = Traced()
    renamed = exported(folder, members, traced, name="eyes")
    assert renamed.member == replace(kept[0].member, name="eyes")
    changed = exported(other, members, traced)
    assert changed.member.spec == kept[0].member.spec
    assert len(changed.member.fingerprint) == 64
    assert changed.member.fingerprint != kept[0].member.fingerprint


def test_the_fingerprint_depends_on_the_tokenizer_too(kept, folder, members, tmp_path):
    copied = Path(shutil.copytree(folder, tmp_path / "copied"))
    tokenizer = json.loads((copied / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    (copied / "tokenizer.json").write_text(json.dumps(tokenizer))
    changed = exported(copied, members, Traced())
    assert [record["sha256"] for record in changed.record["networks"]] == [
        record["sha256"] for record in kept[0].record["networks"]
    ]
    assert changed.member.fingerprint != kept[0].member.fingerprint


def test_another_fingerprint_is_in_the_configurations_of_all_that_follows_from_it(
    kept, folder, other, members, tmp_path
):
    repositories = [
        served(tmp_path / name, deployment({"clip": source}, EMBEDS), members, Traced()).repository
        for name, source in (("first", folder), ("second", other))
    ]
    first, second = (
        {path.parent.name: path.read_text() for path in repository.glob("*/config.pbtxt")}
        for repository in repositories
    )
    differing = {name for name in first if first[name] != second[name]}
    assert differing >= {"clip_image_encoder", "clip_text_encoder", "clip_tokenize_text"}
    assert differing >= {"embed_image", "embed_text"}  # which tell clients about it
