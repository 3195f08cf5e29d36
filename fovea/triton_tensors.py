"""Tensors for Triton's python backend, whichever numpy is installed.

The stub of Triton 24.10 is built for numpy 1 and reads an element's size where numpy 2 has the
dtype's flags. Without an error, outputs then have no bytes, and the arrays of inputs get strides
of 0, which repeats their first element. DLPack would carry numbers, but not the strings that every
verb here has. A stub built for numpy 2 is not affected by this module.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

NUMPY_2 = int(np.__version__.split(".")[0]) >= 2

# PyArray_NewFromDescr's place in numpy's table of C functions, and the length of numpy 1's table.
_NEW_FROM_DESCR, _TABLE_LENGTH = 94, 300
# (type, dtype, ndim, dims, strides, data, flags, object) -> array; no reference count changes.
_NewFromDescr = ctypes.PYFUNCTYPE(
    ctypes.c_void_p,
    ctypes.c_void_p,
    ctypes.c_void_p,
    ctypes.c_int,
    ctypes.c_void_p,
    ctypes.POINTER(ctypes.c_ssize_t),
    ctypes.c_void_p,
    ctypes.c_int,
    ctypes.c_void_p,
)
# The flags' place in a dtype's pickled state.
_FLAGS = 7


def prepare(pb: Any) -> None:
    """Make the stub and numpy fit; call it before the first tensor.

    pb: the module `triton_python_backend_utils`.
    """
    if NUMPY_2 and not hasattr(pb.serialize_byte_tensor, "__wrapped__"):
        _replace_table()
        pb.serialize_byte_tensor = _sized_result(pb.serialize_byte_tensor)


def to_tensor(pb: Any, name: str, array: NDArray[Any]) -> Any:
    """`pb.Tensor` of an array of numbers, of bool, or of objects that are bytes or str."""
    if not NUMPY_2 or array.dtype == np.object_:
        return pb.Tensor(name, array)
    sized = np.ascontiguousarray(array).view(np.dtype(array.dtype, copy=True))
    flags = _set_flags(sized.dtype, sized.dtype.itemsize)
    try:
        return pb.Tensor(name, sized)
    finally:
        _set_flags(sized.dtype, flags)


def _set_flags(dtype: np.dtype[Any], flags: int) -> int:
    """Give new flags to a dtype that no other array has; returns the old ones."""
    state = list(dtype.__reduce__()[2])
    before, state[_FLAGS] = state[_FLAGS], flags
    dtype.__setstate__(tuple(state))  # type: ignore[attr-defined]
    return int(before)


def _sized_result(serialize: Callable[[NDArray[Any]], Any]) -> Callable[[NDArray[Any]], Any]:
    """Make `serialize` return one string whose size the stub can read."""

    @functools.wraps(serialize)
    def sized(array: NDArray[Any]) -> Any:
        serialized = serialize(array)
        if not serialized:  # an empty array gives (); the stub sees no bytes, which is right
            return serialized
        text: NDArray[np.bytes_] = np.ndarray(
            (), np.dtype(f"S{len(serialized)}"), buffer=serialized
        )
        _set_flags(text.dtype, len(serialized))  # the dtype is this array's alone, and dies with it
        return text

    return sized


def _replace_table() -> None:
    """Offer modules built for numpy 1 a PyArray_NewFromDescr that repairs strides of 0."""
    legacy: Any = importlib.import_module("numpy.core.multiarray")
    api = ctypes.pythonapi
    api.PyCapsule_GetPointer.restype = ctypes.c_void_p
    api.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    api.PyCapsule_New.restype = ctypes.py_object
    api.PyCapsule_New.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    address = api.PyCapsule_GetPointer(legacy._ARRAY_API, None)
    functions = ctypes.c_void_p * _TABLE_LENGTH
    table = functions(*functions.from_address(address))
    mended = _mended(_NewFromDescr(table[_NEW_FROM_DESCR] or 0))
    table[_NEW_FROM_DESCR] = ctypes.cast(mended, ctypes.c_void_p).value
    legacy._ARRAY_API = api.PyCapsule_New(ctypes.addressof(table), None, None)
    _KEPT.extend((table, mended))


# Objects that C code points to must live as long as the process.
_KEPT: list[Any] = []


def _mended(new_from_descr: Any) -> Any:
    def create(
        kind: int, dtype: int, ndim: int, dims: int, strides: Any, data: int, flags: int, base: int
    ) -> Any:
        if strides and not any(strides[:ndim]):
            strides = None  # numpy then counts them, in C order
        return new_from_descr(kind, dtype, ndim, dims, strides, data, flags, base)

    return _NewFromDescr(create)
