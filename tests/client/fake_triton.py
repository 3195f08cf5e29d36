"""A gRPC server in this process that speaks Triton's protocol and does what a test tells it."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable
from concurrent import futures
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
from PIL import Image
from tritonclient.grpc import InferResult, service_pb2, service_pb2_grpc
from tritonclient.utils import serialize_byte_tensor

from fovea.masks import encode_rle
from fovea.verbs import MODALITIES

SIZE_HW = (6, 8)
SQUARE = np.zeros(SIZE_HW, np.bool_)
SQUARE[1:4, 2:5] = True
MODELS = (
    "main_object",
    "detect",
    "detect_and_segment",
    "segment",
    "segment_everything",
    "embed_objects",
    "segment_scene",
    "classify",
    "embed_image",
    "embed_text",
    *(f"embed_{name}" for name in MODALITIES),
)
OWN_CLASSES = ("hen", "tench, Tinca tinca", "cat", "dog", "van", "shark")
SQUARE_BOX = [2.0, 1.0, 5.0, 4.0]


@dataclass
class Call:
    """A request that arrived: its model, its tensors with batch axis, its parameters."""

    model: str
    inputs: dict[str, np.ndarray]
    timeout_us: int | None
    metadata: dict[str, str]
    context: grpc.ServicerContext

    def text(self) -> str:
        return self.labels()[0]

    def labels(self) -> list[str]:
        return [label.decode() for label in self.inputs["TEXT"][0]]


@dataclass
class Refusal:
    """An answer that is a status and a message."""

    status: grpc.StatusCode
    message: str = ""


Tensors = dict[str, Any]
Behaviour = Callable[[Call], "Tensors | Refusal"]


def texts(*values: str) -> np.ndarray:
    return np.array([value.encode() for value in values], np.object_)


def floats(*values: Any) -> np.ndarray:
    return np.array(values, np.float32)


def detections(*phrases: str) -> Tensors:
    return {
        "BOXES": floats(*[SQUARE_BOX for _ in phrases]).reshape(-1, 4),
        "SCORES": floats(*np.linspace(0.9, 0.5, len(phrases))),
        "PHRASES": texts(*phrases),
        "LABEL_INDICES": np.array([phrases.index(phrase) for phrase in phrases], np.int32),
        "WORDS": texts(*phrases),
        "IMAGE_SIZE": np.array(SIZE_HW, np.int32),
    }


def masks(count: int) -> Tensors:
    counts = np.array([encode_rle(SQUARE)] * count, np.object_)
    return {
        "MASKS": counts,
        "MASK_SCORES": floats(*[0.8] * count),
        "IMAGE_SIZE": np.array(SIZE_HW, np.int32),
    }


def objects(count: int, *, embedded: bool = False) -> Tensors:
    """The square, `count` times."""
    found = {
        "BOXES": floats(*[SQUARE_BOX] * count).reshape(-1, 4),
        "STABILITY": floats(*np.linspace(0.9, 0.5, count)),
        **masks(count),
    }
    if embedded:
        found["EMBEDDINGS"] = np.eye(3, dtype=np.float32)[np.arange(count) % 3]
        found["PICTURE_EMBEDDING"] = floats(0, 0, 1)
    return found


def main_object(*labels: str, found: bool = True) -> Tensors:
    """The first label wins."""
    here = labels[:1] if found else ()
    return {
        "LABEL": texts(labels[0]),
        "LABEL_INDEX": np.array([0], np.int32),
        "LABELS": texts(*labels),
        "LABEL_SCORES": floats(*np.linspace(0.9, 0.1, len(labels))),
        **detections(*here),
        **masks(len(here)),
    }


def scene(*, label_map: bool) -> Tensors:
    """The square is a traffic light, class 9, on the sky, class 300."""
    shown = np.where(SQUARE, 9, 300).astype(np.uint16)
    file = io.BytesIO()
    Image.fromarray(shown).save(file, "PNG")
    return {
        "MASKS": np.array([encode_rle(SQUARE), encode_rle(~SQUARE)], np.object_),
        "SCORES": floats(0.9, 0.7),
        "PHRASES": texts("traffic light", "sky"),
        "LABEL_INDICES": np.array([9, 300], np.int32),
        "LABEL_MAP": np.array([file.getvalue()] if label_map else [], np.object_),
        "IMAGE_SIZE": np.array(SIZE_HW, np.int32),
    }


def classes(*labels: str) -> Tensors:
    """The last of the labels is the best, and the first the worst."""
    places = np.arange(len(labels), dtype=np.int32)[::-1]
    return {
        "LABELS": texts(*labels[::-1]),
        "LABEL_INDICES": places,
        "LABEL_SCORES": floats(*np.linspace(0.9, 0.1, len(labels))),
    }


def plausible(call: Call) -> Tensors:
    """A possible answer of the real server, whatever the verb."""
    if call.model == "embed_image":
        return {"IMAGE_EMBEDS": floats(1, 0, 0)}
    if call.model == "embed_text":
        return {"TEXT_EMBEDS": floats(0, 1, 0)}
    if call.model.removeprefix("embed_") in MODALITIES:
        return {f"{call.model.removeprefix('embed_').upper()}_EMBEDS": floats(0, 0, 1)}
    if call.model == "segment":
        return masks(call.inputs["POINT_LABELS"].shape[1])
    if call.model in ("segment_everything", "embed_objects"):
        most = call.inputs.get("MAX_OBJECTS", np.array([[2]]))
        return objects(int(most[0, 0]), embedded=call.model == "embed_objects")
    if call.model == "segment_scene":
        return scene(label_map="WITH_LABEL_MAP" in call.inputs)
    if call.model == "classify" and "TEXT" not in call.inputs:
        return classes(*OWN_CLASSES[: call.inputs.get("TOP_K", np.array([[5]]))[0, 0]])
    phrases = call.labels()
    if call.model == "classify":
        return classes(*phrases)
    if call.model == "main_object":
        return main_object(*phrases)
    if call.model == "detect_and_segment":
        return detections(*phrases) | masks(len(phrases))
    return detections(*phrases)


@dataclass
class FakeTriton(service_pb2_grpc.GRPCInferenceServiceServicer):
    """Answers with `behave`, after the refusals in `first`; counts what happens.

    parameters: those of every model's configuration.
    cut_off: calls that gRPC had cancelled before their answer; they would end tritonserver 2.51.
    """

    behave: Behaviour = plausible
    first: list[Refusal] = field(default_factory=list)
    ready: bool = True
    calls: list[Call] = field(default_factory=list)
    arrivals: list[float] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0
    cut_off: int = 0
    models: tuple[str, ...] = MODELS
    parameters: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._server: grpc.Server | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self, credentials: grpc.ServerCredentials | None = None) -> FakeTriton:
        """Start on a free port, or again on the same one."""
        options = [("grpc.max_receive_message_length", -1), ("grpc.so_reuseport", 0)]
        pool = futures.ThreadPoolExecutor(32)
        self._server = grpc.server(pool, options=options)
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(self, self._server)
        address = f"127.0.0.1:{self.port}"
        if credentials is None:
            self.port = self._server.add_insecure_port(address)
        else:
            self.port = self._server.add_secure_port(address, credentials)
        self._server.start()
        return self

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop(grace=None).wait()
            self._server = None

    def ServerReady(self, request: Any, context: Any) -> Any:  # noqa: N802
        return service_pb2.ServerReadyResponse(ready=self.ready)

    def ModelReady(self, request: Any, context: Any) -> Any:  # noqa: N802
        return service_pb2.ModelReadyResponse(ready=request.name in self.models)

    def ModelStatistics(self, request: Any, context: Any) -> Any:  # noqa: N802
        response = service_pb2.ModelStatisticsResponse()
        for name in self.models:
            response.model_stats.add(name=name)
        return response

    def ModelConfig(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        if request.name not in self.models:
            words = f"Request for unknown model: '{request.name}' is not found"
            context.abort(grpc.StatusCode.NOT_FOUND, words)
        response = service_pb2.ModelConfigResponse()
        for name, value in {"verb": request.name, **self.parameters}.items():
            response.config.parameters[name].string_value = value
        return response

    def ModelInfer(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        call = _read(request, context)
        with self._lock:
            self.calls.append(call)
            self.arrivals.append(time.monotonic())
            refusal = self.first.pop(0) if self.first else None
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            answer = refusal or self.behave(call)
        finally:
            with self._lock:
                self.in_flight -= 1
                self.cut_off += not context.is_active()
        if isinstance(answer, Refusal):
            context.abort(answer.status, answer.message)
        return _write(call.model, answer)


def _read(request: Any, context: grpc.ServicerContext) -> Call:
    # The tensors of a request and of a response are written the same way.
    response = service_pb2.ModelInferResponse()
    for tensor in request.inputs:
        response.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
    response.raw_output_contents.extend(request.raw_input_contents)
    tensors = InferResult(response)
    parameters = request.parameters
    return Call(
        model=request.model_name,
        inputs={tensor.name: tensors.as_numpy(tensor.name) for tensor in request.inputs},
        timeout_us=parameters["timeout"].int64_param if "timeout" in parameters else None,
        metadata={item.key: item.value for item in context.invocation_metadata()},
        context=context,
    )


def _write(model: str, tensors: Tensors) -> Any:
    response = service_pb2.ModelInferResponse(model_name=model)
    datatypes = {"float32": "FP32", "int32": "INT32", "object": "BYTES"}
    for name, array in tensors.items():
        kind = datatypes[array.dtype.name]
        response.outputs.add(name=name, datatype=kind, shape=[1, *array.shape])
        if kind == "BYTES":
            packed = serialize_byte_tensor(array)
            response.raw_output_contents.append(packed.item() if packed.size else b"")
        else:
            response.raw_output_contents.append(array.tobytes())
    return response
