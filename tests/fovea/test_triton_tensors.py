"""How Triton's stub, built for numpy 1, sees an array under the installed numpy."""

import ctypes
import importlib
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fovea import triton_tensors

# `elsize` in numpy 1's PyArray_Descr: after the object's head, a type, four chars and an int.
ELSIZE_OFFSET = 32

numbers = arrays.arrays(
    st.sampled_from("?bBhHiIqQefd").map(np.dtype),
    arrays.array_shapes(min_dims=0, max_dims=4, min_side=0),
)


def seen_bytes(array):
    """The array's size in bytes as a module built for numpy 1 computes it."""
    return ctypes.c_int32.from_address(id(array.dtype) + ELSIZE_OFFSET).value * array.size


class Stub:
    """The part of `triton_python_backend_utils` (r24.10) that makes a tensor."""

    def __init__(self):
        self.serialize_byte_tensor = lambda array: b"".join(array.ravel().tolist())

    def tensor(self, name, array):
        if array.dtype == np.object_:
            array = np.asarray(self.serialize_byte_tensor(array))
        return SimpleNamespace(name=name, nbytes=seen_bytes(array), content=array.tobytes())

    Tensor = tensor


@given(array=numbers)
def test_the_stub_sees_every_byte_of_numbers(array):
    tensor = triton_tensors.to_tensor(Stub(), "x", array)
    assert tensor.nbytes == array.nbytes
    assert tensor.content == array.tobytes()


@given(texts=st.lists(st.binary(min_size=1), min_size=1))
def test_the_stub_sees_every_byte_of_texts(texts):
    stub = Stub()
    triton_tensors.prepare(stub)
    tensor = triton_tensors.to_tensor(stub, "x", np.array([texts], np.object_))
    assert tensor.nbytes == len(b"".join(texts))


def test_arrays_that_are_not_contiguous_travel_in_c_order():
    array = np.arange(12, dtype=np.int64).reshape(3, 4).T
    assert triton_tensors.to_tensor(Stub(), "x", array).content == array.tobytes()


@given(array=numbers)
def test_the_dtypes_that_others_use_stay_as_they_are(array):
    before = array.dtype.__reduce__(), np.dtype(array.dtype.char).flags
    triton_tensors.to_tensor(Stub(), "x", array)
    assert (array.dtype.__reduce__(), np.dtype(array.dtype.char).flags) == before


@pytest.mark.skipif(not triton_tensors.NUMPY_2, reason="numpy 1 and the stub agree")
def test_an_array_that_the_stub_asks_for_with_strides_of_0_holds_every_element():
    triton_tensors.prepare(Stub())
    table = ctypes.pythonapi.PyCapsule_GetPointer(
        importlib.import_module("numpy.core.multiarray")._ARRAY_API, None
    )
    place = ctypes.c_void_p.from_address(table + 94 * ctypes.sizeof(ctypes.c_void_p))
    create = ctypes.PYFUNCTYPE(
        ctypes.py_object, ctypes.py_object, ctypes.py_object, ctypes.c_int, *[ctypes.c_void_p] * 3,
        ctypes.c_int, ctypes.c_void_p,
    )(place.value)  # fmt: skip
    source = np.arange(6, dtype=np.float32)
    dtype = np.dtype(np.float32)
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(dtype))  # numpy takes over a reference
    dims, strides = (ctypes.c_ssize_t * 2)(2, 3), (ctypes.c_ssize_t * 2)(0, 0)
    array = create(np.ndarray, dtype, 2, dims, strides, source.ctypes.data, 0, None)
    np.testing.assert_array_equal(array, source.reshape(2, 3))
