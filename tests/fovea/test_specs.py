import urllib.parse
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fovea.deployment import Deployment
from fovea.errors import InvalidInput, InvalidPrompt, InvalidTensor
from fovea.specs import TensorSpec, from_json, to_json
from tests.deployments import TINY


def test_a_deployment_survives_json():
    assert from_json(Deployment, to_json(TINY)) == TINY


def test_unknown_and_missing_fields_are_refused():
    with pytest.raises(TypeError, match="no field"):
        from_json(Deployment, to_json(TINY).replace('"labels_bytes"', '"label_bytes"'))
    with pytest.raises(TypeError):
        from_json(Deployment, "{}")


def test_a_tensor_of_another_dtype_or_shape_is_refused():
    spec = TensorSpec("boxes", "FP32", (-1, 4))
    spec.check(np.zeros((7, 4), np.float32))
    with pytest.raises(InvalidTensor, match="boxes: expected dtype float32, got float64"):
        spec.check(np.zeros((7, 4)))
    with pytest.raises(InvalidTensor, match=r"expected shape \[-1, 4\], got \[7, 5\]"):
        spec.check(np.zeros((7, 5), np.float32))


def test_an_unknown_dtype_is_refused():
    with pytest.raises(ValueError, match="FP8"):
        TensorSpec("x", "FP8", ())


def test_errors_keep_their_class_on_the_wire():
    message = f"in ensemble 'segment', {InvalidPrompt('expected x, got y').to_message()}"
    back = InvalidInput.from_message(message)
    assert type(back) is InvalidPrompt
    assert str(back) == "expected x, got y"
    assert type(InvalidInput.from_message("unexpected shape for input")) is InvalidTensor


@given(st.text(max_size=5000))
def test_an_error_is_never_too_long_for_grpcs_metadata(said):
    message = InvalidPrompt(said).to_message()
    assert len(urllib.parse.quote(message)) < 6200  # of 8192, with the names of models before it
    back = InvalidInput.from_message(message)
    assert type(back) is InvalidPrompt and (str(back) == said or str(back).endswith("…"))


def test_specs_are_frozen():
    with pytest.raises(AttributeError):
        TINY.member("sam").spec.image_size = 3
    assert replace(TINY, limits=replace(TINY.limits, labels=3)).limits.labels == 3
