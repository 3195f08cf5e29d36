"""Answers as pictures, and which callers get one."""

import io
from contextlib import suppress

import numpy as np
import pytest
from fovea_client import Mask, Segmentation, ServerError
from fovea_web.negotiation import wanted_image
from fovea_web.pictures import cut_out, render
from fovea_web.problems import NotAcceptable
from fovea_web.settings import Settings
from fovea_web.verbs import VERBS
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fovea.masks import encode_rle
from tests.client import fake_triton
from tests.web.conftest import asking

PIXELS = np.random.default_rng(0).integers(0, 255, (6, 8, 3), np.uint8)


def encoded() -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, "PNG")
    return file.getvalue()


def test_a_cut_out_keeps_the_pixels_and_hides_the_rest():
    mask = Mask(encode_rle(fake_triton.SQUARE), fake_triton.SIZE_HW)
    shown = np.array(cut_out(Image.fromarray(PIXELS), mask))
    assert np.array_equal(shown[:, :, :3], PIXELS)
    assert np.array_equal(shown[:, :, 3], np.where(fake_triton.SQUARE, 255, 0))


def test_nothing_found_is_transparent_everywhere():
    triton = fake_triton.FakeTriton(
        behave=lambda call: fake_triton.main_object(*call.labels(), found=False)
    ).start()
    with asking(Settings(url=triton.url)) as caller:
        answer = caller.post(
            "/v1/main-object?mask=png", files={"image": encoded()}, data={"labels": "cat"}
        )
    triton.stop()
    assert not np.array(Image.open(io.BytesIO(answer.content)))[:, :, 3].any()


@pytest.mark.parametrize("form", ["png", "drawing"])
def test_an_answer_about_another_picture_is_the_servers_fault(form):
    mask = Mask(encode_rle(np.ones((3, 3), np.bool_)), (3, 3))
    with pytest.raises(ServerError):
        render(form, encoded(), Segmentation((mask,), np.ones(1, np.float32), (3, 3)))


@pytest.mark.parametrize(
    ("kind", "mask", "accept", "expected"),
    [
        ("segment", None, None, None),
        ("segment", None, "*/*", None),
        ("segment", None, "application/json", None),
        ("segment", None, "image/png", "png"),
        ("segment", None, "image/*;q=0.9, application/json;q=0.1", "png"),
        ("segment", None, "image/png;q=0.5, */*", None),
        ("segment", "drawing", "application/json", "drawing"),
        ("detect", None, "image/png", "drawing"),
        ("classify", None, "image/png, */*;q=0.1", None),
    ],
)
def test_callers_that_want_a_picture_get_one(kind, mask, accept, expected):
    assert wanted_image(VERBS[kind], mask, accept) == expected


@pytest.mark.parametrize(
    ("kind", "mask", "accept"),
    [("classify", None, "image/png"), ("detect", "png", None), ("segment", None, "text/html")],
)
def test_unavailable_forms_are_refused(kind, mask, accept):
    with pytest.raises(NotAcceptable):
        wanted_image(VERBS[kind], mask, accept)


@given(st.text())
def test_any_accept_header_is_read(accept):
    with suppress(NotAcceptable):
        assert wanted_image(VERBS["segment"], None, accept) in (None, "png")
