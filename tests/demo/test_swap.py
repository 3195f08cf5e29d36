"""Deployments of other families, served by the real Triton, answer as their references do."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fovea_client import Client, UnknownVerb

from demo import swap_alone
from demo.reference import ReferencePipeline
from demo.samples import FOLDER as SAMPLES
from demo.served import demo_server, export_demo
from demo.swap import CASES, Case, measure

SCENES = 3


@pytest.fixture(scope="module", params=["demo-swapped", "demo-side-by-side"])
def deployment(request: pytest.FixtureRequest):
    """A deployment's name, and a client of its server."""
    with (
        demo_server(export_demo(request.param)) as server,
        Client(server.grpc_url) as connected,
    ):
        yield request.param, connected


def of_deployment(name: str) -> list[Case]:
    return [case for case in CASES if case.deployment == name]


def test_served_answers_equal_the_references(deployment) -> None:
    name, client = deployment
    for case in of_deployment(name):
        row = measure(case, client, SCENES)
        assert row.same, row
        assert row.truth.label_accuracy > 0.5 and row.truth.mask_iou_box > 0.7, row


def test_the_answers_of_other_models_are_not_the_same(deployment) -> None:
    name, client = deployment
    case = of_deployment(name)[-1]
    assert case.reference is not ReferencePipeline
    assert not measure(replace(case, reference=ReferencePipeline), client, SCENES).same


def test_the_second_detector_is_called_by_the_name_of_its_verb(deployment) -> None:
    name, client = deployment
    picture = SAMPLES / "man-on-snowboard.jpg"
    if name == "demo-side-by-side":
        first = client.detect(picture, "man")
        second = client.detect(picture, "man", verb="detect_owlv2")
        assert first.boxes.tolist() != second.boxes.tolist()
    else:
        with pytest.raises(UnknownVerb, match="has no 'detect_owlv2'"):
            client.detect(picture, "man", verb="detect_owlv2")


# tests/serving/test_classify.py covers demo-classify, because it runs that server.
@pytest.mark.parametrize("deployment", sorted(swap_alone.MEMBERS.keys() - {"demo-classify"}))
def test_members_with_verbs_of_their_own_answer_as_their_references_do(deployment) -> None:
    few = {"gallery": 72} if deployment == "demo-features" else {}
    with (
        demo_server(export_demo(deployment)) as server,
        Client(server.grpc_url) as client,
    ):
        for measure in swap_alone.MEMBERS[deployment]:
            row = measure(client, 6, **few)
            assert row.is_same and row.truth >= 0.5, row


def test_a_vector_that_differs_is_reported() -> None:
    row = swap_alone.Alone("dinov2", "embed_image", 0.9, "label_accuracy", 1.0, 0.999)
    assert not row.is_same
