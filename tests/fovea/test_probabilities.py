import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import special

from fovea.probabilities import sigmoid, softmax

LOGITS = arrays(
    np.float32, array_shapes(max_dims=3, max_side=6), elements=st.floats(-1e4, 1e4, width=32)
)


@given(LOGITS)
def test_each_logit_is_independent_and_gives_no_warning(logits):
    with np.errstate(all="raise", under="ignore"):
        found = sigmoid(logits)
    assert found.dtype == np.float32
    assert np.allclose(found, special.expit(logits.astype(np.float64)), atol=1e-6)


@given(LOGITS)
def test_the_last_axis_sums_to_1(logits):
    with np.errstate(all="raise", under="ignore"):
        found = softmax(logits)
    assert found.dtype == np.float32
    assert np.allclose(found, special.softmax(logits.astype(np.float64), axis=-1), atol=1e-6)
