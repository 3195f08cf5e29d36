"""Converts a fp32 ONNX network to fp16 or int8, whole or only its weights (`export.precision`)."""

from __future__ import annotations

import logging
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.transformers.float16 import convert_float_to_float16

from export.errors import ParityError
from export.network import Arrays
from export.onnx_files import EMBEDDED_BYTES, has_external_weights, load_graph, save, save_graph
from export.precision import Policy, Precision

HALF_MAX = float(np.finfo(np.float16).max)
INT8_MAX = 127
# Attention masks are the lowest float: the conversion clamps them, which is harmless.
MASK = 1e30


def lower(
    policy: Policy, path: Path, precision: Precision, embedded_bytes: int = EMBEDDED_BYTES
) -> Precision:
    """Rewrite the fp32 graph at `path`; returns the precision that it now has.

    embedded_bytes: heavier weights lie beside the graph. The graph stays fp32 if the policy says
    so; for bf16 too, which is the runtime's doing.
    """
    taken = policy.takes(precision)
    if taken == "fp16":
        _to_fp16(policy, path, embedded_bytes)
    elif taken == "int8":
        _to_int8(policy, path, embedded_bytes)
    elif taken == "bf16-int8":
        _weights_to_int8(policy, path, embedded_bytes)
    return taken


def _to_int8(policy: Policy, path: Path, embedded_bytes: int) -> None:
    graph = load_graph(path)
    products = [node.name for node in graph.graph.node if node.op_type == "MatMul"]
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".quantizing-") as folder, _quiet():
        quantized = Path(folder) / path.name
        quantize_dynamic(
            str(path),
            str(quantized),
            op_types_to_quantize=["MatMul"],
            nodes_to_quantize=[name for name in products if policy.quantizes(name)],
            per_channel=True,
            weight_type=QuantType.QInt8,
            use_external_data_format=has_external_weights(graph),
        )
        save(onnx.load(str(quantized)), path, embedded_bytes)


def _weights_to_int8(policy: Policy, path: Path, embedded_bytes: int) -> None:
    """Weights of matrix products as int8 with a scale per column, symmetric; the rest unchanged."""
    model = onnx.load(str(path))
    graph = model.graph
    _constants_to_initializers(graph)
    weights = {i.name: i for i in graph.initializer if len(i.dims) == 2}
    chosen = [
        node
        for node in graph.node
        if node.op_type == "MatMul"
        and node.input[1] in weights
        and policy.quantizes(node.name, "bf16-int8")
    ]
    for name in dict.fromkeys(node.input[1] for node in chosen):
        weight = numpy_helper.to_array(weights[name])
        scale = np.maximum(np.abs(weight).max(axis=0) / INT8_MAX, np.finfo(np.float32).tiny)
        parts = {f"{name}_int8": np.rint(weight / scale).astype(np.int8), f"{name}_scale": scale}
        graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in parts.items())
        graph.node.insert(
            0, helper.make_node("DequantizeLinear", [*parts], [f"{name}_restored"], axis=1)
        )
    for node in chosen:
        node.input[1] = f"{node.input[1]}_restored"
    _drop_unused(graph)
    save(model, path, embedded_bytes)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the advice to pre-process, which can take minutes on these graphs."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def _to_fp16(policy: Policy, path: Path, embedded_bytes: int) -> None:
    # Shapes are inferred without the weights: with them, a graph over 2 GiB would fail.
    shapes = onnx.shape_inference.infer_shapes(load_graph(path)).graph.value_info
    model = onnx.load(str(path))
    del model.graph.value_info[:]
    model.graph.value_info.extend(shapes)
    kept = {node.name for node in model.graph.node if policy.keeps(node.op_type, node.name)}
    _constants_to_initializers(model.graph)
    _separate_initializers(model.graph, kept)
    model = convert_float_to_float16(
        model,
        keep_io_types=True,
        disable_shape_infer=True,
        op_block_list=[],
        node_block_list=sorted(kept),
    )
    _join_kept_neighbours(model.graph)
    _sort(model.graph)
    save(model, path, embedded_bytes)


def _constants_to_initializers(graph: onnx.GraphProto) -> None:
    """Make float constants initializers, so that each user may have its own precision."""
    nodes = []
    for node in graph.node:
        value = next((a.t for a in node.attribute if a.name == "value"), None)
        if (
            node.op_type == "Constant"
            and value is not None
            and value.data_type == TensorProto.FLOAT
        ):
            initializer = graph.initializer.add()
            initializer.CopyFrom(value)
            initializer.name = node.output[0]
        else:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)


def _separate_initializers(graph: onnx.GraphProto, kept: set[str]) -> None:
    """Copy initializers that kept and other nodes share: they would be rounded to half for all."""
    floats = {i.name: i for i in graph.initializer if i.data_type == TensorProto.FLOAT}
    lowered = {name for node in graph.node if node.name not in kept for name in node.input}
    copies: dict[str, str] = {}
    for node in graph.node:
        for i, name in enumerate(node.input):
            if node.name in kept and name in floats and name in lowered:
                if name not in copies:
                    copies[name] = f"{name}_kept"
                    copy = graph.initializer.add()
                    copy.CopyFrom(floats[name])
                    copy.name = copies[name]
                node.input[i] = copies[name]


def _join_kept_neighbours(graph: onnx.GraphProto) -> None:
    """Connect kept layers directly: the conversion rounds to half between any two of them.

    The same goes for the graph's inputs and outputs. The conversion also writes the same cast once
    per user: one is enough.
    """
    casts = {name: node for node in graph.node for name in node.output}
    unique = [node for node in graph.node if not node.output or casts[node.output[0]] is node]
    del graph.node[:]
    graph.node.extend(unique)
    halves = {node.output[0]: node for node in graph.node if _casts_to(node, TensorProto.FLOAT16)}
    whole = {}
    outputs = {value.name for value in graph.output}
    for node in graph.node:
        if not (_casts_to(node, TensorProto.FLOAT) and node.input[0] in halves):
            continue
        half = halves[node.input[0]]
        node.input[0] = half.input[0]
        if half.name.endswith("_cast_to_fp16_node") or half.name.startswith("graph_input_cast"):
            whole[node.output[0]] = half.input[0]
            if node.output[0] in outputs:
                node.op_type = "Identity"
                del node.attribute[:]
    for node in graph.node:
        for i, name in enumerate(node.input):
            node.input[i] = whole.get(name, name)
    _drop_unused(graph)


def _casts_to(node: onnx.NodeProto, kind: int) -> bool:
    return node.op_type == "Cast" and node.attribute[0].i == kind


def _drop_unused(graph: onnx.GraphProto) -> None:
    outputs = {value.name for value in graph.output}
    while True:
        used = outputs | {name for node in graph.node for name in node.input}
        nodes = [node for node in graph.node if any(name in used for name in node.output)]
        if len(nodes) == len(graph.node):
            break
        del graph.node[:]
        graph.node.extend(nodes)
    initializers = [i for i in graph.initializer if i.name in used]
    del graph.initializer[:]
    graph.initializer.extend(initializers)
    del graph.value_info[:]  # the conversion leaves some with the old type


def _sort(graph: onnx.GraphProto) -> None:
    """Sort producers before consumers, otherwise in the existing order."""
    producer = {name: i for i, node in enumerate(graph.node) for name in node.output}
    waits = [len({producer[n] for n in node.input if n in producer}) for node in graph.node]
    users: dict[int, list[int]] = {}
    for i, node in enumerate(graph.node):
        for j in {producer[name] for name in node.input if name in producer}:
            users.setdefault(j, []).append(i)
    ready = [i for i, count in enumerate(waits) if not count]
    order = []
    while ready:
        i = ready.pop()
        order.append(graph.node[i])
        for user in users.get(i, ()):
            waits[user] -= 1
            if not waits[user]:
                ready.append(user)
    del graph.node[:]
    graph.node.extend(order)


def check_range(network: str, policy: Policy, path: Path, sample: Arrays) -> float:
    """The largest magnitude that a fp16 layer of the fp32 graph at `path` meets.

    ONNX Runtime's CPU provider computes most of fp16 in fp32, so an overflow would only show on a
    GPU: this finds it beforehand. Raises ParityError naming the layer.
    """
    model = onnx.shape_inference.infer_shapes(load_graph(path))
    floats = {
        value.name: value
        for value in model.graph.value_info
        if value.type.tensor_type.elem_type == TensorProto.FLOAT
    }
    makers = {
        name: node
        for node in model.graph.node
        if not policy.keeps(node.op_type, node.name)
        for name in node.output
        if name in floats
    }
    known = {value.name for value in model.graph.output}
    model.graph.output.extend(floats[name] for name in makers if name not in known)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    watched = path.with_name(f".watched-{path.name}")  # beside the weights that it names
    save_graph(model, watched)
    try:
        session = onnxruntime.InferenceSession(
            str(watched), options, providers=["CPUExecutionProvider"]
        )
    finally:
        watched.unlink()
    largest = 0.0
    for name, value in zip(makers, session.run(list(makers), sample), strict=True):
        magnitudes = np.abs(value)
        largest_here = float(magnitudes[magnitudes < MASK].max(initial=0))
        if not largest_here <= HALF_MAX:
            raise ParityError(
                f"{network}: {makers[name].name} reaches {largest_here:.3g}, above fp16's "
                f"{HALF_MAX:g}: its layer must stay fp32 (export/precision.py)"
            )
        largest = max(largest, largest_here)
    return largest


def precisions(path: Path) -> dict[str, int]:
    """How many weights a graph holds in each type, by ONNX's name of the type."""
    counts: Counter[str] = Counter()
    for initializer in onnx.load(str(path)).graph.initializer:
        kind = TensorProto.DataType.Name(initializer.data_type)
        counts[kind] += int(numpy_helper.to_array(initializer).size)
    return dict(counts)
