"""A family from another package, two files and a line each, works everywhere."""

import sysconfig
from pathlib import Path

import numpy as np
import pytest
from fovea_client import Client
from fovea_server.probe import Probe

import fovea.families
from demo.samples import FOLDER as SAMPLES
from demo.served import demo_server
from demo.training import CHECKPOINTS_FOLDER
from export import families as export_families
from export.deployments import Export, read_deployment, run
from export.fingerprint import closure

pytestmark = pytest.mark.server

PACKAGE = Path(__file__).parent / "package"
DEPLOYMENT = f"""
[members]
words = {{ checkpoint = "{CHECKPOINTS_FOLDER}/clip", family = "newcomer_clip" }}
boxes = "{CHECKPOINTS_FOLDER}/grounding_dino"
masks = "{CHECKPOINTS_FOLDER}/sam"

[verbs]
main_object = {{ ranks = "words", detects = "boxes", cuts = "masks" }}
embed_text  = {{ embeds = "words" }}
"""
PICTURE = SAMPLES / "scene-00.jpg"
LABELS = ["flower", "train", "van"]


@pytest.fixture
def installed(monkeypatch):
    """The package in this environment, like `pip install -e` would install it: Triton's processes
    ignore PYTHONPATH."""
    link = Path(sysconfig.get_path("purelib")) / "newcomer_clip.pth"
    link.write_text(f"{PACKAGE}\n")
    monkeypatch.syspath_prepend(PACKAGE)
    known = (fovea.families.registry, export_families.registry)
    for registry in known:
        registry.cache_clear()
    yield
    link.unlink()
    for registry in known:
        registry.cache_clear()


def test_a_family_of_another_package_is_exported_served_and_answers(installed, tmp_path):
    path = tmp_path / "newcomer.toml"
    path.write_text(DEPLOYMENT)
    export = Export(read_deployment(str(path)), tmp_path / "export")
    manifest = run(export)
    assert [record["name"] for record in manifest["networks"]] == [
        "words_image_encoder",
        "words_text_encoder",
        "boxes",
        "masks_image_encoder",
        "masks_mask_decoder",
    ]
    with demo_server(export.repository) as server, Client(server.grpc_url) as client:
        answer = client.main_object(PICTURE, LABELS)
        alone = client.main_object(PICTURE, LABELS[:1])
        ports = {"http_port": server.ports.http, "grpc_port": server.ports.grpc}
        Probe(folder=tmp_path / "probe", timeout_s=60, proof_s=0, **ports).check("ready")
        assert np.linalg.norm(client.embed_text("a cat")) == pytest.approx(1, abs=1e-4)
    assert answer.label == "flower"
    assert answer.found
    # Judged one by one: a label's score does not depend on the others.
    assert alone.label_scores["flower"] == pytest.approx(answer.label_scores["flower"], abs=1e-5)
    assert sum(answer.label_scores.values()) != pytest.approx(1, abs=1e-2)


def test_its_code_decides_what_is_exported(installed):
    assert "newcomer_clip_export" in closure(("newcomer_clip_export", "export.members"))
