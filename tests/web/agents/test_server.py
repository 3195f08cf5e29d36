"""The tools of the served demo, over stdio and over streamable HTTP."""

from __future__ import annotations

import base64
import io
import json
import signal
import subprocess
from pathlib import Path

import httpx2
import pytest
from fovea_client import Client
from fovea_web.agents import cli
from mcp import MCPError
from PIL import Image

from tests.web.agents.conftest import COMMAND, Agent, http_address, over_stdio

pytestmark = pytest.mark.server

NAME = "man-on-snowboard.jpg"


def test_a_tool_for_each_verb_that_has_an_answer_in_words(agent: Agent, client: Client) -> None:
    told = set(agent.tools())
    served = {verb.name for verb in client.verbs()}
    assert told == served - {"embed_image", "embed_text", "embed_objects"} | {"list_pictures"}


def test_tools_say_what_they_are_for_and_that_they_change_nothing(agent: Agent) -> None:
    for tool in agent.tools().values():
        assert tool.title and tool.description.endswith(".")
        assert tool.annotations.read_only_hint
        assert all(one["description"] for one in tool.input_schema["properties"].values())


def test_the_objects_of_a_description_are_found(agent: Agent, client: Client, photo: Path) -> None:
    record = agent.record("main_object", path=NAME, labels=["man", "snowboard"])
    expected = client.main_object(photo, ["man", "snowboard"])
    assert (record["found"], record["label"]) == (True, "man")
    assert record["box"] == [round(edge) for edge in expected.box.tolist()]
    assert record["mask_area"] == expected.mask.area
    assert record["picture"] == {"width": 480, "height": 360}


def test_a_description_asks_the_detector_of_the_same_verb(agent: Agent) -> None:
    said = "The man skiing on his new snowboard!"
    assert agent.record("main_object", path=NAME, description=said)["label"] == "man"


def test_nothing_found_is_an_answer(agent: Agent) -> None:
    assert agent.record("detect", path=NAME, phrases=["elephant"]) == {
        "count": 0,
        "objects": [],
        "picture": {"width": 480, "height": 360},
    }


def test_a_picture_may_come_in_base64(agent: Agent, photo: Path) -> None:
    encoded = base64.b64encode(photo.read_bytes()).decode()
    named = agent.record("detect", path=NAME, phrases=["man"])
    assert agent.record("detect", image_base64=encoded, phrases=["man"]) == named
    uri = f"data:image/jpeg;base64,{encoded}"
    assert agent.record("detect", image_base64=uri, phrases=["man"]) == named


def test_masks_are_included_only_on_request(agent: Agent, client: Client, photo: Path) -> None:
    box = [153, 87, 370, 310]
    short = agent.record("segment", path=NAME, boxes=[box])["objects"][0]
    long = agent.record("segment", path=NAME, boxes=[box], masks=True)["objects"][0]
    assert "mask" not in short and long["mask"]["size"] == [360, 480]
    assert long["mask"] == client.segment(photo, boxes=box).masks[0].to_coco()


def test_points_together_with_background_mean_one_thing(agent: Agent) -> None:
    apart = agent.record("segment", path=NAME, points=[[260, 200], [300, 250]])
    together = agent.record("segment", path=NAME, points=[[260, 200]], background=[[20, 20]])
    assert (apart["count"], together["count"]) == (2, 1)


def test_a_drawing_comes_on_request(agent: Agent) -> None:
    result = agent.call("detect_and_segment", path=NAME, phrases=["man"], annotated=True)
    text, image = result.content
    assert text.type == "text" and image.mime_type == "image/jpeg"
    drawn = Image.open(io.BytesIO(base64.b64decode(image.data)))
    assert drawn.size == (480, 360)


def test_everything_is_found_as_the_client_finds_it(agent: Agent, client: Client) -> None:
    record = agent.record("segment_everything", path=NAME, max_objects=4)
    assert 1 <= record["count"] <= 4
    scores = [one["score"] for one in record["objects"]]
    assert scores == sorted(scores, reverse=True)


def test_errors_carry_the_clients_own_words(agent: Agent, photo: Path, client: Client) -> None:
    with pytest.raises(ValueError, match="expected") as told:
        client.segment(photo, points=[9000, 9000])
    refusal = agent.refusal("segment", path=NAME, points=[[9000, 9000]])
    assert refusal == f"InvalidPrompt: {told.value}"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"phrases": ["man"]}, "InvalidInput: expected a picture, as path or image_base64"),
        ({"path": NAME}, "InvalidInput: phrases: Field required"),
        ({"path": NAME, "phrases": "man"}, "phrases: Input should be a valid list"),
        ({"path": NAME, "phrases": ["man"], "box_threshold": 2}, "less than or equal to 1"),
        ({"path": NAME, "phrases": ["man"], "colour": 1}, "colour: no such argument"),
        ({"path": NAME, "image_base64": "aA==", "phrases": ["man"]}, "got both"),
        ({"path": "../truth.json", "phrases": ["man"]}, "InvalidImage: expected a picture file"),
        ({"path": "/etc/passwd", "phrases": ["man"]}, "InvalidImage: expected a picture file"),
        ({"path": "truth.json", "phrases": ["man"]}, "InvalidImage: expected a whole JPEG"),
        ({"image_base64": "%%%", "phrases": ["man"]}, "InvalidImage: expected a picture in base64"),
        ({"path": NAME, "phrases": [" "]}, "InvalidText: label 0: expected a text"),
    ],
)
def test_invalid_calls_are_refused_in_words(agent: Agent, arguments: dict, words: str) -> None:
    assert words in agent.refusal("detect", **arguments)


def test_an_abandoned_call_harms_no_other(agent: Agent) -> None:
    with pytest.raises(MCPError):
        agent.leave("segment_everything", path=NAME, points_per_side=24)
    assert agent.record("detect", path=NAME, phrases=["man"])["count"] == 1


def test_an_unknown_tool_is_refused_with_a_list_of_known_ones(agent: Agent) -> None:
    with pytest.raises(MCPError, match=r"no tool 'paint', expected one of classify, detect"):
        agent.call("paint")


def test_without_folders_nothing_can_be_named_by_path(url: str, photo: Path) -> None:
    with over_stdio("--url", url) as agent:
        tools = agent.tools()
        assert "list_pictures" not in tools
        assert tools["detect"].input_schema["required"] == ["image_base64", "phrases"]
        assert "path: no such argument" in agent.refusal(
            "detect", path=str(photo), image_base64="aA==", phrases=["man"]
        )


def test_pictures_in_the_folders_are_listed(agent: Agent) -> None:
    record = agent.record("list_pictures")
    assert record["count"] == 12 and NAME in record["pictures"]


def test_other_hosts_and_origins_and_large_bodies_are_refused(url: str) -> None:
    """No page in a browser reaches the tools by a name that leads here."""
    with http_address("--url", url) as address:
        for headers, status in (
            ({"Host": "rebound.example"}, 421),
            ({"Origin": "http://rebound.example"}, 403),
        ):
            assert httpx2.post(address, json={}, headers=headers).status_code == status
        body = b" " * (cli.BODY_BYTES + 1)
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        assert httpx2.post(address, content=body, headers=headers).status_code == 413


def test_without_a_server_the_command_ends_with_one_line() -> None:
    ended = subprocess.run(
        [*COMMAND, "--url", "localhost:1", "--timeout", "1"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert (ended.returncode, ended.stdout) == (3, "")
    assert ended.stderr.startswith("error: no server is ready at localhost:1")
    assert len(ended.stderr.splitlines()) == 1


def test_ctrl_c_ends_the_command_though_the_host_still_listens(url: str) -> None:
    command = [*COMMAND, "--url", url]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:
        process.stdin.write('{"jsonrpc":"2.0","id":1,"method":"ping"}\n')
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["id"] == 1
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 130
        assert process.stderr.read() == "error: interrupted\n"
