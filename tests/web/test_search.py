"""Object search over HTTP, in a world of coloured squares whose finds can be counted."""

import io
import json
from collections.abc import Iterator

import httpx2
import pytest
from fovea_client import Client
from fovea_search import Job, Options, Servers, sources
from fovea_search.servers import open_store
from fovea_web.settings import Settings
from PIL import Image

from tests.search import colours
from tests.web.conftest import asking

PICTURES = 8


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> list:
    return colours.write(tmp_path_factory.mktemp("photos"), PICTURES)


@pytest.fixture(scope="module")
def caller(photos, tmp_path_factory) -> Iterator[httpx2.Client]:
    store = str(tmp_path_factory.mktemp("index") / "store")
    triton = colours.server().start()
    with Client(triton.url, timeout_s=30) as client:
        opened = open_store(store, [client], "embed_objects", {})
        servers = Servers([client], "embed_objects", {})
        Job(opened, servers, Options()).run(sources.find(map(str, photos), print))
    with asking(Settings(url=triton.url, store=store)) as connected:
        yield connected
    triton.stop()


def find(caller: httpx2.Client, **query: object) -> dict:
    answer = caller.post("/v1/search", json=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_words_find_objects(caller):
    found = find(caller, text="green", k=4, same=1)
    assert len(found["finds"]) == 4
    best = found["finds"][0]
    assert best["score"] == pytest.approx(1, abs=0.01)
    assert best["size_hw"] == [colours.SIZE, colours.SIZE]
    assert set(best) >= {"id", "picture", "path", "score", "box", "mask", "kind"}
    assert best["id"].startswith(best["picture"])


def test_a_picture_finds_pictures_and_a_box_finds_objects(caller, photos):
    files = {"image": photos[0].read_bytes()}
    fields = {"pictures": "true", "k": "2", "same": "1"}
    found = caller.post("/v1/search", files=files, data=fields).json()["finds"]
    alike = {str(photos[0]), str(photos[4])}  # of the same colours
    assert {one["path"] for one in found} == alike
    box = find(caller, text="blue", k=1, where=f"path = '{photos[0]}'")["finds"][0]["box"]
    fields = {"box": json.dumps(box), "k": "3", "same": "1"}
    answer = caller.post("/v1/search", files=files, data=fields)
    assert [one["score"] for one in answer.json()["finds"]] == pytest.approx([1] * 3, abs=0.01)


def test_marks_refine_and_conditions_filter(caller):
    finds = find(caller, text="blue", k=8, same=1)["finds"]
    marked = find(caller, good=[finds[0]["id"]], bad=[finds[-1]["id"]], k=3)
    assert marked["finds"]
    assert find(caller, text="blue", where="area > 2")["finds"] == []
    grouped = find(caller, text="red", group=True, k=50, same=1)["finds"]
    assert len({one["picture"] for one in grouped}) == len(grouped)
    assert len(find(caller, text="red", **{"not": "blue"}, k=2)["finds"]) == 2


def test_pictures_come_by_their_content_alone(caller, photos):
    picture = find(caller, text="red", k=1)["finds"][0]["picture"]
    answer = caller.get(f"/v1/search/pictures/{picture}", params={"edge": 32})
    assert answer.headers["content-type"] == "image/jpeg"
    assert max(Image.open(io.BytesIO(answer.content)).size) == 32
    for other in ("0" * 64, "etc", picture[:32], str(photos[0]).replace("/", "%2F")):
        assert caller.get(f"/v1/search/pictures/{other}").status_code == 404
    assert caller.get(f"/v1/search/pictures/{picture}?edge=99999").status_code == 422


def test_a_picture_that_changed_is_not_shown(caller, photos):
    found = find(caller, text="blue", where=f"path = '{photos[-1]}'", k=1)["finds"][0]
    before = photos[-1].read_bytes()
    try:
        photos[-1].write_bytes(photos[0].read_bytes())
        answer = caller.get(f"/v1/search/pictures/{found['picture']}")
    finally:
        photos[-1].write_bytes(before)
    assert answer.status_code == 404 and "changed" in answer.json()["detail"]


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"text": ""},
        {"text": "red", "where": "nonsense ="},
        {"text": "red", "k": 0},
        {"text": "red", "k": 10_000},
        {"text": "red", "path": "/etc/passwd"},
        {"like": "../../etc"},
        {"box": [1, 2, 3, 4]},
        {"text": "red", "templates": ["no place"]},
    ],
)
def test_invalid_searches_get_errors(caller, query):
    answer = caller.post("/v1/search", json=query)
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def test_the_deployment_has_the_size_of_the_index(caller):
    told = caller.get("/v1/deployment").json()["search"]
    assert told == {"objects": 2 * PICTURES, "pictures": PICTURES}
    assert "/v1/search" in caller.get("/openapi.json").json()["paths"]


def test_without_an_index_there_is_no_search():
    triton = colours.server().start()
    with asking(Settings(url=triton.url)) as caller:
        assert caller.post("/v1/search", json={"text": "red"}).status_code == 404
        assert caller.get(f"/v1/search/pictures/{'0' * 64}").status_code == 404
        assert caller.get("/v1/deployment").json()["search"] is None
        assert "/v1/search" not in caller.get("/openapi.json").json()["paths"]
    triton.stop()
