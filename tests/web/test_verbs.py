"""The verbs over HTTP, in front of the real Triton: the client's results, and their pictures."""

import base64
import io
import json

import httpx2
import numpy as np
import pytest
from fovea_client import AsyncClient, Mask
from fovea_web import parameters
from fovea_web.parameters import NOT_PARAMETERS, PARAMETERS
from fovea_web.verbs import VERBS
from PIL import Image

pytestmark = pytest.mark.server

LABELS = ["man", "snowboard"]


def post(web: httpx2.Client, verb: str, picture: bytes, query: str = "", **fields: object):
    files = {"image": ("picture.jpg", picture)}
    return web.post(f"/v1/{verb}{query}", files=files, data=fields)


def as_json(picture: bytes, **fields: object) -> dict[str, object]:
    return {"image": base64.b64encode(picture).decode(), **fields}


def test_a_form_gets_the_clients_answer(web, client, snowboard):
    answer = post(web, "main-object", snowboard, labels=LABELS)
    assert answer.status_code == 200, answer.text
    assert answer.json() == client.main_object(snowboard, LABELS).to_dict()


def test_json_gets_the_same_answer_as_a_form(web, snowboard):
    form = post(web, "detect", snowboard, phrases="man. snowboard", box_threshold="0.3")
    body = as_json(snowboard, phrases=LABELS, box_threshold=0.3)
    assert web.post("/v1/detect", json=body).json() == form.json()
    body["image"] = f"data:image/jpeg;base64,{body['image']}"
    assert web.post("/v1/detect", json=body).json() == form.json()


@pytest.mark.parametrize(
    "points", ["260,200", "[260, 200]", "[[260, 200]]", ["[260, 200]"], "[[[260, 200]]]"]
)
def test_points_may_be_written_in_several_forms(web, client, snowboard, points):
    answer = post(web, "segment", snowboard, points=points)
    assert answer.json() == client.segment(snowboard, points=[[260, 200]]).to_dict()


def test_points_beside_the_thing_and_a_box_go_together(web, client, snowboard):
    asked = {"points": [[[260, 200], [10, 10]]], "point_labels": [[1, 0]]}
    answer = web.post("/v1/segment", json=as_json(snowboard, **asked))
    assert answer.json() == client.segment(snowboard, **asked).to_dict()


def test_a_description_is_an_alternative(web, client, snowboard):
    words = "The man skiing on his new snowboard!"
    answer = post(web, "main-object", snowboard, description=words)
    assert answer.json() == client.main_object(snowboard, description=words).to_dict()


def test_everything_classes_and_vectors(web, client, snowboard):
    everything = post(web, "segment-everything", snowboard, max_objects="3")
    assert everything.json() == client.segment_everything(snowboard, max_objects=3).to_dict()
    classified = post(web, "classify", snowboard, labels=["man", "cake"], top_k="1")
    assert classified.json()["labels"] == ["man"]
    text = web.post("/v1/embed", json={"text": "a man"})
    assert text.json()["embedding"] == client.embed_text("a man").tolist()
    assert web.post("/v1/embed-text", json={"text": "a man"}).json() == text.json()
    picture = post(web, "embed", snowboard)
    assert picture.json()["embedding"] == client.embed_image(snowboard).tolist()
    assert post(web, "embed-image", snowboard).json() == picture.json()


@pytest.mark.parametrize("how", ["?mask=png", "Accept"])
def test_a_cut_out_is_transparent_outside_the_mask(web, snowboard, how):
    coco = post(web, "main-object", snowboard, labels=LABELS).json()["mask"]
    mask = Mask(coco["counts"].encode(), tuple(coco["size"]))
    query, headers = ("", {"Accept": "image/png"}) if how == "Accept" else (how, {})
    answer = web.post(
        f"/v1/main-object{query}",
        files={"image": snowboard},
        data={"labels": LABELS},
        headers=headers,
    )
    assert answer.headers["content-type"] == "image/png"
    image = Image.open(io.BytesIO(answer.content))
    assert image.mode == "RGBA"
    assert np.array_equal(np.array(image)[:, :, 3] == 255, mask.to_numpy())


def test_a_drawing_has_the_size_of_the_picture(web, snowboard):
    answer = post(web, "detect-and-segment", snowboard, "?mask=drawing", phrases=LABELS)
    image = Image.open(io.BytesIO(answer.content))
    assert (image.mode, image.size) == ("RGB", Image.open(io.BytesIO(snowboard)).size)


def test_a_verb_without_pictures_says_so(web, snowboard):
    answer = web.post(
        "/v1/classify",
        files={"image": snowboard},
        data={"labels": LABELS},
        headers={"Accept": "image/png"},
    )
    assert answer.status_code == 406
    assert answer.json()["type"] == "/problems/not-acceptable"
    assert post(web, "segment-everything", snowboard, "?mask=png").status_code == 406


def test_a_verb_that_is_not_served_is_refused_with_a_list_of_served_ones(web, snowboard):
    for path in ("segment-scene", "guess"):
        answer = post(web, path, snowboard)
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"
        assert "/v1/main-object" in answer.json()["detail"]


def test_the_deployment_lists_its_verbs(web, client):
    told = web.get("/v1/deployment").json()
    assert [verb["name"] for verb in told["verbs"]] == [verb.name for verb in client.verbs()]
    assert {member["name"] for member in told["members"]} >= {"clip", "sam"}
    assert "/v1/segment" in told["paths"] and "/v1/segment-scene" not in told["paths"]
    assert told["search"] is None


def test_answers_have_their_times(web, snowboard):
    answer = post(web, "detect", snowboard, phrases="man")
    steps = dict(part.split(";dur=") for part in answer.headers["server-timing"].split(", "))
    assert {"read", "call", "encode", "fovea"} <= set(steps)
    assert float(steps["fovea"]) >= float(steps["call"])


def test_health_samples_and_the_page(web):
    assert web.get("/health/live").json() == {"live": True}
    assert web.get("/health/ready").json() == {"ready": True}
    samples = web.get("/v1/samples").json()["samples"]
    assert len(samples) == 12 and "man" in samples[0]["labels"]
    assert web.get(samples[0]["url"]).headers["content-type"] == "image/jpeg"
    for path in ("/samples/truth.json", "/samples/..%2F__init__.py", "/static/../app.py"):
        assert web.get(path).status_code == 404
    assert web.get("/").headers["content-type"].startswith("text/html")


def test_requests_are_counted_by_route(web, snowboard):
    post(web, "detect", snowboard, phrases="man")
    web.post("/v1/nothing/such", content=b"")
    text = web.get("/metrics").text
    assert 'fovea_web_requests_total{method="POST",route="/v1/detect",status="200"}' in text
    assert "nothing/such" not in text


def test_every_parameter_of_the_client_is_in_the_table():
    for verb in VERBS.values():
        for name in parameters.names_of(getattr(AsyncClient, verb.kind)):
            assert name in PARAMETERS
    assert set(NOT_PARAMETERS).isdisjoint(PARAMETERS)


def test_every_verb_of_the_deployment_has_a_path():
    from fovea.verbs import VERBS as SERVED

    assert set(VERBS) == set(SERVED)


def test_the_example_of_each_verb_is_what_its_model_takes():
    for verb in VERBS.values():
        parameters.from_json(verb.model, json.loads(json.dumps(verb.example)))
