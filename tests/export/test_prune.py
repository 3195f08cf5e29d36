"""Kept members that no export uses are removed, and nothing else."""

import json

import pytest
import typer
from typer.testing import CliRunner

from export.deployments import Export, run
from export.members import RECORD
from export.prune import Kept, main, prune, survey
from export.repository import onnx_path
from fovea.layout import MANIFEST
from tests.deployments import embeds_only

USED, UNUSED = "clip-1", "clip-2"


@pytest.fixture
def folders(tmp_path):
    """Two kept members, one of them in an export; a foreign folder and a stray file."""
    members, exports = tmp_path / "members", tmp_path / "export"
    for name in (USED, UNUSED):
        (members / name).mkdir(parents=True)
        (members / name / RECORD).write_text("{}")
        (members / name / "model.onnx").write_bytes(bytes(1000))
    (members / "foreign").mkdir()
    (members / "notes.txt").touch()
    write_manifest(exports / "demo", {"request": {"checkpoints": {"clip": {"kept": USED}}}})
    return members, exports


def write_manifest(folder, content):
    folder.mkdir(parents=True)
    (folder / MANIFEST).write_text(json.dumps(content))


def names(members):
    return {path.name for path in members.iterdir()} - {".lock"}


def test_members_that_no_export_uses_are_removed_and_the_rest_stays(folders):
    members, exports = folders
    found = prune(members, exports)
    assert found == [Kept(USED, (str(exports / "demo"),), 1002), Kept(UNUSED, (), 1002)]
    assert names(members) == {USED, "foreign", "notes.txt"}
    assert prune(members, exports) == found[:1]


def test_files_that_an_export_links_to_are_not_counted_as_freed(folders):
    members, exports = folders
    (exports / "demo" / "model.onnx").hardlink_to(members / USED / "model.onnx")
    assert survey(members, exports)[0].freed_bytes == 2


@pytest.mark.parametrize("content", ["{", "[]", "{}"])
def test_an_export_that_names_no_member_keeps_none(folders, content):
    members, exports = folders
    (exports / "demo" / MANIFEST).write_text(content)
    assert not any(kept.exports for kept in survey(members, exports))


def test_the_command_lists_what_it_removes_and_a_dry_run_removes_nothing(folders):
    members, exports = folders
    app = typer.Typer()
    app.command()(main)
    where = ["--members", str(members), "--exports", str(exports)]
    dry = CliRunner().invoke(app, [*where, "--dry-run"])
    assert "1 of 2 kept members to be removed, 0.0 MB" in dry.output
    assert UNUSED in names(members)
    done = CliRunner().invoke(app, [*where, "--json"])
    assert [(row["name"], row["removed"]) for row in json.loads(done.output)] == [
        (USED, False),
        (UNUSED, True),
    ]
    assert UNUSED not in names(members)
    lost = CliRunner().invoke(app, ["--members", str(members / "nowhere")])
    assert lost.exit_code == 2 and "expected a folder" in lost.output


def test_an_export_names_the_members_that_it_is_made_of(deployment, members, tmp_path):
    export = Export(
        embeds_only(deployment), tmp_path / "out" / "mine", max_batch=1, members=members
    )
    run(export)
    (kept,) = [kept for kept in survey(members, tmp_path / "out") if kept.exports]
    assert kept.name.startswith("clip-") and kept.exports == (str(export.out),)
    graph = members / kept.name / "image_encoder" / "model.onnx"
    assert graph.samefile(onnx_path(export.repository, "clip_image_encoder"))
