"""The `fovea` command, run the way users do."""

from __future__ import annotations

import functools
import json
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from fovea_client.cli import app
from fovea_server import ServerOptions
from PIL import Image
from typer.testing import CliRunner, Result

import fovea
from tests.client.fake_triton import SQUARE_BOX, FakeTriton, Refusal, detections, plausible


@pytest.fixture
def photo(png: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    path.write_bytes(png)
    return path


@pytest.fixture
def folder(png: bytes, tmp_path: Path) -> Path:
    for name in ("b.png", "a.png", "sub/c.png"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png)
    return tmp_path / "photos"


def fovea_command(triton: FakeTriton, *arguments: object) -> Result:
    runner = CliRunner(env={"FOVEA_URL": triton.url, "COLUMNS": "120", "NO_COLOR": "1"})
    return runner.invoke(app, [str(argument) for argument in arguments])


def json_lines(result: Result) -> list[dict]:
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_main_object_prints_a_table(triton: FakeTriton, photo: Path) -> None:
    result = fovea_command(triton, "main-object", photo, "--labels", "man. snowboard")
    assert result.exit_code == 0
    assert "man" in result.stdout and "2 1 5 4" in result.stdout
    assert "snowboard" in result.stdout and "0.900" in result.stdout
    assert result.stderr == ""


def test_main_object_prints_json_and_saves_the_drawing(
    triton: FakeTriton, photo: Path, tmp_path: Path
) -> None:
    out = tmp_path / "new" / "out.png"
    result = fovea_command(
        triton, "main-object", photo, "--labels", "man. snowboard", "--json", "--out", out
    )
    (record,) = json_lines(result)
    assert record["source"] == str(photo)
    assert record["label"] == "man" and record["box"] == SQUARE_BOX
    assert Image.open(out).size == Image.open(photo).size
    assert Image.open(out).tobytes() != Image.open(photo).tobytes()


def test_main_object_takes_a_description(triton: FakeTriton, photo: Path) -> None:
    triton.behave = lambda call: detections("man") if call.model == "detect" else plausible(call)
    result = fovea_command(triton, "main-object", photo, "--description", "A man skis!", "--json")
    assert json_lines(result)[0]["label"] == "man"


def test_a_descriptions_words_go_to_the_named_verb(triton: FakeTriton, photo: Path) -> None:
    triton.behave = lambda call: detections("man") if call.model == "find" else plausible(call)
    named = ("--description", "A man skis!", "--detect-verb", "find")
    assert json_lines(fovea_command(triton, "main-object", photo, *named, "--json"))
    assert [call.model for call in triton.calls] == ["find", "main_object"]


def test_nothing_found_is_no_error(triton: FakeTriton, photo: Path, tmp_path: Path) -> None:
    triton.behave = lambda call: detections()
    arguments = ("main-object", photo, "--description", "cat", "--out", tmp_path / "out.jpg")
    result = fovea_command(triton, *arguments)
    assert result.exit_code == 0 and "not found" in result.stdout
    assert (tmp_path / "out.jpg").exists()


def test_detect_sends_thresholds(triton: FakeTriton, photo: Path) -> None:
    result = fovea_command(
        triton, "detect", photo, "--text", "cat. dog", "--box-threshold", "0.5", "--json"
    )
    assert json_lines(result)[0]["phrases"] == ["cat", "dog"]
    assert triton.calls[0].inputs["BOX_THRESHOLD"].tolist() == [[0.5]]


@pytest.mark.parametrize("command", ["main-object", "detect", "detect-and-segment"])
def test_a_label_is_taken_whole_and_may_repeat(
    triton: FakeTriton, photo: Path, command: str
) -> None:
    options = ["--label", "St. Bernard", "--label", "Red Car", "--json"]
    (record,) = json_lines(fovea_command(triton, command, photo, *options))
    assert triton.calls[-1].labels() == ["St. Bernard", "Red Car"]
    assert record.get("label", record.get("phrases")) in ("St. Bernard", ["St. Bernard", "Red Car"])


def test_detect_and_segment_has_masks(triton: FakeTriton, photo: Path) -> None:
    result = fovea_command(triton, "detect-and-segment", photo, "--text", "cat", "--json")
    assert len(json_lines(result)[0]["masks"]) == 1


@pytest.mark.parametrize(
    ("options", "labels"),
    [
        (["--box", "1,2,3,4", "--box", "0,0,8.5,6"], [[2, 3], [2, 3]]),
        (["--point", "1,2", "--point", "3,4"], [[1], [1]]),
        (["--point", "1,2", "--point", "3,4", "--together"], [[1, 1]]),
        (["--point", "1,2", "--background", "3,4"], [[1, 0]]),
        (["--box", "1,2,3,4", "--point", "1,2", "--background", "3,4"], [[1, 0, 2, 3]]),
    ],
)
def test_segment_takes_boxes_and_points(
    triton: FakeTriton, photo: Path, options: list[str], labels: list
) -> None:
    result = fovea_command(triton, "segment", photo, *options, "--json")
    assert len(json_lines(result)[0]["masks"]) == len(labels)
    assert triton.calls[0].inputs["POINT_LABELS"].tolist() == [labels]


@pytest.mark.parametrize(
    "arguments",
    [
        ["segment", "PHOTO", "--box", "1,2,3"],
        ["segment", "PHOTO", "--point", "a,b"],
        ["segment", "PHOTO"],
        ["main-object", "PHOTO"],
        ["main-object", "PHOTO", "--labels", "a", "--description", "b"],
        ["main-object", "--labels", "a"],
        ["main-object", "PHOTO", "--labels", "a", "--label", "b"],
        ["detect", "PHOTO", "--text", ""],
        ["detect", "PHOTO", "--text", "a", "--label", "b"],
        ["main-object", "PHOTO", "--labels", "a", "--out", "out.gif"],
        ["main-object", "PHOTO", "--labels", " . "],
        ["detect", "PHOTO", "--text", "a", "--box-threshold", "2"],
        ["detect", "PHOTO", "--text", "a", "--timeout", "0"],
        ["detect", "PHOTO", "--text", "a", "--url", "http://localhost:8000"],
        ["detect", "missing.png", "--text", "a"],
        ["embed"],
        ["embed", "PHOTO", "--text", "a"],
        ["nonsense"],
    ],
)
def test_wrong_usage_ends_with_2_and_without_traceback(
    triton: FakeTriton, photo: Path, arguments: list[str]
) -> None:
    given = [str(photo) if argument == "PHOTO" else argument for argument in arguments]
    result = fovea_command(triton, *given)
    assert result.exit_code == 2
    assert result.stdout == "" and result.stderr
    assert "Traceback" not in result.stderr
    assert not triton.calls


def test_embeds_pictures_and_texts(triton: FakeTriton, photo: Path) -> None:
    assert json_lines(fovea_command(triton, "embed", photo, "--json"))[0]["embedding"] == [1, 0, 0]
    (record,) = json_lines(fovea_command(triton, "embed", "--text", "a cat", "--json"))
    assert record == {"text": "a cat", "embedding": [0, 1, 0]}
    assert "+1.0000" in fovea_command(triton, "embed", photo).stdout


def test_a_folder_gives_a_line_for_each_picture_in_order(
    triton: FakeTriton, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "drawn"
    result = fovea_command(triton, "detect", folder, "--text", "cat", "--json", "--out", out)
    sources = [record["source"] for record in json_lines(result)]
    assert sources == [str(folder / name) for name in ("a.png", "b.png", "sub/c.png")]
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*.png")) == [
        "a.png",
        "b.png",
        "sub/c.png",
    ]


def test_a_folder_gives_one_table(triton: FakeTriton, folder: Path) -> None:
    result = fovea_command(triton, "detect", folder, "--text", "cat. dog")
    assert result.exit_code == 0
    assert result.stdout.count("cat") == 3 and "c.png" in result.stdout


def test_one_bad_picture_of_many_is_reported_and_the_rest_are_done(
    triton: FakeTriton, folder: Path, photo: Path
) -> None:
    (folder / "b.png").write_bytes(b"bad")

    def behave(call):
        if call.inputs["IMAGE"][0, 0] == b"bad":
            return Refusal(grpc.StatusCode.INVALID_ARGUMENT, "[invalid_image] not a picture")
        return plausible(call)

    triton.behave = behave
    result = fovea_command(triton, "detect", folder, photo, "--text", "cat", "--json")
    assert result.exit_code == 2
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(records) == 4
    assert records[1]["error"] == {"type": "InvalidImage", "message": "not a picture"}
    assert result.stderr == f"error: {folder / 'b.png'}: not a picture\n"


def test_an_empty_folder_is_wrong_usage(triton: FakeTriton, tmp_path: Path) -> None:
    result = fovea_command(triton, "embed", tmp_path)
    assert result.exit_code == 2 and "got none" in result.stderr


@pytest.mark.parametrize(
    ("refusal", "code"),
    [
        (Refusal(grpc.StatusCode.INVALID_ARGUMENT, "[invalid_prompt] outside"), 2),
        (Refusal(grpc.StatusCode.UNAVAILABLE, "Exceeds maximum queue size"), 3),
        (Refusal(grpc.StatusCode.DEADLINE_EXCEEDED, "late"), 3),
        (Refusal(grpc.StatusCode.INTERNAL, "Failed to\nprocess"), 4),
    ],
)
def test_exit_codes_tell_whose_fault_it_was(
    triton: FakeTriton, photo: Path, refusal: Refusal, code: int
) -> None:
    triton.behave = lambda call: refusal
    result = fovea_command(triton, "detect", photo, "--text", "cat", "--timeout", "0.3")
    assert result.exit_code == code
    assert result.stdout == ""
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1


def test_no_server_ends_at_once_and_says_what_to_do(triton: FakeTriton, photo: Path) -> None:
    triton.stop()
    result = fovea_command(triton, "detect", photo, "--text", "cat")
    assert result.exit_code == 3
    assert "fovea serve" in result.stderr


def test_version() -> None:
    assert CliRunner().invoke(app, ["--version"]).stdout.strip() == fovea.__version__


@pytest.mark.parametrize(
    ("flags", "options"),
    [
        (["--grpc-port", "0"], {"grpc_port": 0}),
        (["--no-verify-checksums"], {"verify_checksums": False}),
        ([], {}),
    ],
)
def test_serve_hands_its_options_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flags: list[str], options: dict[str, object]
) -> None:
    served = []
    monkeypatch.setattr(
        "fovea_server.serve", lambda options, json_line: served.append((options, json_line)) or 7
    )
    arguments = ["serve", "--model-repository", str(tmp_path), *flags, "--json"]
    assert CliRunner().invoke(app, arguments).exit_code == 7
    assert served == [(ServerOptions(model_repository=tmp_path, **options), True)]


def test_serve_without_its_extra_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("fovea_server", "fovea_server.cli"):
        monkeypatch.setitem(sys.modules, name, None)
    result = CliRunner().invoke(app, ["serve", "--model-repository", str(tmp_path)])
    assert result.exit_code == 2
    assert "pip install 'fovea[server]'" in result.stderr


@pytest.fixture
def job(triton: FakeTriton, png: bytes, tmp_path: Path, monkeypatch) -> Callable[..., Result]:
    """Runs `fovea detect` on pictures of these names (bytes or str) below an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*names: str | bytes, given: list[str] | None = None, options: Sequence[str] = ()):
        paths = [Path(os.fsdecode(name)) for name in names]
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png)
        return fovea_command(triton, "detect", *(given or paths), "--text", "cat", *options)

    return run


def drawings(out: Path) -> list[str]:
    return sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())


def test_equal_names_in_two_folders_are_two_drawings(job, tmp_path: Path) -> None:
    names = ("mon/img.png", "tue/img.png", "mon/other.png")
    result = job(*names, given=["mon", "tue"], options=["--out", "out"])
    assert result.exit_code == 0
    assert drawings(tmp_path / "out") == ["mon/img.png", "other.png", "tue/img.png"]
    assert "mon/img.png" in result.stdout and "tue/img.png" in result.stdout


def test_a_picture_given_twice_is_drawn_twice(job, tmp_path: Path) -> None:
    job("a/img.png", given=["a/img.png", "a/img.png"], options=["--out", "out"])
    assert drawings(tmp_path / "out") == ["a/img-2.png", "a/img.png"]


@pytest.mark.parametrize("name", ["a [final].png", "[red]a.png", "[bold].png", "a\x1b[31m.png"])
def test_names_are_shown_as_they_are(job, name: str) -> None:
    result = job(name, "b.png")
    assert result.exit_code == 0
    assert name.replace("\x1b", "\\x1b") in result.stdout


def test_labels_in_brackets_are_shown_as_they_are(triton: FakeTriton, photo: Path) -> None:
    options = ["--label", "[/b]", "--label", "[bold]"]
    result = fovea_command(triton, "main-object", photo, *options)
    assert result.exit_code == 0, result.output
    assert "[/b]" in result.stdout and "[bold]" in result.stdout


def test_a_name_that_is_not_utf8_comes_back_from_the_json(job) -> None:
    result = job(b"caf\xe9.png", "z.png", options=["--json"])
    lines = result.stdout_bytes.decode("utf-8").splitlines()
    names = {os.fsencode(json.loads(line)["source"]) for line in lines}
    assert names == {b"caf\xe9.png", b"z.png"}


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "utf-8:strict", "cp1252"])
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_any_terminal_will_do(triton: FakeTriton, png: bytes, tmp_path, encoding, options) -> None:
    for name in (b"caf\xe9.png", "猫 🐱.png".encode()):
        (tmp_path / os.fsdecode(name)).write_bytes(png)
    environment = {"FOVEA_URL": triton.url, "PYTHONIOENCODING": encoding}
    arguments = ["main-object", str(tmp_path), "--label", "猫", *options]
    ran = subprocess.run(
        [sys.executable, "-c", "from fovea_client.cli import app; app()", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr.decode()
    assert b"Traceback" not in ran.stderr
    if options:
        sources = [json.loads(line)["source"] for line in ran.stdout.decode("utf-8").splitlines()]
        assert len(sources) == 2 and str(tmp_path / "猫 🐱.png") in sources


def test_a_text_that_is_not_utf8_is_one_line(triton: FakeTriton) -> None:
    result = fovea_command(triton, "embed", "--text", os.fsdecode(b"caf\xe9"))
    assert result.exit_code == 2
    assert "UTF-8" in result.stderr and len(result.stderr.splitlines()) == 1


def test_no_picture_name_stops_a_job(job, tmp_path: Path) -> None:
    names = ("photo", "b.jfif", "C.PNG", "d.tar.gz")
    result = job(*names, options=["--out", "out"])
    assert result.exit_code == 0, result.output
    assert drawings(tmp_path / "out") == ["C.PNG", "b.jfif", "d.tar.gz.png", "photo.png"]


def test_a_drawing_that_cannot_be_saved_stops_no_job(job, tmp_path: Path) -> None:
    (tmp_path / "out" / "b.png").mkdir(parents=True)
    result = job("a.png", "b.png", "c.png", options=["--out", "out"])
    assert result.exit_code == 2
    assert "b.png" in result.stderr and "could not be saved" in result.stderr
    assert drawings(tmp_path / "out") == ["a.png", "c.png"]
    assert all(name in result.stdout for name in ("a.png", "b.png", "c.png"))


def test_no_drawing_replaces_another_one(job, tmp_path: Path) -> None:
    assert job("photo", "photo.png", options=["--out", "out"]).exit_code == 0
    assert len(drawings(tmp_path / "out")) == 2


@pytest.mark.parametrize("several", [False, True])
def test_no_drawing_replaces_an_input_picture(
    triton: FakeTriton, folder: Path, png: bytes, several: bool
) -> None:
    given, out = (folder, folder) if several else (folder / "a.png", folder / "a.png")
    result = fovea_command(triton, "detect", given, "--text", "cat", "--out", out)
    assert result.exit_code == 2 and "apart from the pictures" in result.stderr
    assert (folder / "a.png").read_bytes() == png
    assert not triton.calls


def run_fovea(triton: FakeTriton, *arguments: object, **options) -> subprocess.Popen:
    code = "import sys; from fovea_client.cli import app; app()"
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **{"env": {**os.environ, "FOVEA_URL": triton.url}, **options},
    )


def test_a_full_disk_stops_no_job_and_leaves_no_half_drawing(
    triton: FakeTriton, folder: Path, tmp_path: Path
) -> None:
    full = functools.partial(resource.setrlimit, resource.RLIMIT_FSIZE, (50, 50))
    arguments = ("detect", folder, "--text", "cat", "--json", "--out", tmp_path / "out")
    run = run_fovea(triton, *arguments, preexec_fn=full)
    stdout, stderr = run.communicate()
    assert run.returncode == 2 and len(stdout.splitlines()) == 3
    assert stderr.count(b"could not be saved") == 3 and b"Traceback" not in stderr
    assert drawings(tmp_path / "out") == []


def test_ctrl_c_ends_with_one_line(triton: FakeTriton, folder: Path) -> None:
    asked, go_on = threading.Event(), threading.Event()

    def behave(call):
        asked.set()
        go_on.wait(30)
        return plausible(call)

    triton.behave = behave
    run = run_fovea(triton, "detect", folder, "--text", "cat", "--json")
    assert asked.wait(30)
    run.send_signal(signal.SIGINT)
    assert run.stderr.readline() == b"error: interrupted\n"
    go_on.set()
    _, rest = run.communicate()
    assert run.returncode == 130 and rest == b""


def test_a_locale_without_utf8_changes_no_text(triton: FakeTriton) -> None:
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    env = {**os.environ, "FOVEA_URL": triton.url, **plain}
    run = run_fovea(triton, "embed", "--text", "café", "--json", env=env)
    assert json.loads(run.communicate()[0])["text"] == "café"


def test_serve_finds_what_a_deployment_was_exported_to(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    served = []
    monkeypatch.setattr("fovea_server.serve", lambda options, json_line: served.append(options))
    monkeypatch.chdir(tmp_path)
    folder = Path("build/export/mine/model_repository")
    missing = CliRunner().invoke(app, ["serve", "--deployment", "some/mine.toml"])
    assert missing.exit_code == 2
    assert "python -m export some/mine.toml" in " ".join(missing.stderr.replace("│", "").split())
    folder.mkdir(parents=True)
    CliRunner().invoke(app, ["serve", "--deployment", "some/mine.toml"])
    assert served == [ServerOptions(model_repository=folder)]
    both = ["serve", "--deployment", "mine", "--model-repository", str(tmp_path)]
    assert CliRunner().invoke(app, both).exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "own"),
    [
        (["main-object", "--labels", "cat"], "main_object"),
        (["detect", "--text", "cat"], "detect"),
        (["detect-and-segment", "--text", "cat"], "detect_and_segment"),
        (["segment", "--point", "1,1"], "segment"),
        (["embed"], "embed_image"),
    ],
)
def test_a_verb_is_called_by_the_given_name(
    triton: FakeTriton, photo: Path, arguments: list[str], own: str
) -> None:
    triton.behave = lambda call: plausible(replace(call, model=own))
    command, *options = arguments
    json_lines(fovea_command(triton, command, photo, *options, "--verb", "mine", "--json"))
    assert [call.model for call in triton.calls] == ["mine"]
