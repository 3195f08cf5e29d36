"""/openapi.json: examples run, schemas hold, and no request made from it breaks anything."""

import jsonschema
import pytest
import requests
import schemathesis
from fovea_web import answers
from fovea_web.app import make_app
from fovea_web.settings import Settings
from fovea_web.verbs import VERBS
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi import checks

from tests.client.fake_triton import FakeTriton
from tests.web.conftest import asking

JSON, FORM = "application/json", "multipart/form-data"
# What must hold for any answer to any request made from the schema, which names no 500.
CHECKS = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]
# `make fuzz-web`; the few of `make test` look at each route.
MANY, FEW = 10_000, 300


@schemathesis.serializer("application/x-ndjson")
def lines(ctx, value) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")


def described() -> dict:
    return make_app(Settings()).openapi()


SCHEMA = described()
POSTED = [
    (path, operation["requestBody"]["content"][JSON]["example"])
    for path, methods in SCHEMA["paths"].items()
    for operation in methods.values()
    if JSON in operation.get("requestBody", {}).get("content", {})
]


@pytest.fixture(scope="module")
def caller():
    """A caller of every verb: the fake server has them all."""
    triton = FakeTriton().start()
    with asking(Settings(triton.url, rate="1000000/minute")) as connected:
        yield connected
    triton.stop()


@pytest.mark.parametrize(("path", "example"), POSTED, ids=[path for path, _ in POSTED])
def test_each_example_runs_and_its_answer_fits_its_schema(caller, path, example):
    answer = caller.post(path, json=example)
    if path == "/v1/search":
        assert answer.status_code == 404  # there is no index here
        return
    assert answer.status_code == 200, answer.text
    told = SCHEMA["paths"][path]["post"]["responses"]["200"]["content"][JSON]["schema"]
    jsonschema.validate(answer.json(), told)


@pytest.mark.server
def test_each_example_of_what_the_demo_serves_runs_there(web):
    served = web.get("/v1/deployment").json()["paths"]
    for path, example in POSTED:
        if path in served:
            answer = web.post(path, json=example)
            assert answer.status_code == 200, answer.text
            told = SCHEMA["paths"][path]["post"]["responses"]["200"]["content"][JSON]["schema"]
            jsonschema.validate(answer.json(), told)


@pytest.mark.server
def test_verbs_that_are_not_served_are_not_described(web):
    told = web.get("/openapi.json").json()["paths"]
    assert "/v1/segment" in told and "/v1/batch/segment" in told and "/v1/embed" in told
    assert "/v1/segment-scene" not in told and "/v1/batch/segment-scene" not in told


def test_a_form_is_described_with_a_file(caller):
    for verb in VERBS.values():
        content = SCHEMA["paths"][f"/v1/{verb.path}"]["post"]["requestBody"]["content"]
        form, body = (
            content[kind]["schema"]["properties"] for kind in ("multipart/form-data", JSON)
        )
        assert set(form) == set(body)
        if verb.takes_image:
            assert form["image"]["contentMediaType"] == "application/octet-stream"


def test_every_verb_has_a_schema_of_its_answer():
    assert set(answers.MEMBERS) == set(VERBS)


def test_the_reference_page_calls_no_other_host(caller):
    for path in ("/docs", "/docs/reference.js", "/docs/reference.css"):
        text = caller.get(path).text
        assert "://" not in text and "<style" not in text and "style=" not in text
    assert caller.get("/openapi.json").json()["info"]["title"] == "fovea"
    assert caller.get("/problems/not-a-picture").json()["status"] == 415
    assert caller.get("/problems/nothing").status_code == 404


def fuzz(caller, examples: int) -> int:
    """Send requests made from the schema, right and wrong ones; returns how many were answered."""
    operations = [one.ok() for one in schemathesis.openapi.from_dict(SCHEMA).get_all_operations()]
    sent = 0
    limits = settings(
        max_examples=-(-examples // len(operations)),
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
        database=None,
        derandomize=True,
    )
    with requests.Session() as session:
        for operation in operations:
            right, wrong = (operation.as_strategy(mode) for mode in GenerationMode)

            @limits
            @given(case=right | wrong)
            def ask(case) -> None:
                nonlocal sent
                base_url = str(caller.base_url).rstrip("/")
                case.call_and_validate(base_url, session, checks=CHECKS)
                sent += 1

            ask()
    return sent


def test_requests_made_from_the_schema_are_answered_as_described(caller):
    assert fuzz(caller, FEW) >= FEW // 2
    assert caller.post("/v1/embed-text", json={"text": "still there"}).status_code == 200


@pytest.mark.faults
def test_ten_thousand_requests_do_no_harm(caller):
    assert fuzz(caller, MANY) >= MANY // 2
    assert caller.post("/v1/embed-text", json={"text": "still there"}).status_code == 200
