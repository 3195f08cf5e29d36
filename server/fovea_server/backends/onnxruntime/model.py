"""Triton's `onnxruntime` backend in Python: runs `model.onnx` with the onnxruntime package.

Triton's python backend loads this file for every model whose `config.pbtxt` says
`backend: "onnxruntime"` when the backend directory has no `libtriton_onnxruntime.so`. It follows
the official backend (release 24.10): same configuration, same parameters, same refusals.
"""

import json
from typing import Any

import fovea_ort_session
import fovea_ort_signature
import numpy as np
import triton_python_backend_utils as pb_utils

from fovea import triton_tensors

# Names of onnxruntime's exception classes, which are private to its C module, and of Triton's error
# codes, which pb_utils only has once the stub has loaded this file.
_ERROR_CODES = {
    "InvalidArgument": "INVALID_ARG",
    "NotImplemented": "UNSUPPORTED",
    "UnicodeDecodeError": "INVALID_ARG",
}


class TritonPythonModel:
    """One instance of one ONNX model."""

    def initialize(self, args: dict[str, str]) -> None:
        """Open the session and compare the configuration with the graph.

        Raises:
            pb_utils.TritonModelException: the model cannot be served; the message says why.
        """
        triton_tensors.prepare(pb_utils)
        config = json.loads(args["model_config"])
        self._batches = config.get("max_batch_size", 0) > 0
        try:
            self._session = fovea_ort_session.open_session(
                config,
                folder=f"{args['model_repository']}/{args['model_version']}",
                kind=args["model_instance_kind"],
                device_id=int(args["model_instance_device_id"]),
                warn=pb_utils.Logger.log_warn,
            )
            fovea_ort_signature.check(config, self._session)
        except ValueError as exc:
            raise pb_utils.TritonModelException(str(exc)) from exc
        self._run_options = fovea_ort_session.run_options(config)
        self._input_names = [tensor["name"] for tensor in config.get("input", ())]
        self._string_outputs = {
            tensor["name"]
            for tensor in config.get("output", ())
            if tensor["data_type"] == "TYPE_STRING"
        }

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer every request; requests that arrive together run as one batch."""
        if len(requests) > 1 and self._batches:
            try:
                return self._execute_jointly(requests)
            except Exception as exc:
                # One bad request must not fail its neighbours: run them one by one instead.
                pb_utils.Logger.log_warn(f"joint run of {len(requests)} requests failed: {exc}")
        return [self._execute_alone(request) for request in requests]

    def finalize(self) -> None:
        """Free the session's memory before the process ends."""
        self._session = None

    def _execute_alone(self, request: Any) -> Any:
        try:
            names = list(request.requested_output_names())
            arrays = self._run(names, self._feed(request))
            return self._response(names, arrays)
        except Exception as exc:
            code = getattr(pb_utils.TritonError, _ERROR_CODES.get(type(exc).__name__, "INTERNAL"))
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(exc), code))

    def _execute_jointly(self, requests: list[Any]) -> list[Any]:
        feeds = [self._feed(request) for request in requests]
        wanted = [list(request.requested_output_names()) for request in requests]
        union = list(dict.fromkeys(name for names in wanted for name in names))
        joint = {name: np.concatenate([feed[name] for feed in feeds]) for name in feeds[0]}
        sizes = [next(iter(feed.values())).shape[0] for feed in feeds]
        outputs = dict(zip(union, self._run(union, joint), strict=True))
        ends = np.cumsum(sizes)
        for name, array in outputs.items():
            if array.ndim == 0 or array.shape[0] != ends[-1]:
                raise ValueError(f"output '{name}' of shape {list(array.shape)} has no batch axis")
        return [
            self._response(names, [outputs[name][end - size : end] for name in names])
            for names, size, end in zip(wanted, sizes, ends, strict=True)
        ]

    def _feed(self, request: Any) -> dict[str, np.ndarray]:
        feed = {}
        for name in self._input_names:
            tensor = pb_utils.get_input_tensor_by_name(request, name)
            if tensor is not None:
                feed[name] = _text(tensor.as_numpy())
        return feed

    def _run(self, names: list[str], feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        return self._session.run(names, feed, self._run_options)

    def _response(self, names: list[str], arrays: list[np.ndarray]) -> Any:
        return pb_utils.InferenceResponse(
            [
                triton_tensors.to_tensor(pb_utils, name, self._for_triton(name, array))
                for name, array in zip(names, arrays, strict=True)
            ]
        )

    def _for_triton(self, name: str, array: np.ndarray) -> np.ndarray:
        return _bytes(array) if name in self._string_outputs else array


def _text(array: np.ndarray) -> np.ndarray:
    """Triton's strings are bytes, onnxruntime's are str in UTF-8 only."""
    if array.dtype != np.object_:
        return array
    flat = [item.decode() for item in array.reshape(-1)]
    return np.array(flat, dtype=np.object_).reshape(array.shape)


def _bytes(array: np.ndarray) -> np.ndarray:
    flat = [str(item).encode() for item in array.reshape(-1)]
    return np.array(flat, dtype=np.object_).reshape(array.shape)
