"""The hash of the code that decides an export: what counts, and what does not."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from export import fingerprint
from export.families import FAMILIES
from export.families import registry as torch_registry
from export.fingerprint import PACKAGES, closure
from fovea.families import registry as wire_registry

DIGEST = "import sys; from export.fingerprint import *; print(code_sha256(*sys.argv[1:]))"
NEVER = {
    "fovea.verbs",
    "fovea.house",
    "fovea.models",
    "fovea.machine_settings",
    "fovea.wiring",
    "fovea.deployment",
    "fovea.deployment_file",
    "fovea.steps",
    "fovea.placement",
    "export.deployments",
    "export.repository",
}

OF_FAMILIES = ("export.families.", "fovea.families.")


def modules(family: str) -> tuple[str, ...]:
    sides = (wire_registry()[family], torch_registry()[family])
    return (*(side.partition(":")[0] for side in sides), "export.members")


@pytest.fixture(scope="module")
def pristine(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pristine")
    for package in PACKAGES:
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(fingerprint.ROOT / package, folder / package, ignore=ignore)
    return folder


@pytest.fixture
def copy(pristine, tmp_path) -> Path:
    """A copy of the project's code, to change."""
    return Path(shutil.copytree(pristine, tmp_path / "copy"))


def digest(folder: Path, family: str) -> str:
    """The hash for that copy of the code."""
    command = [sys.executable, "-c", DIGEST, *modules(family)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def change(folder: Path, name: str, old: str, new: str) -> None:
    path = folder / name
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def test_two_copies_of_the_code_have_one_hash_for_each_family(copy, pristine):
    digests = {family: digest(copy, family) for family in FAMILIES}
    assert digests == {family: digest(pristine, family) for family in FAMILIES}
    assert digests == {family: fingerprint.code_sha256(*modules(family)) for family in FAMILIES}
    assert len(set(digests.values())) == len({modules(family) for family in FAMILIES})


def test_comments_docstrings_and_layout_of_a_familys_modules_do_not_count(copy, pristine):
    for name in ("export/families/clip.py", "fovea/families/clip.py"):
        path = copy / name
        first, _, rest = path.read_text().partition("\n")
        assert first.startswith('"""')
        path.write_text(f'"""Something else."""\n# A comment.\n\n{rest}\n# Another one.\n')
    change(copy, "export/families/clip.py", '"""pixel_values uint8', '"""Pixels, uint8')
    assert digest(copy, "clip") == digest(pristine, "clip")


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("export/families/clip.py", "keepdim=True).sqrt()", "keepdim=True).sqrt() * 2"),
        ("fovea/families/clip.py", "SPECIAL_TOKENS = 2", "SPECIAL_TOKENS = 3"),
        ("export/pixels.py", "(1 / 255)", "(1 / 256)"),
        ("export/lower_precision.py", "INT8_MAX = 127", "INT8_MAX = 126"),
        ("fovea/images.py", "import annotations\n", "import annotations\n\nADDED = 1\n"),
    ],
)
def test_changed_code_counts_wherever_the_family_imports_it_from(copy, pristine, name, old, new):
    change(copy, name, old, new)
    assert digest(copy, "clip") != digest(pristine, "clip")


def test_code_of_other_families_verbs_and_clients_does_not_count(copy, pristine):
    others = ["export/families/clip.py", "fovea/families/clip.py", "fovea/verbs.py"]
    others += ["fovea/house.py", "export/deployments.py", "export/repository.py"]
    for name in others:
        path = copy / name
        path.write_text(path.read_text() + "\nADDED = 1\n")
    assert digest(copy, "sam") == digest(pristine, "sam")
    assert digest(copy, "clip") != digest(pristine, "clip")


@pytest.mark.parametrize("family", FAMILIES)
def test_the_closure_of_a_family_is_what_it_imports_and_nothing_of_deployments(family):
    found = closure(modules(family))
    assert {*modules(family), "fovea.specs", "fovea.images", "export.to_onnx"} <= set(found)
    assert not set(found) & NEVER
    assert not [name for name in found if name.startswith("fovea.steps")]
    assert {name.split(".")[0] for name in found} == set(PACKAGES)


def test_what_every_export_goes_through_holds_no_family():
    """A change of one would export all others again."""
    assert not [name for name in closure(("export.members",)) if name.startswith(OF_FAMILIES)]


def test_imports_within_functions_and_for_types_alone_do_not_count(tmp_path, monkeypatch):
    (tmp_path / "fovea").mkdir()
    for name in ("first", "second", "typed", "late", "tried", "chosen"):
        (tmp_path / "fovea" / f"{name}.py").write_text("")
    (tmp_path / "fovea" / "__init__.py").write_text("")
    (tmp_path / "fovea" / "first.py").write_text(
        "from __future__ import annotations\n"
        "import sys, json\n"
        "from typing import TYPE_CHECKING\n"
        "from fovea import second\n"
        "if TYPE_CHECKING:\n    from fovea.typed import Typed\n"
        "if sys.version_info > (3, 11):\n    import fovea.chosen\n"
        "try:\n    import fovea.tried\nexcept ImportError:\n    pass\n"
        "def call():\n    from fovea import late\n"
    )
    monkeypatch.setattr(fingerprint, "ROOT", tmp_path)
    found = closure(("fovea.first",))
    names = {"fovea", "fovea.first", "fovea.second", "fovea.chosen", "fovea.tried"}
    assert set(found) == names
