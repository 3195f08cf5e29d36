"""A deployment in this process: what it opens, what it keeps, and what it refuses."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from fovea_client import InvalidTensor, LocalClient, ServerError, Unavailable, UnknownVerb
from fovea_client.cli import app
from typer.testing import CliRunner

import fovea.local
from demo.samples import FOLDER as SAMPLES
from demo.served import export_demo
from fovea.local import Local

PICTURE = SAMPLES / "man-on-snowboard.jpg"
DECODER = Path("model_repository/sam_mask_decoder/1/model.onnx")


@pytest.fixture(scope="module")
def exported() -> Path:
    return export_demo().parent


@pytest.fixture
def altered(exported: Path, tmp_path: Path) -> Callable[[str, str | None], Path]:
    """The export with one file changed or removed."""

    def alter(name: str, content: str | None) -> Path:
        for path in exported.rglob("*"):
            there = tmp_path / "export" / path.relative_to(exported)
            if path.is_file() and "__pycache__" not in path.parts:
                there.parent.mkdir(parents=True, exist_ok=True)
                there.symlink_to(path.resolve())
        target = tmp_path / "export" / name
        target.unlink()
        if content is not None:
            target.write_text(content)
        return tmp_path / "export"

    return alter


def array(*values: bytes | str) -> np.ndarray:
    return np.array(values, np.object_)


def test_it_opens_as_a_client(exported: Path) -> None:
    with fovea.local.open(exported) as client:
        assert isinstance(client, LocalClient)
        assert client.embed_text("a cat").shape


def test_it_has_the_verbs_of_the_export_and_no_other(exported: Path) -> None:
    local = Local(exported)
    assert "detect" in local.verbs
    with pytest.raises(UnknownVerb, match=f"the export in {exported} has no 'paint'"):
        local.infer("paint", {})


def test_text_that_is_not_encoded_is_refused(exported: Path) -> None:
    with pytest.raises(InvalidTensor, match="TEXT: expected bytes, got str"):
        Local(exported).infer("embed_text", {"TEXT": array("cat")})


def test_tensors_that_no_later_step_needs_are_dropped(exported: Path) -> None:
    class Watched(Local):
        def _run(self, step, tensors):
            held.append((step, set(tensors)))
            return super()._run(step, tensors)

    held: list = []
    inputs = {"IMAGE": array(PICTURE.read_bytes()), "TEXT": array(b"man", b"cow")}
    answer = Watched(exported).infer("main_object", inputs)
    wanted = set(answer)
    for step, tensors in reversed(held):
        wanted |= {name for _, name in step.inputs}
        assert tensors <= wanted, f"{step.model} runs beside {sorted(tensors - wanted)}"
    assert len(held) > 5


def test_many_threads_get_the_answers_of_one(exported: Path) -> None:
    texts = ["a cat", "a dog"] * 8
    with LocalClient(exported) as alone:
        expected = [alone.embed_text(text) for text in texts]
    with LocalClient(exported) as shared, ThreadPoolExecutor(8) as pool:
        found = [*pool.map(shared.embed_text, texts)]
        outcomes = [*shared.main_object_many([PICTURE] * 3, ["man", "cow"], concurrency=3)]
    np.testing.assert_array_equal(found, expected)
    assert [outcome.unwrap().label for outcome in outcomes] == ["man"] * 3


def test_it_is_ready_until_it_is_closed(exported: Path) -> None:
    client = LocalClient(exported)
    client.check_ready()
    client.close()
    assert not client.is_ready()
    with pytest.raises(Unavailable, match="closed"):
        client.embed_text("a cat")


def test_a_folder_without_an_export_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="expected an export folder"):
        LocalClient(tmp_path)


@pytest.mark.parametrize("content", ["{", "{}", json.dumps({"deployment": {"members": 3}})])
def test_an_export_of_another_version_must_be_made_again(altered, content: str) -> None:
    with pytest.raises(Unavailable, match="export again"):
        LocalClient(altered("manifest.json", content))


def test_an_export_for_engines_is_refused_at_once(altered) -> None:
    with pytest.raises(Unavailable, match=r"engines .* runs on a server only"):
        LocalClient(altered(str(DECODER), None))


def test_a_broken_graph_fails_the_verbs_that_need_it(altered) -> None:
    client = LocalClient(altered(str(DECODER), "no graph"))
    assert client.embed_text("a cat").shape
    with pytest.raises(ServerError, match="sam_mask_decoder failed"):
        client.segment(PICTURE, points=(200, 200))
    with pytest.raises(ServerError, match="sam_mask_decoder failed"):
        client.check_ready()


def test_without_onnxruntime_it_says_what_to_install(exported: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'fovea\[local\]'"):
        LocalClient(exported)
    result = CliRunner().invoke(app, ["detect", str(PICTURE), "--text", "a", "--local", exported])
    assert result.exit_code == 2
    assert "pip install 'fovea[local]'" in result.stderr and "Traceback" not in result.stderr


def test_the_command_ends_with_one_line_where_no_export_is(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["embed", "--text", "cat", "--local", str(tmp_path)])
    assert result.exit_code == 3
    assert result.stderr.startswith("error: expected an export folder")
    assert len(result.stderr.splitlines()) == 1
