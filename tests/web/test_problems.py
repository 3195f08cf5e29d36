"""Errors as problem details: every class of every tree has a status."""

import inspect

import pytest
from fovea_search import errors as search_errors
from fovea_web import problems
from fovea_web.openapi import STATUSES
from fovea_web.problems import Refused, kind_of, slug, to_headers, to_problem

from fovea import errors

STATUS = {
    errors.FoveaError: 502,
    errors.InvalidInput: 422,
    errors.InvalidImage: 400,
    errors.ImageTooLarge: 413,
    errors.InvalidAudio: 422,
    errors.InvalidText: 422,
    errors.InvalidPrompt: 422,
    errors.InvalidThreshold: 422,
    errors.InvalidSetting: 422,
    errors.InvalidTensor: 422,
    errors.UnknownVerb: 404,
    errors.Overloaded: 429,
    errors.DeadlineExceeded: 504,
    errors.Unavailable: 503,
    errors.ServerError: 502,
    search_errors.InvalidStore: 503,
    search_errors.InvalidSource: 422,
    search_errors.InvalidFilter: 422,
    search_errors.OtherMembers: 503,
    search_errors.StoreFailed: 503,
}


def classes(module, root) -> set[type]:
    found = {one for _, one in inspect.getmembers(module, inspect.isclass)}
    return {one for one in found if issubclass(one, root)}


def test_every_error_of_the_trees_is_here():
    assert set(STATUS) == classes(errors, errors.FoveaError) | (
        classes(search_errors, errors.FoveaError)
    )


@pytest.mark.parametrize("kind", STATUS, ids=lambda kind: kind.__name__)
def test_an_error_has_its_status_and_its_own_message(kind):
    problem = to_problem(kind("expected this, got that"))
    assert problem["status"] == STATUS[kind]
    assert problem["type"] == f"/problems/{slug(kind.__name__)}"
    assert problem["detail"] == "expected this, got that"


def test_every_refusal_of_the_gateway_has_its_own_row():
    for kind in classes(problems, Refused) - {Refused}:
        assert kind_of(kind("why"))[0] == kind.__name__


def test_every_status_is_in_the_documentation():
    known = {kind.status for kind in problems.KINDS.values()} - {405, 500}
    assert known == set(STATUSES)


@pytest.mark.parametrize("kind", [errors.Overloaded, errors.Unavailable, problems.Busy])
def test_retryable_errors_say_when_to_retry(kind):
    assert int(to_headers(kind("later"))["Retry-After"]) >= 1


def test_permanent_errors_have_no_retry_time():
    for kind in (errors.InvalidText, errors.ServerError, errors.DeadlineExceeded):
        assert "Retry-After" not in to_headers(kind("no"))


def test_internal_failures_are_not_revealed():
    problem = to_problem(RuntimeError("a secret"))
    assert problem["status"] == 500 and "secret" not in str(problem)


def test_a_type_has_an_explanation():
    for name, kind in problems.KINDS.items():
        assert problems.explain(slug(name))["status"] == kind.status
    assert problems.explain("nothing") is None
